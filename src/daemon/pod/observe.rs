//! Observes pods without changing them: figures, events, and whether pods can be run at all.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Pods;
use super::blocking::blocking;
use super::entry::PodSnapshot;
use super::error::{LookupError, PodError};
use super::events::EventStream;
use super::joined::{self, Connection};
use super::record::PodRecord;
use super::stats::{self, ContainerStats, PodMeasures, PodStats, StoreSpace};
use crate::spec::seccomp::parse_artifact;
use holdfast_disk::TreeUsage;
use holdfast_kernel::cgroup::Driver;
use holdfast_kernel::id::{ContainerId, PodId};

impl Pods {
    /// The owner of the network namespace that a pod has joined, and whether it still connects it.
    pub(crate) fn joined_network(&self, pod: &PodRecord) -> Option<(PodId, Connection)> {
        let owner = pod.network_owner?;
        Some((owner, joined::connected(&self.0, owner).0))
    }

    /// Where the network namespace of a pod is pinned: its own, or the one that it has joined.
    pub(crate) fn netns_path(&self, pod: &PodRecord) -> PathBuf {
        self.0.netns_path(pod.network_owner.unwrap_or(pod.id))
    }

    /// Whether a published profile can be used here: it is read, and compiled once. Blocks.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn check_profile(&self, text: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        let profile = parse_artifact(text)?;
        self.0.filters.get(&profile)?;
        Ok(())
    }

    /// Resource use of a container, from the kernel.
    ///
    /// # Errors
    /// It is not known.
    pub(crate) async fn container_stats(&self, id: &str) -> Result<ContainerStats, PodError> {
        let wanted = vec![self.container(id)?];
        let mut readings = stats::containers(&self.0, wanted).await;
        readings
            .pop()
            .ok_or_else(|| PodError::Lookup(LookupError::UnknownContainer(id.to_owned())))
    }

    /// Resource use of these containers. Those that vanish meanwhile are left out.
    pub(crate) async fn all_stats(&self, ids: Vec<ContainerId>) -> Vec<ContainerStats> {
        let found = ids
            .iter()
            .filter_map(|id| self.container(&id.to_string()).ok());
        stats::containers(&self.0, found.collect()).await
    }

    /// Resource use of a pod, from the kernel.
    ///
    /// # Errors
    /// It is not known.
    pub(crate) async fn pod_stats(&self, id: &str) -> Result<PodStats, PodError> {
        let mut readings = stats::pods(&self.0, vec![self.pod(id)?]).await;
        readings
            .pop()
            .ok_or_else(|| PodError::Lookup(LookupError::UnknownPod(id.to_owned())))
    }

    /// Resource use of these pods. Those that vanish meanwhile are left out.
    pub(crate) async fn all_pod_stats(&self, pods: Vec<Arc<PodSnapshot>>) -> Vec<PodStats> {
        stats::pods(&self.0, pods).await
    }

    /// Everything that metrics tell of all pods that run, and the file system of their writable layers.
    ///
    /// # Errors
    /// The kernel's files cannot be read.
    pub(crate) async fn measure(&self) -> Result<(Vec<PodMeasures>, Option<StoreSpace>), PodError> {
        let (node, pods) = (Arc::clone(&self.0), self.pods());
        blocking(move || stats::measure(&node, &pods)).await
    }

    /// Disk usage of everything that containers wrote to their root file systems.
    pub(crate) async fn written(&self) -> TreeUsage {
        let node = Arc::clone(&self.0);
        let read = blocking(move || stats::written(&node)).await;
        read.unwrap_or_default()
    }

    /// Everything that happens to pods and containers from now on.
    ///
    /// # Errors
    /// Too many listen already.
    pub(crate) fn listen(&self) -> Result<EventStream, PodError> {
        self.0.events.listen()
    }

    /// Ends all streams of events: the daemon ends.
    pub(crate) fn close_events(&self) {
        self.0.events.close();
    }

    /// Whether the kernel makes mounts read-only recursively (Linux 5.12).
    pub(crate) fn recursive_read_only_mounts(&self) -> bool {
        self.0.facts.recursive_read_only
    }

    /// Whether containers can be given their part of the cgroup tree.
    pub(crate) fn cgroup_delegation(&self) -> bool {
        self.0.facts.cgroup_delegation
    }

    /// Who makes the cgroups of pods.
    pub(crate) fn cgroup_driver(&self) -> Driver {
        self.0.driver
    }

    /// Whether pods can be run: the directories can be written, the cgroups are there, systemd answers where
    /// it is needed.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) async fn check(&self) -> Result<(), PodError> {
        /// A file system that takes longer hangs.
        const DEADLINE: Duration = Duration::from_secs(10);
        let node = Arc::clone(&self.0);
        let looked = tokio::time::timeout(DEADLINE, blocking(move || node.check()));
        looked.await.map_err(|_| PodError::System {
            doing: "look at root_dir and run_dir",
            source: std::io::ErrorKind::TimedOut.into(),
        })??;
        if self.0.driver == Driver::Systemd {
            self.0.systemd.check().await?;
        }
        Ok(())
    }
}
