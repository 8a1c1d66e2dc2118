//! Changes that CDI devices make to a container: `containerEdits` of the Container Device Interface, version 1.1. The
//! caller reads the descriptions and finds the device nodes.

use std::path::PathBuf;

use oci_spec::runtime::{Hook, Hooks, Mount};
use serde::{Deserialize, Serialize};

use super::target::check_target;
use super::{ContainerPath, DeviceGrant, SpecError};
use holdfast_wire::plan::HookMoment;

/// In front of annotations whose values name devices, separated by commas.
pub(crate) const CDI_ANNOTATION: &str = "cdi.k8s.io/";

/// The changes of all devices of a container together, found out when it was created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CdiEdits {
    /// Environment, `NAME=value` each; they win over the request's.
    pub env: Vec<String>,
    pub devices: Vec<DeviceGrant>,
    /// Mounts of the host's files, after the request's at the same depth.
    pub mounts: Vec<CdiMount>,
    /// Further groups of the container's process.
    pub additional_gids: Vec<u32>,
    /// Programs of the node to run at moments of the container's life.
    pub hooks: Vec<CdiHook>,
}

/// A hook of a device: a program of the node, named by a file in one of the node's directories of descriptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CdiHook {
    /// When the hook is run.
    pub moment: HookMoment,
    pub path: PathBuf,
    /// Its arguments, its own name first; none at all means its path.
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// Seconds after which it has failed.
    pub timeout: Option<u32>,
}

/// A mount of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CdiMount {
    /// Path of the host.
    pub host_path: PathBuf,
    /// Path in the container.
    pub container_path: String,
    /// Type; empty for a bind mount.
    pub kind: String,
    /// Options as in OCI's Spec.
    pub options: Vec<String>,
}

/// Refuses hooks that a pod with a user namespace cannot have: the root lies beside the host's files for them, where the
/// pod's users cannot go.
pub(super) fn check_user_namespace(edits: &CdiEdits) -> Result<(), SpecError> {
    let before = |hook: &&CdiHook| hook.moment == HookMoment::CreateContainer;
    match edits.hooks.iter().find(before) {
        None => Ok(()),
        Some(hook) => {
            let path = hook.path.display();
            let what = format!("the createContainer hook {path} in a pod with a user namespace");
            Err(SpecError::unsupported("CDI_devices", what))
        }
    }
}

/// The hooks in OCI's form; `None` without hooks.
pub(super) fn hooks(edits: &CdiEdits) -> Option<Hooks> {
    if edits.hooks.is_empty() {
        return None;
    }
    let at = |moment: HookMoment| {
        let of_moment = edits.hooks.iter().filter(|hook| hook.moment == moment);
        let hooks: Vec<Hook> = of_moment.map(hook).collect();
        (!hooks.is_empty()).then_some(hooks)
    };
    let mut out = Hooks::default();
    out.set_prestart(at(HookMoment::Prestart))
        .set_create_runtime(at(HookMoment::CreateRuntime))
        .set_create_container(at(HookMoment::CreateContainer))
        .set_start_container(at(HookMoment::StartContainer))
        .set_poststart(at(HookMoment::Poststart))
        .set_poststop(at(HookMoment::Poststop));
    Some(out)
}

fn hook(edit: &CdiHook) -> Hook {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let mut out = Hook::default();
    out.set_path(edit.path.clone())
        .set_args(some(&edit.args))
        .set_env(some(&edit.env))
        .set_timeout(edit.timeout.map(i64::from));
    out
}

impl CdiMount {
    /// Checks the path at which the mount is made; `field` names that path in the error.
    ///
    /// # Errors
    /// [`SpecError`] for a path outside of the root and for a path that no mount may cover.
    pub(crate) fn check(&self, field: &str) -> Result<(), SpecError> {
        self.target(field).map(drop)
    }

    fn target(&self, field: &str) -> Result<ContainerPath, SpecError> {
        let target = ContainerPath::new(field, &self.container_path)?;
        check_target(target.as_str(), &self.host_path, field)?;
        Ok(target)
    }

    /// The mount as OCI writes it.
    pub(super) fn to_oci(&self) -> Result<Mount, SpecError> {
        let target = self.target("CDI_devices")?;
        let kind = if self.kind.is_empty() {
            "bind"
        } else {
            &self.kind
        };
        let mut out = Mount::default();
        out.set_destination(target.as_str().into())
            .set_typ(Some(kind.to_owned()))
            .set_source(Some(self.host_path.clone()))
            .set_options(Some(self.options.clone()));
        Ok(out)
    }
}

/// The devices that a request names, by field and by annotation, each once and in that order.
pub(crate) fn cdi_names<'a>(
    field: &'a [String],
    annotations: impl Iterator<Item = (&'a String, &'a String)>,
) -> Vec<&'a str> {
    let noted = annotations
        .filter(|(key, _)| key.starts_with(CDI_ANNOTATION))
        .flat_map(|(_, value)| value.split(','))
        .map(str::trim);
    let mut out: Vec<&str> = Vec::new();
    for name in field.iter().map(String::as_str).chain(noted) {
        if !name.is_empty() && !out.contains(&name) {
            out.push(name);
        }
    }
    out
}
