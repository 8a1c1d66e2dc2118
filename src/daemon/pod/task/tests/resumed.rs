//! Pods that a new daemon takes over in the middle of an operation.

use super::*;

impl Served {
    fn resumed(phase: ContainerPhase, stop: bool) -> (Self, ContainerId) {
        let mut served = Self::new();
        let id = served.add(phase);
        let pod = served.task.pod.clone();
        served.task.resume(pod, stop);
        (served, id)
    }
}

/// The work is one for each start that is gone on with: it asks the shim, which joins it with the one under way.
#[tokio::test]
async fn a_container_is_gone_on_with_where_the_earlier_daemon_stopped() {
    let term = |container| Request::Signal {
        container,
        signal: libc::SIGTERM,
    };
    let kill = |container| Request::Kill { container };
    type Wanted<'a> = Option<&'a dyn Fn(ContainerId) -> Request>;
    let cases: [(ContainerPhase, Wanted<'_>, bool); 6] = [
        (ContainerPhase::Created, None, false),
        (running(Goal::Run), None, false),
        (running(Goal::Stop), Some(&term), true),
        (running(Goal::Remove), Some(&kill), false),
        (ContainerPhase::Exited(exit(0)), None, false),
        (ContainerPhase::Removing, None, false),
    ];
    for (phase, wanted, has_deadline) in cases {
        let (mut served, id) = Served::resumed(phase.clone(), false);
        assert!(matches!(*served.made.borrow(), Some(Ok(()))), "{phase:?}");
        served.settle().await;
        let wanted: Vec<_> = wanted.map(|request| request(id)).into_iter().collect();
        assert_eq!(served.asked(), wanted, "{phase:?}");
        let member = &served.task.members[&id];
        assert_eq!(member.deadline.is_some(), has_deadline, "{phase:?}");
        assert_eq!(*served.phase(id), phase);
        assert_eq!(served.pod_on_disk(), Some(PodPhase::Ready), "{phase:?}");
    }
    let (served, id) = Served::resumed(ContainerPhase::Starting(Goal::Run), false);
    assert_eq!(served.task.work.len(), 1);
    assert_eq!(*served.phase(id), ContainerPhase::Starting(Goal::Run));
}

#[tokio::test]
async fn a_pod_that_cannot_go_on_is_stopped() {
    let (mut served, id) = Served::resumed(running(Goal::Run), true);
    served.task.progress();
    assert_eq!(served.pod_on_disk(), Some(PodPhase::Stopping));
    served.settle().await;
    assert_eq!(served.asked(), [Request::Kill { container: id }]);
}

/// An earlier daemon had begun the stop: its containers are killed again, and the pod ends whoever asks.
#[tokio::test]
async fn a_stop_under_way_is_gone_on_with() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    let mut pod = served.task.pod.clone();
    pod.phase = PodPhase::Stopping;
    served.task.resume(pod, false);
    assert_eq!(served.task.goal, PodGoal::Stop);
    served.settle().await;
    assert_eq!(served.asked(), [Request::Kill { container: id }]);
    served.task.event(exited(id, 137));
    served.settle().await;
    assert_eq!(served.pod_on_disk(), Some(PodPhase::NotReady));
}
