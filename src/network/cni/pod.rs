//! What plugins are told of a pod: arguments for all of them, and runtime arguments for those that declare
//! the capability (the specification's "dynamic plugin specific fields").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::NetworkList;
use crate::{Bandwidth, HostPort, Subnet};

/// The pod's interface; the kubelet and many programs expect this name.
pub(super) const INTERFACE: &str = "eth0";
/// A burst that limits nothing, in bits: a rate without one is not possible, and the annotations have none.
const BURST: u32 = u32::MAX;

/// A pod that is to join a network.
#[derive(Debug, Clone, Default)]
pub struct CniPod {
    /// The id of the pod sandbox.
    pub id: String,
    /// The path of its pinned network namespace.
    pub netns: PathBuf,
    /// The Kubernetes namespace of the pod.
    pub namespace: String,
    /// The name of the pod.
    pub name: String,
    /// The Kubernetes uid of the pod.
    pub uid: String,
    /// The path of the cgroup of the pod.
    pub cgroup: String,
    /// All annotations of the pod.
    pub annotations: BTreeMap<String, String>,
    /// Ports of the host that lead into it.
    pub ports: Vec<HostPort>,
    /// The limits that the pod's annotations ask for.
    pub bandwidth: Bandwidth,
    /// The resolver configuration of the pod: servers, searches, options.
    pub dns: Option<[Vec<String>; 3]>,
}

impl CniPod {
    /// `CNI_ARGS`: pairs that plugins of Kubernetes clusters read. The specification has no way to quote a
    /// separator, and these values have none in Kubernetes; in a value from elsewhere it is left out.
    pub(super) fn arguments(&self) -> String {
        let plain = |value: &str| value.replace([';', '='], "");
        let pairs = [
            ("IgnoreUnknown", "1"),
            ("K8S_POD_NAMESPACE", &self.namespace),
            ("K8S_POD_NAME", &self.name),
            ("K8S_POD_INFRA_CONTAINER_ID", &self.id),
            ("K8S_POD_UID", &self.uid),
        ];
        let pairs = pairs.map(|(key, value)| format!("{key}={}", plain(value)));
        pairs.join(";")
    }

    /// All runtime arguments, by capability.
    pub(super) fn runtime_arguments(&self, ranges: &[Subnet]) -> Map<String, Value> {
        let mut all = Map::new();
        let mut put = |capability: &str, value: Value| {
            all.insert(capability.to_owned(), value);
        };
        if !self.ports.is_empty() {
            put("portMappings", self.ports.iter().map(port).collect());
        }
        if !self.bandwidth.is_unlimited() {
            put("bandwidth", bandwidth(self.bandwidth));
        }
        if let Some([servers, searches, options]) = &self.dns {
            let dns = json!({ "servers": servers, "searches": searches, "options": options });
            put("dns", dns);
        }
        if !ranges.is_empty() {
            let sets = ranges.iter();
            let sets = sets.map(|subnet| json!([{ "subnet": subnet.to_string() }]));
            put("ipRanges", sets.collect());
        }
        if !self.annotations.is_empty() {
            put("io.kubernetes.cri.pod-annotations", json!(self.annotations));
        }
        if !self.cgroup.is_empty() {
            put("cgroupPath", json!(self.cgroup));
        }
        all
    }
}

fn port(port: &HostPort) -> Value {
    json!({
        "hostPort": port.host_port,
        "containerPort": port.pod_port,
        "protocol": port.protocol.as_str(),
        "hostIP": port.host_ip.map_or_else(String::new, |ip| ip.to_string()),
    })
}

fn bandwidth(limits: Bandwidth) -> Value {
    let mut value = Map::new();
    for (direction, rate) in [("ingress", limits.ingress), ("egress", limits.egress)] {
        if let Some(rate) = rate {
            value.insert(format!("{direction}Rate"), json!(rate));
            value.insert(format!("{direction}Burst"), json!(BURST));
        }
    }
    Value::Object(value)
}

/// What plugins were given for a pod, as DEL and CHECK need it: today's configuration may be another one.
/// It is written before the first ADD, so that whatever a plugin has begun can be undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Attachment {
    /// The path of the pod's namespace.
    pub(super) netns: PathBuf,
    /// The network's list as it was read.
    pub(super) list: Value,
    /// The value of the variable `CNI_ARGS`.
    pub(super) arguments: String,
    /// Runtime arguments by capability.
    pub(super) runtime: Map<String, Value>,
    /// The last plugin's result, in the version in which it came; none while ADD is under way.
    pub(super) result: Option<Value>,
}

impl Attachment {
    /// Makes the attachment of a pod whose record cannot be read, of what is known of the pod.
    pub(super) fn of_unread(id: &str, netns: &Path, list: &NetworkList) -> Attachment {
        let pod = CniPod {
            id: id.to_owned(),
            ..CniPod::default()
        };
        Attachment {
            netns: netns.to_owned(),
            list: list.source.clone(),
            arguments: pod.arguments(),
            runtime: Map::new(),
            result: None,
        }
    }
}
