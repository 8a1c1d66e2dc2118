//! Mounts of a container: the defaults, the pod's files, the volumes.
//!
//! The order of the mounts matters: the defaults come first, then all requested mounts, with parent directories
//! before their children. A requested mount replaces the default at the same path, and a volume at /dev replaces all
//! of /dev.

use std::path::Path;

use oci_spec::runtime::Mount;

use super::experiments::Sharing;
use super::target::check_target;
use super::{
    IpcMode, NetMode, SpecError, SpecRequest, VolumeAccess, VolumeMount, VolumePropagation,
    VolumeSource, cgroup,
};
use holdfast_wire::plan::IdMappings;

/// Options of a pod's shared memory: 64 MiB, as in containerd and Docker.
pub(super) const SHM_OPTIONS: [&str; 5] = ["noexec", "nosuid", "nodev", "mode=1777", "size=65536k"];

/// The group of terminals: every distribution's /etc/group.
const TTY_GROUP: u32 = 5;

/// Type of a mount whose source is an image. OCI has none: other runtimes mount the image themselves.
const IMAGE_TYPE: &str = "image";

/// All mounts in the order in which they are made.
pub(super) fn mounts(request: &SpecRequest<'_>) -> Result<Vec<Mount>, SpecError> {
    let mut volumes = Vec::new();
    for (index, volume) in request.container.mounts.iter().enumerate() {
        volumes.push((
            volume.container_path.as_str().to_owned(),
            bind_volume(request, volume, index)?,
        ));
    }
    let requested = |path: &str| {
        request
            .container
            .mounts
            .iter()
            .any(|m| m.container_path.as_str() == path)
    };
    for (path, mount) in pod_files(request) {
        if !requested(path) {
            volumes.push((path.to_owned(), mount));
        }
    }
    for (path, directory) in request.volumes {
        if !requested(path.as_str()) {
            check_target(path.as_str(), directory.as_path(), "the image's Volumes")?;
            let mut mount = bind(
                path.as_str(),
                directory.as_path(),
                &["rbind", "rprivate", "rw"],
            );
            if let Some(map) = &request.pod.namespaces.userns {
                // The copy of what the image has there has the image's owners.
                map_owners(&mut mount, map);
            }
            volumes.push((path.as_str().to_owned(), mount));
        }
    }
    for mount in &request.cdi.mounts {
        volumes.push((mount.container_path.clone(), mount.to_oci()?));
    }
    volumes.sort_by_key(|(path, _)| path.split('/').filter(|part| !part.is_empty()).count());

    let taken = |path: &str| volumes.iter().any(|(volume, _)| volume == path);
    let mut out: Vec<Mount> = defaults(request, cgroup::access(request)?)
        .into_iter()
        .filter(|(path, _)| !(taken(path) || path.starts_with("/dev/") && taken("/dev")))
        .map(|(_, mount)| mount)
        .collect();
    out.extend(volumes.into_iter().map(|(_, mount)| mount));
    Ok(out)
}

/// The file systems of every container.
fn defaults(request: &SpecRequest<'_>, cgroup_access: &str) -> Vec<(&'static str, Mount)> {
    let access = if request.container.security.privileged {
        "rw"
    } else {
        "ro"
    };
    let quiet = ["nosuid", "noexec", "nodev"];
    let namespaces = &request.pod.namespaces;
    let sys = if namespaces.network == NetMode::Node && namespaces.userns.is_some() {
        // sysfs belongs to the network namespace, and the host's cannot be mounted from a user namespace.
        bind(
            "/sys",
            Path::new("/sys"),
            &["rbind", "rro", "rnosuid", "rnodev", "rnoexec"],
        )
    } else {
        new("/sys", "sysfs", &["nosuid", "noexec", "nodev", access])
    };
    let mut terminals = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    // The group tty, unless the pod's user namespace has no such group.
    let tty = |map: &IdMappings| map.outside_group(TTY_GROUP).is_some();
    if namespaces.userns.as_ref().is_none_or(tty) {
        terminals.push("gid=5");
    }
    vec![
        ("/proc", new("/proc", "proc", &quiet)),
        (
            "/dev",
            new(
                "/dev",
                "tmpfs",
                &["nosuid", "strictatime", "mode=755", "size=65536k"],
            ),
        ),
        ("/dev/pts", new("/dev/pts", "devpts", &terminals)),
        ("/dev/mqueue", new("/dev/mqueue", "mqueue", &quiet)),
        ("/sys", sys),
        (
            "/sys/fs/cgroup",
            new(
                "/sys/fs/cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", cgroup_access],
            ),
        ),
    ]
}

/// Mounts of the pod's files, which its containers share. /dev/shm stays writable under a read-only root.
fn pod_files(request: &SpecRequest<'_>) -> [(&'static str, Mount); 4] {
    let access = if request.container.security.readonly_rootfs {
        "ro"
    } else {
        "rw"
    };
    let options = ["rbind", "rprivate", access];
    let shm = match request.pod.namespaces.ipc {
        IpcMode::Pod => request.paths.shm.as_path(),
        IpcMode::Node => Path::new("/dev/shm"),
    };
    let sharing = request
        .pod
        .experiments
        .of_container(&request.container.metadata.name);
    let own_shm = (sharing.ipc == Sharing::Own).then(|| new("/dev/shm", "tmpfs", &SHM_OPTIONS));
    let file = |path, source: &Path| (path, bind(path, source, &options));
    [
        file("/etc/hostname", &request.paths.hostname),
        file("/etc/hosts", &request.paths.hosts),
        file("/etc/resolv.conf", &request.paths.resolv_conf),
        (
            "/dev/shm",
            own_shm.unwrap_or_else(|| bind("/dev/shm", shm, &["rbind", "rprivate", "rw"])),
        ),
    ]
}

fn bind_volume(
    request: &SpecRequest<'_>,
    volume: &VolumeMount,
    index: usize,
) -> Result<Mount, SpecError> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let path = volume.container_path.as_str();
    let source = volume.source.spec_name();
    check_target(path, &source, &field("container_path"))?;
    if let VolumeSource::Image { .. } = volume.source {
        let mut options = vec!["ro", "nodev"];
        let further = volume.options.iter().map(|option| option.as_str());
        options.extend(further.filter(|option| *option != "nodev"));
        let mut mount = bind(path, &source, &options);
        mount.set_typ(Some(IMAGE_TYPE.to_owned()));
        return Ok(mount);
    }
    let propagation = match volume.propagation {
        VolumePropagation::Private => "rprivate",
        VolumePropagation::HostToContainer => "rslave",
        VolumePropagation::Bidirectional => "rshared",
    };
    let access = access(request, volume, &field("recursive_read_only"))?;
    // As runc reads them, options are about the volume's own mount. Where that is read-only with all mounts
    // below, the others hold for these as well: one call sets all attributes of a tree.
    let below = if access == "rro" { "r" } else { "" };
    let further = volume.options.iter();
    let further: Vec<_> = further
        .map(|option| format!("{below}{}", option.as_str()))
        .collect();
    let mut options = vec!["rbind", propagation, access];
    options.extend(further.iter().map(String::as_str));
    let mut mount = bind(path, &source, &options);
    if let Some(map) = &volume.id_map {
        map_owners(&mut mount, map);
    }
    Ok(mount)
}

fn map_owners(mount: &mut Mount, map: &IdMappings) {
    mount
        .set_uid_mappings(Some(super::namespaces::mappings(&map.uids)))
        .set_gid_mappings(Some(super::namespaces::mappings(&map.gids)));
}

/// The option for a volume's access. Whether the kernel has it is all that is left to check.
fn access(
    request: &SpecRequest<'_>,
    volume: &VolumeMount,
    field: &str,
) -> Result<&'static str, SpecError> {
    match volume.access {
        VolumeAccess::ReadWrite => Ok("rw"),
        VolumeAccess::ReadOnly => Ok("ro"),
        VolumeAccess::RecursiveReadOnly if !request.host.recursive_read_only => {
            let what = "recursive read-only mounts (Linux 5.12)";
            Err(SpecError::unsupported(field, what))
        }
        VolumeAccess::RecursiveReadOnly => Ok("rro"),
    }
}

fn new(target: &str, kind: &str, options: &[&str]) -> Mount {
    let mut out = bind(target, Path::new(kind), options);
    out.set_typ(Some(kind.to_owned()));
    out
}

fn bind(target: &str, source: &Path, options: &[&str]) -> Mount {
    let mut out = Mount::default();
    out.set_destination(target.into())
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(source.to_owned()))
        .set_options(Some(
            options.iter().map(|option| (*option).to_owned()).collect(),
        ));
    out
}
