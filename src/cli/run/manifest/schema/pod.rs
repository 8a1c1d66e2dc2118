//! A pod, and reading one from the text of a file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml_ng::Value;

use super::super::manifest_error::ManifestError;
use super::container::Container;
use super::name_value::NameValue;
use super::security::PodSecurityContext;
use super::volume::Volume;

/// A Pod manifest, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// `v1`; checked before the rest is read.
    #[serde(rename = "apiVersion")]
    pub _api_version: String,
    /// `Pod`; checked before the rest is read.
    #[serde(rename = "kind")]
    pub _kind: String,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    /// Containers, volumes and settings of the pod.
    pub spec: PodSpec,
    /// Fields of the file that nothing here acts on.
    #[serde(skip)]
    pub inert: Vec<String>,
}

/// The kind and version of a document, which are read before the rest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

impl Manifest {
    /// Reads the document of one Pod.
    ///
    /// # Errors
    /// [`ManifestError`] for a text that is not YAML, and for anything but exactly one Pod.
    pub(crate) fn document(text: &str) -> Result<Value, ManifestError> {
        let documents = serde_yaml_ng::Deserializer::from_str(text)
            .map(Value::deserialize)
            .collect::<Result<Vec<_>, _>>()
            .map_err(ManifestError::Syntax)?;
        let mut documents = documents.into_iter().filter(|document| !document.is_null());
        let document = documents.next().ok_or(ManifestError::Documents(0))?;
        let more = documents.count();
        if more > 0 {
            return Err(ManifestError::Documents(more + 1));
        }
        let head = Head::deserialize(&document).map_err(ManifestError::Syntax)?;
        if head.kind != "Pod" || head.api_version != "v1" {
            return Err(ManifestError::Kind {
                kind: head.kind,
                version: head.api_version,
            });
        }
        Ok(document)
    }
}

/// `ObjectMeta` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Metadata {
    /// Name of the pod.
    pub name: String,
    /// Namespace; `default` when missing.
    pub namespace: Option<String>,
    /// Uid; made from namespace and name when missing, so that running a file twice means one pod.
    pub uid: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// `PodSpec` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct PodSpec {
    /// Host name; the pod's name when missing.
    pub hostname: Option<String>,
    /// Network namespace of the host.
    #[serde(default)]
    pub host_network: bool,
    /// Pid namespace of the host.
    #[serde(default, rename = "hostPID")]
    pub host_pid: bool,
    /// IPC namespace of the host.
    #[serde(default, rename = "hostIPC")]
    pub host_ipc: bool,
    /// All containers share one pid namespace.
    #[serde(default)]
    pub share_process_namespace: bool,
    /// `Default` (the host's resolv.conf) or `None` (dnsConfig alone).
    pub dns_policy: Option<String>,
    /// Content of the resolv.conf of containers.
    pub dns_config: Option<DnsConfig>,
    /// `Always` (also when missing), `OnFailure` or `Never`.
    pub restart_policy: Option<String>,
    /// Seconds between the stop signal and SIGKILL for `holdfast stop`.
    pub termination_grace_period_seconds: Option<u32>,
    /// Name of the runtime handler to use.
    pub runtime_class_name: Option<String>,
    /// Security context of the pod and default for its containers.
    #[serde(default)]
    pub security_context: PodSecurityContext,
    /// `false`: a user namespace for the pod.
    pub host_users: Option<bool>,
    /// Containers that have to succeed one after the other before the others start; with restartPolicy Always
    /// they are sidecars, which keep running.
    #[serde(default)]
    pub init_containers: Vec<Container>,
    /// Containers, started in this order.
    pub containers: Vec<Container>,
    /// Containers that join the running pod, for debugging. On a node they are added later; here they are part
    /// of the manifest and started last.
    #[serde(default)]
    pub ephemeral_containers: Vec<Container>,
    #[serde(default)]
    pub volumes: Vec<Volume>,
}

/// `PodDNSConfig` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct DnsConfig {
    #[serde(default)]
    pub nameservers: Vec<String>,
    #[serde(default)]
    pub searches: Vec<String>,
    #[serde(default)]
    pub options: Vec<NameValue>,
}
