//! The subset of the Pod manifest. Names and meanings are those of the Kubernetes API; what is not listed
//! here is refused.

mod container;
mod name_value;
mod pod;
mod probe;
mod security;
mod volume;

pub(super) use container::{Amount, Container, Resources};
pub(super) use name_value::NameValue;
pub(crate) use pod::Manifest;
pub(super) use pod::PodSpec;
pub(super) use probe::{Hook, HttpGet, PortRef, Probe};
pub(super) use security::{PodSecurityContext, Profile, SeLinuxOptions, SecurityContext};
pub(super) use volume::{EmptyDir, HostPath, Volume, VolumeMount};
