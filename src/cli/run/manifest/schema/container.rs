//! Containers: their images, variables, ports and resources.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::probe::{Lifecycle, Probe};
use super::security::SecurityContext;
use super::volume::VolumeMount;

/// `Container` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Container {
    /// Name, unique in the pod.
    pub name: String,
    pub image: String,
    /// `IfNotPresent` (also when missing), `Always` or `Never`.
    pub image_pull_policy: Option<String>,
    /// Replaces the image's entry point.
    #[serde(default)]
    pub command: Vec<String>,
    /// Replaces the image's command.
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<Variable>,
    pub working_dir: Option<String>,
    #[serde(default)]
    pub ports: Vec<Port>,
    #[serde(default)]
    pub volume_mounts: Vec<VolumeMount>,
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub security_context: SecurityContext,
    /// `Always`, of an init container only: it is a sidecar.
    pub restart_policy: Option<String>,
    /// The container whose processes it sees, of an ephemeral container only.
    pub target_container_name: Option<String>,
    /// Has to pass once before the other probes begin.
    pub startup_probe: Option<Probe>,
    /// Says whether the container can do its work.
    pub readiness_probe: Option<Probe>,
    /// A container that fails it is stopped.
    pub liveness_probe: Option<Probe>,
    /// Commands after the start and before the stop.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Standard input is kept open.
    #[serde(default)]
    pub stdin: bool,
    /// Standard input ends with the first client.
    #[serde(default)]
    pub stdin_once: bool,
    /// Whether the container has a terminal.
    #[serde(default)]
    pub tty: bool,
}

/// `EnvVar` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Variable {
    pub name: String,
    pub value: Option<String>,
    /// A field of the pod instead of a value.
    pub value_from: Option<ValueFrom>,
}

/// `EnvVarSource` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ValueFrom {
    /// A field of the pod.
    pub field_ref: FieldRef,
}

/// `ObjectFieldSelector` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct FieldRef {
    /// Always `v1`, and not used.
    #[serde(rename = "apiVersion")]
    pub _api_version: Option<String>,
    /// Path of the field, such as `metadata.labels['app']`.
    pub field_path: String,
}

/// `ContainerPort` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Port {
    /// The name by which probes may refer to the port.
    pub name: Option<String>,
    /// Port in the pod.
    pub container_port: i32,
    /// Port of the host.
    #[serde(default)]
    pub host_port: i32,
    /// Address of the host.
    #[serde(default, rename = "hostIP")]
    pub host_ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Option<String>,
}

/// `ResourceRequirements`: amounts as text or number.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resources {
    /// Most that the container may use.
    #[serde(default)]
    pub limits: BTreeMap<String, Amount>,
    /// The resources that the container needs; those of the CPU become its weight.
    #[serde(default)]
    pub requests: BTreeMap<String, Amount>,
}

/// A quantity as YAML may have it: `500m`, `"1"`, 2, 0.5.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Amount {
    Whole(i64),
    /// A number with a fraction.
    Fraction(f64),
    /// A text with a unit.
    Text(String),
}

impl std::fmt::Display for Amount {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(out),
            Self::Fraction(number) => number.fmt(out),
            Self::Text(text) => text.fmt(out),
        }
    }
}
