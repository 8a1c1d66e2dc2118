//! What can go wrong with a pod or a container, and of which kind it is.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::cdi::CdiError;
use super::experiments::ExperimentRefusal;
use super::launch_error;
use super::link::LinkError;
use super::record::StateError;
use super::spawn::SpawnError;
use crate::plan::{FilterError, PlanError};
use crate::spec::seccomp::{ArtifactError, ProfileError as SeccompError};
use crate::spec::{PathError, SignalError, SpecError, UserError};
use crate::systemd::{SliceError, SystemdError};
use holdfast_disk::{DirError, FileNameError};
use holdfast_image::{ProfileError, StoreError};
use holdfast_kernel::cgroup::CgroupError;
use holdfast_kernel::id::{ContainerId, IdError, PodId};
use holdfast_network::cni::CniError;
use holdfast_network::netlink::NetlinkError;
use holdfast_network::{BandwidthError, NetnsError, NetworkError, SubnetError};

/// An operation on a pod or a container that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// There is no such pod.
    #[error("pod sandbox {0:?} is not known")]
    UnknownPod(String),
    /// There is no such container.
    #[error("container {0:?} is not known")]
    UnknownContainer(String),
    /// The identifier is empty.
    #[error("the {0} id is empty; give the full id or a unique prefix of it")]
    EmptyId(&'static str),
    /// Several identifiers start with these digits.
    #[error("{what} id {prefix:?} is ambiguous: {candidates}; give more digits")]
    Ambiguous {
        /// Of what.
        what: &'static str,
        /// What was given.
        prefix: String,
        /// Some of those that match, and how many more there are.
        candidates: String,
    },
    /// Another pod has this name.
    #[error("{key} is pod sandbox {id} already, {why}; remove it or use another attempt")]
    PodExists {
        /// Namespace, name, uid and attempt.
        key: String,
        /// Which one it is.
        id: PodId,
        /// How it differs.
        why: &'static str,
    },
    /// Another container of the pod has this name.
    #[error("{key} is container {id} already, {why}; remove it or use another attempt")]
    ContainerExists {
        /// Name and attempt.
        key: String,
        /// Which one it is.
        id: ContainerId,
        /// How it differs.
        why: &'static str,
    },
    /// The pod is not in the state that the operation wants.
    #[error("pod sandbox {id} is {phase}; {wanted}")]
    PodPhase {
        /// Which.
        id: PodId,
        /// What it is.
        phase: &'static str,
        /// What would do.
        wanted: &'static str,
    },
    /// The container is not in the state that the operation wants.
    #[error("container {id} is {phase}; {wanted}")]
    ContainerPhase {
        /// Which.
        id: ContainerId,
        /// What it is.
        phase: &'static str,
        /// What would do.
        wanted: &'static str,
    },
    /// A volume that the image declares cannot be one.
    #[error(
        "image {image}: cannot make the volumes that it declares; image.volumes = \"ignore\" starts it without them"
    )]
    ImageVolume {
        /// The image.
        image: String,
        /// What is wrong with one of them.
        #[source]
        source: PathError,
    },
    /// The image has nothing to run.
    #[error("{0} is an artifact, not a container image; mount it as an image volume instead")]
    Artifact(String),
    /// The image is not in the store.
    #[error("image {0:?} is not present; pull it first")]
    ImageMissing(String),
    /// The image of a volume is not in the store. Kubelets look for the first word.
    #[error(
        "ImageVolumeMountFailed: mounts[{mount}].image: {image:?} is not present; pull it first"
    )]
    VolumeImageMissing {
        /// Which of the request's mounts.
        mount: usize,
        /// What was asked for.
        image: String,
    },
    /// The image of a volume has no such directory.
    #[error(
        "ImageVolumeMountFailed: mounts[{mount}].image_sub_path: {image:?} has no directory {sub_path:?}"
    )]
    VolumeSubPath {
        /// Which of the request's mounts.
        mount: usize,
        /// The image.
        image: String,
        /// What was asked for.
        sub_path: String,
    },
    /// The runtime handler is not configured.
    #[error("runtime handler {0:?} is not known; leave it empty or use \"holdfast\"")]
    UnknownHandler(String),
    /// The AppArmor profile of the request is not loaded.
    #[error(
        "linux.security_context.apparmor: profile {0:?} is not loaded; load it with apparmor_parser(8)"
    )]
    AppArmorProfile(String),
    /// A privileged container in an unprivileged pod.
    #[error(
        "security_context.privileged is set, but the pod sandbox is not privileged; set it there too"
    )]
    Privileged,
    /// The command of an exec is empty.
    #[error("cmd is empty; give the program to run")]
    EmptyCommand,
    /// The target of a shared pid namespace is no running container of the pod.
    #[error("namespace_options.target_id {0:?} is no running container of this pod sandbox")]
    Target(String),
    /// The kernel killed the container's process before its program ran.
    #[error(
        "linux.resources.memory_limit_in_bytes: invalid value {0}: the kernel killed the container's process for want of \
         memory before its program ran; give more"
    )]
    MemoryTooLow(i64),
    /// A volume asks for more propagation than its mount has.
    #[error(
        "mounts[{mount}].propagation: {} lies on the mount {}, which is not {wanted}; share it with `mount --make-shared {}`, \
         or ask for less propagation",
        path.display(), point.display(), point.display()
    )]
    Propagation {
        /// Which of the request's mounts.
        mount: usize,
        /// Its path on the host.
        path: PathBuf,
        /// The mount point above it.
        point: PathBuf,
        /// What the mount would have to be.
        wanted: &'static str,
    },
    /// A volume's path on the host leads through a file.
    #[error(
        "mounts[{mount}].host_path: {} cannot be made, because a component of it is no directory; give another path",
        path.display()
    )]
    HostPathFile {
        /// Which of the request's mounts.
        mount: usize,
        /// Its path on the host.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The request or the image asks the start for something that cannot be had.
    #[error("{doing}: {remedy}")]
    Launch {
        /// What was attempted.
        doing: &'static str,
        /// Which field it is about, what is wrong, and what would do.
        remedy: &'static str,
        /// What the shim said.
        #[source]
        source: LinkError,
    },
    /// A file that the request names cannot be read.
    #[error("read {} for {field}", path.display())]
    RequestedFile {
        /// The field of the request.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A seccomp profile is no profile.
    #[error("{field} {}: it is no seccomp profile of the OCI runtime specification", path.display())]
    SeccompProfile {
        /// Field of the request.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SeccompError,
    },
    /// A seccomp profile cannot become a filter.
    #[error("{place}: cannot compile the profile")]
    SeccompFilter {
        /// Field of the request, and the profile.
        place: String,
        /// Why.
        #[source]
        source: FilterError,
    },
    /// A seccomp profile forbids what the start of a process needs.
    #[error(
        "{place}: the profile forbids {calls}, without which the process cannot start; allow it there"
    )]
    SeccompForbids {
        /// Field of the request, and the profile.
        place: String,
        /// The system calls.
        calls: String,
        /// What the shim said.
        #[source]
        source: LinkError,
    },
    /// A profile that the request names was not pulled.
    #[error(
        "security_context.seccomp.oci_ref: the profile {0:?} is not on this node; pull it with PullSecurityProfile"
    )]
    ProfileMissing(String),
    /// The reference of a profile is none.
    #[error("security_context.seccomp.oci_ref")]
    ProfileReference(#[from] ProfileError),
    /// A profile that was pulled cannot be read any more.
    #[error("read the pulled seccomp profile")]
    PulledProfile(#[from] ArtifactError),
    /// The request cannot become an OCI runtime Spec.
    #[error("make the OCI runtime Spec")]
    Spec(#[from] SpecError),
    /// A CDI device cannot be had.
    #[error("find the container's devices")]
    Cdi(#[from] CdiError),
    /// The user cannot be resolved.
    #[error("image {image}: cannot find the container's user")]
    User {
        /// The image, which has the accounts.
        image: String,
        /// Why.
        #[source]
        source: UserError,
    },
    /// The Spec cannot become a launch plan.
    #[error("make the launch plan")]
    Plan(#[from] PlanError),
    /// A resource cannot be limited as asked.
    #[error("limit resources")]
    Cgroup(#[from] CgroupError),
    /// systemd did not do what it was asked for the pod's cgroup.
    #[error("make the pod's systemd scope")]
    Systemd(#[from] SystemdError),
    /// The cgroup parent is no slice, and the driver is systemd's.
    #[error("place the pod's cgroup")]
    Slice(#[from] SliceError),
    /// The systemd driver is configured on a machine with cgroup v1.
    #[error(
        "cgroup.driver = \"systemd\" needs cgroup v2 alone; boot with systemd.unified_cgroup_hierarchy=1, or set \"cgroupfs\""
    )]
    DriverMode,
    /// The network cannot be set up.
    #[error("set up the pod's network")]
    Network(#[from] NetworkError),
    /// The plugins' network cannot be used.
    #[error("set up the pod's network")]
    Cni(#[from] CniError),
    /// An annotation limits the traffic, and is no rate.
    #[error(transparent)]
    Bandwidth(#[from] BandwidthError),
    /// The network cannot do what the pod asks for.
    #[error("the pod's network is not connected to anything: {0}")]
    NoNetwork(&'static str),
    /// A pod CIDR is none.
    #[error("read the pod CIDR")]
    Range(#[source] SubnetError),
    /// A port mapping's address is none.
    #[error("port mapping: host_ip {0:?} is no IP address")]
    HostIp(String),
    /// The loopback interface cannot be set up.
    #[error("set up the pod's loopback interface")]
    Loopback(#[from] NetlinkError),
    /// The experiments that a pod asks for cannot be had.
    #[error(transparent)]
    Experiment(#[from] ExperimentRefusal),
    /// The stop signal of the image's configuration is none.
    #[error("image {image}: cannot use config.StopSignal")]
    StopSignal {
        /// The image.
        image: String,
        /// What is wrong with it.
        #[source]
        source: SignalError,
    },
    /// The network namespace cannot be pinned.
    #[error("pin the pod's network namespace")]
    Netns(#[from] NetnsError),
    /// The image store.
    #[error("use the image")]
    Image(#[from] StoreError),
    /// The shim cannot be started.
    #[error("start the pod's shim")]
    Spawn(#[from] SpawnError),
    /// The shim failed at it.
    #[error("{doing}")]
    Shim {
        /// What was attempted.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: LinkError,
    },
    /// The pod's own limits forbid its processes the namespaces that they need.
    #[error(
        "{doing}: linux.sysctls: {limits}; the pod's own containers need namespaces and get no further one; give at \
         least {enough}, or leave it out"
    )]
    NamespaceLimits {
        /// What was attempted.
        doing: &'static str,
        /// The limits that may be too low, as KEY=VALUE.
        limits: String,
        /// What is surely enough.
        enough: u64,
        /// What the shim said.
        #[source]
        source: LinkError,
    },
    /// A kernel parameter cannot be set.
    #[error("linux.sysctls[{key:?}]: cannot set {value:?}: {remedy}")]
    Sysctl {
        /// Which.
        key: String,
        /// To what.
        value: String,
        /// What is wrong, and what would do.
        remedy: &'static str,
        /// Why.
        #[source]
        source: LinkError,
    },
    /// The owners of a volume's files cannot be mapped.
    #[error(
        "{doing}: the owners of files below {path} cannot be mapped by the pod's user namespace, because {file_system} \
         mounts cannot do that; leave uidMappings and gidMappings out, or put the volume on ext4, xfs, btrfs or a tmpfs"
    )]
    IdMap {
        /// What was attempted.
        doing: &'static str,
        /// The volume's path on the host.
        path: String,
        /// The type of its file system.
        file_system: String,
        /// What the shim said.
        #[source]
        source: LinkError,
    },
    /// State on disk.
    #[error("keep state")]
    State(#[from] StateError),
    /// A directory.
    #[error("use a directory")]
    Dir(#[from] DirError),
    /// A name on disk.
    #[error("use a directory")]
    Name(#[from] FileNameError),
    /// A new identifier.
    #[error("make an identifier")]
    Id(#[from] IdError),
    /// A log file.
    #[error("open the log {}", path.display())]
    Log {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A path that a request names is on a file system that does not answer.
    #[error("{path} does not answer within {deadline:?}; look for a dead mount")]
    PathHangs {
        /// Which.
        path: String,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// A system call that belongs to no other variant.
    #[error("{doing}")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Nothing listens on a port of the pod.
    #[error("connect to {address} in the pod's network namespace")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A command did not end in time.
    #[error("the command did not end within {0:?} and was killed with everything it had started")]
    ExecTimeout(Duration),
    /// Too many clients listen to events.
    #[error("{0} clients listen to events already; end one of them first")]
    TooManyListeners(usize),
    /// The pod or the container was stopped or removed, or has ended, while it was worked on.
    #[error("{object} {id} {what} meanwhile")]
    Overtaken {
        /// Whether it is a pod sandbox or a container.
        object: &'static str,
        /// Which one.
        id: String,
        /// What happened to it.
        what: &'static str,
        /// What that did to the request.
        #[source]
        source: Box<PodError>,
    },
    /// The pod's task has ended under the request.
    #[error("the pod sandbox was removed meanwhile")]
    Gone,
}

/// What kind of failure it is: who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object does not exist.
    NotFound,
    /// The request is wrong, whatever the state.
    InvalidArgument,
    /// The name is taken.
    AlreadyExists,
    /// The request does not fit the state.
    FailedPrecondition,
    /// It took too long.
    DeadlineExceeded,
    /// Space, addresses or output are used up.
    ResourceExhausted,
    /// It may work later.
    Unavailable,
    /// The machine or we are at fault.
    Internal,
}

impl PodError {
    /// Names the end of the pod or the container that was worked on, where it explains the failure. What the
    /// request itself got wrong stays as it is.
    pub fn overtaken(self, object: &'static str, id: impl ToString, what: &'static str) -> Self {
        match self.kind() {
            ErrorKind::Internal | ErrorKind::Unavailable => Self::Overtaken {
                object,
                id: id.to_string(),
                what,
                source: Box::new(self),
            },
            _ => self,
        }
    }

    /// Which kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownPod(_)
            | Self::UnknownContainer(_)
            | Self::ImageMissing(_)
            | Self::VolumeImageMissing { .. }
            | Self::VolumeSubPath { .. }
            | Self::Gone => ErrorKind::NotFound,
            Self::EmptyId(_)
            | Self::Ambiguous { .. }
            | Self::UnknownHandler(_)
            | Self::Privileged
            | Self::AppArmorProfile(_)
            | Self::EmptyCommand
            | Self::Target(_)
            | Self::RequestedFile { .. }
            | Self::SeccompProfile { .. }
            | Self::ProfileReference(_)
            | Self::ImageVolume { .. }
            | Self::Slice(_)
            | Self::User { .. }
            | Self::Plan(_)
            | Self::Bandwidth(_)
            | Self::NoNetwork(_)
            | Self::Range(_)
            | Self::StopSignal { .. }
            | Self::HostIp(_) => ErrorKind::InvalidArgument,
            Self::PodExists { .. } | Self::ContainerExists { .. } => ErrorKind::AlreadyExists,
            Self::Spec(SpecError::Unsupported { .. })
            | Self::Cdi(CdiError::Conflict { .. } | CdiError::Unsupported { .. })
            | Self::ProfileMissing(_)
            | Self::PulledProfile(_)
            | Self::PodPhase { .. }
            | Self::ContainerPhase { .. }
            | Self::Connect { .. }
            | Self::Experiment(_)
            | Self::Propagation { .. }
            | Self::HostPathFile { .. }
            | Self::MemoryTooLow(_)
            | Self::SeccompForbids { .. }
            | Self::Overtaken { .. }
            | Self::Artifact(_)
            | Self::NamespaceLimits { .. } => ErrorKind::FailedPrecondition,
            Self::Cdi(_) | Self::Spec(_) => ErrorKind::InvalidArgument,
            Self::SeccompFilter { source, .. } if !source.is_local() => ErrorKind::InvalidArgument,
            Self::ExecTimeout(_) | Self::PathHangs { .. } => ErrorKind::DeadlineExceeded,
            Self::Network(error) => network_kind(error),
            Self::TooManyListeners(_) => ErrorKind::ResourceExhausted,
            Self::Cni(CniError::Deadline { .. }) => ErrorKind::DeadlineExceeded,
            Self::Cni(CniError::NoConfig(_) | CniError::Read { .. } | CniError::Config { .. }) => {
                ErrorKind::Unavailable
            }
            Self::Cgroup(error) => cgroup_kind(error),
            Self::Systemd(SystemdError::Connect(_) | SystemdError::Deadline { .. }) => {
                ErrorKind::Unavailable
            }
            Self::Dir(error) if error.is_no_space() => ErrorKind::ResourceExhausted,
            Self::State(error) if error.is_no_space() => ErrorKind::ResourceExhausted,
            Self::Image(StoreError::View(error)) if error.is_of_image() => {
                ErrorKind::FailedPrecondition
            }
            Self::Shim { source, .. }
            | Self::Launch { source, .. }
            | Self::IdMap { source, .. }
            | Self::Sysctl { source, .. } => link_kind(source),
            _ => ErrorKind::Internal,
        }
    }
}

fn cgroup_kind(error: &CgroupError) -> ErrorKind {
    match error {
        CgroupError::InvalidPath { .. }
        | CgroupError::InvalidLimit { .. }
        | CgroupError::Refused { .. }
        | CgroupError::Unavailable { .. } => ErrorKind::InvalidArgument,
        CgroupError::BelowUsage { .. } | CgroupError::Gone { .. } => ErrorKind::FailedPrecondition,
        _ => ErrorKind::Internal,
    }
}

fn link_kind(error: &LinkError) -> ErrorKind {
    match error {
        LinkError::Closed => ErrorKind::Unavailable,
        LinkError::Strange(_) | LinkError::Earlier { .. } => ErrorKind::FailedPrecondition,
        LinkError::Failed(failure) => launch_error::kind(failure),
        _ => ErrorKind::Internal,
    }
}

fn network_kind(error: &NetworkError) -> ErrorKind {
    match error {
        NetworkError::Addresses { .. } => ErrorKind::ResourceExhausted,
        NetworkError::Port(_) => ErrorKind::FailedPrecondition,
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who mends a file of the network's configuration does not have to mend the machine: pods wait for it.
    #[test]
    fn configurations_that_cannot_be_used_are_no_failures_of_the_machine() {
        let path = PathBuf::from("/etc/cni/net.d/10-a.conf");
        let read = |kind: io::ErrorKind| CniError::Read {
            path: path.clone(),
            source: kind.into(),
        };
        for error in [
            CniError::NoConfig(path.clone()),
            CniError::Config {
                path: path.clone(),
                reason: "x".to_owned(),
            },
            read(io::ErrorKind::NotFound),
            read(io::ErrorKind::IsADirectory),
            read(io::ErrorKind::PermissionDenied),
            read(io::ErrorKind::NotADirectory),
        ] {
            assert_eq!(PodError::Cni(error).kind(), ErrorKind::Unavailable);
        }
    }
}
