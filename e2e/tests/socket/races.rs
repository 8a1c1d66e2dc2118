//! Opposite calls at the same time, many times: whatever happens is something that may happen, and nothing is left.

use std::sync::Barrier;
use std::thread;

use cri_api::runtime::v1::{
    ContainerState, ExecRequest, LinuxContainerResources, PortForwardRequest,
    ReopenContainerLogRequest, UpdateContainerResourcesRequest,
};
use e2e::request::{BUSYBOX, idle, shell};
use e2e::{Daemon, Pod, call, must};
use tonic::{Code, Status};

/// How often each pair is raced.
const ROUNDS: usize = 25;

/// Both at once; which one is a little later changes from round to round.
fn race<A: Send, B: Send>(
    round: usize,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    let barrier = Barrier::new(2);
    let late = |later: bool| {
        barrier.wait();
        let micros = if later { 150 * (round as u64 % 9) } else { 0 };
        thread::sleep(std::time::Duration::from_micros(micros));
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            late(round.is_multiple_of(2));
            one()
        });
        late(!round.is_multiple_of(2));
        let second = other();
        (first.join().unwrap(), second)
    })
}

/// It succeeded, or was refused with one of these codes.
#[track_caller]
fn allowed<T>(what: &str, result: Result<T, Status>, codes: &[Code]) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(status) => {
            assert!(codes.contains(&status.code()), "{what}: {status:?}");
            None
        }
    }
}

#[test]
fn start_and_stop() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("race");
    for round in 0..ROUNDS {
        let run = pod.create(idle(&format!("c{round}")));
        let (start, stop) = race(
            round,
            || daemon.try_start(&run.id),
            || daemon.try_stop(&run.id, 0),
        );
        must("StopContainer", stop);
        allowed("StartContainer", start, &[Code::FailedPrecondition]);
        let status = run.status();
        match status.state() {
            ContainerState::ContainerExited => {
                assert!([137, 128].contains(&status.exit_code), "{status:?}");
            }
            // The stop was first, and there was nothing to stop.
            ContainerState::ContainerRunning => assert_eq!(run.sh("echo alive"), "alive\n"),
            other => panic!("{other:?}"),
        }
        run.stop(0);
        assert_eq!(run.status().state(), ContainerState::ContainerExited);
    }
}

#[test]
fn start_and_remove() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("race");
    for round in 0..ROUNDS {
        let run = pod.create(idle("c"));
        let (start, remove) = race(
            round,
            || daemon.try_start(&run.id),
            || daemon.try_remove(&run.id),
        );
        must("RemoveContainer", remove);
        let codes = [Code::NotFound, Code::FailedPrecondition];
        allowed("StartContainer", start, &codes);
        assert_eq!(
            daemon.try_status(&run.id).unwrap_err().code(),
            Code::NotFound
        );
        assert!(daemon.containers().is_empty());
    }
}

#[test]
fn create_and_remove_of_the_pod() {
    let daemon = Daemon::start();
    for round in 0..ROUNDS {
        let pod = daemon.run_named("race");
        let (create, remove) = race(
            round,
            || daemon.try_create(&pod.id, &pod.config, &idle("c")),
            || daemon.try_remove_pod(&pod.id),
        );
        must("RemovePodSandbox", remove);
        allowed(
            "CreateContainer",
            create,
            &[Code::NotFound, Code::FailedPrecondition],
        );
        assert!(daemon.containers().is_empty() && daemon.pods().is_empty());
    }
}

/// What is asked of a pod while it ends. The container runs, the other one is created.
type Asked = fn(&Daemon, &Pod<'_>, &e2e::Container<'_>, &e2e::Container<'_>) -> Result<(), Status>;

/// A CreateContainer while its pod was removed answered INTERNAL now and then, and so did other calls that the end of
/// the pod overtook. It is the answer for a pod or a container that does not run (FAILED_PRECONDITION), or that is
/// gone (NOT_FOUND).
#[test]
fn whatever_is_asked_of_a_pod_that_ends() {
    let daemon = Daemon::start();
    let asked: [(&str, Asked); 8] = [
        ("CreateContainer", |daemon, pod, _, _| {
            let created = daemon.try_create(&pod.id, &pod.config, &idle("new"));
            created.map(drop)
        }),
        ("StartContainer", |daemon, _, _, created| {
            daemon.try_start(&created.id)
        }),
        ("ExecSync", |daemon, _, run, _| {
            daemon.try_exec(&run.id, &["echo", "word"], 10).map(drop)
        }),
        ("Exec", |daemon, _, run, _| {
            let request = ExecRequest {
                container_id: run.id.clone(),
                cmd: vec!["true".to_owned()],
                stdout: true,
                ..ExecRequest::default()
            };
            call(daemon.clients().runtime.exec(request)).map(drop)
        }),
        ("PortForward", |daemon, pod, _, _| {
            let request = PortForwardRequest {
                pod_sandbox_id: pod.id.clone(),
                port: vec![80],
            };
            call(daemon.clients().runtime.port_forward(request)).map(drop)
        }),
        ("UpdateContainerResources", |daemon, _, run, _| {
            update(daemon, &run.id)
        }),
        (
            "UpdateContainerResources of a created one",
            |daemon, _, _, created| update(daemon, &created.id),
        ),
        ("ReopenContainerLog", |daemon, _, run, _| {
            let request = ReopenContainerLogRequest {
                container_id: run.id.clone(),
            };
            call(daemon.clients().runtime.reopen_container_log(request)).map(drop)
        }),
    ];
    for (what, ask) in asked {
        for round in 0..8 {
            let pod = daemon.run_named("race");
            let (run, created) = (pod.start(idle("run")), pod.create(idle("created")));
            let stop = round % 4 < 2;
            let (answer, end) = race(
                round,
                || ask(&daemon, &pod, &run, &created),
                || match stop {
                    true => daemon.try_stop_pod(&pod.id),
                    false => daemon.try_remove_pod(&pod.id),
                },
            );
            must("the end of the pod", end);
            allowed(what, answer, &[Code::NotFound, Code::FailedPrecondition]);
            must("RemovePodSandbox", daemon.try_remove_pod(&pod.id));
        }
    }
    let log = std::fs::read_to_string(daemon.place.daemon_log()).unwrap_or_default();
    let noise = log.lines().find(|line| line.contains("WARN"));
    assert_eq!(noise, None, "the end of a pod is no trouble");
}

fn update(daemon: &Daemon, container: &str) -> Result<(), Status> {
    let request = UpdateContainerResourcesRequest {
        container_id: container.to_owned(),
        linux: Some(LinuxContainerResources {
            memory_limit_in_bytes: 64 << 20,
            ..LinuxContainerResources::default()
        }),
        ..UpdateContainerResourcesRequest::default()
    };
    call(daemon.clients().runtime.update_container_resources(request)).map(drop)
}

#[test]
fn run_and_run_again() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    for round in 0..ROUNDS {
        let mut config = daemon.pod("race");
        config.metadata.as_mut().unwrap().attempt = u32::try_from(round).unwrap();
        let (one, other) = race(
            round,
            || daemon.try_run(&config),
            || daemon.try_run(&config),
        );
        let id = must("RunPodSandbox", one);
        assert_eq!(must("RunPodSandbox", other), id);
        assert_eq!(daemon.pods().len(), 1);
        must("RemovePodSandbox", daemon.try_remove_pod(&id));
    }
}

#[test]
fn run_and_remove() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    let config = daemon.pod("race");
    for round in 0..ROUNDS {
        let id = must("RunPodSandbox", daemon.try_run(&config));
        let (again, remove) = race(
            round,
            || daemon.try_run(&config),
            || daemon.try_remove_pod(&id),
        );
        must("RemovePodSandbox", remove);
        let again = allowed("RunPodSandbox", again, &[Code::AlreadyExists]);
        let left: Vec<_> = daemon.pods().into_iter().map(|pod| pod.id).collect();
        match again {
            // It was made anew, or it was the old one, which is gone.
            Some(new) if new != id => assert_eq!(left, std::slice::from_ref(&new)),
            _ => assert!(left.is_empty(), "{left:?}"),
        }
        for id in left {
            must("RemovePodSandbox", daemon.try_remove_pod(&id));
        }
    }
}

#[test]
fn stop_and_stop_again() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("race");
    for round in 0..ROUNDS {
        let run = pod.start(shell(
            "c",
            "trap 'exit 5' TERM; while :; do sleep 0.02; done",
        ));
        let (one, other) = race(
            round,
            || daemon.try_stop(&run.id, 10),
            || daemon.try_stop(&run.id, if round.is_multiple_of(3) { 0 } else { 10 }),
        );
        must("StopContainer", one);
        must("StopContainer", other);
        let code = run.status().exit_code;
        assert!([5, 137].contains(&code), "{code}");
        run.remove();
    }
}

#[test]
fn pull_and_remove_of_the_image() {
    const IMAGE: &str = "registry.holdfast.test/layers/whiteouts:1";
    let daemon = Daemon::start();
    for round in 0..ROUNDS {
        let (pull, remove) = race(
            round,
            || daemon.try_pull(IMAGE),
            || daemon.try_remove_image(IMAGE),
        );
        must("PullImage", pull);
        must("RemoveImage", remove);
        must("PullImage", daemon.try_pull(IMAGE));
        assert!(daemon.image(IMAGE).is_some());
    }
}

#[test]
fn exec_and_stop() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("race");
    for round in 0..ROUNDS {
        let run = pod.start(idle("c"));
        let (exec, stop) = race(
            round,
            || daemon.try_exec(&run.id, &["echo", "word"], 10),
            || daemon.try_stop(&run.id, 0),
        );
        must("StopContainer", stop);
        let codes = [Code::FailedPrecondition, Code::NotFound];
        if let Some(answer) = allowed("ExecSync", exec, &codes) {
            let whole = answer.exit_code == 0 && answer.stdout == b"word\n";
            assert!(whole || answer.exit_code == 137, "{answer:?}");
        }
        run.remove();
    }
}

#[test]
fn update_and_remove() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("race");
    for round in 0..ROUNDS {
        let run = pod.start(idle("c"));
        let request = UpdateContainerResourcesRequest {
            container_id: run.id.clone(),
            linux: Some(LinuxContainerResources {
                cpu_shares: 512,
                ..LinuxContainerResources::default()
            }),
            ..UpdateContainerResourcesRequest::default()
        };
        let mut client = daemon.clients().runtime;
        let (update, remove) = race(
            round,
            || call(client.update_container_resources(request)),
            || daemon.try_remove(&run.id),
        );
        must("RemoveContainer", remove);
        let codes = [Code::NotFound, Code::FailedPrecondition];
        allowed("UpdateContainerResources", update, &codes);
        assert!(daemon.containers().is_empty());
    }
}

#[test]
fn reopening_the_log_and_the_end() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("race");
    for round in 0..ROUNDS {
        let run = pod.start(shell(&format!("c{round}"), "echo word; sleep 0.05; exit 9"));
        thread::sleep(std::time::Duration::from_millis(40));
        let request = ReopenContainerLogRequest {
            container_id: run.id.clone(),
        };
        let mut client = daemon.clients().runtime;
        let (reopen, ended) = race(
            round,
            || call(client.reopen_container_log(request)),
            || run.wait(),
        );
        let codes = [Code::NotFound, Code::FailedPrecondition];
        allowed("ReopenContainerLog", reopen, &codes);
        assert_eq!(ended.exit_code, 9);
        assert_eq!(run.stdout(), "word\n");
    }
}
