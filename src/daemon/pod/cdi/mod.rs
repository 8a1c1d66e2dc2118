//! Devices by the Container Device Interface (CDI): from names to what they change in a container.
//!
//! ```text
//!   vendor/class=name ──▶ files of the directories ──▶ containerEdits ──▶ nodes of the host ──▶ CdiEdits
//! ```
//!
//! The files are read when a container is created, and what they say then is kept with it. A file that cannot
//! be read or understood describes nothing; it is an error only for who asks for a device of its kind. What
//! this module must never do: take a device from anything but the request, or leave out a part of one.

mod file;
mod yaml;

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::host;
use crate::plan;
use crate::spec::{
    CdiEdits, CdiHook, CdiMount, ContainerPath, DeviceGrant, DeviceKind, HostDevice, HostPath,
    SpecError,
};
use file::{Edits, HookEdit, MountEdit, NodeEdit, SpecFile};
use holdfast_kernel::sys::regular;
use holdfast_wire::plan::HookMoment;

/// Largest description that is read, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

/// Most files of a directory that are read.
const FILES_LIMIT: usize = 4096;

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CdiError {
    /// The name does not have the form `vendor/class=device`.
    #[error("CDI_devices: {0:?} is no name of a CDI device; write it like vendor.com/class=name")]
    Name(String),
    /// No file describes the device.
    #[error(
        "CDI_devices: device {name:?} is not described in any file of {directories}{broken}; \
         install or generate its description"
    )]
    Unknown {
        name: String,
        directories: String,
        /// Files that could not be understood, and why.
        broken: String,
    },
    /// Two files of one directory describe it.
    #[error("CDI_devices: device {name:?} is described by {} and by {}; remove one", first_file.display(), second_file.display())]
    Conflict {
        name: String,
        first_file: PathBuf,
        second_file: PathBuf,
    },
    /// The device wants what this runtime does not do.
    #[error("CDI_devices: device {name:?} needs {what}, which this runtime does not do ({})", file.display())]
    Unsupported {
        name: String,
        what: String,
        /// The file that says so.
        file: PathBuf,
    },
    /// A part of the description that no container can have.
    #[error("CDI_devices: device {name:?}: {what} ({})", file.display())]
    Part {
        name: String,
        /// The part and what is wrong with it.
        what: String,
        /// The file that says so.
        file: PathBuf,
    },
    /// A part of the description cannot be used on this machine.
    #[error("CDI_devices: device {name:?}: use {} ({})", path.display(), file.display())]
    Path {
        name: String,
        /// The path of the host.
        path: PathBuf,
        /// The file that names it.
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A description, where it is and how much it counts: those of later directories win.
struct Described {
    path: PathBuf,
    rank: usize,
    spec: SpecFile,
}

/// The changes that devices make to a container. Blocks on the disk.
///
/// # Errors
/// [`CdiError`] names the first device that cannot be had.
pub(super) fn edits(directories: &[PathBuf], names: &[&str]) -> Result<CdiEdits, CdiError> {
    let mut out = CdiEdits::default();
    if names.is_empty() {
        return Ok(out);
    }
    let (all, broken) = read(directories);
    for text in &broken {
        tracing::warn!(file = text, "ignored a CDI description that cannot be used");
    }
    let mut used: Vec<&Path> = Vec::new();
    for name in names {
        let (kind, device) = file::split_name(name).ok_or_else(|| CdiError::Name(shown(name)))?;
        let Some(found) = find(&all, name, (kind, device))? else {
            let directories: Vec<_> = directories
                .iter()
                .map(|dir| dir.to_string_lossy())
                .collect();
            return Err(CdiError::Unknown {
                name: shown(name),
                directories: directories.join(" and "),
                broken: broken.iter().map(|text| format!("; {text}")).collect(),
            });
        };
        let source = (*name, found.path.as_path());
        // What a file says for all its devices counts once.
        if !used.contains(&source.1) {
            used.push(source.1);
            apply(&mut out, &found.spec.container_edits, source)?;
        }
        if let Some(device) = found.spec.device(device) {
            apply(&mut out, &device.container_edits, source)?;
        }
    }
    Ok(out)
}

fn shown(name: &str) -> String {
    name.chars().take(200).collect()
}

/// All descriptions, and what is wrong with the files that are none.
fn read(directories: &[PathBuf]) -> (Vec<Described>, Vec<String>) {
    let (mut all, mut broken) = (Vec::new(), Vec::new());
    for (rank, directory) in directories.iter().enumerate() {
        let Ok(entries) = fs::read_dir(directory) else {
            continue;
        };
        let mut paths: Vec<_> = entries
            .flatten()
            .take(FILES_LIMIT)
            .map(|e| e.path())
            .collect();
        paths.sort();
        for path in paths {
            if !file::is_description(&path) {
                continue;
            }
            let text = text(&path).map_err(|error| error.to_string());
            match text.and_then(|text| file::parse(&text)) {
                Ok(spec) => all.push(Described { path, rank, spec }),
                Err(why) => broken.push(format!("{}: {why}", path.display())),
            }
        }
    }
    (all, broken)
}

fn text(path: &Path) -> io::Result<String> {
    let bytes = regular::read(path, FILE_LIMIT)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn find<'a>(
    all: &'a [Described],
    name: &str,
    (kind, device): (&str, &str),
) -> Result<Option<&'a Described>, CdiError> {
    let of_device = |one: &&Described| one.spec.kind == kind && one.spec.device(device).is_some();
    let Some(best) = all.iter().filter(of_device).max_by_key(|one| one.rank) else {
        return Ok(None);
    };
    let mut equal = all
        .iter()
        .filter(of_device)
        .filter(|one| one.rank == best.rank);
    match (equal.next(), equal.next()) {
        (Some(one), Some(other)) => Err(CdiError::Conflict {
            name: shown(name),
            first_file: one.path.clone(),
            second_file: other.path.clone(),
        }),
        _ => Ok(Some(best)),
    }
}

fn apply(out: &mut CdiEdits, edits: &Edits, source: (&str, &Path)) -> Result<(), CdiError> {
    let refuse = |what: String| CdiError::Unsupported {
        name: shown(source.0),
        what,
        file: source.1.to_owned(),
    };
    if let Some(what) = edits.unsupported() {
        return Err(refuse(what.to_owned()));
    }
    for (number, edit) in edits.hooks.iter().enumerate() {
        let name = &edit.hook_name;
        let wrong = |why: String| part(source, &format!("the {name} hook: hooks[{number}].{why}"));
        out.hooks.push(hook(edit).map_err(wrong)?);
    }
    out.env
        .extend(texts("env", edits.env()).map_err(|why| part(source, &why))?);
    for (index, gid) in edits.additional_gids() {
        let wrong = |why: String| part(source, &why);
        check_id(&format!("additionalGids[{index}]"), gid).map_err(wrong)?;
        if gid != 0 {
            out.additional_gids.push(gid);
        }
    }
    for (number, node) in edits.device_nodes.iter().enumerate() {
        let wrong = |why: &dyn Display| part(source, &format!("deviceNodes[{number}].{why}"));
        check_numbers(node).map_err(|why| wrong(&why))?;
        let path = ContainerPath::new("path", &node.path).map_err(|why| wrong(&why))?;
        out.devices.push(grant(node, path.as_str(), source)?);
    }
    for (number, mount) in edits.mounts.iter().enumerate() {
        let mount = mounted(mount, source, &format!("mounts[{number}]"))?;
        out.mounts.push(mount);
    }
    Ok(())
}

fn part(source: (&str, &Path), what: &str) -> CdiError {
    CdiError::Part {
        name: shown(source.0),
        what: what.to_owned(),
        file: source.1.to_owned(),
    }
}

fn unusable<'a>(
    source: (&'a str, &'a Path),
    path: &'a str,
) -> impl FnOnce(io::Error) -> CdiError + 'a {
    move |error| CdiError::Path {
        name: shown(source.0),
        path: path.into(),
        file: source.1.to_owned(),
        source: error,
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

/// Texts of a list without its nulls. The kernel ends each at a NUL byte, so none may have one.
fn texts(field: &str, list: &[Option<String>]) -> Result<Vec<String>, String> {
    let given = list.iter().enumerate();
    let given = given.filter_map(|(index, text)| text.as_ref().map(|text| (index, text)));
    given
        .map(|(index, text)| {
            check_text(&format!("{field}[{index}]"), text)?;
            Ok(text.clone())
        })
        .collect()
}

fn check_text(field: &str, text: &str) -> Result<(), String> {
    match text.contains('\0') {
        true => Err(format!(
            "{field}: {:?} has a NUL byte; remove it",
            shown(text)
        )),
        false => Ok(()),
    }
}

/// The last number is no user and no group: chown(2) takes it for "as it is", and setgroups(2) refuses it.
fn check_id(field: &str, id: u32) -> Result<(), String> {
    match id {
        u32::MAX => Err(format!(
            "{field}: {id} is no user or group; use at most {}",
            u32::MAX - 1
        )),
        _ => Ok(()),
    }
}

/// Numbers of a node that no file of the kernel can have (`MINORBITS` of linux/kdev_t.h, and mknod(2)).
fn check_numbers(node: &NodeEdit) -> Result<(), String> {
    let owners = [("uid", node.uid), ("gid", node.gid)];
    for (field, id) in owners {
        id.map_or(Ok(()), |id| check_id(field, id))?;
    }
    // A FIFO has no number, whatever is written.
    let numbers = [
        ("major", node.major, 0xfff),
        ("minor", node.minor, 0xf_ffff),
    ];
    for (field, number, most) in numbers.into_iter().filter(|_| node.kind != "p") {
        if number > most {
            return Err(format!(
                "{field}: {number} is no device number; use at most {most}"
            ));
        }
    }
    Ok(())
}

/// The node that a description means, at its cleaned path. What it leaves open is as on the host; the owner and the
/// group are those of the container's user then, so that it can open the device.
fn grant(node: &NodeEdit, path: &str, source: (&str, &Path)) -> Result<DeviceGrant, CdiError> {
    let host_path = if node.host_path.is_empty() {
        path
    } else {
        &node.host_path
    };
    let kind = match node.kind.as_str() {
        "c" | "u" => Some(DeviceKind::Character),
        "b" => Some(DeviceKind::Block),
        "p" => Some(DeviceKind::Fifo),
        _ => None,
    };
    let number = |value: i64| {
        let wrong = |_| unusable(source, host_path)(invalid("its device number is too large"));
        u32::try_from(value).map_err(wrong)
    };
    let (major, minor) = (number(node.major)?, number(node.minor)?);
    let real = Path::new(host_path).canonicalize();
    let on_host = real.as_deref().ok().and_then(host::device);
    // With a type and a number the description is complete, and the host's node gives its mode alone.
    let complete = kind.filter(|kind| major != 0 || *kind == DeviceKind::Fifo);
    let found = match (complete, on_host) {
        (Some(kind), on_host) => HostDevice {
            path: path.into(),
            kind,
            major,
            minor,
            mode: on_host.as_ref().map_or(0o666, |device| device.mode),
            uid: None,
            gid: None,
        },
        (None, Some(device)) if kind.is_none_or(|kind| kind == device.kind) => HostDevice {
            major: if major == 0 { device.major } else { major },
            minor: if major == 0 { device.minor } else { minor },
            ..device
        },
        (None, Some(_)) => {
            return Err(unusable(source, host_path)(invalid(
                "it is no device node of that type",
            )));
        }
        (None, None) => {
            let missing = real.err();
            let other = || invalid("it is no device node");
            return Err(unusable(source, host_path)(missing.unwrap_or_else(other)));
        }
    };
    Ok(DeviceGrant {
        device: HostDevice {
            path: path.into(),
            mode: node.file_mode.map_or(found.mode, |mode| mode & 0o7777),
            uid: node.uid,
            gid: node.gid,
            ..found
        },
        permissions: permissions(&node.permissions),
    })
}

/// A hook as it is kept, or what is wrong with it.
fn hook(edit: &HookEdit) -> Result<CdiHook, String> {
    let moment = match edit.hook_name.as_str() {
        "prestart" => HookMoment::Prestart,
        "createRuntime" => HookMoment::CreateRuntime,
        "createContainer" => HookMoment::CreateContainer,
        "startContainer" => HookMoment::StartContainer,
        "poststart" => HookMoment::Poststart,
        "poststop" => HookMoment::Poststop,
        other => return Err(format!("hookName: {other:?} is unknown")),
    };
    // It is kept as it is written: the kernel follows links and `..` in their order when the hook is run, as with runc.
    HostPath::new("path", &edit.path).map_err(|why| why.to_string())?;
    let timeout = match edit.timeout {
        None => None,
        Some(seconds) => match u32::try_from(seconds) {
            Ok(seconds @ 1..) => Some(seconds),
            _ => {
                return Err(format!(
                    "timeout: {seconds} is no number of seconds; give at least 1"
                ));
            }
        },
    };
    Ok(CdiHook {
        moment,
        path: edit.path.clone().into(),
        args: texts("args", &edit.args)?,
        env: texts("env", &edit.env)?,
        timeout,
    })
}

/// The access that a node brings; empty for `none`, which asks for the node without a rule of the cgroup.
fn permissions(text: &str) -> String {
    match text {
        "" => "rwm".to_owned(),
        "none" => String::new(),
        given => "rwm"
            .chars()
            .filter(|letter| given.contains(*letter))
            .collect(),
    }
}

/// A mount as it is kept; `field` is its place in the edits.
fn mounted(mount: &MountEdit, source: (&str, &Path), field: &str) -> Result<CdiMount, CdiError> {
    let wrong = |why: &dyn Display| part(source, &format!("{field}.{why}"));
    let mut options = texts("options", &mount.options).map_err(|why| wrong(&why))?;
    check_text("type", &mount.kind).map_err(|why| wrong(&why))?;
    check_text("hostPath", &mount.host_path).map_err(|why| wrong(&why))?;
    let given = options.iter().any(|one| one == "bind" || one == "rbind");
    let bind = given || matches!(mount.kind.as_str(), "" | "bind" | "none");
    let mut host_path = PathBuf::from(&mount.host_path);
    if bind {
        let cleaned = HostPath::new("hostPath", &mount.host_path).map_err(|why| wrong(&why))?;
        cleaned.as_path().clone_into(&mut host_path);
        // A description is of what is there: nothing is made for it.
        fs::metadata(&host_path).map_err(unusable(source, &mount.host_path))?;
        if !given {
            options.push("rbind".to_owned());
        }
    }
    plan::check_options(bind, &options).map_err(|why| wrong(&why))?;
    let kept = CdiMount {
        host_path,
        container_path: mount.container_path.clone(),
        kind: if bind {
            String::new()
        } else {
            mount.kind.clone()
        },
        options,
    };
    match kept.check("containerPath") {
        Ok(()) => Ok(kept),
        Err(SpecError::Path(why)) => Err(wrong(&why)),
        Err(why) => Err(wrong(&why)),
    }
}

/// Reads a text as a description.
#[cfg(feature = "fuzz")]
pub(super) fn fuzz(text: &str) {
    if let Ok(spec) = file::parse(text) {
        let _ = spec.device("x").is_some();
    }
    let _ = file::split_name(text);
}

#[cfg(test)]
mod tests;
