//! Whatever dies, and what that means: the pause, the shim, a container's first process, any other.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use cri_api::runtime::v1::{
    ContainerState, ContainerStatus, ListPodSandboxMetricsRequest, PodSandboxState,
};
use e2e::call::until;
use e2e::evidence::{self, is_alive, with_command};
use e2e::program::sh;
use e2e::request::{self, ContainerParts, PodParts, container, idle, shell};
use e2e::{Container, Daemon, Pod, call, machine, must};

const MIB: i64 = 1 << 20;

/// How long a death may take to be known.
const NOTICE: Duration = Duration::from_secs(15);

/// Whether the daemon sees it happen, or is dead itself and sees what is left.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Watched {
    Yes,
    No,
}

fn kill(pid: i32) {
    sh(&format!("kill -KILL {pid}"));
    until("its end", NOTICE, || (!is_alive(pid)).then_some(()));
}

/// Kills a process while the daemon lives, or while it does not.
fn kill_watched(daemon: &Daemon, pid: i32, watched: Watched) {
    if watched == Watched::Yes {
        return kill(pid);
    }
    daemon.kill9();
    kill(pid);
    daemon.restart();
}

fn shim(pod: &Pod<'_>) -> i32 {
    i32::try_from(pod.info()["shimPid"].as_i64().unwrap()).unwrap()
}

fn not_ready(pod: &Pod<'_>) {
    until("NOTREADY", NOTICE, || {
        (pod.status().state() == PodSandboxState::SandboxNotready).then_some(())
    });
}

fn killed(container: &Container<'_>, reason: &str) -> ContainerStatus {
    let status = container.wait();
    assert_eq!((status.exit_code, status.reason.as_str()), (137, reason));
    assert!(status.started_at > 0 && status.finished_at >= status.started_at);
    status
}

/// What a kubelet does then: it runs the next attempt at once, and removes the old one when it has time.
fn next_attempt(old: Pod<'_>) {
    let mut config = old.config.clone();
    config.metadata.as_mut().unwrap().attempt += 1;
    let new = old.daemon.run(config);
    assert_eq!(new.start(idle("c")).sh("echo alive"), "alive\n");
    old.remove();
    assert_eq!(new.status().state(), PodSandboxState::SandboxReady);
    new.remove();
}

/// A pod with a container in each state, and the processes of those that run.
struct Populated<'d> {
    pod: Pod<'d>,
    running: [Container<'d>; 2],
    created: Container<'d>,
    ended: (Container<'d>, ContainerStatus),
    pids: Vec<i32>,
}

fn populated<'d>(daemon: &'d Daemon, name: &str) -> Populated<'d> {
    let pod = daemon.run_named(name);
    let many = shell(
        "many",
        "sleep 100002 & (setsid sleep 100002 &) ; exec sleep 100002",
    );
    let running = [pod.start(many), pod.start(idle("one"))];
    let mut pids = vec![pod.pause()];
    for one in &running {
        until("its processes", NOTICE, || {
            let group = evidence::cgroup(one.pid(), "pids").processes();
            let wanted = if one.id == running[0].id { 3 } else { 1 };
            (group.len() >= wanted).then(|| pids.extend(group))
        });
    }
    Populated {
        created: pod.create(idle("created")),
        ended: pod.finish(shell("ended", "exit 3")),
        pod,
        running,
        pids,
    }
}

fn nothing_of_it_runs(pids: &[i32]) {
    until("the end of its processes", NOTICE, || {
        pids.iter().all(|pid| !is_alive(*pid)).then_some(())
    });
}

fn a_pause_that_was_killed(watched: Watched) {
    let daemon = Daemon::start();
    let all = populated(&daemon, "pause");
    kill_watched(&daemon, all.pod.pause(), watched);
    not_ready(&all.pod);
    for one in &all.running {
        killed(one, "Error");
    }
    nothing_of_it_runs(&all.pids);
    assert_eq!(all.ended.0.status(), all.ended.1);
    assert_eq!(
        all.created.status().state(),
        ContainerState::ContainerCreated
    );
    next_attempt(all.pod);
}

#[test]
fn a_pause_that_was_killed_makes_the_sandbox_not_ready() {
    a_pause_that_was_killed(Watched::Yes);
}

#[test]
fn a_pause_that_was_killed_unseen_makes_the_sandbox_not_ready() {
    a_pause_that_was_killed(Watched::No);
}

fn a_shim_that_was_killed(watched: Watched) {
    let daemon = Daemon::start();
    let all = populated(&daemon, "shim");
    kill_watched(&daemon, shim(&all.pod), watched);
    not_ready(&all.pod);
    for one in &all.running {
        let status = killed(one, "ShimLost");
        assert!(status.message.contains("shim"), "{}", status.message);
    }
    nothing_of_it_runs(&all.pids);
    assert_eq!(all.ended.0.status(), all.ended.1);
    let said: Vec<_> = all.running.iter().map(Container::status).collect();
    daemon.kill9();
    daemon.restart();
    let again: Vec<_> = all.running.iter().map(Container::status).collect();
    assert_eq!(again, said, "what was said stays so");
    next_attempt(all.pod);
}

#[test]
fn a_shim_that_was_killed_takes_its_pod_along() {
    a_shim_that_was_killed(Watched::Yes);
}

#[test]
fn a_shim_that_was_killed_unseen_takes_its_pod_along() {
    a_shim_that_was_killed(Watched::No);
}

#[test]
fn a_shim_is_no_better_victim_than_the_daemon() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("score");
    let run = pod.start(idle("c"));
    let score = |pid: i32| -> i32 {
        let text = evidence::read(format!("/proc/{pid}/oom_score_adj").as_ref());
        text.parse().unwrap()
    };
    assert_eq!(score(shim(&pod)), score(daemon.pid()));
    // Nor does a pod's limit of memory count it, on a machine without systemd's scopes.
    let groups = |pid: i32| evidence::cgroup(pid, "memory").dir;
    assert!(!groups(shim(&pod)).starts_with(groups(run.pid()).parent().unwrap()));
}

#[test]
fn a_first_process_that_was_killed_takes_its_container_along_and_no_other() {
    let daemon = Daemon::start();
    let all = populated(&daemon, "init");
    let pids = evidence::cgroup(all.running[0].pid(), "pids").processes();
    kill(all.running[0].pid());
    killed(&all.running[0], "Error");
    nothing_of_it_runs(&pids);
    assert_eq!(all.running[1].sh("echo alive"), "alive\n");
    assert_eq!(all.pod.status().state(), PodSandboxState::SandboxReady);
}

#[test]
fn another_process_that_was_killed_is_its_containers_business() {
    let daemon = Daemon::start();
    let run = daemon.run_named("other").start(shell(
        "c",
        "sleep 100003; echo ended with $?; exec sleep 100004",
    ));
    let other = until("the child", NOTICE, || {
        with_command("sleep 100003")
            .into_iter()
            .find(|pid| evidence::command_line(*pid) == "sleep 100003")
    });
    kill(other);
    run.wait_for("ended with 137");
    assert_eq!(run.status().state(), ContainerState::ContainerRunning);
}

#[test]
fn a_command_that_was_killed_ends_with_137() {
    let daemon = Daemon::start();
    let run = daemon.run_named("exec").start(idle("c"));
    std::thread::scope(|scope| {
        let exec = scope.spawn(|| daemon.try_exec(&run.id, &["sleep", "100005"], 60));
        kill(until("the command", NOTICE, || {
            with_command("sleep 100005").pop()
        }));
        assert_eq!(must("ExecSync", exec.join().unwrap()).exit_code, 137);
    });
    assert_eq!(run.status().state(), ContainerState::ContainerRunning);
}

/// How many processes of the only pod's only container were killed for lack of memory.
fn oom_kills(daemon: &Daemon) -> u64 {
    let mut client = daemon.clients().runtime;
    let answer = call(client.list_pod_sandbox_metrics(ListPodSandboxMetricsRequest {}));
    let pods = must("ListPodSandboxMetrics", answer).pod_metrics;
    let metrics = &pods[0].container_metrics[0].metrics;
    let found = metrics
        .iter()
        .find(|metric| metric.name == "container_oom_events_total");
    found.unwrap().value.unwrap().value
}

#[test]
fn lack_of_memory_that_hits_a_child_or_a_command_ends_no_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("child");
    let mut config = shell(
        "c",
        "probe hog 200; echo hog ended with $?; exec sleep 100006",
    );
    config.resources().memory_limit_in_bytes = 32 * MIB;
    let run = pod.start(config);
    run.wait_for("hog ended with 137");
    let seen = oom_kills(&daemon);
    assert!(seen >= 1);
    let command = must(
        "ExecSync",
        daemon.try_exec(&run.id, &["probe", "hog", "200"], 60),
    );
    assert_eq!(command.exit_code, 137);
    assert!(oom_kills(&daemon) > seen);
    assert_eq!(run.status().state(), ContainerState::ContainerRunning);
    // Whoever stops it is the reason of its end, not the lack of memory of another process before.
    run.stop(0);
    killed(&run, "Error");
}

#[test]
fn lack_of_memory_that_hits_the_first_process_is_told_also_when_nobody_looked() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("first");
    let hog = |name: &str, command: &[&str]| {
        let mut config = container(name, request::BUSYBOX, command);
        config.resources().memory_limit_in_bytes = 32 * MIB;
        config
    };
    let run = pod.start(hog("seen", &["probe", "hog", "200"]));
    killed(&run, "OOMKilled");
    let late = pod.start(hog("unseen", &["sh", "-c", "sleep 1; exec probe hog 200"]));
    let pid = late.pid();
    daemon.kill9();
    until("its end", NOTICE, || (!is_alive(pid)).then_some(()));
    daemon.restart();
    killed(&late, "OOMKilled");
}

#[test]
fn lack_of_memory_of_the_whole_pod_ends_the_one_that_took_it() {
    let daemon = Daemon::start();
    let parent = format!("{}/kubepods", daemon.place.cgroup());
    let roots = machine::cgroup_roots().into_iter();
    let memory: Option<PathBuf> = roots
        .filter(|(_, controllers)| controllers.iter().any(|one| one == "memory"))
        .map(|(root, _)| root.join(parent.trim_start_matches('/')))
        .next();
    let Some(memory) = memory else {
        e2e::skip!("the pod's limit is written to cgroup v1 here");
    };
    // The kubelet makes the pod's group with its limit before it asks for the pod.
    fs::create_dir_all(&memory).unwrap();
    fs::write(memory.join("memory.limit_in_bytes"), (64 * MIB).to_string()).unwrap();
    let mut config = daemon.pod("whole");
    config.linux().cgroup_parent.clone_from(&parent);
    let pod = daemon.run(config);
    let modest = pod.start(idle("modest"));
    let hog = pod.start(container("hog", request::BUSYBOX, &["probe", "hog", "200"]));
    killed(&hog, "OOMKilled");
    assert_eq!(modest.sh("echo alive"), "alive\n");
    assert_eq!(pod.status().state(), PodSandboxState::SandboxReady);
    pod.remove();
    // The group is the kubelet's, which removes it.
    for (root, _) in machine::cgroup_roots() {
        let _ = fs::remove_dir(root.join(parent.trim_start_matches('/')));
    }
}

/// The process that forked a pod's shim.
fn server(pod: &Pod<'_>) -> i32 {
    let status = fs::read_to_string(format!("/proc/{}/status", shim(pod))).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let parent = parent.unwrap().trim().parse().unwrap();
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap();
    assert_eq!(name, "holdfast-shims\n");
    parent
}

/// Shims are forked by one process. Its death costs nothing that runs, and the next pod gets another one.
#[test]
fn the_server_of_the_shims_is_killed() {
    let daemon = Daemon::start();
    let old = daemon.run_named("old");
    let container = old.start(idle("c"));
    let first = server(&old);
    let second_pod = daemon.run_named("second");
    assert_eq!(server(&second_pod), first);
    kill(first);
    assert_eq!(container.sh("echo alive"), "alive\n");
    assert_eq!(old.start(idle("d")).sh("echo new"), "new\n");
    let new = daemon.run_named("new");
    let second = server(&new);
    assert_ne!(second, first);
    // It has no pod of its own, so it goes with the daemon that it served.
    daemon.kill9();
    until("the end of the server", NOTICE, || {
        (!is_alive(second)).then_some(())
    });
    daemon.restart();
    assert_eq!(container.sh("echo alive"), "alive\n");
    let last = daemon.run_named("last");
    assert_ne!(server(&last), second);
    for pod in [old, second_pod, new, last] {
        let shim = shim(&pod);
        pod.remove();
        assert!(!is_alive(shim), "a shim stays behind");
    }
}
