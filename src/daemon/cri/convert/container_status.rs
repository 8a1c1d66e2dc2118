//! Converts containers to the messages of the List and Status calls.

use cri_api::runtime::v1 as cri;

use super::field::unsorted;
use super::image::image_spec_message;
use super::mount::volume_message;
use super::resources::resources_message;
use super::signal::signal_message;
use crate::pod::{ContainerPhase, ContainerRecord, Exit};
use crate::spec::Identity;

/// The state of a container. A start under way is not yet running, a removal under way changes nothing.
pub(crate) fn container_state(record: &ContainerRecord) -> cri::ContainerState {
    match &record.phase {
        ContainerPhase::Created | ContainerPhase::Starting(_) => {
            cri::ContainerState::ContainerCreated
        }
        ContainerPhase::Running(..) => cri::ContainerState::ContainerRunning,
        ContainerPhase::Removing if record.removed_exit.is_none() => {
            cri::ContainerState::ContainerCreated
        }
        ContainerPhase::Exited(_) | ContainerPhase::Removing => {
            cri::ContainerState::ContainerExited
        }
    }
}

/// A container in a list.
pub(crate) fn container_item(record: &ContainerRecord) -> cri::Container {
    let config = &record.config;
    cri::Container {
        id: record.id.to_string(),
        pod_sandbox_id: record.pod.to_string(),
        metadata: Some(metadata(record)),
        image: Some(image_spec_message(&config.image)),
        image_ref: record.image.id.clone(),
        state: container_state(record).into(),
        created_at: record.created_at,
        labels: unsorted(&config.labels),
        annotations: unsorted(&config.annotations),
        image_id: record.image.id.clone(),
    }
}

/// The status of a container.
pub(crate) fn container_status(record: &ContainerRecord) -> cri::ContainerStatus {
    let item = container_item(record);
    let times = Times::from_record(record);
    cri::ContainerStatus {
        id: item.id,
        metadata: item.metadata,
        state: item.state,
        created_at: item.created_at,
        started_at: times.started_at,
        finished_at: times.finished_at,
        exit_code: times.exit_code,
        image: Some(cri::ImageSpec {
            image: record.image.reference.clone(),
            ..item.image.unwrap_or_default()
        }),
        image_ref: record.image.digest.clone(),
        reason: times.reason,
        message: times.message,
        labels: item.labels,
        annotations: item.annotations,
        mounts: mounts(record),
        // Empty only when there is no log: a kubelet has taken an empty path for the root before.
        log_path: record
            .log_path
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
        resources: Some(cri::ContainerResources {
            linux: Some(resources_message(&record.resources)),
            windows: None,
        }),
        image_id: item.image_id,
        user: Some(cri::ContainerUser {
            linux: Some(user(&record.identity)),
        }),
        stop_signal: signal_message(record.stop_signal).into(),
    }
}

/// The volumes as requested, those from images with the id of the image, which is what PullImage answered.
/// critest of cri-tools v1.37.0 compares the two; in containerd it is issue 14172 and the open change 14173.
fn mounts(record: &ContainerRecord) -> Vec<cri::Mount> {
    let mut mounts: Vec<_> = record.config.mounts.iter().map(volume_message).collect();
    for volume in &record.image_volumes {
        let mount = mounts.get_mut(volume.mount);
        if let Some(image) = mount.and_then(|mount| mount.image.as_mut()) {
            image.image_ref.clone_from(&volume.digest);
        }
    }
    mounts
}

/// Times, exit code and reason of a container, as its phase has them. All are zero before the start.
#[derive(Default)]
struct Times {
    started_at: i64,
    finished_at: i64,
    exit_code: i32,
    reason: String,
    message: String,
}

impl Times {
    fn from_record(record: &ContainerRecord) -> Self {
        match &record.phase {
            ContainerPhase::Created | ContainerPhase::Starting(_) => Self::default(),
            ContainerPhase::Running(run, _) => Self {
                started_at: run.started_at,
                ..Self::default()
            },
            ContainerPhase::Exited(exit) => Self::ended(exit),
            ContainerPhase::Removing => record
                .removed_exit
                .as_ref()
                .map(Self::ended)
                .unwrap_or_default(),
        }
    }

    fn ended(exit: &Exit) -> Self {
        Self {
            started_at: exit.started_at,
            finished_at: exit.finished_at,
            exit_code: exit.code,
            reason: exit.reason.clone(),
            message: exit.message.clone(),
        }
    }
}

/// Name and attempt of a container.
pub(super) fn metadata(record: &ContainerRecord) -> cri::ContainerMetadata {
    let metadata = &record.config.metadata;
    cri::ContainerMetadata {
        name: metadata.name.clone(),
        attempt: metadata.attempt,
    }
}

fn user(identity: &Identity) -> cri::LinuxContainerUser {
    cri::LinuxContainerUser {
        uid: identity.uid.into(),
        gid: identity.gid.into(),
        supplemental_groups: identity
            .groups
            .iter()
            .map(|group| i64::from(*group))
            .collect(),
    }
}
