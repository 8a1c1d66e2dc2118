//! The view of a container on its cgroups: the namespace, and whether the container may write.
//!
//! ```text
//!   privileged   namespace asked for   read-only   as usual   read-write
//!   no           none, CONTAINER       ro          ro         rw, with nsdelegate
//!   no           NODE                  ro          ro         refused
//!   yes          any                   refused     rw         rw, with nsdelegate
//! ```
//!
//! A container that asks for no namespace has a namespace of its own; a privileged container is in the host's. The
//! rules are those of the comments on `CgroupNamespace` and `CgroupMountMode` in the proto.

use super::experiments::{CgroupSharing, Experiment};
use super::{
    CgroupAccess, CgroupNamespace, ContainerConfig, HostFacts, PodConfig, SpecError, SpecRequest,
};

/// Field of the namespace.
const NAMESPACE: &str = "linux.security_context.namespace_options.cgroupns_options.mode";

/// Field of the access.
const ACCESS: &str = "linux.security_context.cgroup_mount_mode";

/// Whose cgroup namespace a container is in: as the field says or the annotation, which must not disagree.
pub(super) fn sharing(request: &SpecRequest<'_>) -> Result<CgroupSharing, SpecError> {
    container_sharing(request.pod, request.container)
}

fn container_sharing(
    pod: &PodConfig,
    container: &ContainerConfig,
) -> Result<CgroupSharing, SpecError> {
    let name = &container.metadata.name;
    let asked = container
        .security
        .cgroup_namespace
        .map(|asked| match asked {
            CgroupNamespace::Own => CgroupSharing::Own,
            CgroupNamespace::Host => CgroupSharing::Host,
        });
    match (asked, pod.experiments.of_container(name).cgroup) {
        (Some(field), Some(annotation)) if field != annotation => {
            let annotation = Experiment::Namespaces.annotation();
            let reason = format!(
                "the pod's annotation {annotation}.{name} asks for another namespace; leave one of them out"
            );
            Err(SpecError::invalid(NAMESPACE, reason))
        }
        (Some(sharing), _) | (None, Some(sharing)) => Ok(sharing),
        (None, None) if container.security.privileged => Ok(CgroupSharing::Host),
        (None, None) => Ok(CgroupSharing::Own),
    }
}

/// `ro` or `rw` for the cgroup file system of a container.
pub(super) fn access(request: &SpecRequest<'_>) -> Result<&'static str, SpecError> {
    let security = &request.container.security;
    match (security.cgroup_access, security.privileged) {
        (CgroupAccess::Usual, true) => Ok("rw"),
        (CgroupAccess::Usual | CgroupAccess::ReadOnly, false) => Ok("ro"),
        (CgroupAccess::ReadOnly, true) => {
            let reason = "a privileged container can always write to its cgroups; \
                          leave CGROUP_MOUNT_MODE_READ_ONLY out, or make the container unprivileged";
            Err(SpecError::invalid(ACCESS, reason))
        }
        (CgroupAccess::ReadWrite, privileged) => {
            if !privileged && sharing(request)? != CgroupSharing::Own {
                let reason = "CGROUP_MOUNT_MODE_READ_WRITE needs a cgroup namespace of the \
                              container's own; set cgroupns_options.mode to CONTAINER";
                return Err(SpecError::invalid(ACCESS, reason));
            }
            if !request.host.cgroup_delegation {
                let what =
                    "CGROUP_MOUNT_MODE_READ_WRITE, which needs cgroup v2 mounted with nsdelegate";
                return Err(SpecError::unsupported(ACCESS, what));
            }
            Ok("rw")
        }
    }
}

/// Whether a container's cgroup has to belong to its user, as the OCI runtime specification wants it ("Cgroup
/// ownership" in config-linux.md): version 2, a namespace of its own, and mounted for writing.
pub(crate) fn delegated(pod: &PodConfig, container: &ContainerConfig, host: &HostFacts) -> bool {
    host.cgroup_delegation
        && container.security.cgroup_access == CgroupAccess::ReadWrite
        && container_sharing(pod, container) == Ok(CgroupSharing::Own)
}
