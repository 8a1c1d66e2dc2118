//! Requests of clients, and the answers to them.

use holdfast_image::{Image, ImageConfig, ImageId, ImageKind};

use super::*;
use crate::pod::record::PodResources;
use crate::pod::state::{ContainerEvent, Urgency};
use crate::spec::ContainerMetadata;

const LONG: Duration = Duration::from_secs(100);

fn image() -> Arc<Image> {
    let id: ImageId = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    Arc::new(Image {
        id,
        kind: ImageKind::Container,
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        size: 0,
        layers: Vec::new(),
        config: ImageConfig::default(),
        config_json: String::new(),
        created: None,
        pinned: false,
        annotations: Vec::new(),
    })
}

fn named(name: &str) -> Box<ContainerConfig> {
    Box::new(ContainerConfig {
        metadata: ContainerMetadata {
            name: name.to_owned(),
            attempt: 0,
        },
        ..ContainerConfig::default()
    })
}

fn found() -> container::HostInputs {
    container::HostInputs {
        launch_plan: None,
        cdi: Default::default(),
        devices: Vec::new(),
        localhost_seccomp: None,
        identity: Default::default(),
    }
}

/// Until its parts are made a container is nobody's: it cannot be seen, started, stopped or removed.
#[tokio::test]
async fn a_container_is_seen_when_its_parts_are_made() {
    let mut served = Served::new();
    let mut first = served.send(|answer| Command::Create(named("c"), image(), answer));
    let mut second = served.send(|answer| Command::Create(named("c"), image(), answer));
    let id = *served.task.members.keys().next().unwrap();
    assert_eq!((served.task.members.len(), served.task.work.len()), (1, 1));
    assert!(first.answer().is_none() && second.answer().is_none());
    assert_eq!(served.shown(id), None);
    let mut start = served.send(|answer| Command::Start(id, answer));
    assert!(start.refusal().contains("is not known"));
    for mut done in [
        served.send(|answer| Command::Stop(id, LONG, answer)),
        served.send(|answer| Command::Remove(id, answer)),
    ] {
        assert_eq!(done.answer(), Some(Ok(())));
    }
    served.task.work.clear();
    served.task.done(Done::Prepared(id, Ok(found())));
    assert_eq!(first.answer(), Some(Ok(id)));
    assert_eq!(second.answer(), Some(Ok(id)));
    assert_eq!(served.shown(id), Some(ContainerPhase::Created));
    assert!(served.node.index.has_container(id));
    assert_eq!(served.told(), [(EventKind::Created, "container")]);
    let mut third = served.send(|answer| Command::Create(named("c"), image(), answer));
    assert_eq!(third.answer(), Some(Ok(id)), "the same request again");
}

#[tokio::test]
async fn a_container_whose_parts_cannot_be_made_was_never_there() {
    let mut served = Served::new();
    let mut waiting: Vec<_> = (0..2)
        .map(|_| served.send(|answer| Command::Create(named("c"), image(), answer)))
        .collect();
    let id = *served.task.members.keys().next().unwrap();
    served.task.work.clear();
    served.task.done(Done::Prepared(id, Err(failure())));
    for waiting in &mut waiting {
        assert!(waiting.refusal().starts_with("cannot do what was made up"));
    }
    assert!(served.task.members.is_empty() && !served.node.index.has_container(id));
    assert!(served.told().is_empty());
}

#[tokio::test]
async fn nothing_new_begins_in_a_pod_that_is_to_end() {
    let mut served = Served::new();
    let (created, runs) = (
        served.add(ContainerPhase::Created),
        served.add(running(Goal::Run)),
    );
    let mut stop = served.send(Command::StopPod);
    let mut create = served.send(|answer| Command::Create(named("c"), image(), answer));
    assert!(
        create
            .refusal()
            .contains("a container needs a ready sandbox; run a new one")
    );
    let mut start = served.send(|answer| Command::Start(created, answer));
    assert!(
        start
            .refusal()
            .contains("containers start in a ready sandbox; run a new one")
    );
    // What runs was started: a kubelet that repeats itself is right.
    let mut again = served.send(|answer| Command::Start(runs, answer));
    assert_eq!(again.answer(), Some(Ok(())));
    assert_eq!(stop.answer(), None);
    assert!(served.task.members.len() == 2 && served.task.work.is_empty());
}

/// Stop is idempotent, as CRI wants it: what does not run is stopped.
#[tokio::test]
async fn a_stop_signals_what_runs_and_is_done_for_what_does_not() {
    let none = Duration::ZERO;
    let term = libc::SIGTERM;
    for (phase, grace, signal, kill, is_done) in [
        (ContainerPhase::Created, LONG, None, false, true),
        (ContainerPhase::Created, none, None, false, true),
        (ContainerPhase::Exited(exit(0)), LONG, None, false, true),
        (running(Goal::Run), LONG, Some(term), false, false),
        (running(Goal::Run), none, None, true, false),
        (running(Goal::Stop), LONG, None, false, false),
        (running(Goal::Stop), none, None, true, false),
        (ContainerPhase::Starting(Goal::Run), LONG, None, true, false),
    ] {
        let mut served = Served::new();
        let id = served.add(phase.clone());
        let mut stop = served.send(|answer| Command::Stop(id, grace, answer));
        let case = format!("{phase:?} {grace:?}");
        assert_eq!(stop.answer().is_some(), is_done, "{case}");
        served.settle().await;
        let mut wanted = Vec::new();
        wanted.extend(signal.map(|signal| Request::Signal {
            container: id,
            signal,
        }));
        wanted.extend(kill.then_some(Request::Kill { container: id }));
        assert_eq!(served.asked(), wanted, "{case}");
        let member = &served.task.members[&id];
        let waits = phase.is_alive() && !grace.is_zero();
        assert_eq!(member.deadline.is_some(), waits, "{case}");
        assert_eq!(member.kill_until.is_some(), kill, "{case}");
        assert_eq!(
            member.given_up.load(std::sync::atomic::Ordering::Relaxed),
            kill,
            "{case}"
        );
        let kept = served.on_disk(id).unwrap().phase;
        assert_eq!(kept, *served.phase(id), "{case}");
    }
}

/// A kubelet that asks again with less time means it; one that asks with more does not bring a container back to life.
#[tokio::test]
async fn a_later_stop_can_only_shorten_the_time() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    let mut deadline_of = |grace| {
        let _waiting = served.send(|answer| Command::Stop(id, grace, answer));
        served.task.members[&id].deadline.unwrap()
    };
    // Longer than the clock is.
    let first = deadline_of(Duration::MAX);
    let second = deadline_of(LONG);
    let third = deadline_of(Duration::from_secs(1_000));
    let fourth = deadline_of(Duration::from_secs(1));
    assert!(second < first && third == second && fourth < third);
    served.settle().await;
    assert_eq!(served.asked().len(), 1, "the signal is sent once");
}

/// Each refusal says what the container does and what would do.
#[tokio::test]
async fn what_does_not_fit_the_phase_is_refused_with_the_phase() {
    let starting = ContainerPhase::Starting;
    let cases = [
        (ContainerPhase::Created, "created"),
        (starting(Goal::Run), "starting"),
        (starting(Goal::Remove), "starting"),
        (running(Goal::Run), "running"),
        (running(Goal::Stop), "stopping"),
        (running(Goal::Remove), "stopping"),
        (ContainerPhase::Exited(exit(0)), "exited"),
        (ContainerPhase::Removing, "being removed"),
    ];
    for (phase, word) in cases {
        let mut served = Served::new();
        let id = served.add(phase.clone());
        let short = id.to_string();
        let mut reopen = served.send(|answer| Command::ReopenLog(id, answer));
        if matches!(phase, ContainerPhase::Running(..)) {
            assert_eq!(reopen.answer(), None, "{phase:?}");
            served.settle().await;
            // The pod has no log directory, and so the container no log.
            assert_eq!(reopen.answer(), Some(Ok(())), "{phase:?}");
            assert!(served.asked().is_empty(), "{phase:?}");
        } else {
            let text = reopen.refusal();
            assert!(text.contains(&short) && text.contains(word), "{text}");
            assert!(
                text.contains("only a running container's log is reopened"),
                "{text}"
            );
        }
        let update = Box::new(Resources::default());
        let mut update = served.send(|answer| Command::Update(id, update, answer));
        if matches!(phase, ContainerPhase::Exited(_) | ContainerPhase::Removing) {
            let text = update.refusal();
            assert!(
                text.contains(word) && text.contains("has resources"),
                "{text}"
            );
        } else {
            assert_eq!(update.answer(), None, "{phase:?}");
        }
    }
}

#[tokio::test]
async fn an_unknown_container_is_stopped_and_removed_and_nothing_else() {
    let mut served = Served::new();
    let id = ContainerId::random().unwrap();
    for mut done in [
        served.send(|answer| Command::Stop(id, LONG, answer)),
        served.send(|answer| Command::Remove(id, answer)),
    ] {
        assert_eq!(done.answer(), Some(Ok(())));
    }
    let update = Box::new(Resources::default());
    for mut refused in [
        served.send(|answer| Command::Start(id, answer)),
        served.send(|answer| Command::ReopenLog(id, answer)),
        served.send(|answer| Command::Update(id, update, answer)),
    ] {
        assert_eq!(
            refused.refusal(),
            format!("container \"{id}\" is not known")
        );
    }
}

/// The kubelet compares what it set with what it reads, also after a restart of the daemon.
#[tokio::test]
async fn what_an_update_changed_is_recorded() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    let resources = Resources {
        cpu_shares: 512,
        ..Resources::default()
    };
    let of_pod = PodResources {
        resources: Some(resources.clone()),
        overhead: None,
    };
    let boxed = Box::new(of_pod.clone());
    let mut update = served.send(|answer| Command::UpdatePod(boxed, answer));
    assert_eq!(update.answer(), Some(Ok(())));
    let dir = served.dir();
    assert_eq!(record::load_pod(&dir).unwrap().unwrap().resources, of_pod);
    let (sender, receiver) = oneshot::channel();
    let (mut answered, done) = (Awaited(receiver), resources.clone());
    served.task.done(Done::Updated(id, sender, Ok(done)));
    assert_eq!(answered.answer(), Some(Ok(())));
    assert_eq!(served.on_disk(id).unwrap().resources, resources);
    // An update that fails because the container has ended says so.
    served.task.event(exited(id, 0));
    let (sender, receiver) = oneshot::channel();
    served.task.done(Done::Updated(id, sender, Err(failure())));
    let text = Awaited(receiver).refusal();
    let wanted = format!("container {id} ended meanwhile: cannot do what was made up");
    assert!(text.starts_with(&wanted), "{text}");
    assert_eq!(served.on_disk(id).unwrap().resources, resources);
}

/// A removal kills, deletes when the process has ended, and answers when nothing is left.
#[tokio::test]
async fn a_removal_leaves_nothing_of_a_container_that_runs() {
    let mut served = Served::new();
    let id = served.add(running(Goal::Run));
    served.node.make_layer(id, testing::user()).unwrap();
    let mut remove = served.send(|answer| Command::Remove(id, answer));
    let mut stop = served.send(|answer| Command::Stop(id, LONG, answer));
    served.settle().await;
    assert_eq!(served.asked(), [Request::Kill { container: id }]);
    assert!(remove.answer().is_none() && stop.answer().is_none());
    assert_eq!(served.on_disk(id).unwrap().phase, running(Goal::Remove));
    served.task.event(exited(id, 137));
    // The intent to delete is on disk before anything is deleted.
    let kept = served.on_disk(id).unwrap();
    assert_eq!(kept.phase, ContainerPhase::Removing);
    assert_eq!(kept.removed_exit, Some(exit(137)));
    assert_eq!(remove.answer(), None);
    served.settle().await;
    assert_eq!(
        (remove.answer(), stop.answer()),
        (Some(Ok(())), Some(Ok(())))
    );
    assert!(served.on_disk(id).is_none() && served.node.layers().unwrap().is_empty());
    assert!(served.shown(id).is_none() && !served.node.index.has_container(id));
    let told = [EventKind::Stopped, EventKind::Deleted].map(|kind| (kind, "container"));
    assert_eq!(served.told(), told);
    let asked = served.asked();
    assert!(
        asked.contains(&Request::Acknowledge { sequence: 3 }),
        "{asked:?}"
    );
    assert!(
        asked.contains(&Request::Forget { container: id }),
        "{asked:?}"
    );
}

/// How a container that is being removed had ended is what its last status says.
#[test]
fn the_last_exit_is_kept_for_the_time_of_the_removal() {
    use crate::pod::task::transitions::last_exit;
    let plain = Exit {
        started_at: 0,
        ..exit(1)
    };
    let ended = ContainerEvent::Exited(plain.clone());
    let failed = ContainerEvent::StartFailed(plain.clone());
    let starting = ContainerPhase::Starting(Goal::Remove);
    let cases = [
        (ContainerPhase::Created, ContainerEvent::RemoveAsked, None),
        (
            ContainerPhase::Exited(exit(7)),
            ContainerEvent::RemoveAsked,
            Some(exit(7)),
        ),
        (running(Goal::Remove), ended.clone(), Some(exit(1))),
        (
            running(Goal::Remove),
            ContainerEvent::StopAsked(Urgency::Kill),
            None,
        ),
        (starting.clone(), ended, Some(plain.clone())),
        (starting.clone(), failed, Some(plain)),
        (starting, ContainerEvent::StartUndone, None),
    ];
    for (phase, event, wanted) in cases {
        assert_eq!(last_exit(&phase, &event), wanted, "{phase:?} {event:?}");
    }
}
