//! Whether what a volume asks of mount propagation can be had where it lies on the host.
//!
//! The child that mounts the volume looks again. Looking here as well tells a client at the creation what its start
//! would tell otherwise, and with the mount that is in the way.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::error::{HostPathError, PodError};
use crate::spec::{ContainerConfig, VolumePropagation, VolumeSource};
use holdfast_kernel::sys::proc;

/// A mount of the host, as proc_pid_mountinfo(5) has it.
#[derive(Debug, PartialEq, Eq)]
struct HostMount<'a> {
    point: &'a str,
    /// The mount passes mounts on to others.
    is_shared: bool,
    /// The mount receives mounts from another one.
    is_slave: bool,
}

/// Whether a container has a volume that this module looks at.
pub(super) fn is_wanted(config: &ContainerConfig) -> bool {
    let mut mounts = config.mounts.iter();
    mounts.any(|mount| mount.propagation != VolumePropagation::Private)
}

/// Refuses volumes that ask for more propagation than the mount has on which they lie. A directory that is not there
/// yet is going to be made, so the one above it counts. Blocks on the volumes' file systems.
///
/// # Errors
/// [`HostPathError::Propagation`] names the first such volume and the mount; [`HostPathError::File`] one below a file.
pub(super) fn check(config: &ContainerConfig) -> Result<(), PodError> {
    if !is_wanted(config) {
        return Ok(());
    }
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|source| PodError::System {
        doing: "read the host's mounts",
        source,
    })?;
    for (index, volume) in config.mounts.iter().enumerate() {
        let VolumeSource::Host(path) = &volume.source else {
            continue;
        };
        let wanted = match volume.propagation {
            VolumePropagation::Private => continue,
            VolumePropagation::HostToContainer => "a shared or slave mount",
            VolumePropagation::Bidirectional => "a shared mount",
        };
        let path = path.as_path();
        let id = match mount_of(path) {
            Ok(id) => id,
            Err(source) if source.kind() == io::ErrorKind::NotADirectory => {
                return Err(PodError::HostPath(HostPathError::File {
                    mount: index,
                    path: path.to_owned(),
                    source,
                }));
            }
            // The start says what is wrong with the path.
            Err(_) => continue,
        };
        let Some(mount) = find(&table, id) else {
            continue;
        };
        let both_ways = volume.propagation == VolumePropagation::Bidirectional;
        if !(mount.is_shared || mount.is_slave && !both_ways) {
            return Err(PodError::HostPath(HostPathError::Propagation {
                mount: index,
                path: path.to_owned(),
                point: PathBuf::from(mount.point),
                wanted,
            }));
        }
    }
    Ok(())
}

/// The mount on which a path lies, or would lie if it were made. Only what is missing is made.
fn mount_of(path: &Path) -> io::Result<u64> {
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    for place in path.ancestors() {
        let opened = nix::fcntl::open(place, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        match opened.map_err(io::Error::from) {
            Ok(opened) => {
                return proc::mount_id(opened.as_fd()).map_err(io::Error::from);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
            Err(error) => return Err(error),
        }
    }
    Err(missing)
}

fn find(table: &str, wanted: u64) -> Option<HostMount<'_>> {
    table.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let id: u64 = fields.next()?.parse().ok()?;
        let point = fields.nth(3)?;
        let optional = || fields.clone().skip(1).take_while(|field| *field != "-");
        (id == wanted).then(|| HostMount {
            point,
            is_shared: optional().any(|field| field.starts_with("shared:")),
            is_slave: optional().any(|field| field.starts_with("master:")),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_shared_or_slave_by_its_optional_fields() {
        let table = "\
36 35 98:0 /mnt1 /shared rw,noatime shared:1 - ext4 /dev/root rw
37 35 98:0 / /slave rw master:1 - ext4 /dev/root rw
38 35 98:0 / /both rw shared:7 master:1 propagate_from:2 - ext4 /dev/root rw
39 35 98:0 / /private rw - ext4 /dev/shared:1 rw,shared:9
40 35 98:0 / /unbindable rw unbindable - tmpfs none rw
";
        for (id, point, is_shared, is_slave) in [
            (36, "/shared", true, false),
            (37, "/slave", false, true),
            (38, "/both", true, true),
            (39, "/private", false, false),
            (40, "/unbindable", false, false),
        ] {
            let wanted = HostMount {
                point,
                is_shared,
                is_slave,
            };
            assert_eq!(find(table, id), Some(wanted), "{point}");
        }
        assert_eq!(find(table, 3), None);
    }

    #[test]
    fn a_path_that_is_not_there_lies_where_it_would_be_made() {
        let mount = |path| mount_of(Path::new(path)).unwrap();
        assert_eq!(mount("/proc/no-such/thing"), mount("/proc"));
        assert_ne!(mount("/no-such/thing"), mount("/proc"));
        for (path, kind) in [
            ("/proc/version/below", io::ErrorKind::NotADirectory),
            ("/proc/version/", io::ErrorKind::NotADirectory),
            ("/proc/version/below/it", io::ErrorKind::NotADirectory),
            ("/proc/version/../sys", io::ErrorKind::NotADirectory),
        ] {
            assert_eq!(
                mount_of(Path::new(path)).unwrap_err().kind(),
                kind,
                "{path}"
            );
        }
    }
}
