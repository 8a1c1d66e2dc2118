//! Starts: what is written before them, and what becomes of those that fail.

use super::*;
use crate::pod::error::ErrorKind;

fn launched(id: ContainerId) -> Done {
    Done::Launched(id, Ok((testing::run(), vec!["a part".to_owned()])))
}

/// A shim that starts what no record knows of would be the only one to know since when it runs.
#[tokio::test]
async fn a_start_is_on_disk_before_the_shim_is_asked() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Created);
    let mut first = served.send(|answer| Command::Start(id, answer));
    let intended = served.on_disk(id).unwrap();
    assert_eq!(intended.phase, ContainerPhase::Starting(Goal::Run));
    assert!(intended.started_at >= intended.created_at);
    assert_eq!(served.shown(id), Some(intended.phase));
    assert!(served.asked().is_empty() && first.answer().is_none());
    let mut second = served.send(|answer| Command::Start(id, answer));
    assert_eq!(
        served.task.work.len(),
        1,
        "the second start joins the first"
    );
    served.task.work.clear();
    served.task.done(launched(id));
    for answer in [first.answer(), second.answer()] {
        assert_eq!(answer, Some(Ok(())));
    }
    let kept = served.on_disk(id).unwrap();
    assert_eq!(kept.phase, running(Goal::Run));
    assert_eq!(kept.degraded, ["a part"]);
    assert_eq!(served.told(), [(EventKind::Started, "container")]);
}

#[tokio::test]
async fn a_start_that_cannot_be_written_is_not_made_and_can_be_asked_again() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Created);
    served.refuse(id);
    let mut start = served.send(|answer| Command::Start(id, answer));
    let text = start.refusal();
    assert!(
        text.starts_with("cannot keep the record of the pod: "),
        "{text}"
    );
    assert_eq!(*served.phase(id), ContainerPhase::Created);
    assert_eq!(served.task.members[&id].record.started_at, 0);
    assert!(served.task.work.is_empty() && served.told().is_empty());
    served.accept(id);
    let mut start = served.send(|answer| Command::Start(id, answer));
    assert_eq!((start.answer(), served.task.work.len()), (None, 1));
}

/// A container is started once: its exit would be lost with a second start.
#[tokio::test]
async fn what_has_ended_is_not_started_again() {
    let mut served = Served::new();
    let ended = served.add(ContainerPhase::Exited(exit(0)));
    let mut start = served.send(|answer| Command::Start(ended, answer));
    let text = start.refusal();
    assert!(
        text.contains("exited") && text.contains("create a new one"),
        "{text}"
    );
    assert_eq!(
        served.on_disk(ended).unwrap().phase,
        ContainerPhase::Exited(exit(0))
    );
    assert!(served.task.work.is_empty());
}

/// 128 is what the incumbents give. The message is what the kubelet shows.
#[tokio::test]
async fn a_failed_start_is_an_exit_that_says_why() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Starting(Goal::Run));
    let mut start = served.send(|answer| Command::Start(id, answer));
    served.task.done(Done::Launched(id, Err(failure())));
    let ContainerPhase::Exited(kept) = served.on_disk(id).unwrap().phase else {
        panic!("it goes on");
    };
    assert_eq!((kept.code, kept.reason.as_str()), (128, "StartError"));
    assert!(kept.finished_at > 0 && kept.started_at == 0);
    assert!(
        kept.message.starts_with("cannot do what was made up: "),
        "{}",
        kept.message
    );
    assert_eq!(start.refusal(), kept.message);
    assert_eq!(served.told(), [(EventKind::Stopped, "container")]);
}

/// The next daemon would know nothing of the failure: nobody hears of an exit, and the start may be made again.
#[tokio::test]
async fn a_failed_start_that_cannot_be_written_is_undone() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Starting(Goal::Run));
    let mut start = served.send(|answer| Command::Start(id, answer));
    let mut stop = served.send(|answer| Command::Stop(id, Duration::from_secs(9), answer));
    served.refuse(id);
    served.task.done(Done::Launched(id, Err(failure())));
    assert_eq!(*served.phase(id), ContainerPhase::Created);
    let text = start.refusal();
    assert!(text.contains("was stopped meanwhile"), "{text}");
    assert_eq!(stop.answer(), Some(Ok(())));
    served.accept(id);
    let mut again = served.send(|answer| Command::Start(id, answer));
    assert!(again.answer().is_none());
    assert_eq!(
        served.on_disk(id).unwrap().phase,
        ContainerPhase::Starting(Goal::Run)
    );
}

/// Who stops or removes a container in its start gets an answer, and who started it learns why it does not run.
#[tokio::test]
async fn an_end_that_was_asked_for_explains_a_start_that_fails() {
    type End = fn(&mut Served, ContainerId);
    let cases: [(End, &str); 4] = [
        (|_, _| {}, "cannot do what was made up: "),
        (
            |served, id| {
                let _waiting = served.send(|answer| Command::Stop(id, Duration::ZERO, answer));
            },
            "container ID was stopped meanwhile: cannot do what",
        ),
        (
            |served, id| {
                let _waiting = served.send(|answer| Command::Remove(id, answer));
            },
            "container ID was stopped meanwhile: cannot do what",
        ),
        (
            |served, _| {
                let _waiting = served.send(Command::StopPod);
            },
            "pod sandbox POD was stopped meanwhile: cannot do what",
        ),
    ];
    for (end, wanted) in cases {
        let mut served = Served::new();
        let id = served.add(ContainerPhase::Starting(Goal::Run));
        let mut start = served.send(|answer| Command::Start(id, answer));
        end(&mut served, id);
        served.task.done(Done::Launched(id, Err(failure())));
        let text = start.refusal().replace(&id.to_string(), "ID");
        let text = text.replace(&served.task.pod.id.to_string(), "POD");
        assert!(text.starts_with(wanted), "{text}");
    }
}

/// What the request got wrong is not explained by an end: the next request would fail as well.
#[tokio::test]
async fn an_end_explains_nothing_that_the_request_got_wrong() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Starting(Goal::Stop));
    let wrong = PodError::Request(crate::pod::error::RequestError::Privileged);
    let (sender, mut receiver) = oneshot::channel();
    served.task.command(Command::Start(id, sender));
    served.task.done(Done::Launched(id, Err(wrong)));
    let error = receiver.try_recv().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// A program that ends at once may be told before the answer to its start: it was started, and has ended.
#[tokio::test]
async fn an_exit_may_come_before_the_answer_to_the_start() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Starting(Goal::Run));
    let mut start = served.send(|answer| Command::Start(id, answer));
    served.task.event(exited(id, 4));
    assert_eq!(start.answer(), Some(Ok(())));
    let told = [EventKind::Started, EventKind::Stopped].map(|kind| (kind, "container"));
    assert_eq!(served.told(), told);
    for late in [launched(id), Done::Launched(id, Err(failure()))] {
        served.task.done(late);
        assert_eq!(
            served.on_disk(id).unwrap().phase,
            ContainerPhase::Exited(exit(4))
        );
    }
    assert!(served.told().is_empty());
}

/// The shim knows nothing yet of a start that is being prepared, so the task itself must not send it any more.
#[tokio::test]
async fn a_start_that_is_killed_before_it_is_sent_is_given_up() {
    let mut served = Served::new();
    let id = served.add(ContainerPhase::Created);
    let _start = served.send(|answer| Command::Start(id, answer));
    let sent = Arc::clone(&served.task.members[&id].given_up);
    let _stop = served.send(|answer| Command::Stop(id, Duration::from_secs(9), answer));
    assert!(sent.load(std::sync::atomic::Ordering::Relaxed));
    // A later start of a container whose first start was undone is another one.
    served.refuse(id);
    served.task.done(Done::Launched(id, Err(failure())));
    served.accept(id);
    let _start = served.send(|answer| Command::Start(id, answer));
    let again = &served.task.members[&id].given_up;
    assert!(!again.load(std::sync::atomic::Ordering::Relaxed));
}
