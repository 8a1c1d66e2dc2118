//! The service manager's watchdog: fed while the daemon answers itself, whatever its pods do, and not else.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

use e2e::call::until;
use e2e::daemon::Options;
use e2e::place::{Place, WATCHDOG};
use e2e::program::sh;
use e2e::request::idle;
use e2e::{Daemon, cni};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// The service manager, as far as a watchdog needs one.
struct Manager(UnixDatagram);

impl Manager {
    fn at(place: &Place) -> Self {
        let socket = UnixDatagram::bind(place.notify()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        Self(socket)
    }

    fn next(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// How often it is fed within so long.
    fn fed(&self, time: Duration) -> usize {
        let until = Instant::now() + time;
        let mut fed = 0;
        while Instant::now() < until {
            fed += usize::from(self.next().is_some_and(|text| text.contains("WATCHDOG=1")));
        }
        fed
    }

    fn drain(&self) {
        while self.next().is_some() {}
    }

    /// Whether the watchdog would stay quiet for a good while.
    fn assert_fed(&self) {
        self.drain();
        for _ in 0..3 {
            assert!(self.fed(WATCHDOG) > 0, "the daemon would be killed");
        }
    }
}

fn start() -> (Daemon, Manager) {
    let place = Place::new();
    Options::default().write(&place);
    let manager = Manager::at(&place);
    (Daemon::at(place), manager)
}

#[test]
fn it_is_fed_while_all_is_well() {
    let (daemon, manager) = start();
    until("READY", Duration::from_secs(10), || {
        manager.next()?.contains("READY=1").then_some(())
    });
    manager.assert_fed();
    daemon.run_named("p").start(idle("c"));
    manager.assert_fed();
}

/// The daemon's first thread, which accepts connections, and one of its runtime's workers. Threads for work
/// that blocks come and go, and so cannot be the one that is stuck.
fn threads(daemon: &Daemon) -> [i32; 2] {
    let pid = daemon.pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let worker = tasks.flatten().find(|task| {
        let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        comm.trim() == "holdfastd-work"
    });
    let worker = worker.expect("a worker of the runtime").file_name();
    [pid, worker.to_str().unwrap().parse().unwrap()]
}

#[test]
fn it_is_not_fed_while_a_thread_of_the_daemon_is_stuck() {
    let (daemon, manager) = start();
    daemon.run_named("p").start(idle("c"));
    manager.assert_fed();
    for thread in threads(&daemon) {
        // A debugger stops one thread and no other: as stuck as in a loop or behind a lock.
        let thread = Pid::from_raw(thread);
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        // A check that was under way may have got past it.
        thread::sleep(WATCHDOG / 3);
        manager.drain();
        assert_eq!(manager.fed(WATCHDOG * 2), 0, "thread {thread} is stuck");
        ptrace::detach(thread, None).unwrap();
        until("it is fed again", Duration::from_secs(10), || {
            (manager.fed(WATCHDOG) > 0).then_some(())
        });
    }
    assert!(daemon.log().contains("does not answer its own request"));
    manager.assert_fed();
}

#[test]
fn pods_that_hang_do_not_keep_it_from_being_fed() {
    let (daemon, plugins) = cni::start(Options::default().set("cni.timeout", "600s"));
    plugins.spy("spy");
    let list = r#"{ "cniVersion": "1.1.0", "name": "spied", "plugins": [{ "type": "spy" }] }"#;
    plugins.configure("10-spied.conflist", list);
    let manager = Manager::at(&daemon.place);
    daemon.terminate();
    daemon.restart();
    let pod = daemon.run_named("stopped");
    let run = pod.start(idle("c"));
    let shim = pod.info()["shimPid"].as_i64().unwrap();
    plugins.act("spy", "ADD", "sleep 1000");
    thread::scope(|scope| {
        for number in 0..80 {
            let daemon = &daemon;
            scope.spawn(move || daemon.try_run(&daemon.pod(&format!("hangs-{number}"))));
        }
        // The shim answers nobody any more, and who wants something of it waits.
        sh(&format!("kill -STOP {shim}"));
        scope.spawn(|| daemon.try_exec(&run.id, &["true"], 0));
        scope.spawn(|| daemon.try_stop(&run.id, 600));
        until("plugins hang", Duration::from_secs(30), || {
            let adds = plugins.order().into_iter().filter(|call| call == "spy.ADD");
            (adds.count() > 40).then_some(())
        });
        manager.assert_fed();
        sh(&format!("kill -CONT {shim}"));
        plugins.act("spy", "ADD", "");
        // Those who wait are let go by the daemon's end.
        daemon.kill9();
    });
    daemon.restart();
    manager.assert_fed();
}
