//! Device nodes of a container, and the device rules of its cgroup.
//!
//! The launcher makes the nodes that every container has (/dev/null and the like), as the OCI specification says.
//! Their access rules are here, because access is denied by default.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::{DeviceGrant, DeviceKind, HostDevice, Identity, SpecError, SpecRequest};

/// Character devices of every container: (major, minor), `None` for all minors. Linux devices.txt.
const ALLOWED: &[(i64, Option<i64>)] = &[
    (1, Some(3)), // null
    (1, Some(5)), // zero
    (1, Some(7)), // full
    (1, Some(8)), // random
    (1, Some(9)), // urandom
    (5, Some(0)), // tty
    (5, Some(1)), // console
    (5, Some(2)), // ptmx
    (136, None),  // pts
];

/// Parts of the host's /dev that belong to the host's own terminals and mounts.
const PRIVATE: &[&str] = &[
    "/dev/console",
    "/dev/fd",
    "/dev/mqueue",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
];

/// Nodes to make: what was granted, and for a privileged container all of the host's.
pub(super) fn nodes(request: &SpecRequest<'_>) -> Result<Vec<LinuxDevice>, SpecError> {
    let mut out: Vec<LinuxDevice> = Vec::new();
    for grant in request.devices {
        check_permissions(&grant.permissions)?;
    }
    let at = |out: &[LinuxDevice], device: &HostDevice| {
        out.iter().position(|made| made.path() == &device.path)
    };
    for grant in request.devices {
        // Of two at one path the first is made, as runc does for the Specs of containerd and CRI-O; the rules of
        // both count.
        if at(&out, &grant.device).is_none() {
            out.push(node(&grant.device, request.identity));
        }
    }
    for grant in &request.cdi.devices {
        // CDI takes away what is there before it adds its own.
        if let Some(place) = at(&out, &grant.device) {
            out.remove(place);
        }
        out.push(node(&grant.device, request.identity));
    }
    if request.container.security.privileged {
        for device in &request.host.devices {
            let private = PRIVATE.iter().any(|path| device.path.starts_with(path));
            if !private && at(&out, device).is_none() {
                out.push(node(device, request.identity));
            }
        }
    }
    Ok(out)
}

/// The nodes of the request, then those of CDI devices.
fn granted<'a>(request: &SpecRequest<'a>) -> impl Iterator<Item = &'a DeviceGrant> {
    request.devices.iter().chain(&request.cdi.devices)
}

/// The access rules in order; the last rule that matches is applied.
pub(super) fn rules(request: &SpecRequest<'_>) -> Vec<LinuxDeviceCgroup> {
    if request.container.security.privileged {
        return vec![rule(
            LinuxDeviceType::A,
            (None, None),
            "rwm",
            Verdict::Allow,
        )];
    }
    let mut out = vec![
        rule(LinuxDeviceType::A, (None, None), "rwm", Verdict::Deny),
        // Making a node is harmless: using it is what the rules are about.
        rule(LinuxDeviceType::C, (None, None), "m", Verdict::Allow),
        rule(LinuxDeviceType::B, (None, None), "m", Verdict::Allow),
    ];
    for (major, minor) in ALLOWED {
        out.push(rule(
            LinuxDeviceType::C,
            (Some(*major), *minor),
            "rwm",
            Verdict::Allow,
        ));
    }
    for grant in granted(request) {
        let device = &grant.device;
        let number = (Some(i64::from(device.major)), Some(i64::from(device.minor)));
        // A CDI device may ask for its node alone: without a rule the container cannot open it.
        if device.kind != DeviceKind::Fifo && !grant.permissions.is_empty() {
            out.push(rule(
                kind(device.kind),
                number,
                &grant.permissions,
                Verdict::Allow,
            ));
        }
    }
    out
}

fn check_permissions(text: &str) -> Result<(), SpecError> {
    let letters = text.bytes().all(|byte| matches!(byte, b'r' | b'w' | b'm'));
    if text.is_empty() || text.len() > 3 || !letters {
        let allowed = "give some of the letters r, w and m";
        let value = format!("{text:?}");
        return Err(SpecError::value("devices.permissions", value, allowed));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
}

fn rule(
    kind: LinuxDeviceType,
    (major, minor): (Option<i64>, Option<i64>),
    access: &str,
    verdict: Verdict,
) -> LinuxDeviceCgroup {
    let mut out = LinuxDeviceCgroup::default();
    out.set_allow(verdict == Verdict::Allow)
        .set_typ(Some(kind))
        .set_major(major)
        .set_minor(minor)
        .set_access(Some(access.to_owned()));
    out
}

fn node(device: &HostDevice, user: &Identity) -> LinuxDevice {
    let mut out = LinuxDevice::default();
    out.set_path(device.path.clone())
        .set_typ(kind(device.kind))
        .set_major(i64::from(device.major))
        .set_minor(i64::from(device.minor))
        .set_file_mode(Some(device.mode & 0o7777))
        .set_uid(Some(device.uid.unwrap_or(user.uid)))
        .set_gid(Some(device.gid.unwrap_or(user.gid)));
    out
}

fn kind(kind: DeviceKind) -> LinuxDeviceType {
    match kind {
        DeviceKind::Character => LinuxDeviceType::C,
        DeviceKind::Block => LinuxDeviceType::B,
        DeviceKind::Fifo => LinuxDeviceType::P,
    }
}
