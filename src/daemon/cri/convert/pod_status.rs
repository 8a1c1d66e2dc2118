//! Converts pods to the messages of the List and Status calls.

use cri_api::runtime::v1 as cri;

use super::field::unsorted;
use super::namespace::namespaces_message;
use crate::pod::{PodPhase, PodRecord};
use crate::spec::{NetMode, PodMetadata};

/// The state READY is only for a pod whose pause runs and whose stop has not begun.
pub(crate) fn pod_state(record: &PodRecord) -> cri::PodSandboxState {
    match record.phase {
        PodPhase::Ready => cri::PodSandboxState::SandboxReady,
        PodPhase::Creating | PodPhase::Stopping | PodPhase::NotReady | PodPhase::Removing => {
            cri::PodSandboxState::SandboxNotready
        }
    }
}

/// A pod in a list.
pub(crate) fn pod_item(record: &PodRecord) -> cri::PodSandbox {
    let config = &record.config;
    cri::PodSandbox {
        id: record.id.to_string(),
        metadata: Some(pod_metadata(&config.metadata)),
        state: pod_state(record).into(),
        created_at: record.created_at,
        labels: unsorted(&config.labels),
        annotations: unsorted(&config.annotations),
        runtime_handler: config.runtime_handler.clone(),
    }
}

/// The status of a pod.
pub(crate) fn pod_status(record: &PodRecord) -> cri::PodSandboxStatus {
    let item = pod_item(record);
    let options = namespaces_message(&record.config.namespaces);
    cri::PodSandboxStatus {
        id: item.id,
        metadata: item.metadata,
        state: item.state,
        created_at: item.created_at,
        network: Some(network(record)),
        linux: Some(cri::LinuxPodSandboxStatus {
            namespaces: Some(cri::Namespace {
                options: Some(options),
            }),
        }),
        labels: item.labels,
        annotations: item.annotations,
        runtime_handler: item.runtime_handler,
    }
}

/// Addresses, the primary one first. A pod on the host's network has none of its own.
fn network(record: &PodRecord) -> cri::PodSandboxNetworkStatus {
    let own = record.config.namespaces.network == NetMode::Pod;
    let mut ips = record.ips.iter().filter(|_| own).map(ToString::to_string);
    cri::PodSandboxNetworkStatus {
        ip: ips.next().unwrap_or_default(),
        additional_ips: ips.map(|ip| cri::PodIp { ip }).collect(),
    }
}

/// Converts the key by which the kubelet knows a pod.
pub(super) fn pod_metadata(metadata: &PodMetadata) -> cri::PodSandboxMetadata {
    cri::PodSandboxMetadata {
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        namespace: metadata.namespace.clone(),
        attempt: metadata.attempt,
    }
}
