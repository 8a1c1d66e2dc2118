//! Connecting a pod to its network and disconnecting it.

use super::ErrorKind;
use holdfast_network::cni::CniError;
use holdfast_network::netlink::NetlinkError;
use holdfast_network::{BandwidthError, NetnsError, NetworkError, SubnetError};

/// Why a pod cannot be connected as it asks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The built-in bridge network failed.
    #[error("cannot set up the pod's network")]
    Bridge(#[from] NetworkError),
    /// A network plugin or its configuration failed.
    #[error("cannot set up the pod's network")]
    Cni(#[from] CniError),
    /// An annotation that limits the traffic has an invalid rate.
    #[error(transparent)]
    Bandwidth(#[from] BandwidthError),
    /// The node has no network that could do what the pod asks for.
    #[error("the pod's network is not connected to anything: {0}")]
    NoNetwork(&'static str),
    /// A pod CIDR is invalid.
    #[error("cannot read the pod CIDR")]
    Range(#[source] SubnetError),
    /// The address of a port mapping is invalid.
    #[error("port mapping: host_ip {0:?} is no IP address")]
    HostIp(String),
    /// The loopback interface cannot be set up.
    #[error("cannot set up the pod's loopback interface")]
    Loopback(#[from] NetlinkError),
    /// The network namespace cannot be pinned.
    #[error("cannot pin the pod's network namespace")]
    Netns(#[from] NetnsError),
}

impl ConnectError {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Bridge(NetworkError::Addresses { .. }) => ErrorKind::ResourceExhausted,
            Self::Bridge(NetworkError::Port(_)) => ErrorKind::FailedPrecondition,
            Self::Cni(CniError::Deadline { .. }) => ErrorKind::DeadlineExceeded,
            Self::Cni(CniError::NoConfig(_) | CniError::Read { .. } | CniError::Config { .. }) => {
                ErrorKind::Unavailable
            }
            Self::Bandwidth(_) | Self::NoNetwork(_) | Self::Range(_) | Self::HostIp(_) => {
                ErrorKind::InvalidArgument
            }
            Self::Bridge(_) | Self::Cni(_) | Self::Loopback(_) | Self::Netns(_) => {
                ErrorKind::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

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
            assert_eq!(ConnectError::Cni(error).kind(), ErrorKind::Unavailable);
        }
    }
}
