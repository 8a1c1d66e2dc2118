//! The errors of pods and containers, by operation.
//!
//! ```text
//!   a step of an operation ─▶ the error of that operation ─▶ PodError ─▶ kind ─▶ gRPC code (cri/status.rs)
//! ```
//!
//! Each operation has an error of its own, in a file of its own: an error that stood beside the code which raises it
//! would need that code, and the code needs [`PodError`]. Every `kind` names all variants, so that a new one cannot be
//! forgotten.

mod cgroup;
mod experiment;
mod host_path;
mod image;
mod kind;
mod lookup;
mod network;
mod refusal;
mod request;
mod seccomp;
mod storage;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use cgroup::PlacementError;
pub(crate) use experiment::ExperimentRefusal;
pub(crate) use host_path::HostPathError;
pub(crate) use image::ImageUseError;
pub(crate) use kind::ErrorKind;
pub(crate) use lookup::LookupError;
pub(crate) use network::ConnectError;
pub(crate) use refusal::Refusal;
pub(crate) use request::RequestError;
pub(crate) use seccomp::SeccompError;
pub(crate) use storage::StorageError;

use super::cdi::CdiError;
pub(crate) use super::launch_error::LaunchError;
use super::record::StateError;
use super::spawn::SpawnError;
use crate::plan::PlanError;
use crate::spec::SpecError;
use crate::spec::seccomp::ArtifactError;
use crate::systemd::{SliceError, SystemdError};
use holdfast_disk::{DirError, FileNameError};
use holdfast_image::{ProfileError, StoreError};
use holdfast_kernel::cgroup::CgroupError;
use holdfast_kernel::id::IdError;
use holdfast_network::cni::CniError;
use holdfast_network::netlink::NetlinkError;
use holdfast_network::{BandwidthError, NetnsError, NetworkError};

/// Why an operation on a pod or a container was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodError {
    /// An id does not name one pod or one container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The request does not fit the state of its pod or container.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The request asks for something that this node cannot give.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageUseError),
    /// A path of the host cannot be used.
    #[error(transparent)]
    HostPath(#[from] HostPathError),
    /// A seccomp profile cannot be used.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// The pod cannot be connected.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A cgroup cannot be made, limited or removed.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The pod's shim cannot be started.
    #[error("cannot start the pod's shim")]
    Spawn(#[from] SpawnError),
    /// The pod's shim could not do what it was asked.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A record or a directory of Holdfast cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A system call failed that no other variant covers.
    #[error("cannot {doing}")]
    System {
        /// The operation, as an infinitive.
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    /// Nothing listens on a port of the pod.
    #[error("cannot connect to {address} in the pod's network namespace")]
    Port {
        /// The address in the pod's network namespace.
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// A command did not end in time.
    #[error("the command did not end within {0:?} and was killed with everything it had started")]
    ExecTimeout(Duration),
    /// The pod or the container ended while the operation was under way.
    #[error("{object} {id} {what} meanwhile")]
    Overtaken {
        /// `pod sandbox` or `container`.
        object: &'static str,
        /// The id of the object.
        id: String,
        /// How the object ended, as a verb in the past tense.
        what: &'static str,
        /// How the operation failed because of that.
        #[source]
        source: Box<PodError>,
    },
}

/// Lets `?` turn an error of a lower layer into that of the operation, and that into a [`PodError`].
macro_rules! by_operation {
    ($($operation:ident: $($source:ty),+;)+) => {
        $($(impl From<$source> for PodError {
            fn from(source: $source) -> Self {
                Self::$operation(source.into())
            }
        })+)+
    };
}

by_operation! {
    Request: SpecError, CdiError, PlanError, ExperimentRefusal;
    Image: StoreError;
    Seccomp: ProfileError, ArtifactError;
    Connect: NetworkError, CniError, BandwidthError, NetlinkError, NetnsError;
    Placement: CgroupError, SystemdError, SliceError;
    Storage: StateError, DirError, FileNameError, IdError;
}

/// Errors are shared where several callers wait for the same operation.
impl From<LookupError> for Arc<PodError> {
    fn from(error: LookupError) -> Self {
        Self::new(error.into())
    }
}

impl PodError {
    /// Names the end of the pod or the container during the operation, where that end explains the failure. What the
    /// request itself got wrong stays as it is.
    pub(crate) fn overtaken(
        self,
        object: &'static str,
        id: impl ToString,
        what: &'static str,
    ) -> Self {
        match self.kind() {
            ErrorKind::Internal | ErrorKind::Unavailable => Self::Overtaken {
                object,
                id: id.to_string(),
                what,
                source: Box::new(self),
            },
            ErrorKind::NotFound
            | ErrorKind::InvalidArgument
            | ErrorKind::AlreadyExists
            | ErrorKind::FailedPrecondition
            | ErrorKind::DeadlineExceeded
            | ErrorKind::ResourceExhausted => self,
        }
    }

    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Refused(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::HostPath(error) => error.kind(),
            Self::Seccomp(error) => error.kind(),
            Self::Connect(error) => error.kind(),
            Self::Placement(error) => error.kind(),
            Self::Launch(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::Port { .. } | Self::Overtaken { .. } => ErrorKind::FailedPrecondition,
            Self::ExecTimeout(_) => ErrorKind::DeadlineExceeded,
            Self::Spawn(_) | Self::System { .. } => ErrorKind::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_kernel::error_chain;

    fn io() -> io::Error {
        io::Error::from_raw_os_error(libc::ENOSPC)
    }

    /// One failure of each operation: its kind, and a text that begins with what is wrong.
    #[test]
    fn every_operation_has_its_kind_and_says_what_is_wrong_first() {
        let errors: [(PodError, ErrorKind, &str); 8] = [
            (
                LookupError::UnknownPod("p".to_owned()).into(),
                ErrorKind::NotFound,
                "pod sandbox \"p\" is not known",
            ),
            (
                Refusal::Gone.into(),
                ErrorKind::NotFound,
                "the pod sandbox was removed",
            ),
            (
                RequestError::Privileged.into(),
                ErrorKind::InvalidArgument,
                "security_context.privileged",
            ),
            (
                ImageUseError::Missing("i".to_owned()).into(),
                ErrorKind::NotFound,
                "image \"i\" is not present",
            ),
            (
                HostPathError::Log {
                    path: "/l".into(),
                    source: io(),
                }
                .into(),
                ErrorKind::Internal,
                "cannot open the log /l: No space left",
            ),
            (
                ConnectError::HostIp("x".to_owned()).into(),
                ErrorKind::InvalidArgument,
                "port mapping: host_ip \"x\"",
            ),
            (
                PlacementError::DriverMode.into(),
                ErrorKind::Internal,
                "cgroup.driver",
            ),
            (
                PodError::System {
                    doing: "start a thread",
                    source: io(),
                },
                ErrorKind::Internal,
                "cannot start a thread: No space left",
            ),
        ];
        for (error, kind, text) in errors {
            let shown = error_chain(&error);
            assert!(shown.starts_with(text), "{shown}");
            assert_eq!(error.kind(), kind, "{shown}");
        }
    }

    /// An end meanwhile explains what the machine or a shim did not do, and never what the request got wrong.
    #[test]
    fn the_end_of_a_pod_explains_only_failures_of_the_machine() {
        let system = PodError::System {
            doing: "wait for the command",
            source: io(),
        };
        let explained = system.overtaken("container", "c", "was removed");
        assert_eq!(explained.kind(), ErrorKind::FailedPrecondition);
        let shown = error_chain(&explained);
        assert!(
            shown.starts_with("container c was removed meanwhile: cannot wait"),
            "{shown}"
        );
        let wrong = PodError::from(RequestError::EmptyCommand);
        let same = wrong.overtaken("container", "c", "was removed");
        assert!(matches!(
            same,
            PodError::Request(RequestError::EmptyCommand)
        ));
    }
}
