//! The plan of a pause, from its pod's Spec.

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};

use super::mounts;
use super::seccomp::FilterCache;
use super::text::c_string;
use super::{PlanError, refuse_any};
use crate::wire::plan::{IdMappings, PausePlan, Sysctl};

/// Shared memory of a pod whose Spec does not say: 64 MiB.
const SHM_BYTES: u64 = 64 << 20;

/// The launch plan of a pause, from the Spec of its pod.
///
/// # Errors
/// [`PlanError`] names the field of the Spec.
pub fn pause(spec: &Spec, filters: &FilterCache) -> Result<PausePlan, PlanError> {
    super::refuse(spec)?;
    let linux = spec
        .linux()
        .as_ref()
        .ok_or_else(|| PlanError::unsupported("linux", "it is missing"))?;
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| PlanError::unsupported("process", "it is missing"))?;
    let devices = linux
        .devices()
        .as_ref()
        .is_some_and(|devices| !devices.is_empty());
    refuse_any(&[("linux.devices", devices)])?;
    let own = Own::of(linux)?;
    let hostname = spec.hostname().as_deref();
    let user = process.user();
    Ok(PausePlan {
        new_net: own.net,
        new_ipc: own.ipc,
        new_uts: own.uts,
        new_pid: own.pid,
        user: user_mappings(linux, own.user)?,
        hostname: match hostname {
            Some(name) if own.uts => Some(c_string("hostname", name)?),
            Some(_) => {
                let reason = "it needs an own uts namespace";
                return Err(PlanError::unsupported("hostname", reason));
            }
            None => None,
        },
        sysctls: sysctls(linux)?,
        shm_bytes: shm_bytes(spec)?,
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        seccomp: linux
            .seccomp()
            .as_ref()
            .map(|profile| filters.get(profile))
            .transpose()?,
        oom_score_adj: process.oom_score_adj(),
    })
}

/// Namespaces that the pause makes.
#[derive(Default)]
struct Own {
    net: bool,
    ipc: bool,
    uts: bool,
    pid: bool,
    user: bool,
}

impl Own {
    fn of(linux: &Linux) -> Result<Self, PlanError> {
        let mut own = Self::default();
        for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
            let field = format!("linux.namespaces[{index}]");
            if namespace.path().is_some() {
                let reason = "a pause makes its namespaces and joins none";
                return Err(PlanError::unsupported(field, reason));
            }
            match namespace.typ() {
                LinuxNamespaceType::Network => own.net = true,
                LinuxNamespaceType::Ipc => own.ipc = true,
                LinuxNamespaceType::Uts => own.uts = true,
                LinuxNamespaceType::Pid => own.pid = true,
                LinuxNamespaceType::User => own.user = true,
                LinuxNamespaceType::Mount => {}
                kind @ (LinuxNamespaceType::Cgroup | LinuxNamespaceType::Time) => {
                    let reason = format!("a pause has no {kind} namespace of its own");
                    return Err(PlanError::unsupported(field, reason));
                }
            }
        }
        Ok(own)
    }
}

fn user_mappings(linux: &Linux, own: bool) -> Result<Option<IdMappings>, PlanError> {
    let mappings = mounts::user_mappings(linux)?;
    if mappings.is_some() != own {
        let reason = "a user namespace needs uidMappings and gidMappings, and they need it";
        return Err(PlanError::unsupported("linux.uidMappings", reason));
    }
    Ok(mappings)
}

/// Sorted, so that the same pod has the same plan.
fn sysctls(linux: &Linux) -> Result<Vec<Sysctl>, PlanError> {
    let mut out = Vec::new();
    for (key, value) in linux.sysctl().iter().flatten() {
        let field = format!("linux.sysctl[{key:?}]");
        let path = sysctl_path(key).ok_or_else(|| {
            PlanError::unsupported(field.as_str(), "the key is no name below /proc/sys")
        })?;
        out.push(Sysctl {
            path: c_string(&field, path)?,
            value: c_string(&field, value.as_str())?,
        });
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(out)
}

/// sysctl(8): when the first separator is a dot, dots and slashes change places.
fn sysctl_path(key: &str) -> Option<String> {
    let first = key.find(['.', '/'])?;
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if key[first..].starts_with('.') {
        key.chars().map(swap).collect()
    } else {
        key.to_owned()
    };
    path.split('/')
        .all(|part| !matches!(part, "" | "." | ".."))
        .then_some(path)
}

fn shm_bytes(spec: &Spec) -> Result<u64, PlanError> {
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let field = format!("mounts[{index}]");
        if mount.destination() != Path::new("/dev/shm") || mount.typ().as_deref() != Some("tmpfs") {
            let reason = "a pause has no mount but a tmpfs at /dev/shm";
            return Err(PlanError::unsupported(field, reason));
        }
        let size = mount
            .options()
            .iter()
            .flatten()
            .find_map(|option| option.strip_prefix("size="));
        if let Some(size) = size {
            return bytes(size).ok_or_else(|| {
                PlanError::unsupported(field, format!("size {size:?} is not like 65536k"))
            });
        }
    }
    Ok(SHM_BYTES)
}

/// Sizes as tmpfs(5) writes them: a number, with k, m or g for powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
}
