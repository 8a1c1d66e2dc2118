//! The one owner of a pod: a task that turns requests, the shim's events and finished work into transitions.
//!
//! ```text
//!   Command ─┐
//!   Event   ─┼─▶ Task ── state::apply ──▶ Effect ──▶ work in the background ──┐
//!   deadline ┤    │                                                           │
//!   Done    ─┘    └─▶ record on disk, snapshot for readers                    │
//!     ▲───────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing slow is awaited here: a container that hangs in its start is killed by a stop that comes later.

mod events;
mod foreign;
mod goal;
mod keep;
mod requests;
mod transitions;

use holdfast_kernel::error_chain;
use std::collections::BTreeMap;
use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::blocking::blocking;
use super::command::{Answer, Command};
use super::container;
use super::entry::{CreationOutcome, PodEntry};
use super::error::PodError;
use super::events::EventKind;
use super::index::PodKey;
use super::joined;
use super::launch_plan::LaunchPlan;
use super::link::ShimLink;
use super::node::Node;
use super::record::{ContainerRecord, PodRecord};
use super::sandbox::{self, StartedSandbox};
use super::state::{ContainerPhase, Effect, Exit, Goal, PodEvent, PodPhase, Run};
use crate::spec::Resources;
use holdfast_disk::Dir;
use holdfast_image::ImageHold;
use holdfast_kernel::id::ContainerId;
use holdfast_wire::{Event, ExitStatus};

/// How long the end of all containers may take in a pod that is being stopped. After it they are killed
/// through their cgroups and counted as ended.
const KILL_DEADLINE: Duration = Duration::from_secs(15);

/// Time that a container gets whose stop an earlier daemon had begun.
const RESUMED_GRACE: Duration = Duration::from_secs(10);

/// Exit code of a container that was killed unseen: 128 + SIGKILL.
pub(super) const KILLED_CODE: i32 = 137;

/// Work in the background.
type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// Work that has ended.
enum Done {
    Prepared(ContainerId, Result<container::HostInputs, PodError>),
    Launched(ContainerId, Result<(Run, Vec<String>), PodError>),
    Deleted(ContainerId, Vec<PodError>),
    Released(Vec<PodError>),
    Forgotten(Result<(), PodError>),
    Updated(ContainerId, Answer<()>, Result<Resources, PodError>),
    Nothing,
}

/// Where the pod heads for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PodGoal {
    Stay,
    Stop,
    Remove,
}

/// Callers that wait for a start, a stop or a removal of a container.
#[derive(Default)]
struct Waiting {
    created: Vec<Answer<ContainerId>>,
    start: Vec<Answer<()>>,
    stop: Vec<Answer<()>>,
    remove: Vec<Answer<()>>,
}

/// Work of the task that is in progress on the files of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemberStage {
    /// Its directories are still being made, so nobody sees it yet.
    Preparing,
    /// Its files stay as they are.
    Kept,
    /// Its files are being deleted.
    Deleting,
}

/// Work of the task that is in progress on the pod's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PodStage {
    /// They stay as they are.
    Kept,
    /// They are being released.
    Releasing,
    /// They are gone, and the task ends.
    Gone,
}

/// A container and who waits for it.
struct Member {
    record: ContainerRecord,
    stage: MemberStage,
    /// When it is killed.
    deadline: Option<Instant>,
    /// When a killed container counts as ended although a process of it still hangs.
    kill_until: Option<Instant>,
    /// The disk refused its record as it is now.
    record_unsaved: bool,
    /// Number of its exit, which the shim keeps until the record has it.
    unacknowledged: Option<u64>,
    /// The plan of its start, compiled at the creation.
    launch_plan: Option<LaunchPlan>,
    /// Its start is not to be sent any more: the end that was asked for came first.
    given_up: Arc<AtomicBool>,
    waiting: Waiting,
    /// Keeps its layers. None when they are gone: then it has ended and only its status is left.
    _hold: Option<ImageHold>,
}

impl Member {
    fn new(record: ContainerRecord, hold: Option<ImageHold>) -> Self {
        Self {
            record,
            stage: MemberStage::Kept,
            deadline: None,
            kill_until: None,
            record_unsaved: false,
            unacknowledged: None,
            launch_plan: None,
            given_up: Arc::default(),
            waiting: Waiting::default(),
            _hold: hold,
        }
    }
}

/// The owner of one pod.
pub(super) struct Task {
    node: Arc<Node>,
    entry: Arc<PodEntry>,
    mailbox: mpsc::UnboundedReceiver<Command>,
    creation_outcome: watch::Sender<CreationOutcome>,
    pod: PodRecord,
    dir: Option<Dir>,
    members: BTreeMap<ContainerId, Member>,
    link: Option<ShimLink>,
    events: Option<mpsc::UnboundedReceiver<Event>>,
    goal: PodGoal,
    /// The disk refused the pod's record as it is now.
    record_unsaved: bool,
    /// When what the disk refused is tried again.
    retry_at: Option<Instant>,
    work: FuturesUnordered<Work>,
    /// When what still runs in a pod that is being stopped is counted as ended.
    give_up_at: Option<Instant>,
    /// When it is looked whether what runs past a shim that is not understood still does.
    next_liveness_check: Option<Instant>,
    stage: PodStage,
    stop_waiting: Vec<Answer<()>>,
    remove_waiting: Vec<Answer<()>>,
}

impl Task {
    /// A task for a pod that is to be made, or that was found on disk.
    pub(super) fn new(
        node: Arc<Node>,
        entry: Arc<PodEntry>,
        mailbox: mpsc::UnboundedReceiver<Command>,
        made: watch::Sender<CreationOutcome>,
    ) -> Self {
        let pod = (*entry.snapshot.load().pod).clone();
        Self {
            node,
            entry,
            mailbox,
            creation_outcome: made,
            pod,
            dir: None,
            members: BTreeMap::new(),
            link: None,
            events: None,
            goal: PodGoal::Stay,
            record_unsaved: false,
            retry_at: None,
            work: FuturesUnordered::new(),
            give_up_at: None,
            next_liveness_check: None,
            stage: PodStage::Kept,
            stop_waiting: Vec::new(),
            remove_waiting: Vec::new(),
        }
    }

    /// Makes the pod and serves it until it is removed.
    pub(super) async fn create(mut self) {
        let made = match joined::owner(&self.node, &self.pod.config) {
            Ok(owner) => {
                self.pod.network_owner = owner;
                sandbox::make(&self.node, &self.pod).await
            }
            Err(error) => Err(error),
        };
        match made.and_then(|made| self.adopt(made)) {
            Ok(()) => {
                self.announce(EventKind::Created, &self.pod.id);
                self.announce(EventKind::Started, &self.pod.id);
                self.publish_creation_outcome(Ok(()));
                self.serve().await;
            }
            Err(error) => self.undo(error).await,
        }
    }

    /// The pod is ready once its record says so: without it the next daemon would take it back.
    fn adopt(&mut self, made: StartedSandbox) -> Result<(), PodError> {
        self.pod.phase = self.pod.phase.apply(PodEvent::Made).0;
        self.pod.pause = Some(made.pause);
        self.pod.shim = Some(made.shim);
        self.pod.ips = made.ips;
        self.connect(made.link, made.events);
        self.store_pod()?;
        self.publish();
        Ok(())
    }

    /// From now on the shim is reached through this link.
    pub(super) fn connect(&mut self, link: ShimLink, events: mpsc::UnboundedReceiver<Event>) {
        self.entry.link.store(Some(Arc::new(link.clone())));
        self.link = Some(link);
        self.events = Some(events);
    }

    fn publish_creation_outcome(&self, outcome: Result<(), Arc<PodError>>) {
        // Nobody may be waiting any more.
        let _ = self.creation_outcome.send(Some(outcome));
    }

    /// Nothing of a pod that could not be made stays, and its name is free again before anybody is told.
    async fn undo(mut self, error: PodError) {
        let link = self.link.take().or_else(|| self.fresh_link());
        let failures = sandbox::release(&self.node, &self.pod, Vec::new(), link).await;
        self.node.debts.record_debts(&self.pod, &[], failures);
        let (node, id) = (Arc::clone(&self.node), self.pod.id);
        let forgotten = blocking(move || node.delete_pod_dir(id)).await;
        self.node
            .debts
            .record_debts(&self.pod, &[], forgotten.err().into_iter().collect());
        self.node
            .index
            .remove_pod(self.pod.id, &PodKey::from(&self.pod.config.metadata));
        self.publish_creation_outcome(Err(Arc::new(error)));
    }

    /// The shim of a pod whose making failed, if it got that far.
    fn fresh_link(&mut self) -> Option<ShimLink> {
        let dir = self.state_dir().ok()?;
        ShimLink::connect(dir.as_fd(), &self.pod)
            .ok()
            .map(|(link, _events)| link)
    }

    /// Puts a container that was found on disk under this task.
    pub(super) fn take_container(&mut self, record: ContainerRecord) {
        let id = record.id;
        let hold = self.node.images.hold_layers(&record.layers());
        if let Err(error) = &hold {
            tracing::warn!(container = %id, error = error_chain(error), "the layers of a container are gone");
        }
        self.members.insert(id, Member::new(record, hold.ok()));
        self.node.index.add_container(id, Arc::clone(&self.entry));
    }

    /// The state that was found on disk is in force: readers see it.
    pub(super) fn resume(&mut self, pod: PodRecord, stop: bool) {
        self.pod = pod;
        if stop {
            self.goal = PodGoal::Stop;
        }
        let found: Vec<_> = self.members.keys().copied().collect();
        for id in found {
            self.resume_container(id);
        }
        if self.pod.phase == PodPhase::Stopping {
            self.goal = self.goal.max(PodGoal::Stop);
            self.pod_event(PodEvent::StopAsked);
        }
        self.keep_pod();
        self.publish_creation_outcome(Ok(()));
    }

    /// Goes on with what an earlier daemon had begun.
    fn resume_container(&mut self, id: ContainerId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        match &member.record.phase {
            ContainerPhase::Running(_, Goal::Stop) => {
                member.deadline = Some(Instant::now() + RESUMED_GRACE);
                // Whether it was sent is not known, and one that never came would make this a kill.
                self.effect(id, Effect::Signal);
            }
            ContainerPhase::Running(_, Goal::Remove) => self.effect(id, Effect::Kill),
            ContainerPhase::Exited(_) => self.effect(id, Effect::ReleaseCgroup),
            // The shim answers a repeated start when the first one is through.
            ContainerPhase::Starting(_) => self.effect(id, Effect::Launch),
            ContainerPhase::Created
            | ContainerPhase::Running(_, Goal::Run)
            // Those are deleted before anybody sees them again.
            | ContainerPhase::Removing => {}
        }
        self.keep_container(id);
    }

    /// Serves requests until the pod is removed.
    pub(super) async fn serve(mut self) {
        self.watch_foreign_shim();
        self.progress();
        while self.stage != PodStage::Gone {
            let members = self.members.values();
            let deadlines = members.flat_map(|member| [member.deadline, member.kill_until]);
            let own = [self.give_up_at, self.retry_at, self.next_liveness_check];
            let deadline = deadlines.chain(own).flatten().min();
            tokio::select! {
                biased;
                event = next_event(&mut self.events) => match event {
                    Some(event) => self.event(event),
                    None => self.shim_ended(),
                },
                Some(done) = self.work.next(), if !self.work.is_empty() => self.done(done),
                Some(command) = self.mailbox.recv() => self.command(command),
                () = until(deadline) => self.deadlines(),
            }
            self.watch_foreign_shim();
            self.progress();
        }
    }
}

/// The next event of the shim; never when there is no shim.
async fn next_event(events: &mut Option<mpsc::UnboundedReceiver<Event>>) -> Option<Event> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn reply<T>(answer: Answer<T>, outcome: Result<T, Arc<PodError>>) {
    // The one who asked may have gone.
    let _ = answer.send(outcome);
}

fn answer_all<T: Clone>(waiting: Vec<Answer<T>>, outcome: &Result<T, Arc<PodError>>) {
    for answer in waiting {
        reply(answer, outcome.clone());
    }
}

/// An exit as CRI shows it. A container of which the kernel killed a process for want of memory is `OOMKilled` with
/// any code of its first process, as in containerd and CRI-O.
pub(super) fn exit_of(status: ExitStatus, finished_at: i64, oom_killed: bool) -> Exit {
    let code = status.code();
    let reason = match (oom_killed, code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        _ => "Error",
    };
    Exit {
        code,
        finished_at,
        started_at: 0,
        reason: reason.to_owned(),
        message: String::new(),
    }
}

#[cfg(test)]
mod tests;
