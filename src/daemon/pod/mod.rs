//! The daemon's pods: one task each, one record each, one snapshot each for readers.
//!
//! ```text
//!   Pods (handle) ── Command ──▶ Task (owner) ── wire ──▶ shim ── clone, setns, exec ──▶ processes
//!      │                          │
//!      └── reads ── Index ◀── PodSnapshot
//! ```
//!
//! - `state`: what a container is doing and what an event makes of it; pure.
//! - `sandbox`, `container`: the steps that make a thing, and the one list that undoes it.
//! - `recover`: what a new daemon makes of what an earlier one left.
//! - `archive`: what a reboot leaves of the records.
//! - `debt`: what could not be released.
//!
//! This module has never heard of protobuf, and it starts no process except the shim program and apparmor_parser.

mod admit;
mod apparmor;
mod archive;
mod blocking;
mod cdi;
mod cgroups;
mod clock;
mod command;
mod connect;
mod container;
mod debt;
mod entry;
mod error;
mod events;
mod exec;
mod experiments;
mod files;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod host;
mod image_volume;
mod index;
mod joined;
mod launch_error;
mod launch_plan;
mod limits;
mod link;
mod log_file;
mod namespaces;
mod node;
mod observe;
mod patience;
mod process;
mod propagation;
mod readiness;
mod record;
mod recover;
mod running;
mod sandbox;
mod scope;
mod seccomp;
mod session;
mod settings;
mod shown;
mod spawn;
mod start;
mod state;
mod stats;
mod sysctls;
mod task;
#[cfg(test)]
mod testing;
mod update;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

pub(crate) use debt::{Debt, DebtKind};
pub(crate) use entry::PodSnapshot;
pub(crate) use error::{ErrorKind, LookupError, PodError, RequestError};
use error::{ImageUseError, Refusal};
pub(crate) use events::{EventKind, EventStream, PodEvent, StreamEnd};
pub(crate) use exec::OUTPUT_LIMIT;
pub(crate) use joined::Connection;
pub(crate) use namespaces::{ProcessNamespaces, Role};
pub(crate) use record::{ContainerRecord, PodRecord, PodResources};
pub(crate) use session::{Session, SessionEnd, Streams, Terminal};
pub(crate) use settings::{CniUse, ImageVolumes, PodSettings};
pub(crate) use state::{ContainerPhase, Exit, PodPhase};
#[cfg(test)]
pub(crate) use stats::Descriptors;
pub(crate) use stats::{
    BlockDevice, ContainerStats, GroupMeasures, PodMeasures, PodStats, StoreSpace, Traffic,
};

use blocking::blocking;
use clock::now;
use command::{Answer, Command};
use entry::{PodEntry, new_entry};
use index::PodKey;
use node::Node;
use patience::{DEADLINE, patiently};
use task::Task;

pub(crate) use crate::spec::experiments::Experiment;
use crate::spec::{ContainerConfig, PodConfig, Resources};
use holdfast_image::ImageStore;
use holdfast_kernel::cgroup::Driver;
use holdfast_kernel::id::{ContainerId, PodId};
use holdfast_network::cni::CniSettings;
pub(crate) use holdfast_network::cni::{NetworkList, Plugin};
pub(crate) use holdfast_wire::plan::TerminalSize;

/// The result of an operation. Several callers may have waited for it, so they share the error.
pub(crate) type Outcome<T> = Result<T, Arc<PodError>>;

/// All pods of this machine. Clones are the same pods.
#[derive(Debug, Clone)]
pub(crate) struct Pods(Arc<Node>);

impl Pods {
    /// Takes over what an earlier daemon left, and serves it.
    ///
    /// # Errors
    /// The directories, the shim or the cgroups of this machine cannot be used.
    pub(crate) async fn open(settings: PodSettings, images: ImageStore) -> Result<Self, PodError> {
        let node = Arc::new(blocking(move || Node::open(settings, images)).await?);
        if node.driver == Driver::Systemd {
            node.systemd.check().await?;
        }
        recover::recover_all(&node).await?;
        let warm = Arc::clone(&node);
        tokio::task::spawn_blocking(move || warm.compile_usual_filters());
        tokio::spawn(debt::collect(Arc::clone(&node)));
        tokio::spawn(archive::keep(Arc::clone(&node)));
        Ok(Self(node))
    }

    /// Makes a pod sandbox. The same request again joins the first, or returns what it made.
    ///
    /// # Errors
    /// Nothing is left of a pod that could not be made.
    pub(crate) async fn run_pod(&self, mut config: PodConfig) -> Outcome<PodId> {
        seccomp::pin(&self.0, &mut config.security.seccomp).await?;
        let mut pod = self.new_pod(config)?;
        if seccomp::is_file(&pod.config.security.seccomp) {
            let config = Arc::clone(&pod.config);
            let read = move || seccomp::localhost_profile(&config.security.seccomp);
            pod.localhost_seccomp = patiently("the pod's seccomp profile", DEADLINE, read).await?;
        }
        sandbox::validate(&self.0, &pod.config, &pod)?;
        let key = PodKey::from(&pod.config.metadata);
        let config = Arc::clone(&pod.config);
        let snapshot = PodSnapshot {
            pod: Arc::new(pod),
            containers: BTreeMap::new(),
        };
        let (entry, mailbox, told) = new_entry(snapshot);
        let entry = match self.0.index.claim(key, || Arc::clone(&entry)) {
            Ok(entry) => {
                let task = Task::new(Arc::clone(&self.0), Arc::clone(&entry), mailbox, told);
                // Not tied to the caller: one that goes away finds the pod made when it asks again.
                tokio::spawn(task.create());
                entry
            }
            Err(taken) => {
                admit::same_pod(&taken.snapshot.load().pod, &config)?;
                taken
            }
        };
        let mut made = entry.creation_outcome.clone();
        let outcome = made
            .wait_for(Option::is_some)
            .await
            .map_err(|_| PodError::Refused(Refusal::Gone))?
            .clone();
        match outcome {
            Some(Ok(())) => Ok(entry.id),
            Some(Err(error)) => Err(error),
            None => Err(Arc::new(PodError::Refused(Refusal::Gone))),
        }
    }

    fn new_pod(&self, config: PodConfig) -> Result<PodRecord, PodError> {
        let id = PodId::random()?;
        let parent = config.cgroup_parent.as_deref();
        let cgroup = self.0.pod_cgroup(id, parent)?.to_string();
        let resources = PodResources {
            resources: config.resources.clone(),
            overhead: config.overhead.clone(),
        };
        Ok(PodRecord {
            id,
            resources,
            config: Arc::new(config),
            phase: PodPhase::Creating,
            created_at: now(),
            boot_id: self.0.boot_id.clone(),
            pause: None,
            shim: None,
            ips: Vec::new(),
            cgroup,
            protocols: self.0.spawner.protocols(),
            localhost_seccomp: None,
            network_owner: None,
        })
    }

    /// Stops a pod: its containers are killed, its pause ended, its network released. Unknown is stopped.
    ///
    /// # Errors
    /// The id is ambiguous.
    pub(crate) async fn stop_pod(&self, id: &str) -> Outcome<()> {
        self.ask_pod(id, Command::StopPod).await
    }

    /// Removes a pod with its containers, stopping it first. Unknown is removed.
    ///
    /// # Errors
    /// The id is ambiguous.
    pub(crate) async fn remove_pod(&self, id: &str) -> Outcome<()> {
        self.ask_pod(id, Command::RemovePod).await
    }

    async fn ask_pod(&self, id: &str, command: impl FnOnce(Answer<()>) -> Command) -> Outcome<()> {
        match self.0.index.pod(id) {
            Ok(entry) => gone_is_done(ask(&entry, command).await),
            Err(LookupError::UnknownPod(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A pod by its id or a unique prefix of it.
    ///
    /// # Errors
    /// It is not known, or the prefix is ambiguous.
    pub(crate) fn pod(&self, id: &str) -> Result<Arc<PodSnapshot>, PodError> {
        let snapshot = self.0.index.pod(id)?.snapshot.load_full();
        if snapshot.pod.phase == PodPhase::Creating {
            return Err(PodError::Lookup(LookupError::UnknownPod(id.to_owned())));
        }
        Ok(joined::shown(&self.0, snapshot))
    }

    /// All pods that have been made. Never waits.
    pub(crate) fn pods(&self) -> Vec<Arc<PodSnapshot>> {
        let entries = self.0.index.pods();
        let snapshots = entries.iter().map(|entry| entry.snapshot.load_full());
        snapshots
            .filter(|snapshot| snapshot.pod.phase != PodPhase::Creating)
            .collect()
    }

    /// Creates a container in a pod. The same request again returns what the first made.
    ///
    /// # Errors
    /// Nothing is left of a container that could not be created.
    pub(crate) async fn create_container(
        &self,
        pod: &str,
        mut config: ContainerConfig,
    ) -> Outcome<ContainerId> {
        let entry = self.0.index.pod(pod)?;
        seccomp::pin(&self.0, &mut config.security.seccomp).await?;
        let reference = config.image.image.clone();
        let missing = || Arc::new(PodError::Image(ImageUseError::Missing(reference.clone())));
        let image = self.0.images.resolve(&reference).ok_or_else(missing)?;
        let mut layers = image.layers.clone();
        layers.extend(image_volume::layers(&self.0, &config));
        if !self.0.images.sound(&layers).await.map_err(PodError::from)? {
            self.0.images.resolve(&reference).ok_or_else(missing)?;
        }
        let config = Box::new(config);
        ask(&entry, |answer| Command::Create(config, image, answer)).await
    }

    /// Starts a created container. Starting a running one is done.
    ///
    /// # Errors
    /// Says which step of the launch failed, and why.
    pub(crate) async fn start_container(&self, id: &str) -> Outcome<()> {
        let (id, entry) = self.0.index.container(id)?;
        ask(&entry, |answer| Command::Start(id, answer)).await
    }

    /// Stops a container: its stop signal, and after the grace period SIGKILL to everything in its cgroup.
    /// Unknown and ended ones are stopped.
    ///
    /// # Errors
    /// The id is ambiguous.
    pub(crate) async fn stop_container(&self, id: &str, grace: Duration) -> Outcome<()> {
        match self.0.index.container(id) {
            Ok((id, entry)) => {
                gone_is_done(ask(&entry, |answer| Command::Stop(id, grace, answer)).await)
            }
            Err(LookupError::UnknownContainer(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a container, killing it if it runs. Its log stays. Unknown is removed.
    ///
    /// # Errors
    /// The id is ambiguous.
    pub(crate) async fn remove_container(&self, id: &str) -> Outcome<()> {
        match self.0.index.container(id) {
            Ok((id, entry)) => {
                gone_is_done(ask(&entry, |answer| Command::Remove(id, answer)).await)
            }
            Err(LookupError::UnknownContainer(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes further output of a running container to a new file at its log path.
    ///
    /// # Errors
    /// It does not run, or the file cannot be made.
    pub(crate) async fn reopen_log(&self, id: &str) -> Outcome<()> {
        let (id, entry) = self.0.index.container(id)?;
        let answer = ask(&entry, |answer| Command::ReopenLog(id, answer)).await;
        match answer.map_err(Arc::try_unwrap) {
            Err(Ok(error)) => self.explained(id, Err(error)).await.map_err(Arc::new),
            Err(Err(shared)) => Err(shared),
            Ok(()) => Ok(()),
        }
    }

    /// Changes a container's resources: all of them or none.
    ///
    /// # Errors
    /// The kernel refuses one, or it lies below what is in use.
    pub(crate) async fn update_resources(&self, id: &str, resources: Resources) -> Outcome<()> {
        let (id, entry) = self.0.index.container(id)?;
        let resources = Box::new(resources);
        ask(&entry, |answer| Command::Update(id, resources, answer)).await
    }

    /// Keeps the resources that the kubelet has given a pod. Nothing is written to a cgroup: the pod's own is
    /// the kubelet's, which has changed it before it asks.
    ///
    /// # Errors
    /// The pod is not known.
    pub(crate) async fn update_pod_resources(
        &self,
        id: &str,
        resources: PodResources,
    ) -> Outcome<()> {
        let entry = self.0.index.pod(id)?;
        let resources = Box::new(resources);
        ask(&entry, |answer| Command::UpdatePod(resources, answer)).await
    }

    /// A container by its id or a unique prefix of it, and its pod.
    ///
    /// # Errors
    /// It is not known, or the prefix is ambiguous.
    pub(crate) fn container(
        &self,
        id: &str,
    ) -> Result<(Arc<PodSnapshot>, Arc<ContainerRecord>), PodError> {
        let (id, entry) = self.0.index.container(id)?;
        let snapshot = entry.snapshot.load_full();
        match snapshot.containers.get(&id).cloned() {
            Some(record) => Ok((snapshot, record)),
            None => Err(PodError::Lookup(LookupError::UnknownContainer(
                id.to_string(),
            ))),
        }
    }

    /// The namespaces of a pod's pause and of its containers, by inode number.
    ///
    /// # Errors
    /// The pod is not known.
    pub(crate) fn namespaces(&self, id: &str) -> Result<Vec<ProcessNamespaces>, PodError> {
        Ok(namespaces::pod_namespaces(&*self.pod(id)?))
    }

    /// Why pods cannot have user namespaces of their own on this node; none when they can.
    pub(crate) fn user_namespace_problem(&self) -> Option<&str> {
        self.0.facts.user_namespace_problem.as_deref()
    }

    /// Why pods get no network of their own; empty when they do.
    pub(crate) async fn network_problem(&self) -> String {
        connect::problem(&self.0).await
    }

    /// Where network plugins and their configuration are.
    pub(crate) fn cni_settings(&self) -> &CniSettings {
        self.0.cni.settings()
    }

    /// The plugins' network that is configured now.
    ///
    /// # Errors
    /// The configuration is broken.
    pub(crate) async fn cni_network(&self) -> Result<Option<NetworkList>, PodError> {
        Ok(self.0.cni.look().await?)
    }

    /// Names the ranges of addresses that plugins which take ranges give later pods: CIDRs with commas
    /// between them.
    ///
    /// # Errors
    /// One is no CIDR, or the disk refuses.
    pub(crate) async fn set_ranges(&self, cidrs: &str) -> Result<(), PodError> {
        let ranges = connect::ranges(cidrs)?;
        let node = Arc::clone(&self.0);
        blocking(move || Ok(node.cni.set_ranges(ranges)?)).await
    }

    /// Lists the parts of pods that could not be released.
    pub(crate) fn debts(&self) -> Vec<Debt> {
        self.0.debts.list()
    }

    /// How often debts were tried again since the daemon's start.
    pub(crate) fn debt_attempts(&self) -> u64 {
        self.0.debts.attempts()
    }

    /// Why pods are not to be run yet: what pods of an earlier boot hold is being released.
    pub(crate) fn unreleased(&self) -> Option<String> {
        self.0.readiness.problem()
    }

    /// Puts on the disk what a reboot shall leave of the pods. For the end of the daemon: until then it is
    /// done in the background.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) async fn flush(&self) -> Result<(), PodError> {
        archive::flush_now(&self.0).await
    }
}

async fn ask<T>(entry: &PodEntry, command: impl FnOnce(Answer<T>) -> Command) -> Outcome<T> {
    let (sender, receiver) = oneshot::channel();
    entry
        .mailbox
        .send(command(sender))
        .map_err(|_| PodError::Refused(Refusal::Gone))?;
    receiver
        .await
        .map_err(|_| PodError::Refused(Refusal::Gone))?
}

/// A pod that vanished under a stop or a removal is stopped and removed.
fn gone_is_done(outcome: Outcome<()>) -> Outcome<()> {
    match outcome {
        Err(error) if matches!(*error, PodError::Refused(Refusal::Gone)) => Ok(()),
        other => other,
    }
}
