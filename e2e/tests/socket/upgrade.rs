//! Daemons and shims of different releases: whatever a daemon finds, no pod is ended for it.

use std::fs::{self, File};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{ContainerConfig, ContainerState, PodSandboxState};
use e2e::call::until;
use e2e::evidence::is_alive;
use e2e::program::sh;
use e2e::request::{idle, shell};
use e2e::{Container, Daemon, Pod, fails};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, accept, bind,
    listen, recvmsg, sendmsg, socket,
};
use tonic::Code;

/// How long the daemon may take to notice an end that nobody tells it.
const NOTICED: Duration = Duration::from_secs(10);

fn state_dir(daemon: &Daemon, pod: &Pod<'_>) -> PathBuf {
    daemon.place.run().join("pods").join(&pod.id)
}

/// Changes a record as another release would have written it.
fn rewrite(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut record = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut record);
    fs::write(path, record.to_string()).unwrap();
}

fn is_ready(pod: &Pod<'_>) -> bool {
    pod.status().state() == PodSandboxState::SandboxReady
}

fn runs(container: &Container<'_>) -> bool {
    container.status().state() == ContainerState::ContainerRunning
}

/// A downgrade: the pod was made by a release whose protocol this one does not speak.
#[test]
fn a_pod_of_a_later_release_runs_on_and_can_be_stopped() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("later");
    let runs_on = pod.start(idle("runs-on"));
    let ends = pod.start(shell(
        "ends",
        "while sleep 0.1; do [ ! -e /end ] || exit 5; done",
    ));
    let record = state_dir(&daemon, &pod).join("pod.json");
    let (pause, pid) = (pod.pause(), runs_on.pid());

    daemon.kill9();
    rewrite(&record, |record| {
        record["data"]["protocols"] = serde_json::json!({ "oldest": 99, "newest": 99 });
    });
    daemon.restart();

    assert!(is_ready(&pod) && runs(&runs_on) && runs(&ends));
    assert!(is_alive(pause) && is_alive(pid));
    let refused = daemon.try_exec(&runs_on.id, &["true"], 5);
    let words = [
        "protocol 99, and this release speaks 1: ",
        "start a newer holdfastd, or remove the pod",
    ];
    fails(refused, Code::FailedPrecondition, &words);
    // Its shim has nobody to tell, and is believed all the same.
    fs::write(format!("/proc/{}/root/end", ends.pid()), "").unwrap();
    let ended = until("the exit of a container", NOTICED, || {
        Some(ends.status()).filter(|status| status.state() == ContainerState::ContainerExited)
    });
    assert_eq!(ended.exit_code, 5, "{ended:?}");
    assert!(is_ready(&pod) && runs(&runs_on));
    runs_on.stop(1);
    assert!(!is_alive(pid));
    pod.stop();
    assert!(!is_alive(pause));
    pod.remove();
}

/// A downgrade of which not even the record can be read: the writable layers of such a pod's containers were swept
/// away under them, and its addresses were given away.
#[test]
fn a_pod_whose_record_cannot_be_read_keeps_all_it_has() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("unread");
    let run = pod.start(shell("c", "echo kept >/kept; exec sleep 1000"));
    let ip = pod.ip();
    let kept = format!("/proc/{}/root/kept", run.pid());
    until("the file", NOTICED, || {
        fs::exists(&kept).unwrap().then_some(())
    });
    let dir = state_dir(&daemon, &pod);
    let record = |name: &str| dir.join(name);
    let damages = [
        record("pod.json"),
        record(&format!("container.{}.json", run.id)),
    ];
    for path in damages {
        daemon.kill9();
        let good = fs::read(&path).unwrap();
        rewrite(&path, |record| record["version"] = 99.into());
        daemon.restart();
        assert!(daemon.pods().is_empty(), "it is served");
        assert!(
            daemon
                .log()
                .contains("the pod is not served, and stays as it is")
        );
        let other = daemon.run_named("other");
        assert_ne!(other.ip(), ip);
        other.remove();
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept\n");

        daemon.kill9();
        fs::write(&path, good).unwrap();
        daemon.restart();
        assert!(is_ready(&pod) && runs(&run));
        assert_eq!(
            run.sh("cat /kept; touch /more && echo writable"),
            "kept\nwritable\n"
        );
    }
}

/// A shim of protocol 1 that says and understands only what one of release 0.1.0 did, byte by byte: see
/// `src/wire/tests/protocol-1.txt`. It stands where the real shim was when the daemon comes back.
struct Replay {
    socket: RawFd,
    container: String,
}

/// Numbers are varints, those that may be negative zigzag: <https://postcard.jamesmunns.com/wire-format>.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

fn zigzag(number: i32) -> Vec<u8> {
    varint(u64::from((number << 1).cast_unsigned()))
}

/// A process as reports name it.
fn identity(pid: i32) -> Vec<u8> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    let ticks = fields.split_whitespace().nth(19).unwrap();
    [zigzag(pid), varint(ticks.parse().unwrap())].concat()
}

impl Replay {
    /// The next request: its number and the rest.
    fn receive(&self) -> (u8, Vec<u8>) {
        let mut buffer = [0; 4096];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let got = recvmsg::<UnixAddr>(self.socket, &mut parts, None, MsgFlags::empty());
        let length = got.unwrap().bytes;
        assert!(length > 3, "the daemon has gone");
        assert_eq!(buffer[..2], [1, 0], "not spoken to in protocol 1");
        (buffer[2], buffer[3..length].to_vec())
    }

    fn send(&self, body: &[&[u8]], files: &[File]) {
        let packet = [&[1, 0], body.concat().as_slice()].concat();
        let numbers: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if files.is_empty() {
            &[][..]
        } else {
            &rights[..]
        };
        let parts = [IoSlice::new(&packet)];
        sendmsg::<()>(self.socket, &parts, rights, MsgFlags::empty(), None).unwrap();
    }

    fn id(&self) -> Vec<u8> {
        [&[64], self.container.as_bytes()].concat()
    }

    /// Answers the inventory that a new daemon asks for.
    fn take_inventory(&self, pause: i32, container: i32) {
        let (number, request) = self.receive();
        assert_eq!(request, [0x0a], "no inventory is asked for");
        let own = std::process::id().cast_signed();
        let pause_report = [identity(pause), identity(own)].concat();
        let containers = [&[1][..], &self.id(), &[0], &identity(container)].concat();
        let files = [
            format!("/proc/{pause}/ns/uts"),
            format!("/proc/{pause}/ns/net"),
        ];
        let body: [&[u8]; 4] = [&[0, number, 4, 1], &pause_report, &containers, &[]];
        self.send(&body, &files.map(|path| File::open(path).unwrap()));
    }

    /// Tells an exit with code 7 and waits until it is acknowledged.
    fn exit(&self) {
        const SEQUENCE: u8 = 30;
        let at = [0x82, 0xda, 0xa0, 0xe7, 0xa9, 0xd7, 0xa0, 0xea, 0x31];
        let body: [&[u8]; 5] = [&[1, 0, SEQUENCE], &self.id(), &[0, 14], &at, &[0]];
        self.send(&body, &[]);
        let (number, request) = self.receive();
        assert_eq!(request, [0x09, SEQUENCE], "not acknowledged");
        self.send(&[&[0, number, 0]], &[]);
    }

    /// Serves until the pod is shut down: `kill` is what there is to end.
    fn shut_down(&self, kill: i32) {
        loop {
            let (number, request) = self.receive();
            if request == [0x0c] {
                sh(&format!("kill -KILL {kill}"));
            }
            self.send(&[&[0, number, 0]], &[]);
            if request == [0x0c] {
                return;
            }
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        // A shim that has ended is seen to have ended.
        let _ = nix::unistd::close(self.socket);
    }
}

#[test]
fn a_shim_of_protocol_1_is_taken_over_byte_by_byte() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("first");
    let run = pod.start(idle("c"));
    let (pause, pid) = (pod.pause(), run.pid());
    let shim = pod.info()["shimPid"].as_i64().unwrap();
    let dir = state_dir(&daemon, &pod);
    daemon.kill9();
    sh(&format!("kill -KILL {shim}"));
    let path = dir.join("shim.sock");
    fs::remove_file(&path).unwrap();
    let flags = SockFlag::SOCK_CLOEXEC;
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
    // Through a descriptor the path stays below the 108 bytes of sun_path.
    let through = fs::File::open(&dir).unwrap();
    let short = format!("/proc/self/fd/{}/shim.sock", through.as_raw_fd());
    bind(
        listener.as_raw_fd(),
        &UnixAddr::new(short.as_str()).unwrap(),
    )
    .unwrap();
    listen(&listener, Backlog::new(8).unwrap()).unwrap();
    let container = run.id.clone();
    let (proceed, wait) = mpsc::channel();
    let replay = thread::spawn(move || {
        let socket = accept(listener.as_raw_fd()).unwrap();
        let replay = Replay { socket, container };
        replay.take_inventory(pause, pid);
        wait.recv().unwrap();
        sh(&format!("kill -KILL {pid}"));
        replay.exit();
        replay.shut_down(pause);
    });

    daemon.restart();
    assert!(is_ready(&pod) && runs(&run));
    proceed.send(()).unwrap();
    let ended = run.wait();
    assert_eq!((ended.exit_code, ended.reason.as_str()), (7, "Error"));
    pod.stop();
    replay.join().unwrap();
    pod.remove();
}

/// A shim that never said which protocol it speaks, as the records of no release have it. Nothing of its pod is touched.
#[test]
fn a_pod_whose_record_names_no_protocol_is_left_alone_with_a_clear_word() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("unknown");
    let run = pod.start(idle("c"));
    let pid = run.pid();
    daemon.kill9();
    rewrite(&state_dir(&daemon, &pod).join("pod.json"), |record| {
        record["data"].as_object_mut().unwrap().remove("protocols");
    });
    daemon.restart();
    assert!(is_ready(&pod) && runs(&run) && is_alive(pid));
    let refused = daemon.try_exec(&run.id, &["true"], 5);
    let words = [
        "protocol 0, and this release speaks 1: ",
        "remove the pod, or start the release before this one",
    ];
    fails(refused, Code::FailedPrecondition, &words);
    pod.stop();
    assert!(!is_alive(pid));
    pod.remove();
}

/// The real thing: an earlier release starts pods, and this one takes them over. `e2e/older.sh` builds one from
/// the project's history; its directory is given in `HOLDFAST_OLDER`.
#[test]
fn pods_of_an_earlier_release_are_served_by_this_one() {
    let Some(older) = std::env::var_os("HOLDFAST_OLDER").map(PathBuf::from) else {
        e2e::skip!(
            "HOLDFAST_OLDER names no directory with holdfastd and holdfast-shim of an earlier release"
        );
    };
    let daemon = Daemon::start();
    daemon.provide(e2e::BUSYBOX);
    daemon.terminate();
    daemon.restart_as(&older.join("holdfastd"));
    let pod = daemon.run_named("older");
    let counts = "i=0; while :; do echo $i; i=$((i + 1)); sleep 0.02; done";
    let (run, ends) = (
        pod.start(shell("runs", counts)),
        pod.start(shell("ends", "sleep 1; exit 9")),
    );
    let created = pod.create(shell("created", "exit 4"));
    let terminal = pod.start(ContainerConfig {
        tty: true,
        stdin: true,
        ..shell("terminal", "read line; exit 6")
    });
    let (pid, pause) = (run.pid(), pod.pause());
    daemon.kill9();
    thread::sleep(Duration::from_secs(2));
    daemon.restart();

    assert!(is_ready(&pod) && runs(&run) && runs(&terminal));
    assert_eq!((run.pid(), pod.pause()), (pid, pause));
    assert_eq!(ends.wait().exit_code, 9);
    assert_eq!(run.sh("echo $((6 * 7))"), "42\n");
    created.start();
    assert_eq!(created.wait().exit_code, 4);
    let (_, later) = pod.finish(shell("later", "exit 5"));
    assert_eq!(later.exit_code, 5);
    run.stop(1);
    assert_eq!(run.status().exit_code, 137);
    let lines: Vec<usize> = run
        .stdout()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(
        lines,
        (0..lines.len()).collect::<Vec<_>>(),
        "a line is lost"
    );
    terminal.stop(0);
    // A new pod beside it has the new shim.
    daemon.run_named("newer").start(idle("c"));
    pod.stop();
    pod.remove();
}
