//! Device nodes and symbolic links below the container's /dev.

use std::ffi::CString;
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use super::plan_error::PlanError;
use super::text::{absolute, c_string};
use holdfast_wire::plan::Device;

/// `S_IFCHR`, `S_IFBLK` and `S_IFIFO` of mknod(2).
const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;
const FIFO: u32 = 0o010_000;

/// Nodes of every container: the OCI runtime specification, "Default Devices".
const DEFAULT: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links of every container: the OCI runtime specification, "Dev symbolic links".
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/core", "/proc/kcore"),
];

/// The default nodes, then those of the Spec; a node of the Spec replaces a default at the same path.
pub(super) fn nodes(devices: &[LinuxDevice]) -> Result<Vec<Device>, PlanError> {
    let mut out = Vec::with_capacity(DEFAULT.len() + devices.len());
    for (path, major, minor) in DEFAULT {
        if !devices
            .iter()
            .any(|device| device.path() == Path::new(path))
        {
            out.push(Device {
                target: c_string("linux.devices", *path)?,
                kind: CHARACTER,
                major: *major,
                minor: *minor,
                mode: 0o666,
                uid: 0,
                gid: 0,
            });
        }
    }
    for (index, device) in devices.iter().enumerate() {
        out.push(node(&format!("linux.devices[{index}]"), device)?);
    }
    Ok(out)
}

fn node(field: &str, device: &LinuxDevice) -> Result<Device, PlanError> {
    let number = |value: i64| {
        let reason = format!("device number {value} is out of range");
        u32::try_from(value).map_err(|_| PlanError::unsupported(field, reason))
    };
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => CHARACTER,
        LinuxDeviceType::B => BLOCK,
        LinuxDeviceType::P => FIFO,
        LinuxDeviceType::A => {
            return Err(PlanError::unsupported(
                field,
                "type \"a\" is for access rules only",
            ));
        }
    };
    Ok(Device {
        target: absolute(&format!("{field}.path"), device.path())?,
        kind,
        major: number(device.major())?,
        minor: number(device.minor())?,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

/// The links that programs expect.
pub(super) fn links() -> Result<Vec<(CString, CString)>, PlanError> {
    let field = "/dev";
    LINKS
        .iter()
        .map(|(at, to)| Ok((c_string(field, *at)?, c_string(field, *to)?)))
        .collect()
}
