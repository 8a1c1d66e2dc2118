//! Namespaces of the pause and of the containers that join it, and the host name.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType,
};

use super::experiments::{CgroupSharing, Sharing};
use super::{
    ContainerConfig, Identity, IpcMode, NetMode, PidMode, PodConfig, PodSpecRequest, SpecError,
    SpecRequest, cgroup,
};
use holdfast_wire::plan::{IdMappings, IdRange};

/// Longest host name: `HOST_NAME_MAX` of Linux.
const MAX_HOSTNAME: usize = 64;

/// The pid mode of a container. POD means the mode that the pod has.
pub(crate) fn pid_mode(pod: &PodConfig, container: &ContainerConfig) -> PidMode {
    match (container.security.pid, pod.namespaces.pid) {
        (PidMode::Pod, PidMode::Target(_)) => PidMode::Pod,
        (PidMode::Pod, chosen) => chosen,
        (wish, _) => wish,
    }
}

/// The pod's host name: the requested one, else the node's.
pub(super) fn hostname<'a>(pod: &'a PodConfig, node: &'a str) -> Result<&'a str, SpecError> {
    if pod.hostname.is_empty() {
        return Ok(node);
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if pod.hostname.len() > MAX_HOSTNAME || !pod.hostname.chars().all(letters) {
        let allowed = "give at most 64 letters, digits, dots, hyphens and underscores";
        let value = format!("{:?}", pod.hostname);
        return Err(SpecError::value("hostname", value, allowed));
    }
    Ok(&pod.hostname)
}

/// Namespaces that the pause makes or, for the network of another pod, joins. The host's namespaces are not listed.
pub(super) fn of_pod(request: &PodSpecRequest<'_>) -> Vec<LinuxNamespace> {
    let pod = request.pod;
    let options = &pod.namespaces;
    let mut out = vec![namespace(LinuxNamespaceType::Mount, None)];
    if options.userns.is_some() {
        out.push(namespace(LinuxNamespaceType::User, None));
    }
    if options.network == NetMode::Pod {
        let joined = request.joined_network.map(Path::to_owned);
        out.push(namespace(LinuxNamespaceType::Network, joined));
    }
    if pod.has_own_uts() {
        out.push(namespace(LinuxNamespaceType::Uts, None));
    }
    if options.ipc == IpcMode::Pod {
        out.push(namespace(LinuxNamespaceType::Ipc, None));
    }
    if options.pid == PidMode::Pod {
        out.push(namespace(LinuxNamespaceType::Pid, None));
    }
    if pod.experiments.time_offsets.is_some() {
        out.push(namespace(LinuxNamespaceType::Time, None));
    }
    if pod.experiments.shares_cgroup() {
        out.push(namespace(LinuxNamespaceType::Cgroup, None));
    }
    out
}

/// Namespaces that a container makes or joins.
pub(super) fn of_container(request: &SpecRequest<'_>) -> Result<Vec<LinuxNamespace>, SpecError> {
    let SpecRequest {
        pod,
        container,
        paths,
        ..
    } = *request;
    let shared = |file: &str| Some(paths.namespaces.join(file));
    let mut out = vec![namespace(LinuxNamespaceType::Mount, None)];
    if pod.namespaces.userns.is_some() {
        out.push(namespace(LinuxNamespaceType::User, shared("user")));
    }
    let sharing = pod.experiments.of_container(&container.metadata.name);
    if pod.namespaces.network == NetMode::Pod {
        out.push(namespace(LinuxNamespaceType::Network, shared("net")));
    }
    match sharing.uts {
        Sharing::Own => out.push(namespace(LinuxNamespaceType::Uts, None)),
        Sharing::Pod if pod.has_own_uts() => {
            out.push(namespace(LinuxNamespaceType::Uts, shared("uts")));
        }
        Sharing::Pod => {}
    }
    match (sharing.ipc, pod.namespaces.ipc) {
        (Sharing::Own, _) => out.push(namespace(LinuxNamespaceType::Ipc, None)),
        (Sharing::Pod, IpcMode::Pod) => {
            out.push(namespace(LinuxNamespaceType::Ipc, shared("ipc")));
        }
        (Sharing::Pod, IpcMode::Node) => {}
    }
    match pid_mode(pod, container) {
        PidMode::Pod => out.push(namespace(LinuxNamespaceType::Pid, shared("pid"))),
        PidMode::Container => out.push(namespace(LinuxNamespaceType::Pid, None)),
        PidMode::Node => {}
        PidMode::Target(id) => {
            let path = paths
                .target_pid
                .as_deref()
                .map(Path::to_owned)
                .ok_or_else(|| {
                    let field = "linux.security_context.namespace_options.target_id";
                    SpecError::value(field, id, "give the id of a running container of this pod")
                })?;
            out.push(namespace(LinuxNamespaceType::Pid, Some(path)));
        }
    }
    if pod.experiments.time_offsets.is_some() {
        out.push(namespace(LinuxNamespaceType::Time, shared("time")));
    }
    match cgroup::sharing(request)? {
        CgroupSharing::Own => out.push(namespace(LinuxNamespaceType::Cgroup, None)),
        CgroupSharing::Pod => {
            out.push(namespace(LinuxNamespaceType::Cgroup, shared("cgroup")));
        }
        CgroupSharing::Host => {}
    }
    Ok(out)
}

/// Checks that the pod's user namespace has the user and groups of a process. The kernel would refuse others at the
/// start.
pub(super) fn check_identity(map: &IdMappings, identity: &Identity) -> Result<(), SpecError> {
    let missing = |field: &str, what: &str, id: u32| {
        let allowed = format!("give a {what} that the mappings of the pod's user namespace have");
        SpecError::value(format!("linux.security_context.{field}"), id, &allowed)
    };
    if map.outside_user(identity.uid).is_none() {
        return Err(missing("run_as_user", "user", identity.uid));
    }
    if map.outside_group(identity.gid).is_none() {
        return Err(missing("run_as_group", "group", identity.gid));
    }
    let outside = |group: &&u32| map.outside_group(**group).is_none();
    match identity.groups.iter().find(outside) {
        Some(group) => Err(missing("supplemental_groups", "group", *group)),
        None => Ok(()),
    }
}

/// Mappings in OCI's form.
pub(super) fn mappings(ranges: &[IdRange]) -> Vec<LinuxIdMapping> {
    let mapping = |range: &IdRange| {
        // The builder fails only for fields without a default, and all fields have one.
        LinuxIdMappingBuilder::default()
            .container_id(range.inside)
            .host_id(range.outside)
            .size(range.count)
            .build()
            .unwrap_or_default()
    };
    ranges.iter().map(mapping).collect()
}

fn namespace(kind: LinuxNamespaceType, path: Option<PathBuf>) -> LinuxNamespace {
    let mut out = LinuxNamespace::default();
    out.set_typ(kind).set_path(path);
    out
}
