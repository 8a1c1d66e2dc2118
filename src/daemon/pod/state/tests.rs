//! The table of `state`, and what must hold of every walk through it.

use proptest::prelude::*;

use super::*;
use crate::pod::testing::run;

fn exit(code: i32) -> Exit {
    Exit {
        code,
        finished_at: 8,
        started_at: 0,
        reason: "Error".into(),
        message: String::new(),
    }
}

fn walk(events: impl IntoIterator<Item = ContainerEvent>) -> (ContainerPhase, Vec<Effect>) {
    let start = (ContainerPhase::Created, Vec::new());
    events
        .into_iter()
        .fold(start, |(phase, mut effects), event| {
            let (phase, new) = phase.apply(event);
            effects.extend(new);
            (phase, effects)
        })
}

#[test]
fn a_life_from_creation_to_removal() {
    let (phase, effects) = walk([
        ContainerEvent::StartAsked,
        ContainerEvent::Started(run()),
        ContainerEvent::StopAsked(Urgency::Signal),
        ContainerEvent::Exited(exit(143)),
        ContainerEvent::RemoveAsked,
    ]);
    assert_eq!(phase, ContainerPhase::Removing);
    let expected = [
        Effect::Launch,
        Effect::AnswerStart,
        Effect::Signal,
        Effect::AnswerStart,
        Effect::ReleaseCgroup,
        Effect::AnswerStop,
        Effect::Delete,
    ];
    assert_eq!(effects, expected);
}

#[test]
fn the_start_time_survives_into_the_exit() {
    let (phase, _) = walk([
        ContainerEvent::StartAsked,
        ContainerEvent::Started(run()),
        ContainerEvent::Exited(exit(0)),
    ]);
    let ContainerPhase::Exited(exit) = phase else {
        panic!("exited expected")
    };
    assert_eq!(exit.started_at, 5);
}

#[test]
fn the_stop_signal_is_sent_once_and_the_kill_always() {
    let (_, effects) = walk([
        ContainerEvent::StartAsked,
        ContainerEvent::Started(run()),
        ContainerEvent::StopAsked(Urgency::Signal),
        ContainerEvent::StopAsked(Urgency::Signal),
        ContainerEvent::StopAsked(Urgency::Kill),
        ContainerEvent::StopAsked(Urgency::Kill),
    ]);
    let count = |wanted| effects.iter().filter(|effect| **effect == wanted).count();
    assert_eq!((count(Effect::Signal), count(Effect::Kill)), (1, 2));
}

#[test]
fn a_stop_during_the_start_kills_what_the_start_brings() {
    let (phase, effects) = walk([
        ContainerEvent::StartAsked,
        ContainerEvent::StopAsked(Urgency::Signal),
        ContainerEvent::Started(run()),
    ]);
    assert_eq!(phase, ContainerPhase::Running(run(), Goal::Stop));
    assert_eq!(effects.last(), Some(&Effect::Kill));
}

#[test]
fn a_start_that_was_undone_can_be_made_again() {
    let (phase, effects) = walk([
        ContainerEvent::StartAsked,
        ContainerEvent::StopAsked(Urgency::Signal),
        ContainerEvent::StartUndone,
    ]);
    assert_eq!(phase, ContainerPhase::Created);
    assert_eq!(effects, [Effect::Launch, Effect::Kill, Effect::AnswerStop]);
    let (phase, effects) = walk([
        ContainerEvent::StartAsked,
        ContainerEvent::RemoveAsked,
        ContainerEvent::StartUndone,
    ]);
    assert_eq!(phase, ContainerPhase::Removing);
    assert_eq!(effects.last(), Some(&Effect::Delete));
}

#[test]
fn an_exit_that_is_read_before_its_start_counts() {
    let (phase, effects) = walk([
        ContainerEvent::StartAsked,
        ContainerEvent::Exited(exit(3)),
        ContainerEvent::Started(run()),
    ]);
    assert_eq!(phase, ContainerPhase::Exited(exit(3)));
    assert!(effects.contains(&Effect::AnswerStart));
}

fn any_event() -> impl Strategy<Value = ContainerEvent> {
    prop_oneof![
        Just(ContainerEvent::StartAsked),
        Just(ContainerEvent::StopAsked(Urgency::Signal)),
        Just(ContainerEvent::StopAsked(Urgency::Kill)),
        Just(ContainerEvent::RemoveAsked),
        Just(ContainerEvent::Started(run())),
        (0..256).prop_map(|code| ContainerEvent::StartFailed(exit(code))),
        (0..256).prop_map(|code| ContainerEvent::Exited(exit(code))),
        Just(ContainerEvent::StartUndone),
    ]
}

proptest! {
    /// Whatever happens in whatever order: an exit is never changed, nothing comes back from a removal, it
    /// is launched once more than its start was undone at most and deleted once, and everybody who asks for an end is answered by it.
    #[test]
    fn every_walk_keeps_the_promises(events in prop::collection::vec(any_event(), 0..24)) {
        let mut phase = ContainerPhase::Created;
        let (mut launches, mut deletions) = (0_isize, 0);
        for event in events {
            let before = phase.clone();
            let asked_stop = matches!(event, ContainerEvent::StopAsked(_));
            let undone = event == ContainerEvent::StartUndone && before.is_alive();
            let (after, effects) = phase.apply(event);
            if undone && after == ContainerPhase::Created {
                launches -= 1;
                prop_assert!(effects.contains(&Effect::AnswerStop));
            }
            if let ContainerPhase::Exited(_) = before {
                prop_assert!(after == before || after == ContainerPhase::Removing);
            }
            if before == ContainerPhase::Removing {
                prop_assert_eq!(&after, &before);
            }
            if asked_stop && !before.is_alive() && before != ContainerPhase::Removing {
                prop_assert!(effects.contains(&Effect::AnswerStop));
            }
            if before.is_alive() && matches!(after, ContainerPhase::Exited(_)) {
                prop_assert!(effects.contains(&Effect::AnswerStop) && effects.contains(&Effect::ReleaseCgroup));
            }
            launches += effects.iter().filter(|effect| **effect == Effect::Launch).count().cast_signed();
            deletions += effects.iter().filter(|effect| **effect == Effect::Delete).count();
            phase = after;
        }
        prop_assert!(launches <= 1 && deletions <= 1);
    }
}
