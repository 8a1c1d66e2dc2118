//! Fields of the Kubernetes API that nothing on a single node acts on, and fields that Holdfast does not serve.

use serde_yaml_ng::{Mapping, Value};

use super::lines::child;

/// Fields of a document that the API server writes.
const OF_DOCUMENT: &[&str] = &["status"];

/// Fields of `metadata` that the API server writes or reads.
const OF_METADATA: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
];

/// Fields of `spec` for the scheduler, for service accounts and for services.
const OF_SPEC: &[&str] = &[
    "affinity",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "schedulerName",
    "schedulingGates",
    "serviceAccount",
    "serviceAccountName",
    "tolerations",
    "topologySpreadConstraints",
];

/// Fields of a container that only show in the pod's status, or that only a resize reads.
const OF_CONTAINER: &[&str] = &[
    "resizePolicy",
    "terminationMessagePath",
    "terminationMessagePolicy",
];

/// Fields of the Kubernetes API that change how a pod runs, and that are not served.
const UNSERVED: &[&str] = &[
    "activeDeadlineSeconds",
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "bindMountOptions",
    "cephfs",
    "cinder",
    "claims",
    "configMap",
    "configMapKeyRef",
    "csi",
    "downwardAPI",
    "envFrom",
    "ephemeral",
    "fc",
    "fileKeyRef",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "grpc",
    "hostAliases",
    "hostnameOverride",
    "httpGet",
    "imagePullSecrets",
    "iscsi",
    "nfs",
    "os",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "resourceClaims",
    "resourceFieldRef",
    "resources",
    "restartPolicyRules",
    "scaleIO",
    "seLinuxChangePolicy",
    "secret",
    "secretKeyRef",
    "setHostnameAsFQDN",
    "sizeLimit",
    "sleep",
    "stopSignal",
    "storageos",
    "subPathExpr",
    "subdomain",
    "tcpSocket",
    "terminationGracePeriodSeconds",
    "volumeDevices",
    "vsphereVolume",
    "windowsOptions",
    "workloadRef",
];

/// Whether a field that is refused is one of the Kubernetes API.
pub(super) fn is_unserved(name: &str) -> bool {
    UNSERVED.contains(&name)
}

/// Takes the fields out of a document that nothing here acts on, and returns their paths. Fields without a value go
/// silently: the API reads null as a field that is not there.
pub(super) fn remove(document: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    take(document, "", OF_DOCUMENT, &mut removed);
    if let Some(metadata) = document.get_mut("metadata") {
        take(metadata, "metadata", OF_METADATA, &mut removed);
    }
    if let Some(spec) = document.get_mut("spec") {
        take(spec, "spec", OF_SPEC, &mut removed);
        if let Some(policy) = cluster_dns(spec) {
            removed.push(policy);
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_sequence_mut);
            for (index, container) in containers.into_iter().flatten().enumerate() {
                let path = format!("spec.{list}[{index}]");
                take(container, &path, OF_CONTAINER, &mut removed);
            }
        }
    }
    without_null(document);
    removed
}

fn take(object: &mut Value, path: &str, names: &[&str], removed: &mut Vec<String>) {
    let Some(object) = object.as_mapping_mut() else {
        return;
    };
    for name in names {
        if object.remove(name).is_some() {
            removed.push(child(path, name));
        }
    }
}

/// Tools write the policy `ClusterFirst`, which is the default of the API and here means the same as `Default`.
fn cluster_dns(spec: &mut Value) -> Option<String> {
    let spec = spec.as_mapping_mut()?;
    let policy = spec.get("dnsPolicy")?.as_str()?.to_owned();
    if !matches!(policy.as_str(), "ClusterFirst" | "ClusterFirstWithHostNet") {
        return None;
    }
    spec.remove("dnsPolicy");
    Some(format!("spec.dnsPolicy {policy}"))
}

fn without_null(value: &mut Value) {
    match value {
        Value::Mapping(fields) => {
            let kept = std::mem::take(fields).into_iter();
            let kept = kept.filter(|(_, value)| !value.is_null());
            *fields = kept.collect::<Mapping>();
            fields.values_mut().for_each(without_null);
        }
        Value::Sequence(elements) => elements.iter_mut().for_each(without_null),
        _ => {}
    }
}
