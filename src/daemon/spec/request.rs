//! The input of a Spec: the request, and what was found out for it beforehand.

use std::path::Path;

use oci_spec::runtime::LinuxSeccomp;

use super::{
    CdiEdits, ContainerConfig, ContainerPath, DeviceGrant, HostFacts, HostPath, Identity,
    ImageDefaults, PodConfig, PodPaths,
};
use holdfast_kernel::id::PodId;

/// Everything that shapes a container's Spec.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpecRequest<'a> {
    pub pod_id: &'a PodId,
    /// The pod as requested.
    pub pod: &'a PodConfig,
    /// The container as requested.
    pub container: &'a ContainerConfig,
    pub image: &'a ImageDefaults,
    /// The user and groups that [`super::user::resolve`] found.
    pub identity: &'a Identity,
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
    /// Changes that CDI devices make.
    pub cdi: &'a CdiEdits,
    /// Directories for the volumes that the image declares.
    pub volumes: &'a [(ContainerPath, HostPath)],
}

/// Everything that shapes the Spec of a pod's pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PodSpecRequest<'a> {
    pub pod_id: &'a PodId,
    /// The pod as requested.
    pub pod: &'a PodConfig,
    pub host: &'a HostFacts,
    /// Host name of the node, for pods that ask for none.
    pub node_hostname: &'a str,
    /// Path of the pause's cgroup, from the hierarchy's root.
    pub cgroups_path: &'a str,
    /// The parsed profile when the choice is [`super::SeccompChoice::Localhost`].
    pub localhost_seccomp: Option<&'a LinuxSeccomp>,
    /// The network namespace of another pod that this one joins.
    pub joined_network: Option<&'a Path>,
}
