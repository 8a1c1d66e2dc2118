//! Namespace modes. The zero value of every mode is POD: a request without options shares the pod's pids.

use cri_api::runtime::v1::{self as cri, NamespaceMode};

use super::FieldError;
use super::id_map::{id_mappings, ranges_message};
use crate::spec::{CgroupNamespace, IpcMode, NamespaceOptions, NetMode, PidMode};
use holdfast_wire::plan::{IdMappings, IdRange};

/// Converts the namespace modes of a pod.
pub(super) fn pod_namespaces(
    field: &str,
    options: Option<&cri::NamespaceOption>,
) -> Result<NamespaceOptions, FieldError> {
    let Some(options) = options else {
        return Ok(NamespaceOptions::default());
    };
    if options.cgroupns_options.is_some() {
        let remedy = "cgroup namespaces are for containers; leave it out";
        let field = format!("{field}.cgroupns_options");
        return Err(FieldError::invalid(field, "a cgroup namespace", remedy));
    }
    let pid = pid(field, options)?;
    if let PidMode::Target(_) = pid {
        let remedy = "TARGET is for containers; give POD, CONTAINER or NODE";
        return Err(FieldError::invalid(
            format!("{field}.pid"),
            "TARGET",
            remedy,
        ));
    }
    let namespaces = NamespaceOptions {
        network: if host(&format!("{field}.network"), options.network)? {
            NetMode::Node
        } else {
            NetMode::Pod
        },
        ipc: if host(&format!("{field}.ipc"), options.ipc)? {
            IpcMode::Node
        } else {
            IpcMode::Pod
        },
        pid,
        userns: userns(
            &format!("{field}.userns_options"),
            options.userns_options.as_ref(),
        )?,
    };
    if namespaces.userns.is_some() && namespaces.pid == PidMode::Node {
        return Err(host_beside_userns(format!("{field}.pid")));
    }
    if namespaces.userns.is_some() && namespaces.ipc == IpcMode::Node {
        return Err(host_beside_userns(format!("{field}.ipc")));
    }
    Ok(namespaces)
}

/// The host's pids and its shared memory belong to users that the pod's user namespace does not have:
/// Kubernetes refuses the combination as well. The host's network works.
fn host_beside_userns(field: String) -> FieldError {
    let remedy = "a pod with a user namespace of its own cannot have the node's; give POD";
    FieldError::invalid(field, "NODE", remedy)
}

/// The pid mode of a container. Its other namespaces are the pod's, whatever its options say; that they
/// do not contradict the pod is checked, since a caller that asks for something else would not get it.
pub(super) fn container_pid(
    field: &str,
    options: Option<&cri::NamespaceOption>,
    pod: &NamespaceOptions,
) -> Result<PidMode, FieldError> {
    let Some(options) = options else {
        return Ok(PidMode::Pod);
    };
    let own_network = pod.network == NetMode::Pod;
    if host(&format!("{field}.network"), options.network)? && own_network {
        return Err(contradiction(format!("{field}.network")));
    }
    if host(&format!("{field}.ipc"), options.ipc)? && pod.ipc == IpcMode::Pod {
        return Err(contradiction(format!("{field}.ipc")));
    }
    let userns_field = format!("{field}.userns_options");
    let mapping = userns(&userns_field, options.userns_options.as_ref())?;
    // Without the message the pod's mapping is used, as for the other namespaces.
    if options.userns_options.is_some() && mapping != pod.userns {
        let remedy = "give the same mappings as for the pod, or leave it out";
        return Err(FieldError::invalid(
            userns_field,
            "another mapping than the pod's",
            remedy,
        ));
    }
    let pid = pid(field, options)?;
    if pod.userns.is_some() && pid == PidMode::Node {
        return Err(host_beside_userns(format!("{field}.pid")));
    }
    Ok(pid)
}

/// The cgroup namespace that a container asks for. POD, the zero value of the mode, is refused.
pub(super) fn container_cgroup(
    field: &str,
    options: Option<&cri::NamespaceOption>,
) -> Result<Option<CgroupNamespace>, FieldError> {
    let Some(options) = options.and_then(|options| options.cgroupns_options) else {
        return Ok(None);
    };
    let field = format!("{field}.cgroupns_options.mode");
    let remedy = "give CONTAINER (1) or NODE (2)";
    match NamespaceMode::try_from(options.mode) {
        Ok(NamespaceMode::Container) => Ok(Some(CgroupNamespace::Own)),
        Ok(NamespaceMode::Node) => Ok(Some(CgroupNamespace::Host)),
        Ok(other) => Err(FieldError::invalid(field, other.as_str_name(), remedy)),
        Err(_) => Err(FieldError::invalid(field, options.mode, remedy)),
    }
}

fn contradiction(field: String) -> FieldError {
    FieldError::invalid(
        field,
        "NODE",
        "the pod has a namespace of its own; ask for NODE when the pod is made",
    )
}

/// Whether a network or ipc mode asks for the host's namespace.
fn host(field: &str, mode: i32) -> Result<bool, FieldError> {
    match NamespaceMode::try_from(mode) {
        Ok(NamespaceMode::Pod) => Ok(false),
        Ok(NamespaceMode::Node) => Ok(true),
        Ok(other) => Err(FieldError::invalid(
            field,
            other.as_str_name(),
            "give POD or NODE",
        )),
        Err(_) => Err(FieldError::invalid(field, mode, "give POD (0) or NODE (2)")),
    }
}

fn pid(field: &str, options: &cri::NamespaceOption) -> Result<PidMode, FieldError> {
    match NamespaceMode::try_from(options.pid) {
        Ok(NamespaceMode::Pod) => Ok(PidMode::Pod),
        Ok(NamespaceMode::Container) => Ok(PidMode::Container),
        Ok(NamespaceMode::Node) => Ok(PidMode::Node),
        Ok(NamespaceMode::Target) => {
            let remedy = "give the full id of a running container of the same pod";
            let target = options.target_id.parse();
            target.map(PidMode::Target).map_err(|_| {
                FieldError::invalid(format!("{field}.target_id"), &options.target_id, remedy)
            })
        }
        Err(_) => {
            let remedy = "give POD (0), CONTAINER (1), NODE (2) or TARGET (3)";
            Err(FieldError::invalid(
                format!("{field}.pid"),
                options.pid,
                remedy,
            ))
        }
    }
}

fn userns(
    field: &str,
    options: Option<&cri::UserNamespace>,
) -> Result<Option<IdMappings>, FieldError> {
    let Some(options) = options else {
        return Ok(None);
    };
    match NamespaceMode::try_from(options.mode) {
        Ok(NamespaceMode::Node) if options.uids.is_empty() && options.gids.is_empty() => Ok(None),
        Ok(NamespaceMode::Node) => {
            let remedy = "leave uids and gids empty for NODE";
            Err(FieldError::invalid(
                format!("{field}.mode"),
                "NODE with mappings",
                remedy,
            ))
        }
        Ok(NamespaceMode::Pod) => {
            let mappings = id_mappings(field, &options.uids, &options.gids)?;
            let remedy =
                "give uids and gids with mode POD, or mode NODE for the host's user namespace";
            let mappings =
                mappings.ok_or_else(|| FieldError::missing(format!("{field}.uids"), remedy))?;
            one_with_root(&format!("{field}.uids"), &mappings.uids)?;
            one_with_root(&format!("{field}.gids"), &mappings.gids)?;
            Ok(Some(mappings))
        }
        Ok(NamespaceMode::Container | NamespaceMode::Target) | Err(_) => Err(FieldError::invalid(
            format!("{field}.mode"),
            options.mode,
            "give POD (0) or NODE (2)",
        )),
    }
}

/// The protocol wants exactly one range, and it has to give the pod a root.
fn one_with_root(field: &str, ranges: &[IdRange]) -> Result<(), FieldError> {
    match ranges {
        [one] if one.inside == 0 => Ok(()),
        [one] => Err(FieldError::invalid(
            format!("{field}[0].container_id"),
            one.inside,
            "a user namespace needs container id 0; let the range begin there",
        )),
        _ => Err(FieldError::invalid(
            field,
            format!("{} ranges", ranges.len()),
            "give exactly one range",
        )),
    }
}

/// The options of a pod as its status echoes them.
pub(super) fn namespaces_message(options: &NamespaceOptions) -> cri::NamespaceOption {
    let network = match options.network {
        NetMode::Pod => NamespaceMode::Pod,
        NetMode::Node => NamespaceMode::Node,
    };
    let ipc = match options.ipc {
        IpcMode::Pod => NamespaceMode::Pod,
        IpcMode::Node => NamespaceMode::Node,
    };
    let (pid, target_id) = match options.pid {
        PidMode::Pod => (NamespaceMode::Pod, String::new()),
        PidMode::Container => (NamespaceMode::Container, String::new()),
        PidMode::Node => (NamespaceMode::Node, String::new()),
        PidMode::Target(id) => (NamespaceMode::Target, id.to_string()),
    };
    let userns_options = options.userns.as_ref().map(|mappings| cri::UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: ranges_message(&mappings.uids),
        gids: ranges_message(&mappings.gids),
    });
    cri::NamespaceOption {
        network: network.into(),
        pid: pid.into(),
        ipc: ipc.into(),
        target_id,
        userns_options,
        cgroupns_options: None,
    }
}
