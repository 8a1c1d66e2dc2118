//! Containers: their images, variables, ports and resources.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::probe::{Lifecycle, Probe};
use super::security::SecurityContext;
use super::volume::VolumeMount;

/// `Container`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Container {
    /// Name, unique in the pod.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// `IfNotPresent` (also when missing), `Always` or `Never`.
    pub image_pull_policy: Option<String>,
    /// Replaces the image's entry point.
    #[serde(default)]
    pub command: Vec<String>,
    /// Replaces the image's command.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Ports.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Volumes.
    #[serde(default)]
    pub volume_mounts: Vec<VolumeMount>,
    /// Limits.
    #[serde(default)]
    pub resources: Resources,
    /// Security context.
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
    /// A terminal.
    #[serde(default)]
    pub tty: bool,
}

/// `EnvVar`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Variable {
    /// Name.
    pub name: String,
    /// Value.
    pub value: Option<String>,
    /// A field of the pod instead of a value.
    pub value_from: Option<ValueFrom>,
}

/// `EnvVarSource`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ValueFrom {
    /// A field of the pod.
    pub field_ref: FieldRef,
}

/// `ObjectFieldSelector`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct FieldRef {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub _api_version: Option<String>,
    /// Path of the field, such as `metadata.labels['app']`.
    pub field_path: String,
}

/// `ContainerPort`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Port {
    /// What probes may call it.
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
    /// Upper limits.
    #[serde(default)]
    pub limits: BTreeMap<String, Amount>,
    /// What it needs; the CPU part becomes its weight.
    #[serde(default)]
    pub requests: BTreeMap<String, Amount>,
}

/// A quantity as YAML may have it: `500m`, `"1"`, 2, 0.5.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Amount {
    /// A whole number.
    Whole(u64),
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
