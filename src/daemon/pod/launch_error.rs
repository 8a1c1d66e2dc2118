//! Explains a failed launch: finds the field of the request or the image that caused it, and a remedy.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs};

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::error::ErrorKind;
use super::link::{Answer, LinkError};
use crate::spec::PodConfig;
use holdfast_wire::{Cause, Failure, FrameError, MountedObject, Object, Step};

/// The cause of a failed launch as the shim reports it, followed by what explains it or by a remedy.
#[derive(Debug, thiserror::Error)]
#[error("{cause}{explanation}")]
pub(crate) struct Explained<T: fmt::Debug + fmt::Display> {
    /// The failure that the shim reports.
    pub(super) cause: T,
    /// The rest of the sentence, with the punctuation mark that it begins with.
    pub(super) explanation: String,
}

/// Why the shim could not start a process as the request asks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// The request or the image asks the start for something that cannot be had.
    #[error("cannot {doing}: {field}")]
    Refused {
        doing: &'static str,
        /// The field of the request that the failure is about.
        field: String,
        source: Explained<Box<Failure>>,
    },
    /// The kernel killed the container's process before its program ran.
    #[error(
        "linux.resources.memory_limit_in_bytes: invalid value {0}: the kernel killed the container's process for want of \
         memory before its program ran; set a higher limit"
    )]
    MemoryTooLow(i64),
    /// A seccomp profile forbids what the start of a process needs.
    #[error("{field}")]
    SeccompForbids {
        /// The field of the request, and the profile.
        field: String,
        source: Explained<Box<Failure>>,
    },
    /// The pod's own limits forbid its processes the namespaces that they need.
    #[error("cannot {doing}: linux.sysctls")]
    NamespaceLimits {
        doing: &'static str,
        source: Explained<Box<Failure>>,
    },
    /// A kernel parameter cannot be set.
    #[error("linux.sysctls[{key:?}]: cannot set {value:?}")]
    Sysctl {
        key: String,
        value: String,
        /// The key and the value are the object of the failure, so that its cause is left.
        source: Explained<Cause>,
    },
    /// The owners of a volume's files cannot be mapped.
    #[error("cannot {doing}")]
    IdMap {
        doing: &'static str,
        source: Explained<Box<Failure>>,
    },
    /// The shim failed at it.
    #[error("cannot {doing}")]
    Shim {
        doing: &'static str,
        #[source]
        source: LinkError,
    },
}

impl LaunchError {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::MemoryTooLow(_) | Self::SeccompForbids { .. } | Self::NamespaceLimits { .. } => {
                ErrorKind::FailedPrecondition
            }
            Self::Refused { source, .. } | Self::IdMap { source, .. } => kind(&source.cause),
            Self::Sysctl { source, .. } => kind_of_step(Step::Sysctl, &source.cause),
            Self::Shim { source, .. } => of_link(source),
        }
    }
}

fn of_link(error: &LinkError) -> ErrorKind {
    match error {
        LinkError::Closed => ErrorKind::Unavailable,
        LinkError::UnknownProtocol(_)
        | LinkError::Earlier { .. }
        // The plan has a field that an earlier shim lacks, as the whole request can be one that it lacks.
        | LinkError::Frame(FrameError::LaterField { .. }) => ErrorKind::FailedPrecondition,
        LinkError::Failed(failure) => kind(failure),
        LinkError::Connect(_)
        | LinkError::Send(_)
        | LinkError::Frame(_)
        | LinkError::Unexpected(_) => ErrorKind::Internal,
    }
}

/// Returns a function that adds what was attempted to an error of the link.
pub(super) fn shim(doing: &'static str) -> impl FnOnce(LinkError) -> LaunchError {
    move |source| LaunchError::Shim { doing, source }
}

/// Returns the error of a reply that the protocol does not allow here.
pub(super) fn unexpected(doing: &'static str, answer: &Answer) -> LaunchError {
    let text = format!(
        "{:?} with {} descriptors",
        answer.body,
        answer.descriptors.len()
    );
    LaunchError::Shim {
        doing,
        source: LinkError::Unexpected(text),
    }
}

/// The error of a container's launch that the shim reports, with what the daemon can find out about it. `mount_at` gives
/// the index in the request of the mount at a path of the container.
pub(super) fn container_launch_error(
    doing: &'static str,
    error: LinkError,
    mount_at: impl FnOnce(&str) -> Option<usize>,
) -> LaunchError {
    let LinkError::Failed(failure) = error else {
        let source = error;
        return LaunchError::Shim { doing, source };
    };
    if failure.step == Step::IdMap {
        let path = host_path(&failure).map_or_else(|| failure.object.to_string(), str::to_owned);
        let explanation = format!(
            ", because {} mounts cannot do that; leave uidMappings and gidMappings out, or put the volume on ext4, xfs, \
             btrfs or a tmpfs",
            file_system(Path::new(&path))
        );
        return LaunchError::IdMap {
            doing,
            source: Explained {
                cause: failure,
                explanation,
            },
        };
    }
    match of_mount(&failure, mount_at).or_else(|| of_path(&failure)) {
        Some((field, remedy)) => LaunchError::Refused {
            doing,
            field,
            source: Explained {
                cause: failure,
                explanation: format!("; {remedy}"),
            },
        },
        None => {
            let source = LinkError::Failed(failure);
            LaunchError::Shim { doing, source }
        }
    }
}

/// The host's path of a mount that failed.
fn host_path(failure: &Failure) -> Option<&str> {
    match &failure.object {
        Object::Mount {
            source: MountedObject::Tree { path, .. },
            ..
        } => Some(path),
        _ => None,
    }
}

/// The field of a mount, by its index in the request, and what to do about it. None of a mount that the request does
/// not have.
fn of_mount(
    failure: &Failure,
    mount_at: impl FnOnce(&str) -> Option<usize>,
) -> Option<(String, &'static str)> {
    let Object::Mount { target, source } = &failure.object else {
        return None;
    };
    let errno = Errno::from_raw(failure.number()?);
    match mount_at(target) {
        Some(index) => {
            let (field, remedy) = mount_remedy(failure.step, errno, source)?;
            Some((format!("mounts[{index}].{field}"), remedy))
        }
        None => volume_remedy(failure.step, errno, target),
    }
}

/// The field of a mount that is wrong, and what to do about it.
fn mount_remedy(
    step: Step,
    errno: Errno,
    source: &MountedObject,
) -> Option<(&'static str, &'static str)> {
    use Errno::{EINVAL, ELOOP, ENOENT, ENOTDIR};
    Some(match (step, errno, source) {
        (Step::HostPath, ENOENT, MountedObject::Image(_)) => {
            ("image_sub_path", "name a directory that the image has")
        }
        (Step::HostPath, ENOTDIR, MountedObject::Image(_)) => (
            "image_sub_path",
            "name a directory of the image, not a file",
        ),
        (Step::HostPath, EINVAL, MountedObject::Tree { spreads: true, .. }) => (
            "propagation",
            "the host path has to lie on a shared mount, or for HOST_TO_CONTAINER on a slave: make the mount shared with \
             `mount --make-rshared PATH`, or ask for PRIVATE",
        ),
        (Step::HostPath, EINVAL, MountedObject::Tree { .. }) => (
            "host_path",
            "the path lies on an unbindable mount: make the mount bindable with `mount --make-private PATH`, or give \
             another path",
        ),
        (Step::HostPath, ENOENT, _) => (
            "host_path",
            "make this path on the host, or give another one",
        ),
        (Step::HostPath, ENOTDIR, _) => (
            "host_path",
            "a component of the path is a file: give another path",
        ),
        (Step::HostPath, ELOOP, _) => (
            "host_path",
            "its symbolic links form a loop: give another path",
        ),
        (Step::Mount, EINVAL | ENOTDIR, MountedObject::Tree { .. }) => (
            "container_path",
            "a directory cannot be mounted on a file of the image, nor a file on a directory: give another path",
        ),
        (Step::MountTarget, ELOOP, _) => (
            "container_path",
            "the symbolic links of the image there form a loop or lead into procfs: give another path",
        ),
        (Step::MountTarget, ENOTDIR, _) => (
            "container_path",
            "a component of the path is a file of the image: give another path",
        ),
        (Step::HostPath, errno, _) if of_request(errno) => {
            ("host_path", "give a path that can be opened")
        }
        (Step::Mount | Step::MountTarget, errno, _) if of_request(errno) => {
            ("container_path", "give a path that can be mounted on")
        }
        _ => return None,
    })
}

/// The field and the remedy for a mount that is a VOLUME of the image.
fn volume_remedy(step: Step, errno: Errno, target: &str) -> Option<(String, &'static str)> {
    (step == Step::MountTarget && matches!(errno, Errno::ENOTDIR | Errno::ELOOP)).then(|| {
        (
            format!("VOLUME {target} of the image"),
            "the image's own files are in the way: set image.volumes = \"ignore\"",
        )
    })
}

/// The field that a path of the request or the image comes from, and what to do about it.
fn of_path(failure: &Failure) -> Option<(String, &'static str)> {
    use Errno::{EEXIST, EISDIR, ELOOP, ENOTDIR};
    const DEVICE: &str = "devices.container_path, or the path of a CDI device's node";
    const DIRECTORY: &str = "working_dir, or the WORKDIR of the image";
    let (place, remedy) = match (failure.step, Errno::from_raw(failure.number()?)) {
        (Step::Device, EISDIR) => (
            DEVICE,
            "the image, the pod or mounts.container_path has a directory there: give one of the two another path",
        ),
        (Step::Device, EEXIST) => (
            DEVICE,
            "the image or a volume has another file there: give another path",
        ),
        (Step::Device, ENOTDIR) => (
            DEVICE,
            "a component of the path is a file: give another path",
        ),
        (Step::Device, ELOOP) => (
            DEVICE,
            "the symbolic links of the image there form a loop: give another path",
        ),
        (Step::WorkingDirectory, ENOTDIR) => (
            DIRECTORY,
            "a component of the path is a file: give a directory",
        ),
        (Step::WorkingDirectory, ELOOP) => (
            DIRECTORY,
            "its symbolic links form a loop: give another directory",
        ),
        _ => return None,
    };
    Some((place.to_owned(), remedy))
}

/// Limits of a user namespace that its pod's own processes come up against (namespaces(7)). user.max_user_namespaces is
/// none of them: no process of a pod makes a further one for us.
const NAMESPACE_LIMITS: [&str; 7] = [
    "user.max_mnt_namespaces",
    "user.max_cgroup_namespaces",
    "user.max_ipc_namespaces",
    "user.max_net_namespaces",
    "user.max_pid_namespaces",
    "user.max_time_namespaces",
    "user.max_uts_namespaces",
];

/// A limit that is enough for any pod. A container takes a mount namespace and a cgroup namespace for as long as it
/// runs, and a mount that hangs nowhere yet is one more while it is made.
const SUFFICIENT_LIMIT: u64 = 256;

/// A failure to make what the kernel counts, with the limits that the pod has set itself. unshare(2), fsmount(2) and
/// open_tree(2) answer ENOSPC there.
pub(super) fn with_limits(error: LaunchError, pod: &PodConfig) -> LaunchError {
    match error {
        LaunchError::Shim {
            doing,
            source: LinkError::Failed(failure),
        } => {
            let limits = match failure.number().map(Errno::from_raw) {
                Some(Errno::ENOSPC) => low_limits(&pod.sysctls),
                _ => String::new(),
            };
            match limits.is_empty() {
                true => LaunchError::Shim {
                    doing,
                    source: LinkError::Failed(failure),
                },
                false => LaunchError::NamespaceLimits {
                    doing,
                    source: Explained {
                        cause: failure,
                        explanation: format!(
                            ", because the pod itself is limited to {limits}; set at least {SUFFICIENT_LIMIT}, or leave the limit out"
                        ),
                    },
                },
            }
        }
        other => other,
    }
}

/// Lists the pod's limits that may be too low.
fn low_limits(sysctls: &BTreeMap<String, String>) -> String {
    let low = sysctls.iter().filter(|(key, value)| {
        let named = NAMESPACE_LIMITS.contains(&key.replace('/', ".").as_str());
        named && value.trim().parse().unwrap_or(0) < SUFFICIENT_LIMIT
    });
    let low: Vec<String> = low.map(|(key, value)| format!("{key}={value}")).collect();
    low.join(" and ")
}

/// Whether the process was killed before its program ran.
pub(super) fn is_killed(error: &LinkError) -> bool {
    matches!(error, LinkError::Failed(failure) if failure.is_killed_by(Signal::SIGKILL as i32))
}

/// The error of a pause's launch, and of what is done in a pod's namespaces.
pub(super) fn of_pod(doing: &'static str, error: LinkError) -> LaunchError {
    let LinkError::Failed(failure) = &error else {
        return LaunchError::Shim {
            doing,
            source: error,
        };
    };
    match &failure.object {
        Object::Sysctl { path, value } => {
            let errno = failure.number().map(Errno::from_raw);
            let remedy = sysctl_remedy(errno.unwrap_or(Errno::UnknownErrno));
            LaunchError::Sysctl {
                // As people write it, unless a component of it has a dot.
                key: match path.contains('.') {
                    true => path.to_owned(),
                    false => path.replace('/', "."),
                },
                value: value.clone(),
                source: Explained {
                    cause: failure.cause.clone(),
                    explanation: format!("; {remedy}"),
                },
            }
        }
        _ => LaunchError::Shim {
            doing,
            source: error,
        },
    }
}

fn sysctl_remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => {
            "a pod's namespaces have no parameter of this name on this node: look below /proc/sys in a container"
        }
        Errno::EISDIR => "this is a group of parameters: name one of them",
        Errno::EACCES | Errno::EPERM | Errno::EROFS => {
            "a pod may only read this parameter: leave it out, or set it on the node"
        }
        _ => "give a value that the kernel takes",
    }
}

/// The kind of a failed step.
///
/// It is never `NotFound`: clients take that for the pod's or the container's absence. A request's own
/// paths, programs and ids are known to be unusable only when they are tried. What every
/// container has, such as the root file system, is the machine's affair.
pub(super) fn kind(failure: &Failure) -> ErrorKind {
    kind_of_step(failure.step, &failure.cause)
}

fn kind_of_step(step: Step, cause: &Cause) -> ErrorKind {
    let errno = match cause {
        Cause::TimedOut(_) => return ErrorKind::DeadlineExceeded,
        Cause::Errno(number) => Some(Errno::from_raw(*number)),
        Cause::Ended(_) | Cause::Said(_) => None,
    };
    match step {
        // The object names no container that runs: it has ended between two requests.
        Step::Admit => ErrorKind::FailedPrecondition,
        // A program of the node's administrator refused the start, or hung.
        Step::IdMap | Step::Hook => ErrorKind::FailedPrecondition,
        Step::Exec
        | Step::HostPath
        | Step::MountTarget
        | Step::Mount
        | Step::Device
        | Step::MaskedPath
        | Step::ReadonlyPath
        | Step::WorkingDirectory
        | Step::User
        | Step::Sysctl
        | Step::Hostname
        | Step::Label => match errno.is_some_and(of_request) {
            true => ErrorKind::InvalidArgument,
            false => ErrorKind::Internal,
        },
        Step::Plan
        | Step::MountNamespace
        | Step::Clone
        | Step::Cgroup
        | Step::Join
        | Step::Rootfs
        | Step::RootfsFlags
        | Step::Pivot
        | Step::Terminal
        | Step::Rlimit
        | Step::OomScore
        | Step::Capabilities
        | Step::NoNewPrivileges
        | Step::Seccomp
        | Step::Vanished
        | Step::Control => ErrorKind::Internal,
    }
}

/// Answers of the kernel that the wrong path, program or value brings about; not a lack of memory and the
/// like.
fn of_request(errno: Errno) -> bool {
    use Errno::{
        E2BIG, EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOEXEC,
        ENOTDIR, ENXIO, EOPNOTSUPP, EPERM, ERANGE, EROFS, ETXTBSY, EXDEV,
    };
    matches!(
        errno,
        E2BIG
            | EACCES
            | EEXIST
            | EINVAL
            | EISDIR
            | ELOOP
            | ENAMETOOLONG
            | ENODEV
            | ENOENT
            | ENOEXEC
            | ENOTDIR
            | EOPNOTSUPP
            | ENXIO
            | EPERM
            | ERANGE
            | EROFS
            | ETXTBSY
            | EXDEV
    )
}

/// The type of the file system that a path of the host lies on.
fn file_system(path: &Path) -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = path.canonicalize();
    mounted_at(&table, real.as_deref().unwrap_or(path))
}

/// The last mount of the table (proc_pid_mountinfo(5)) whose point is the deepest above `path`.
fn mounted_at(table: &str, path: &Path) -> String {
    let mount = |line: &str| {
        let (place, what) = line.split_once(" - ")?;
        let point = Path::new(place.split(' ').nth(4)?).to_owned();
        path.starts_with(&point)
            .then(|| (point.components().count(), what.split(' ').next()))
            .and_then(|(depth, kind)| Some((depth, kind?.to_owned())))
    };
    let found = table.lines().filter_map(mount).max_by_key(|found| found.0);
    found.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_kernel::error_chain;
    use holdfast_wire::ExitStatus;

    fn failure(step: Step, errno: Errno) -> Failure {
        Failure::errno(step, errno as i32, Object::Path("/x".to_owned()))
    }

    fn mount(target: &str, source: MountedObject) -> Object {
        let target = target.to_owned();
        Object::Mount { target, source }
    }

    fn tree(spreads: bool) -> MountedObject {
        let path = "/h".to_owned();
        MountedObject::Tree { path, spreads }
    }

    /// The request has two mounts, the second of which is at /m.
    fn of_request_with_mounts(failure: Failure) -> LaunchError {
        let mount_at = |target: &str| ["/first", "/m"].iter().position(|path| *path == target);
        container_launch_error(
            "start the container",
            LinkError::Failed(Box::new(failure)),
            mount_at,
        )
    }

    #[test]
    fn a_request_that_cannot_be_met_is_not_our_fault() {
        let kinds = [
            (Step::Exec, Errno::ENOENT, ErrorKind::InvalidArgument),
            (Step::Exec, Errno::EACCES, ErrorKind::InvalidArgument),
            (Step::Exec, Errno::ENOEXEC, ErrorKind::InvalidArgument),
            (Step::Exec, Errno::ENOMEM, ErrorKind::Internal),
            (Step::HostPath, Errno::ENOTDIR, ErrorKind::InvalidArgument),
            (Step::HostPath, Errno::EINVAL, ErrorKind::InvalidArgument),
            (
                Step::WorkingDirectory,
                Errno::ENOTDIR,
                ErrorKind::InvalidArgument,
            ),
            (Step::Rootfs, Errno::EINVAL, ErrorKind::Internal),
            (Step::IdMap, Errno::EINVAL, ErrorKind::FailedPrecondition),
        ];
        for (step, errno, wanted) in kinds {
            assert_eq!(kind(&failure(step, errno)), wanted, "{step:?} {errno}");
        }
    }

    /// A step, its errno, whether the mounted tree propagates (none: it is an image), the field, and the remedy. EINVAL is
    /// open_tree(2)'s answer for an unbindable mount, and move_mount(2)'s for a directory on a file.
    const MOUNT_CASES: [(Step, Errno, Option<bool>, &str, &str); 12] = [
        (
            Step::HostPath,
            Errno::EINVAL,
            Some(false),
            "host_path",
            "the path lies on an unbindable mount",
        ),
        (
            Step::HostPath,
            Errno::EINVAL,
            Some(true),
            "propagation",
            "the host path has to lie on a shared mount",
        ),
        (
            Step::HostPath,
            Errno::ENOENT,
            Some(true),
            "host_path",
            "make this path on the host",
        ),
        (
            Step::HostPath,
            Errno::ENOTDIR,
            Some(false),
            "host_path",
            "a component of the path is a file",
        ),
        (
            Step::HostPath,
            Errno::ELOOP,
            Some(false),
            "host_path",
            "its symbolic links form a loop",
        ),
        (
            Step::HostPath,
            Errno::EACCES,
            Some(false),
            "host_path",
            "give a path that can be opened",
        ),
        (
            Step::HostPath,
            Errno::ENOENT,
            None,
            "image_sub_path",
            "name a directory that the image has",
        ),
        (
            Step::HostPath,
            Errno::ENOTDIR,
            None,
            "image_sub_path",
            "name a directory of the image, not a file",
        ),
        (
            Step::Mount,
            Errno::EINVAL,
            Some(false),
            "container_path",
            "a directory cannot be mounted on a file",
        ),
        (
            Step::MountTarget,
            Errno::ELOOP,
            Some(false),
            "container_path",
            "the symbolic links of the image",
        ),
        (
            Step::MountTarget,
            Errno::ENOTDIR,
            Some(false),
            "container_path",
            "a component of the path is a file",
        ),
        (
            Step::MountTarget,
            Errno::EACCES,
            None,
            "container_path",
            "give a path that can be mounted on",
        ),
    ];

    #[test]
    fn a_mount_that_fails_is_named_by_its_index_and_field() {
        use Errno::{ELOOP, ENOMEM, ENOTDIR};
        use Step::{Mount, MountTarget};
        for (step, errno, spreads, field, remedy) in MOUNT_CASES {
            let image = MountedObject::Image("etc".to_owned());
            let source = spreads.map_or(image, tree);
            let failed = Failure::errno(step, errno as i32, mount("/m", source.clone()));
            assert_remedy(
                failed,
                Some((&format!("mounts[1].{field}: cannot "), remedy)),
            );
            // A mount that the request does not have is the runtime's own.
            let failed = Failure::errno(step, errno as i32, mount("/dev/shm", source));
            let volume = matches!((step, errno), (MountTarget, ELOOP | ENOTDIR));
            assert_remedy(
                failed,
                volume.then_some(("VOLUME /dev/shm of the image: cannot ", "image's own")),
            );
        }
        let failed = Failure::errno(Mount, ENOMEM as i32, mount("/m", tree(false)));
        let error = of_request_with_mounts(failed);
        assert!(matches!(error, LaunchError::Shim { .. }), "{error}");
    }

    #[test]
    fn a_working_directory_that_cannot_be_entered_names_its_field() {
        for (errno, wanted) in [
            (Errno::ENOTDIR, Some(("working_dir", "give a directory"))),
            (Errno::ELOOP, Some(("working_dir", "form a loop"))),
            (Errno::ENOENT, None),
        ] {
            assert_remedy(failure(Step::WorkingDirectory, errno), wanted);
        }
        assert_remedy(failure(Step::Exec, Errno::ENOENT), None);
    }

    /// The field stands before the cause, the remedy after it, and the cause is printed once.
    fn assert_remedy(failure: Failure, wanted: Option<(&str, &str)>) {
        let cause = failure.to_string();
        let error = of_request_with_mounts(failure);
        let got = matches!(error, LaunchError::Refused { .. });
        assert_eq!(got, wanted.is_some(), "{error}");
        let text = error_chain(&error);
        let (field, remedy) = wanted.unwrap_or_default();
        let (before, after) = text.split_once(&cause).unwrap();
        assert!(format!("{before}cannot ").contains(field), "{text}");
        assert!(after.contains(remedy) && !after.contains(&cause), "{text}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
    }

    #[test]
    fn a_device_in_the_place_of_something_else_names_its_field() {
        for (errno, wanted) in [
            (Errno::EISDIR, Some(("devices", "has a directory there"))),
            (Errno::EEXIST, Some(("devices", "another file there"))),
            (Errno::ENOTDIR, Some(("devices", "is a file"))),
            (Errno::ELOOP, Some(("devices", "form a loop"))),
            (Errno::EPERM, None),
        ] {
            assert_remedy(failure(Step::Device, errno), wanted);
        }
    }

    /// ENOSPC of a pod that limits its own user namespace: the limits' effect, namespaces(7). It was told as a disk
    /// that is full.
    #[test]
    fn limits_that_forbid_the_pod_itself_are_named() {
        let rootfs = failure(Step::Rootfs, Errno::ENOSPC);
        for (sysctls, failed, wanted) in [
            (
                &[("user.max_mnt_namespaces", "0")][..],
                rootfs.clone(),
                Some("user.max_mnt_namespaces=0"),
            ),
            (
                &[("user/max_mnt_namespaces", " 1")],
                failure(Step::HostPath, Errno::ENOSPC),
                Some("user/max_mnt_namespaces= 1"),
            ),
            (
                &[("user.max_cgroup_namespaces", "0")],
                failure(Step::Join, Errno::ENOSPC),
                Some("user.max_cgroup_namespaces=0"),
            ),
            (
                &[
                    ("user.max_cgroup_namespaces", "9"),
                    ("user.max_mnt_namespaces", "7"),
                    ("user.max_uts_namespaces", "5000"),
                ],
                failure(Step::Join, Errno::ENOSPC),
                Some("user.max_cgroup_namespaces=9 and user.max_mnt_namespaces=7;"),
            ),
            (&[("user.max_mnt_namespaces", "5000")], rootfs.clone(), None),
            (&[("user.max_user_namespaces", "0")], rootfs.clone(), None),
            (&[("net.ipv4.ip_forward", "0")], rootfs.clone(), None),
            (&[], rootfs, None),
            (
                &[("user.max_mnt_namespaces", "0")],
                failure(Step::Rootfs, Errno::ENOENT),
                None,
            ),
        ] {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            let pod = PodConfig {
                sysctls: sysctls.iter().map(owned).collect(),
                ..PodConfig::default()
            };
            let error = with_limits(
                container_launch_error("start", LinkError::Failed(Box::new(failed)), |_| None),
                &pod,
            );
            let Some(wanted) = wanted else {
                assert!(
                    matches!(error, LaunchError::Shim { .. }),
                    "{sysctls:?}: {error}"
                );
                continue;
            };
            let text = error_chain(&error);
            assert!(
                text.contains(wanted) && text.contains("at least 256"),
                "{text}"
            );
            assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{text}");
        }
    }

    /// Memory that ran out is told by the signal, whatever else ended the process.
    #[test]
    fn a_killed_process_is_told_by_its_signal() {
        let ended = |status| LinkError::Failed(Box::new(Failure::ended(status)));
        for (status, killed) in [
            (ExitStatus::Signal(9), true),
            (ExitStatus::Signal(31), false),
            (ExitStatus::Code(9), false),
        ] {
            assert_eq!(is_killed(&ended(status)), killed, "{status:?}");
        }
        assert!(!is_killed(&LinkError::Closed));
    }

    /// The operator can do something about both: the pod has to be made anew.
    #[test]
    fn an_earlier_shim_is_no_internal_error() {
        let field = FrameError::LaterField {
            part: "process of a plan",
            name: "umask",
            since: 2,
            protocol: 1,
        };
        let error = shim("start the container")(LinkError::Frame(field));
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        let error = shim("start the container")(LinkError::Frame(FrameError::Large(1 << 20)));
        assert_eq!(error.kind(), ErrorKind::Internal);
    }

    #[test]
    fn a_parameter_that_cannot_be_set_is_printed_with_its_cause_and_a_remedy() {
        let object = Object::Sysctl {
            path: "net/ipv4/ip_forward".to_owned(),
            value: "x".to_owned(),
        };
        let failure = Failure::errno(Step::Sysctl, libc::EINVAL, object);
        let error = of_pod("start the pod", LinkError::Failed(Box::new(failure)));
        assert_eq!(
            error_chain(&error),
            "linux.sysctls[\"net.ipv4.ip_forward\"]: cannot set \"x\": Invalid argument (os error 22); give a value that \
             the kernel takes"
        );
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_launch_that_hangs_has_missed_its_deadline_at_every_step() {
        for step in [Step::HostPath, Step::Admit, Step::Rootfs] {
            let hung = Failure {
                cause: Cause::TimedOut(110),
                ..failure(step, Errno::EIO)
            };
            assert_eq!(kind(&hung), ErrorKind::DeadlineExceeded);
        }
        assert_eq!(
            kind(&Failure::ended(ExitStatus::Code(1))),
            ErrorKind::Internal
        );
    }

    #[test]
    fn the_deepest_and_latest_mount_has_a_path() {
        let table = "\
1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw
2 1 8:2 / /data rw - xfs /dev/sdb rw
3 2 0:9 / /data/nfs rw master:3 - nfs4 server:/ rw
4 1 8:3 / /data rw - btrfs /dev/sdc rw
";
        for (path, kind) in [
            ("/etc", "ext4"),
            ("/data/x", "btrfs"),
            ("/data/nfs/a", "nfs4"),
            ("/database", "ext4"),
        ] {
            assert_eq!(mounted_at(table, Path::new(path)), kind, "{path}");
        }
        assert_eq!(mounted_at("", Path::new("/x")), "unknown");
    }
}
