//! The commands of handlers to a pod's task. Each carries the channel for its answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::PodError;
use super::record::PodResources;
use crate::spec::{ContainerConfig, Resources};
use holdfast_image::Image;
use holdfast_kernel::id::ContainerId;

/// The way back to one who asked. Errors are shared because several may wait for one operation.
pub(super) type Answer<T> = oneshot::Sender<Result<T, Arc<PodError>>>;

/// A request to a pod's task.
#[derive(Debug)]
pub(super) enum Command {
    Create(Box<ContainerConfig>, Arc<Image>, Answer<ContainerId>),
    Start(ContainerId, Answer<()>),
    /// Stop a container: its stop signal, and SIGKILL after the grace period.
    Stop(ContainerId, Duration, Answer<()>),
    /// Remove a container, killing it if it runs.
    Remove(ContainerId, Answer<()>),
    /// Change a container's resources.
    Update(ContainerId, Box<Resources>, Answer<()>),
    /// Keep the resources of the pod.
    UpdatePod(Box<PodResources>, Answer<()>),
    /// Write the log to a new file.
    ReopenLog(ContainerId, Answer<()>),
    StopPod(Answer<()>),
    /// Remove the pod, stopping it if it runs.
    RemovePod(Answer<()>),
}
