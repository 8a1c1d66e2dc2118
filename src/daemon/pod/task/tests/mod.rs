//! A pod's task without its loop: a test does what the loop would do, one thing at a time.

mod ends;
mod exits;
mod foreign;
mod requests;
mod resumed;
mod starts;

use std::sync::Mutex;

use futures_util::future::FutureExt;
use tokio::sync::oneshot;

use super::*;
use crate::pod::events::EventStream;
use crate::pod::new_entry;
use crate::pod::record;
use crate::pod::testing::{self, Shim};
use crate::spec::{ContainerConfig, PodConfig};
use holdfast_disk::FileName;
use holdfast_wire::{Reply, Request};

/// A ready pod, its task and a shim that does whatever it is asked.
struct Served {
    guard: tempfile::TempDir,
    node: Arc<Node>,
    task: Task,
    made: watch::Receiver<CreationOutcome>,
    asked: Arc<Mutex<Vec<Request>>>,
    told: EventStream,
}

/// The answer that a caller will get.
struct Awaited<T>(oneshot::Receiver<Result<T, Arc<PodError>>>);

impl<T: std::fmt::Debug> Awaited<T> {
    /// The answer, or the text of the refusal; none yet.
    fn answer(&mut self) -> Option<Result<T, String>> {
        use oneshot::error::TryRecvError;
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome.map_err(|error| error_chain(&*error))),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => panic!("nobody will answer"),
        }
    }

    /// The text of the refusal that has come.
    fn refusal(&mut self) -> String {
        self.answer().expect("no answer yet").unwrap_err()
    }
}

impl Served {
    fn new() -> Self {
        Self::by(Shim::pair())
    }

    fn by((shim, link, events): (Shim, ShimLink, mpsc::UnboundedReceiver<Event>)) -> Self {
        let (guard, node) = testing::node();
        let mut pod = testing::pod_of(&node, PodConfig::default());
        pod.ips = vec!["10.0.0.7".parse().unwrap()];
        let key = PodKey::from(&pod.config.metadata);
        let (entry, mailbox, told) = new_entry((*testing::snapshot(&pod, &[])).clone());
        let made = entry.creation_outcome.clone();
        let entry = node.index.claim(key, || entry).unwrap();
        let mut task = Task::new(Arc::clone(&node), entry, mailbox, told);
        task.connect(link, events);
        task.store_pod().unwrap();
        Self {
            guard,
            made,
            asked: shim.serve(|_| Reply::Done),
            told: node.events.listen().unwrap(),
            node,
            task,
        }
    }

    /// A container that was found in this phase. One that was ever started was so at 5.
    fn add(&mut self, phase: ContainerPhase) -> ContainerId {
        let mut record = testing::container(self.task.pod.id, ContainerConfig::default());
        record.config = Arc::new(ContainerConfig {
            metadata: crate::spec::ContainerMetadata {
                name: record.id.to_string(),
                attempt: 0,
            },
            ..ContainerConfig::default()
        });
        if phase != ContainerPhase::Created {
            record.started_at = 5;
        }
        record.phase = phase;
        record::store_container(&self.dir(), &record).unwrap();
        let id = record.id;
        self.task.take_container(record);
        self.task.publish();
        id
    }

    fn dir(&mut self) -> Dir {
        self.task.state_dir().unwrap()
    }

    /// Hands the task a request.
    fn send<T>(&mut self, command: impl FnOnce(Answer<T>) -> Command) -> Awaited<T> {
        let (sender, receiver) = oneshot::channel();
        self.task.command(command(sender));
        Awaited(receiver)
    }

    /// Does what the loop does until nothing is under way any more.
    async fn settle(&mut self) {
        self.task.progress();
        while let Some(done) = self.task.work.next().await {
            self.task.done(done);
            self.task.progress();
        }
    }

    fn phase(&self, id: ContainerId) -> &ContainerPhase {
        &self.task.members[&id].record.phase
    }

    /// The record of a container that the next daemon would find.
    fn on_disk(&mut self, id: ContainerId) -> Option<ContainerRecord> {
        let dir = self.node.pod_dir(self.task.pod.id).unwrap()?;
        let found = record::load_containers(&dir).unwrap();
        found.into_iter().find(|record| record.id == id)
    }

    /// The phase of the pod that the next daemon would find.
    fn pod_on_disk(&self) -> Option<PodPhase> {
        let dir = self.node.pod_dir(self.task.pod.id).unwrap()?;
        Some(record::load_pod(&dir).unwrap()?.phase)
    }

    /// The phase of a container that readers see.
    fn shown(&self, id: ContainerId) -> Option<ContainerPhase> {
        let snapshot = self.task.entry.snapshot.load_full();
        Some(snapshot.containers.get(&id)?.phase.clone())
    }

    /// Requests to the shim since the last call.
    fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Events of the pod and of its containers since the last call.
    fn told(&mut self) -> Vec<(EventKind, &'static str)> {
        let pod = self.task.pod.id.to_string();
        let mut told = Vec::new();
        while let Some(Ok(event)) = self.told.next().now_or_never() {
            let object = if event.object == pod {
                "pod"
            } else {
                "container"
            };
            told.push((event.kind, object));
        }
        told
    }

    fn file(id: ContainerId) -> FileName {
        FileName::new(format!("container.{id}.json")).unwrap()
    }

    /// From now on the disk does not take the record of a container: no file replaces a directory.
    fn refuse(&mut self, id: ContainerId) {
        self.dir().remove_file(&Self::file(id)).unwrap();
        self.dir().create_subdir(&Self::file(id), 0o700).unwrap();
    }

    fn accept(&mut self, id: ContainerId) {
        self.dir().remove_tree(&Self::file(id)).unwrap();
    }
}

fn exited(container: ContainerId, code: i32) -> Event {
    Event::Exited {
        sequence: 3,
        container,
        status: ExitStatus::Code(code),
        at_unix_nanos: 11,
        oom_killed: false,
    }
}

fn running(goal: Goal) -> ContainerPhase {
    ContainerPhase::Running(testing::run(), goal)
}

fn exit(code: i32) -> Exit {
    Exit {
        started_at: 5,
        ..exit_of(ExitStatus::Code(code), 11, false)
    }
}

fn failure() -> PodError {
    PodError::System {
        doing: "do what was made up",
        source: std::io::ErrorKind::TimedOut.into(),
    }
}

/// kubelet and people read the word; the code stays that of the process, as with containerd.
#[test]
fn an_exit_has_a_word_for_its_reason() {
    let cases = [
        (ExitStatus::Code(0), false, 0, "Completed"),
        (ExitStatus::Code(1), false, 1, "Error"),
        (ExitStatus::Signal(9), false, 137, "Error"),
        (ExitStatus::Signal(9), true, 137, "OOMKilled"),
        (ExitStatus::Code(0), true, 0, "OOMKilled"),
    ];
    for (status, oom_killed, code, reason) in cases {
        let exit = exit_of(status, 7, oom_killed);
        let found = (exit.code, exit.reason.as_str(), exit.finished_at);
        assert_eq!(found, (code, reason, 7), "{status:?} {oom_killed}");
    }
}

/// A pod that cannot be made leaves nothing, and its name is free before anybody is told.
#[tokio::test]
async fn a_pod_whose_making_fails_was_never_there() {
    let (_guard, node) = testing::node();
    let mut config = PodConfig::default();
    let nobody = crate::spec::experiments::PodReference::Id("f".repeat(64));
    config.experiments.join_network = Some(nobody);
    let mut pod = testing::pod_of(&node, config);
    pod.phase = PodPhase::Creating;
    let key = PodKey::from(&pod.config.metadata);
    let dir = node.make_pod_dir(pod.id).unwrap();
    record::store_pod(&dir, &pod).unwrap();
    let (entry, mailbox, told) = new_entry((*testing::snapshot(&pod, &[])).clone());
    let made = entry.creation_outcome.clone();
    let entry = node.index.claim(key, || entry).unwrap();
    let mut events = node.events.listen().unwrap();
    Task::new(Arc::clone(&node), entry, mailbox, told)
        .create()
        .await;
    let Some(Err(error)) = made.borrow().clone() else {
        panic!("nobody is told");
    };
    assert!(
        error_chain(&*error).contains("cannot find that pod"),
        "{error:?}"
    );
    assert!(!node.index.has_pod(pod.id) && node.pod_dir(pod.id).unwrap().is_none());
    assert!(node.debts.list().is_empty());
    assert!(events.next().now_or_never().is_none(), "nobody hears of it");
}
