//! A pod whose shim is of another release: what the kernel can do is done past it.

use super::*;
use crate::pod::testing::Program;
use holdfast_wire::Protocols;

fn served() -> Served {
    Served::by(Shim::speaking(Protocols {
        oldest: u16::MAX,
        newest: u16::MAX,
    }))
}

fn run(program: &Program) -> ContainerPhase {
    let process = program.identity();
    let run = Run {
        process,
        started_at: 5,
    };
    ContainerPhase::Running(run, Goal::Run)
}

#[tokio::test]
async fn a_stop_signals_the_process_itself() {
    let mut served = served();
    let mut program = Program::run();
    let id = served.add(run(&program));
    let mut stop = served.send(|answer| Command::Stop(id, Duration::from_secs(99), answer));
    served.settle().await;
    assert_eq!(program.killed_by(), Some(libc::SIGTERM));
    assert_eq!(stop.answer(), None, "nobody tells of the exit");
    served.task.look_at_foreign_shim();
    assert_eq!(stop.answer(), Some(Ok(())));
    served.settle().await;
    assert!(served.asked().is_empty(), "the shim understands nothing");
}

/// Nothing in the pod is ended because nobody speaks with its shim; what has ended by itself is seen.
#[tokio::test]
async fn what_runs_goes_on_and_what_has_ended_is_seen() {
    let mut served = served();
    let (lives, mut ends) = (Program::run(), Program::run());
    let (stays, goes) = (served.add(run(&lives)), served.add(run(&ends)));
    let starts = served.add(ContainerPhase::Starting(Goal::Run));
    served.task.pod.pause = Some(lives.identity());
    ends.identity().kill().unwrap();
    assert_eq!(ends.killed_by(), Some(libc::SIGKILL));
    served.task.look_at_foreign_shim();
    assert_eq!(*served.phase(stays), run(&lives));
    assert_eq!(*served.phase(starts), ContainerPhase::Starting(Goal::Run));
    let ContainerPhase::Exited(exit) = served.on_disk(goes).unwrap().phase else {
        panic!("it goes on");
    };
    assert_eq!((exit.code, exit.started_at), (137, 5));
    served.task.progress();
    assert_eq!(served.pod_on_disk(), Some(PodPhase::Ready));
    served.task.pod.pause = None;
    served.task.look_at_foreign_shim();
    served.task.progress();
    assert_eq!(
        served.pod_on_disk(),
        Some(PodPhase::Stopping),
        "its pause has ended"
    );
}

/// Each exit is noticed within a second, and a shim that is understood costs no look.
#[tokio::test]
async fn only_a_pod_of_another_release_is_looked_at() {
    for (mut served, is_foreign) in [(served(), true), (Served::new(), false)] {
        served.task.watch_foreign_shim();
        assert_eq!(served.task.next_liveness_check.is_some(), is_foreign);
        let first = served.task.next_liveness_check;
        served.task.watch_foreign_shim();
        assert_eq!(
            served.task.next_liveness_check, first,
            "a busy pod is looked at all the same"
        );
    }
}

#[tokio::test]
async fn a_kill_goes_through_the_cgroup() {
    let mut served = served();
    let program = Program::run();
    let id = served.add(run(&program));
    let _stop = served.send(|answer| Command::Stop(id, Duration::ZERO, answer));
    served.settle().await;
    assert!(served.asked().is_empty());
    assert!(program.identity().exists(), "it is in no cgroup of the pod");
    let member = &served.task.members[&id];
    assert!(member.kill_until.is_none(), "no shim is waited for");
}
