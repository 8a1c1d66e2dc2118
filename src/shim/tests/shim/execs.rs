//! Further processes.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::{descriptor, tty};
use holdfast_wire::plan::ExecPlan;
use holdfast_wire::*;

use crate::harness::*;

/// Descriptors of an exec, and the other ends: input, output, error.
fn streams(plan: &ExecPlan) -> (Vec<OwnedFd>, [OwnedFd; 3]) {
    let (input, feed) = std::io::pipe().unwrap();
    let (output, first) = std::io::pipe().unwrap();
    let (error, second) = std::io::pipe().unwrap();
    let passed = vec![plan_file(plan), input.into(), first.into(), second.into()];
    (passed, [feed.into(), output.into(), error.into()])
}

fn plan(args: &[&str]) -> ExecPlan {
    ExecPlan {
        process: process(args),
        user: None,
        terminal_size: None,
    }
}

struct Pod {
    harness: Harness,
    container: ContainerId,
    pid: Pid,
}

fn pod() -> Pod {
    let mut harness = Harness::with_pause(|_| {});
    let container = ContainerId::random().unwrap();
    let pid = harness.run(container, "sleep 60");
    Pod {
        harness,
        container,
        pid,
    }
}

impl Pod {
    fn exec(&mut self, exec: u64, plan: &ExecPlan) -> (Reply, [OwnedFd; 3]) {
        let (passed, ends) = streams(plan);
        let request = Request::Exec {
            container: self.container,
            exec,
            stdio: ExecStdio::Descriptors,
        };
        (self.harness.ask(request, &passed).0, ends)
    }

    fn directory(&self, exec: u64) -> std::path::PathBuf {
        let name = format!("exec-{exec}");
        self.harness
            .cgroup(CgroupSlot::Unified, &self.container.short())
            .join(name)
    }
}

#[test]
fn a_command_runs_in_the_container_with_its_streams() {
    if !can_run() {
        return;
    }
    let mut pod = pod();
    let script =
        "cat; echo $COLOUR; pwd; echo bad >&2; hostname; grep NSpid /proc/self/status; exit 5";
    let (reply, [feed, output, error]) = pod.exec(1, &plan(&["/bin/sh", "-c", script]));
    let Reply::Started { pid, .. } = reply else {
        panic!("{reply:?}")
    };
    for name in ["net", "ipc", "uts", "pid", "mnt", "cgroup"] {
        assert_eq!(namespace(pid, name), namespace(pod.pid, name), "{name}");
    }
    assert!(pod.directory(1).is_dir());
    let mut feed = fs::File::from(feed);
    feed.write_all(b"fed\n").unwrap();
    drop(feed);
    let output = read_all(output);
    assert!(
        output.starts_with("fed\nblue\n/root\nthe-pod\nNSpid:"),
        "{output}"
    );
    assert_eq!(read_all(error), "bad\n");
    assert_eq!(
        pod.harness.event(),
        Event::ExecExited {
            exec: 1,
            status: ExitStatus::Code(5)
        }
    );
    assert!(!pod.directory(1).exists());
    pod.harness.shut_down();
}

#[test]
fn killing_an_exec_takes_everything_that_it_started() {
    if !can_run() {
        return;
    }
    let mut pod = pod();
    let script = "sleep 70 & sleep 70 & echo ready; sleep 70";
    let (reply, [_feed, output, _error]) = pod.exec(2, &plan(&["/bin/sh", "-c", script]));
    assert!(matches!(reply, Reply::Started { .. }), "{reply:?}");
    pod.harness.done(Request::KillExec { exec: 2 });
    assert_eq!(
        pod.harness.event(),
        Event::ExecExited {
            exec: 2,
            status: ExitStatus::Signal(9)
        }
    );
    // All writers are dead: the pipe ends.
    read_all(output);
    let procs = pod
        .harness
        .cgroup(CgroupSlot::Unified, &pod.container.short())
        .join("cgroup.procs");
    assert_eq!(fs::read_to_string(procs).unwrap().lines().count(), 1);
    let Reply::Failed(failure) = pod.harness.ask(Request::KillExec { exec: 2 }, &[]).0 else {
        panic!()
    };
    assert_eq!(failure.number(), Some(libc::ESRCH));
    pod.harness.shut_down();
}

#[test]
fn a_command_that_is_missing_or_has_no_directory_is_named() {
    if !can_run() {
        return;
    }
    let mut pod = pod();
    let (reply, _ends) = pod.exec(3, &plan(&["/bin/nonsense"]));
    let expected = Failure::errno(
        Step::Exec,
        libc::ENOENT,
        Object::Path("/bin/nonsense".to_owned()),
    );
    assert_eq!(reply, Reply::Failed(expected));
    assert!(!pod.directory(3).exists());
    let mut homeless = plan(&["/bin/true"]);
    homeless.process.cwd = text("/nowhere");
    let (reply, _ends) = pod.exec(4, &homeless);
    let expected = Failure::errno(
        Step::WorkingDirectory,
        libc::ENOENT,
        Object::Path("/nowhere".to_owned()),
    );
    assert_eq!(reply, Reply::Failed(expected));
    pod.harness.shut_down();
}

#[test]
fn a_terminal_comes_with_its_main_side() {
    if !can_run() {
        return;
    }
    let mut pod = pod();
    let mut plan = plan(&["/bin/sh", "-c", "tty; read line; echo got $line"]);
    plan.process.terminal = true;
    let request = Request::Exec {
        container: pod.container,
        exec: 5,
        stdio: ExecStdio::Terminal,
    };
    let (reply, mut descriptors) = pod.harness.ask(request, &[plan_file(&plan)]);
    assert!(matches!(reply, Reply::Started { .. }), "{reply:?}");
    let main = descriptors.remove(1);
    tty::set_size(main.as_fd(), 24, 80).unwrap();
    descriptor::write(main.as_fd(), b"this\n").unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 256];
    while let Ok(length) = descriptor::read(main.as_fd(), &mut buffer) {
        seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(
        seen.contains("/dev/pts/0") && seen.contains("got this"),
        "{seen}"
    );
    assert_eq!(
        pod.harness.event(),
        Event::ExecExited {
            exec: 5,
            status: ExitStatus::Code(0)
        }
    );
    pod.harness.shut_down();
}
