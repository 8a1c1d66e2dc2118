//! Ends of containers: what the shim tells, what nobody tells, and what the disk refuses.

use super::*;
use holdfast_wire as wire;

fn past() -> Option<Instant> {
    Some(Instant::now())
}

/// The shim forgets an exit when it is acknowledged: it must be on disk by then.
#[tokio::test]
async fn an_exit_is_acknowledged_when_it_is_on_disk() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    let mut stop = served.send(|answer| Command::Stop(id, Duration::from_secs(9), answer));
    served.task.event(exited(id, 143));
    assert_eq!(
        served.on_disk(id).unwrap().phase,
        ContainerPhase::Exited(exit(143))
    );
    assert_eq!(stop.answer(), Some(Ok(())));
    let member = &served.task.members[&id];
    assert!(member.deadline.is_none() && member.kill_until.is_none());
    served.settle().await;
    let asked = served.asked();
    assert_eq!(
        asked.last(),
        Some(&Request::Acknowledge { sequence: 3 }),
        "{asked:?}"
    );
    assert_eq!(served.told(), [(EventKind::Stopped, "container")]);
}

#[tokio::test]
async fn an_exit_that_the_disk_refuses_is_acknowledged_when_it_takes_it() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    served.refuse(id);
    served.task.event(exited(id, 1));
    assert_eq!(
        served.shown(id),
        Some(ContainerPhase::Exited(exit(1))),
        "readers wait for no disk"
    );
    served.settle().await;
    assert!(served.asked().is_empty(), "the shim would forget the exit");
    served.task.retry_at = past();
    served.task.deadlines();
    served.settle().await;
    assert!(
        served.asked().is_empty() && served.task.retry_at.is_some(),
        "still refused"
    );
    served.accept(id);
    served.task.retry_at = past();
    served.task.deadlines();
    served.settle().await;
    assert_eq!(served.asked(), [Request::Acknowledge { sequence: 3 }]);
    assert_eq!(
        served.on_disk(id).unwrap().phase,
        ContainerPhase::Exited(exit(1))
    );
    assert!(served.task.retry_at.is_none());
}

/// An event of a container that is gone is acknowledged, or it would come again to every daemon.
#[tokio::test]
async fn the_exit_of_an_unknown_container_is_acknowledged() {
    let mut served = Served::new();
    served.task.event(exited(ContainerId::random().unwrap(), 1));
    served.settle().await;
    assert_eq!(served.asked(), [Request::Acknowledge { sequence: 3 }]);
    assert!(served.told().is_empty());
}

#[tokio::test]
async fn what_does_not_end_in_its_time_is_killed() {
    let mut served = Served::new();
    let (late, waits) = (
        served.add(running(Goal::Run)),
        served.add(running(Goal::Run)),
    );
    for id in [late, waits] {
        let _stop = served.send(|answer| Command::Stop(id, Duration::from_secs(99), answer));
    }
    served.settle().await;
    served.asked();
    served.task.members.get_mut(&late).unwrap().deadline = past();
    served.task.deadlines();
    served.settle().await;
    assert_eq!(served.asked(), [Request::Kill { container: late }]);
    let late = &served.task.members[&late];
    assert!(late.deadline.is_none() && late.kill_until.is_some());
    assert!(served.task.members[&waits].deadline.is_some());
}

/// A process that hangs in a lookup on a dead mount ends when the mount comes back: a stop does not wait for that.
#[tokio::test]
async fn a_killed_container_that_hangs_counts_as_ended() {
    let mut served = Served::new();
    let runs = served.add(running(Goal::Stop));
    let starts = served.add(ContainerPhase::Starting(Goal::Stop));
    let mut start = served.send(|answer| Command::Start(starts, answer));
    for id in [runs, starts] {
        let _stop = served.send(|answer| Command::Stop(id, Duration::ZERO, answer));
        served.task.members.get_mut(&id).unwrap().kill_until = past();
    }
    served.task.deadlines();
    for id in [runs, starts] {
        let ContainerPhase::Exited(exit) = served.on_disk(id).unwrap().phase else {
            panic!("it is waited for");
        };
        assert_eq!((exit.code, exit.reason.as_str()), (137, "KillPending"));
        assert_eq!(exit.started_at, 5);
        assert!(
            exit.message.contains("hangs in the kernel"),
            "{}",
            exit.message
        );
    }
    let text = start.refusal();
    assert!(
        text.contains("was stopped meanwhile: cannot start the container"),
        "{text}"
    );
}

/// A pod ends with its shim. What the shim wrote of an exit counts, and the rest is said to be unknown.
#[tokio::test]
async fn when_the_shim_dies_everything_in_the_pod_has_ended() {
    let mut served = Served::new();
    let created = served.add(ContainerPhase::Created);
    let [written, lost] = [(); 2].map(|()| served.add(running(Goal::Run)));
    let starts = served.add(ContainerPhase::Starting(Goal::Run));
    let mut start = served.send(|answer| Command::Start(starts, answer));
    let bytes = wire::encode_exit(&exited(written, 3)).unwrap();
    let path = served.dir().path().join(format!("exit.{written}"));
    testing::write(&path, &bytes);
    served.task.shim_ended();
    assert!(served.task.link.is_none() && served.task.entry.link.load().is_none());
    let text = start.refusal();
    assert!(
        text.ends_with("cannot start the container: the pod's shim has ended"),
        "{text}"
    );
    assert_eq!(
        served.on_disk(written).unwrap().phase,
        ContainerPhase::Exited(exit(3))
    );
    for id in [lost, starts] {
        let ContainerPhase::Exited(exit) = served.on_disk(id).unwrap().phase else {
            panic!("it goes on");
        };
        assert_eq!((exit.code, exit.reason.as_str()), (137, "ShimLost"));
        assert_eq!(
            exit.started_at, 5,
            "a launch that was cut short may have run"
        );
    }
    assert_eq!(*served.phase(created), ContainerPhase::Created);
    served.settle().await;
    assert_eq!(served.pod_on_disk(), Some(PodPhase::NotReady));
}

/// A shim that was asked to end, and one of a pod that has been released, leaves nothing to be done.
#[tokio::test]
async fn a_shim_that_was_to_end_ends_nothing() {
    for (phase, stage) in [
        (PodPhase::Stopping, PodStage::Releasing),
        (PodPhase::NotReady, PodStage::Kept),
    ] {
        let mut served = Served::new();
        let id = served.add(running(Goal::Run));
        (served.task.pod.phase, served.task.stage) = (phase, stage);
        served.task.shim_ended();
        assert_eq!(*served.phase(id), running(Goal::Run), "{phase:?}");
        assert_eq!(served.task.goal, PodGoal::Stay, "{phase:?}");
    }
}

#[tokio::test]
async fn without_its_pause_a_pod_is_stopped() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    served.task.event(Event::PauseExited {
        status: ExitStatus::Signal(9),
        at_unix_nanos: 1,
    });
    served.task.progress();
    assert_eq!(served.pod_on_disk(), Some(PodPhase::Stopping));
    served.settle().await;
    assert_eq!(served.asked(), [Request::Kill { container: id }]);
    assert_eq!(
        served.task.goal,
        PodGoal::Stop,
        "nobody asked for a removal"
    );
}

/// What could not be deleted is tried again as a debt, and the container is gone for everybody who asks.
#[tokio::test]
async fn what_a_removal_leaves_is_owed() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Created);
    let mut remove = served.send(|answer| Command::Remove(id, answer));
    served.task.work.clear();
    served.task.done(Done::Deleted(id, vec![failure()]));
    assert_eq!(remove.answer(), Some(Ok(())));
    assert!(served.shown(id).is_none() && !served.node.index.has_container(id));
    let debts = served.node.debts.list();
    assert_eq!(debts[0].pod, served.task.pod.id);
    assert!(
        debts[0].reason.contains("what was made up"),
        "{}",
        debts[0].reason
    );
    assert_eq!(served.told(), [(EventKind::Deleted, "container")]);
}

/// The disk knows neither that it is gone nor that it is to go: the next daemon would bring it back.
#[tokio::test]
async fn a_removal_of_which_the_disk_knows_nothing_is_refused_and_tried_again() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Exited(exit(1)));
    served.refuse(id);
    let mut remove = served.send(|answer| Command::Remove(id, answer));
    served.settle().await;
    let text = remove.refusal();
    assert!(text.contains(&format!("container.{id}.json")), "{text}");
    assert_eq!(served.shown(id), Some(ContainerPhase::Removing));
    assert!(served.node.debts.list().is_empty() && served.told().is_empty());
    served.accept(id);
    served.task.retry_at = past();
    served.task.deadlines();
    served.settle().await;
    assert!(served.shown(id).is_none() && served.on_disk(id).is_none());
    assert_eq!(served.told(), [(EventKind::Deleted, "container")]);
}

/// A start that waits for a container which is removed would wait for ever.
#[tokio::test]
async fn whoever_waits_for_a_start_learns_of_the_removal() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Removing);
    let (sender, receiver) = oneshot::channel();
    let member = served.task.members.get_mut(&id).unwrap();
    member.waiting.start.push(sender);
    served.task.done(Done::Deleted(id, Vec::new()));
    let text = Awaited(receiver).refusal();
    assert!(text.contains("was removed"), "{text}");
}
