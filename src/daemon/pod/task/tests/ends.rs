//! Ends of pods: stopped, removed, and what stands in the way.

use super::*;

/// The order is that of the record: stopping is on disk before anything ends, and stopped when all is released.
#[tokio::test]
async fn a_pod_is_released_when_its_containers_have_ended() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    let mut first = served.send(Command::StopPod);
    served.task.progress();
    assert_eq!(served.pod_on_disk(), Some(PodPhase::Stopping));
    served.settle().await;
    assert_eq!(served.asked(), [Request::Kill { container: id }]);
    assert_eq!(
        served.task.stage,
        PodStage::Kept,
        "nothing is released under a container"
    );
    assert!(served.task.give_up_at.is_some());
    let mut second = served.send(Command::StopPod);
    served.task.event(exited(id, 137));
    served.settle().await;
    assert_eq!(served.asked().last(), Some(&Request::Shutdown));
    assert_eq!(served.pod_on_disk(), Some(PodPhase::NotReady));
    assert_eq!(
        (first.answer(), second.answer()),
        (Some(Ok(())), Some(Ok(())))
    );
    let shown = served.task.entry.snapshot.load_full();
    assert!(shown.pod.ips.is_empty() && shown.pod.pause.is_none() && shown.pod.shim.is_none());
    assert!(served.task.entry.link.load().is_none() && served.task.give_up_at.is_none());
    let told = [
        (EventKind::Stopped, "container"),
        (EventKind::Stopped, "pod"),
    ];
    assert_eq!(served.told(), told);
    // What has ended can still be read.
    assert_eq!(served.shown(id), Some(ContainerPhase::Exited(exit(137))));
    let mut third = served.send(Command::StopPod);
    served.settle().await;
    assert_eq!(third.answer(), Some(Ok(())));
    assert!(served.told().is_empty());
}

#[tokio::test]
async fn a_removal_takes_the_containers_first_and_frees_the_name() {
    let mut served = Served::new();
    let (runs, ended) = (
        served.add(running(Goal::Run)),
        served.add(ContainerPhase::Exited(exit(0))),
    );
    let mut stop = served.send(Command::StopPod);
    let mut remove = served.send(Command::RemovePod);
    served.settle().await;
    assert_eq!(
        served.task.members.len(),
        2,
        "nothing is removed before the pod is stopped"
    );
    served.task.event(exited(runs, 0));
    served.settle().await;
    assert_eq!(
        (stop.answer(), remove.answer()),
        (Some(Ok(())), Some(Ok(())))
    );
    assert_eq!(served.task.stage, PodStage::Gone);
    assert_eq!(served.pod_on_disk(), None);
    assert!(!served.node.index.has_pod(served.task.pod.id));
    for id in [runs, ended] {
        assert!(!served.node.index.has_container(id));
    }
    let told = served.told();
    let order: Vec<_> = told
        .iter()
        .map(|(kind, object)| format!("{object} {kind:?}"))
        .collect();
    assert_eq!(
        order,
        [
            "container Stopped",
            "pod Stopped",
            "container Deleted",
            "container Deleted",
            "pod Deleted"
        ]
    );
    let key = PodKey::from(&served.task.pod.config.metadata);
    let again = testing::known(
        &served.node,
        &testing::pod_of(&served.node, PodConfig::default()),
    );
    assert!(
        served.node.index.claim(key, || again).is_ok(),
        "the name is taken"
    );
}

/// What is being made is neither seen nor ended, so its end is waited for.
#[tokio::test]
async fn a_pod_is_not_released_under_a_container_that_is_being_made() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Created);
    served.task.members.get_mut(&id).unwrap().stage = MemberStage::Preparing;
    let mut stop = served.send(Command::StopPod);
    served.settle().await;
    assert_eq!(
        (stop.answer(), served.pod_on_disk()),
        (None, Some(PodPhase::Stopping))
    );
    served.task.done(Done::Prepared(id, Err(failure())));
    served.settle().await;
    assert_eq!(
        (stop.answer(), served.pod_on_disk()),
        (Some(Ok(())), Some(PodPhase::NotReady))
    );
}

#[tokio::test]
async fn what_a_shim_does_not_end_is_counted_as_ended_after_a_time() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    let mut stop = served.send(Command::StopPod);
    served.settle().await;
    served.task.give_up_at = Some(Instant::now());
    served.task.deadlines();
    served.settle().await;
    assert_eq!(stop.answer(), Some(Ok(())));
    let Some(ContainerPhase::Exited(exit)) = served.shown(id) else {
        panic!("it goes on");
    };
    assert_eq!(exit.reason, "ShimLost");
}

#[tokio::test]
async fn a_pod_whose_parts_are_stuck_is_stopped_and_owes_them() {
    let mut served = Served::new();
    // No cgroup has such a path: none can be removed.
    served.task.pod.cgroup = "/a/../b".to_owned();
    let mut stop = served.send(Command::StopPod);
    served.settle().await;
    assert_eq!(stop.answer(), Some(Ok(())));
    assert_eq!(served.pod_on_disk(), Some(PodPhase::NotReady));
    let debts = served.node.debts.list();
    assert_eq!(debts.len(), 1, "{debts:?}");
    assert_eq!(debts[0].kind, crate::pod::DebtKind::Cgroup);
}

/// A record that says that the pod is stopped makes the next daemon release nothing: the debt has to be on disk first.
#[tokio::test]
async fn a_stop_is_recorded_when_its_debts_are() {
    let mut served = Served::new();
    served.task.pod.cgroup = "/a/../b".to_owned();
    let name = served.task.pod.id.to_string();
    let debt = served.guard.path().join("root/debts").join(name);
    // No file replaces a directory.
    std::fs::create_dir(&debt).unwrap();
    let mut stop = served.send(Command::StopPod);
    served.settle().await;
    assert_eq!(
        stop.answer(),
        Some(Ok(())),
        "the caller is told what is true"
    );
    assert_eq!(served.pod_on_disk(), Some(PodPhase::Stopping));
    assert!(served.task.record_unsaved && served.task.retry_at.is_some());
    std::fs::remove_dir(&debt).unwrap();
    served.task.retry_at = Some(Instant::now());
    served.task.deadlines();
    assert_eq!(served.pod_on_disk(), Some(PodPhase::NotReady));
    assert!(!served.task.record_unsaved && served.task.retry_at.is_none());
}

/// Neither the phase nor the deletion is on disk: whoever was told that the pod is gone would see it again.
#[tokio::test]
async fn a_removal_of_which_the_disk_knows_nothing_is_refused() {
    for unkept in [true, false] {
        let mut served = Served::new();
        let mut stop = served.send(Command::StopPod);
        served.settle().await;
        assert_eq!(stop.answer(), Some(Ok(())));
        served.told();
        let mut remove = served.send(Command::RemovePod);
        served.task.progress();
        served.task.work.clear();
        assert_eq!(served.task.pod.phase, PodPhase::Removing);
        served.task.record_unsaved = unkept;
        served.task.done(Done::Forgotten(Err(failure())));
        if unkept {
            assert!(remove.refusal().starts_with("cannot do what was made up"));
            assert_eq!(served.task.pod.phase, PodPhase::NotReady);
            assert_eq!(
                served.task.goal,
                PodGoal::Stop,
                "it is not tried without being asked"
            );
            assert!(served.node.index.has_pod(served.task.pod.id));
            assert!(served.told().is_empty());
        } else {
            // The record says Removing: the next daemon goes on, and so does the debt.
            assert_eq!(remove.answer(), Some(Ok(())));
            assert_eq!(served.task.stage, PodStage::Gone);
            assert!(!served.node.index.has_pod(served.task.pod.id));
            assert!(served.node.debts.is_owed(served.task.pod.id));
            assert_eq!(served.told(), [(EventKind::Deleted, "pod")]);
        }
    }
}

/// A stop that comes during a removal does not call the removal off.
#[tokio::test]
async fn the_goal_only_grows() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    let _remove = served.send(Command::RemovePod);
    let _stop = served.send(Command::StopPod);
    served.task.event(exited(id, 0));
    served.settle().await;
    assert_eq!(served.task.stage, PodStage::Gone);
}
