//! What the descriptions of CDI devices change in a container: `containerEdits` of the Container Device
//! Interface, version 1.1. Who reads the descriptions and finds the nodes is the caller.

use std::path::PathBuf;

use oci_spec::runtime::Mount;
use serde::{Deserialize, Serialize};

use super::mounts::check_target;
use super::{ContainerPath, DeviceGrant, SpecError};

/// In front of annotations whose values name devices, separated by commas.
pub const CDI_ANNOTATION: &str = "cdi.k8s.io/";

/// The changes of all devices of a container together, found out when it was created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CdiEdits {
    /// Environment, `NAME=value` each; they win over the request's.
    pub env: Vec<String>,
    /// Device nodes.
    pub devices: Vec<DeviceGrant>,
    /// Mounts of the host's files, after the request's at the same depth.
    pub mounts: Vec<CdiMount>,
    /// Further groups of the container's process.
    pub additional_gids: Vec<u32>,
}

/// A mount of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CdiMount {
    /// Path of the host.
    pub host_path: PathBuf,
    /// Where, in the container.
    pub container_path: String,
    /// Type; empty for a bind mount.
    pub kind: String,
    /// Options as in OCI's Spec.
    pub options: Vec<String>,
}

impl CdiMount {
    /// The mount as OCI writes it.
    pub(super) fn to_oci(&self) -> Result<Mount, SpecError> {
        let target = ContainerPath::new("CDI_devices", &self.container_path)?;
        check_target(target.as_str(), &self.host_path, "CDI_devices")?;
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
pub fn cdi_names<'a>(
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
