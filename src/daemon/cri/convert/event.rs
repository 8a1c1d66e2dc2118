//! Converts events of pods to messages.

use cri_api::runtime::v1 as cri;

use super::{container_status, pod_status};
use crate::pod::{EventKind, PodEvent};

/// An event with the status of its pod and of all containers right after it.
pub(crate) fn event(event: &PodEvent) -> cri::ContainerEventResponse {
    let kind = match event.kind {
        EventKind::Created => cri::ContainerEventType::ContainerCreatedEvent,
        EventKind::Started => cri::ContainerEventType::ContainerStartedEvent,
        EventKind::Stopped => cri::ContainerEventType::ContainerStoppedEvent,
        EventKind::Deleted => cri::ContainerEventType::ContainerDeletedEvent,
    };
    let containers = event.pod.containers.values();
    cri::ContainerEventResponse {
        container_id: event.object.clone(),
        container_event_type: kind.into(),
        created_at: event.at,
        pod_sandbox_status: Some(pod_status(&event.pod.pod)),
        containers_statuses: containers.map(|record| container_status(record)).collect(),
    }
}
