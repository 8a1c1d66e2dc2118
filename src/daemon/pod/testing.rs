//! Records, a node and a shim for the tests of this module.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;

use holdfast_kernel::sys::fdpass;
use holdfast_kernel::sys::pid::Pid;
use holdfast_wire::{
    self as wire, Event, FromShim, MAX_PACKET, Protocol, Protocols, Reply, Request, ToShim,
};

use super::entry::{PodEntry, PodSnapshot, new_entry};
use super::index::PodKey;
use super::link::ShimLink;
use super::node::Node;
use super::process::ProcessIdentity;
use super::record::{ContainerImage, ContainerRecord, PodRecord};
use super::state::{ContainerPhase, PodPhase, Run};
use crate::spec::{ContainerConfig, PodConfig, Signal};
use holdfast_disk::Dir;
use holdfast_kernel::id::{ContainerId, PodId};

/// A ready pod of this configuration.
pub(super) fn pod(config: PodConfig) -> PodRecord {
    PodRecord {
        id: PodId::random().unwrap(),
        config: Arc::new(config),
        phase: PodPhase::Ready,
        created_at: 1,
        boot_id: "one".to_owned(),
        pause: None,
        shim: None,
        ips: Vec::new(),
        cgroup: "/pods/p".to_owned(),
        resources: Default::default(),
        protocols: Protocols::OWN,
        localhost_seccomp: None,
        network_owner: None,
    }
}

/// A created container of this configuration.
pub(super) fn container(pod: PodId, config: ContainerConfig) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::random().unwrap(),
        pod,
        config: Arc::new(config),
        image: Arc::new(ContainerImage {
            id: "sha256:1".to_owned(),
            reference: "localhost/a:1".to_owned(),
            digest: "sha256:1".to_owned(),
            layers: Vec::new(),
            defaults: Default::default(),
        }),
        image_volumes: Vec::new(),
        cdi: Default::default(),
        devices: Vec::new(),
        localhost_seccomp: None,
        identity: Default::default(),
        phase: ContainerPhase::Created,
        removed_exit: None,
        created_at: 2,
        started_at: 0,
        log_path: None,
        resources: Default::default(),
        stop_signal: Signal::TERM,
        degraded: Vec::new(),
    }
}

/// Writes a file as a crash or another release left it.
#[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
pub(super) fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
}

/// A directory of state that goes with its guard.
pub(super) fn dir() -> (tempfile::TempDir, Dir) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = Dir::create_root(temporary.path()).unwrap();
    (temporary, dir)
}

/// A first process that was started at 5.
pub(super) fn run() -> Run {
    Run {
        process: ProcessIdentity {
            pid: Pid::from_raw(7),
            start_ticks: 9,
        },
        started_at: 5,
    }
}

/// A failure that a shim reports.
pub(super) fn failure() -> wire::Failure {
    let object = wire::Object::Text("made up".to_owned());
    wire::Failure::errno(wire::Step::Cgroup, libc::EPERM, object)
}

/// The user and the group of the tests, who may own what they make.
pub(super) fn user() -> (u32, u32) {
    (
        nix::unistd::getuid().as_raw(),
        nix::unistd::getgid().as_raw(),
    )
}

/// The identity of a process that runs.
pub(super) fn process(pid: u32) -> ProcessIdentity {
    let pid = Pid::try_from(pid).unwrap();
    let start_ticks = holdfast_kernel::sys::proc::start_ticks(pid).unwrap();
    ProcessIdentity { pid, start_ticks }
}

/// A program that runs until its standard input ends, and dies with its guard.
pub(super) struct Program(std::process::Child);

impl Program {
    #[expect(clippy::disallowed_methods, reason = "a process of the test's own")]
    pub(super) fn run() -> Self {
        let mut command = std::process::Command::new("cat");
        let piped = std::process::Stdio::piped;
        Self(command.stdin(piped()).stdout(piped()).spawn().unwrap())
    }

    /// Whether it still reads and writes: a process that was killed does neither from then on.
    pub(super) fn answers(&mut self) -> bool {
        use std::io::{Read, Write};
        let (input, output) = (self.0.stdin.as_mut(), self.0.stdout.as_mut());
        input.unwrap().write_all(b"x").is_ok() && output.unwrap().read_exact(&mut [0]).is_ok()
    }

    pub(super) fn identity(&self) -> ProcessIdentity {
        process(self.0.id())
    }

    /// The signal that ended it; waits for its end.
    pub(super) fn killed_by(&mut self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.0.wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node of the test's own, in a directory that goes with its guard. Its pods have no network, it has no program for
/// shims, and nothing is ever made below its cgroup parent.
pub(super) fn node() -> (tempfile::TempDir, Arc<Node>) {
    let (temporary, node) = bare_node();
    (temporary, Arc::new(node))
}

/// Makes the node of [`node`], for tests that change it.
pub(super) fn bare_node() -> (tempfile::TempDir, Node) {
    let temporary = tempfile::tempdir().unwrap();
    let node = Node::of_test(temporary.path());
    (temporary, node)
}

/// A ready pod in the cgroup that the node gives it.
pub(super) fn pod_of(node: &Node, config: PodConfig) -> PodRecord {
    let mut pod = pod(config);
    pod.cgroup = node.pod_cgroup(pod.id, None).unwrap().to_string();
    pod.boot_id.clone_from(&node.boot_id);
    pod
}

/// Makes the snapshot of a pod and its containers.
pub(super) fn snapshot(pod: &PodRecord, containers: &[&ContainerRecord]) -> Arc<PodSnapshot> {
    let containers = containers.iter();
    Arc::new(PodSnapshot {
        pod: Arc::new(pod.clone()),
        containers: containers
            .map(|record| (record.id, Arc::new((*record).clone())))
            .collect(),
    })
}

/// Makes a pod known to a node as if a task served it. Its name is its id.
pub(super) fn known(node: &Node, pod: &PodRecord) -> Arc<PodEntry> {
    let snapshot = PodSnapshot {
        pod: Arc::new(pod.clone()),
        containers: BTreeMap::new(),
    };
    let mut metadata = pod.config.metadata.clone();
    metadata.uid = pod.id.to_string();
    let (entry, _mailbox, _made) = new_entry(snapshot);
    node.index
        .claim(PodKey::from(&metadata), || entry)
        .expect("two pods have one id")
}

/// The other end of a [`ShimLink`]: a shim that says what a test wants it to say.
pub(super) struct Shim(UnixDatagram);

/// A request that a [`Shim`] got.
pub(super) struct ShimRequest {
    pub id: u64,
    pub body: Request,
    pub descriptors: Vec<OwnedFd>,
}

impl Shim {
    /// A shim of this release, with the link to it.
    pub(super) fn pair() -> (Self, ShimLink, mpsc::UnboundedReceiver<Event>) {
        Self::speaking(Protocols::OWN)
    }

    /// A shim of which the record says that it speaks these versions.
    pub(super) fn speaking(
        protocols: Protocols,
    ) -> (Self, ShimLink, mpsc::UnboundedReceiver<Event>) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let (link, events) = ShimLink::over(theirs, protocols).unwrap();
        (
            Self(UnixDatagram::from_std(ours.into()).unwrap()),
            link,
            events,
        )
    }

    /// The next request; none when the daemon has hung up.
    pub(super) async fn asked(&self) -> Option<ShimRequest> {
        let mut buffer = [0; MAX_PACKET];
        let receive = || fdpass::recv_packet(self.0.as_fd(), &mut buffer);
        let received = self.0.async_io(Interest::READABLE, receive).await;
        let (length, descriptors) = received.unwrap();
        if length == 0 {
            return None;
        }
        let (_, ToShim { id, body }) = wire::decode(&buffer[..length]).unwrap();
        Some(ShimRequest {
            id,
            body,
            descriptors,
        })
    }

    /// Whether no request waits to be read.
    pub(super) fn was_left_alone(&self) -> bool {
        let received = fdpass::recv_packet(self.0.as_fd(), &mut [0; MAX_PACKET]);
        received.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    pub(super) fn reply(&self, id: u64, body: Reply, descriptors: &[BorrowedFd<'_>]) {
        self.send(&FromShim::Reply { id, body }, descriptors);
    }

    /// Takes one request and answers it.
    pub(super) async fn answer(&self, body: Reply, descriptors: &[BorrowedFd<'_>]) -> ShimRequest {
        let asked = self.asked().await.expect("the daemon has hung up");
        self.reply(asked.id, body, descriptors);
        asked
    }

    pub(super) fn tell(&self, event: Event) {
        self.send(&FromShim::Event(event), &[]);
    }

    fn send(&self, packet: &FromShim, descriptors: &[BorrowedFd<'_>]) {
        let bytes = wire::encode(Protocol::CURRENT, packet).unwrap();
        fdpass::send_packet(self.0.as_fd(), &bytes, descriptors).unwrap();
    }

    /// Sends what is no message of this release.
    pub(super) fn babble(&self) {
        fdpass::send_packet(self.0.as_fd(), b"\xff\xff?", &[]).unwrap();
    }

    /// Answers every request until the daemon hangs up. What is asked is in the list before it is answered.
    pub(super) fn serve(
        self,
        answer: impl Fn(&Request) -> Reply + Send + 'static,
    ) -> Arc<Mutex<Vec<Request>>> {
        let list: Arc<Mutex<Vec<Request>>> = Arc::default();
        let asked = Arc::clone(&list);
        tokio::spawn(async move {
            while let Some(ShimRequest { id, body, .. }) = self.asked().await {
                let reply = answer(&body);
                asked.lock().unwrap().push(body);
                self.reply(id, reply, &[]);
            }
        });
        list
    }
}
