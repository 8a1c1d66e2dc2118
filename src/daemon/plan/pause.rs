//! The plan of a pause, from its pod's Spec.

use std::ffi::CStr;
use std::path::Path;

use oci_spec::runtime::{Hooks, Linux, LinuxNamespaceType, LinuxSeccomp, Spec};

use super::compile::{process_of, refuse};
use super::mounts;
use super::plan_error::{PlanError, refuse_any};
use super::seccomp::{FilterCache, with_allowed};
use super::text::c_string;
use holdfast_wire::plan::{ClockOffsets, IdMappings, PausePlan, SeccompFilter, Sysctl};

/// System calls that a pause needs after its filter is loaded: those of its start, and those of `holdfast-pause.rs`.
const CALLS: [&str; 6] = [
    "execveat",
    "prctl",
    "rt_sigprocmask",
    "rt_sigtimedwait",
    "wait4",
    "exit_group",
];

/// Shared memory of a pod whose Spec does not say: 64 MiB.
const SHM_BYTES: u64 = 64 << 20;

/// The launch plan of a pause, from the Spec of its pod. With `seccomp_base` its filter allows only what that
/// profile allows as well.
///
/// # Errors
/// [`PlanError`] names the field of the Spec.
pub(crate) fn pause(
    spec: &Spec,
    seccomp_base: Option<&LinuxSeccomp>,
    filters: &FilterCache,
) -> Result<PausePlan, PlanError> {
    refuse(spec)?;
    let linux = spec
        .linux()
        .as_ref()
        .ok_or_else(|| PlanError::unsupported("linux", "it is missing"))?;
    let devices = linux
        .devices()
        .as_ref()
        .is_some_and(|devices| !devices.is_empty());
    let hooks = spec.hooks().as_ref();
    let hooks = hooks.is_some_and(|hooks| *hooks != Hooks::default());
    refuse_any(&[("linux.devices", devices), ("hooks", hooks)])?;
    let own = NewNamespaces::from_linux(linux)?;
    let filter = |profile| filter(profile, seccomp_base, filters);
    let process = process_of(spec)?;
    let hostname = spec.hostname().as_deref();
    let user = process.user();
    Ok(PausePlan {
        new_net: own.net == Some(Origin::Made),
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
        seccomp: linux.seccomp().as_ref().map(filter).transpose()?,
        oom_score_adj: process.oom_score_adj(),
        join_net: own.net == Some(Origin::Joined),
        new_cgroup: own.cgroup,
        time: clocks(linux, own.time)?,
    })
}

/// The filter of a pause, which always lets [`CALLS`] happen.
fn filter(
    profile: &LinuxSeccomp,
    base: Option<&LinuxSeccomp>,
    filters: &FilterCache,
) -> Result<SeccompFilter, PlanError> {
    let profile = with_allowed(profile, &CALLS);
    let base = base.map(|base| with_allowed(base, &CALLS));
    Ok(filters.get_within(&profile, base.as_deref())?)
}

/// Namespaces that the pause makes.
#[derive(Default)]
struct NewNamespaces {
    net: Option<Origin>,
    ipc: bool,
    uts: bool,
    pid: bool,
    user: bool,
    cgroup: bool,
    time: bool,
}

/// Where the network namespace of a pause comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Made,
    /// The network namespace belongs to another pod.
    Joined,
}

impl NewNamespaces {
    fn from_linux(linux: &Linux) -> Result<Self, PlanError> {
        let mut own = Self::default();
        for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
            let field = format!("linux.namespaces[{index}]");
            if namespace.path().is_some() {
                if namespace.typ() == LinuxNamespaceType::Network {
                    own.net = Some(Origin::Joined);
                    continue;
                }
                let reason = "a pause makes its namespaces and joins none but that of a network";
                return Err(PlanError::unsupported(field, reason));
            }
            match namespace.typ() {
                LinuxNamespaceType::Network => own.net = Some(Origin::Made),
                LinuxNamespaceType::Ipc => own.ipc = true,
                LinuxNamespaceType::Uts => own.uts = true,
                LinuxNamespaceType::Pid => own.pid = true,
                LinuxNamespaceType::User => own.user = true,
                LinuxNamespaceType::Cgroup => own.cgroup = true,
                LinuxNamespaceType::Time => own.time = true,
                LinuxNamespaceType::Mount => {}
            }
        }
        Ok(own)
    }
}

/// The offsets of the pause's clocks.
fn clocks(linux: &Linux, own: bool) -> Result<Option<ClockOffsets>, PlanError> {
    let offsets = linux.time_offsets().as_ref().filter(|map| !map.is_empty());
    let Some(offsets) = offsets.filter(|_| own) else {
        if offsets.is_none() && !own {
            return Ok(None);
        }
        let reason = "they need an own time namespace, and it needs them";
        return Err(PlanError::unsupported("linux.timeOffsets", reason));
    };
    let mut out = ClockOffsets {
        monotonic: (0, 0),
        boottime: (0, 0),
    };
    for (clock, offset) in offsets {
        let value = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        match clock.as_str() {
            "monotonic" => out.monotonic = value,
            "boottime" => out.boottime = value,
            _ => {
                let field = format!("linux.timeOffsets[{clock:?}]");
                let reason = "there are monotonic and boottime";
                return Err(PlanError::unsupported(field, reason));
            }
        }
    }
    Ok(Some(out))
}

fn user_mappings(linux: &Linux, own: bool) -> Result<Option<IdMappings>, PlanError> {
    let mappings = mounts::user_mappings(linux)?;
    if mappings.is_some() != own {
        let reason = "a user namespace needs uidMappings and gidMappings, and they need it";
        return Err(PlanError::unsupported("linux.uidMappings", reason));
    }
    Ok(mappings)
}

/// Sorted, so that the same pod has the same plan, and so that what is said of one interface stands against what is
/// said of all.
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
    out.sort_by(|a, b| {
        breadth(&a.path)
            .cmp(&breadth(&b.path))
            .then(a.path.cmp(&b.path))
    });
    Ok(out)
}

/// How many others a write changes as well, the most first: net/ipv4/ip_forward sets net/ipv4/conf/*/forwarding, and
/// net/ipv6/conf/all/disable_ipv6 that of every interface (ip-sysctl, devinet_sysctl_forward, addrconf_disable_ipv6).
fn breadth(path: &CStr) -> u8 {
    let path = path.to_string_lossy();
    let interface = path.split_once("/conf/").map(|(_, rest)| rest);
    match interface.and_then(|rest| rest.split('/').next()) {
        None => 0,
        Some("all") => 1,
        Some("default") => 2,
        Some(_) => 3,
    }
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
