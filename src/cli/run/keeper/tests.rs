//! Runs the keeper's state machine against made-up pods, without a clock and without a daemon.

use std::time::Duration;

use proptest::prelude::*;

use super::pod::Phase;
use super::{
    Action, Event, Exit, Kept, News, Outcome, Passed, Pod, Probe, ProbeKind, Probes, Restart, Role,
    Seen, SeenState, Wait,
};

fn kept(name: &str, role: Role, restart: Restart) -> Kept {
    Kept {
        name: name.to_owned(),
        role,
        restart,
        probes: Probes::default(),
    }
}

fn probe(failures: u32) -> Option<Probe> {
    Some(Probe {
        delay: Duration::from_secs(1),
        period: Duration::from_secs(5),
        failures,
        successes: 1,
    })
}

fn exit(code: i32) -> Exit {
    Exit {
        code,
        reason: String::new(),
        ran: Duration::from_secs(1),
    }
}

fn exited(container: usize, attempt: u32, code: i32) -> Event {
    Event::Seen(vec![Seen {
        container,
        attempt,
        state: SeenState::Exited(exit(code)),
    }])
}

fn seen(container: usize, attempt: u32, state: SeenState) -> Seen {
    Seen {
        container,
        attempt,
        state,
    }
}

/// A pod under test, with all that it wanted done and has not been asked for.
struct Machine {
    pod: Pod,
    actions: Vec<Action>,
}

impl Machine {
    fn new(kept: Vec<Kept>) -> Self {
        Self::found(kept, &[])
    }

    fn found(kept: Vec<Kept>, seen: &[Seen]) -> Self {
        let (pod, actions) = Pod::new(kept, seen);
        Self { pod, actions }
    }

    fn feed(&mut self, event: Event) {
        let (pod, actions) = self.pod.clone().apply(event);
        self.pod = pod;
        self.actions.extend(actions);
    }

    /// What is to be done since the last question, without what people are told.
    fn acts(&mut self) -> Vec<Action> {
        let all = std::mem::take(&mut self.actions);
        let act = |action: &Action| !matches!(action, Action::Tell(_));
        all.into_iter().filter(act).collect()
    }

    fn news(&mut self) -> Vec<News> {
        let all = std::mem::take(&mut self.actions).into_iter();
        all.filter_map(|action| match action {
            Action::Tell(news) => Some(news),
            _ => None,
        })
        .collect()
    }

    /// The container starts as asked.
    #[track_caller]
    fn starts(&mut self, container: usize, attempt: u32) {
        assert_eq!(self.acts(), [Action::Start(container, attempt)]);
        self.feed(Event::Started(container, attempt));
    }
}

fn wait(container: usize, attempt: u32, seconds: u64) -> Action {
    let time = Duration::from_secs(seconds);
    Action::Wait(container, attempt, Wait::Restart, time)
}

#[test]
fn init_containers_run_one_after_the_other_before_the_others() {
    let init = |name| kept(name, Role::Init, Restart::OnFailure);
    let app = |name| kept(name, Role::App, Restart::Never);
    let mut machine = Machine::new(vec![init("i"), init("j"), app("a"), app("b")]);
    machine.starts(0, 0);
    assert_eq!(machine.acts(), []);
    machine.feed(exited(0, 0, 0));
    machine.starts(1, 0);
    machine.feed(exited(1, 0, 0));
    machine.starts(2, 0);
    machine.starts(3, 0);
    assert!(machine.news().contains(&News::Up));
    machine.feed(exited(2, 0, 0));
    assert_eq!(machine.pod.outcome(), None);
    machine.feed(exited(3, 0, 0));
    assert_eq!(machine.pod.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn an_init_container_that_fails_is_tried_again_and_holds_up_the_others() {
    let mut machine = Machine::new(vec![
        kept("i", Role::Init, Restart::OnFailure),
        kept("a", Role::App, Restart::Always),
    ]);
    machine.starts(0, 0);
    machine.feed(exited(0, 0, 1));
    assert_eq!(machine.acts(), [wait(0, 1, 0)]);
    machine.feed(Event::Waited(0, 1, Wait::Restart));
    machine.starts(0, 1);
    machine.feed(exited(0, 1, 1));
    assert_eq!(machine.acts(), [wait(0, 2, 10)]);
    machine.feed(Event::Waited(0, 2, Wait::Restart));
    machine.starts(0, 2);
    machine.feed(exited(0, 2, 0));
    machine.starts(1, 0);
}

#[test]
fn nothing_depends_on_an_ephemeral_container() {
    let mut machine = Machine::new(vec![
        kept("a", Role::App, Restart::Never),
        kept("e", Role::Ephemeral, Restart::Never),
    ]);
    machine.starts(0, 0);
    machine.starts(1, 0);
    assert!(machine.news().contains(&News::Up));
    machine.feed(exited(1, 0, 3));
    assert_eq!(machine.acts(), []);
    machine.feed(exited(0, 0, 0));
    assert_eq!(machine.pod.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn an_init_container_that_is_tried_once_fails_the_pod() {
    let mut machine = Machine::new(vec![
        kept("s", Role::Sidecar, Restart::Always),
        kept("i", Role::Init, Restart::Never),
        kept("a", Role::App, Restart::Never),
    ]);
    machine.starts(0, 0);
    machine.starts(1, 0);
    machine.feed(exited(1, 0, 3));
    assert_eq!(machine.acts(), [Action::Stop(0, 0)]);
    machine.feed(exited(0, 0, 143));
    assert_eq!(machine.pod.outcome(), Some(Outcome::Failed));
    assert_eq!(machine.pod.phase(2), Some(&Phase::Ended { code: None }));
}

#[test]
fn sidecars_start_in_order_once_they_are_up_and_stop_last_in_reverse() {
    let mut slow = kept("s", Role::Sidecar, Restart::Always);
    slow.probes.startup = probe(3);
    let mut machine = Machine::new(vec![
        slow,
        kept("t", Role::Sidecar, Restart::Always),
        kept("a", Role::App, Restart::Never),
    ]);
    machine.starts(0, 0);
    let check = Wait::Probe(ProbeKind::Startup);
    let second = Duration::from_secs(1);
    assert_eq!(machine.acts(), [Action::Wait(0, 0, check, second)]);
    machine.feed(Event::Waited(0, 0, check));
    assert_eq!(machine.acts(), [Action::Probe(0, 0, ProbeKind::Startup)]);
    machine.feed(Event::Probed(0, 0, ProbeKind::Startup, Passed::Yes));
    machine.starts(1, 0);
    machine.starts(2, 0);
    // A sidecar that ends is started again, and the pod goes on meanwhile.
    machine.feed(exited(0, 0, 0));
    assert_eq!(machine.acts(), [wait(0, 1, 0)]);
    machine.feed(Event::Waited(0, 1, Wait::Restart));
    machine.starts(0, 1);
    machine.acts();
    machine.feed(exited(2, 0, 0));
    assert_eq!(machine.acts(), [Action::Stop(1, 0)]);
    machine.feed(exited(1, 0, 143));
    assert_eq!(machine.acts(), [Action::Stop(0, 1)]);
    machine.feed(exited(0, 1, 143));
    // That sidecars were stopped is no failure.
    assert_eq!(machine.pod.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn policies_decide_what_is_started_again() {
    let mut machine = Machine::new(vec![kept("a", Role::App, Restart::OnFailure)]);
    machine.starts(0, 0);
    machine.feed(exited(0, 0, 1));
    assert_eq!(machine.acts(), [wait(0, 1, 0)]);
    machine.feed(Event::Waited(0, 1, Wait::Restart));
    machine.starts(0, 1);
    machine.feed(exited(0, 1, 0));
    assert_eq!(machine.pod.outcome(), Some(Outcome::Succeeded));

    let mut machine = Machine::new(vec![kept("a", Role::App, Restart::Always)]);
    machine.starts(0, 0);
    machine.feed(exited(0, 0, 0));
    assert_eq!(machine.acts(), [wait(0, 1, 0)]);
}

#[test]
fn an_exit_that_is_seen_before_the_start_is_reported_counts() {
    let mut machine = Machine::new(vec![kept("a", Role::App, Restart::OnFailure)]);
    machine.starts(0, 0);
    machine.feed(exited(0, 0, 1));
    machine.acts();
    machine.feed(Event::Waited(0, 1, Wait::Restart));
    assert_eq!(machine.acts(), [Action::Start(0, 1)]);
    // The newest attempt comes first here, and the one before once more.
    machine.feed(exited(0, 1, 1));
    machine.feed(exited(0, 0, 1));
    machine.feed(Event::Started(0, 1));
    assert_eq!(machine.acts(), [wait(0, 2, 10)]);

    let mut machine = Machine::new(vec![kept("a", Role::App, Restart::Never)]);
    assert_eq!(machine.acts(), [Action::Start(0, 0)]);
    machine.feed(exited(0, 0, 7));
    assert_eq!(machine.pod.outcome(), None);
    machine.feed(Event::Started(0, 0));
    assert_eq!(machine.pod.outcome(), Some(Outcome::Failed));
    // The same exit seen once more, and late events, are nothing new.
    machine.feed(exited(0, 0, 7));
    machine.feed(Event::Started(0, 0));
    assert_eq!(machine.acts(), []);
}

#[test]
fn a_start_that_fails_is_tried_again_later() {
    let mut machine = Machine::new(vec![kept("a", Role::App, Restart::Always)]);
    machine.acts();
    machine.feed(Event::StartFailed(0, 0, "no".to_owned()));
    assert_eq!(machine.acts(), [wait(0, 1, 10)]);
    machine.feed(Event::Waited(0, 1, Wait::Restart));
    assert_eq!(machine.acts(), [Action::Start(0, 1)]);
}

#[test]
fn a_container_that_fails_its_liveness_probe_is_stopped_and_started_again() {
    let mut app = kept("a", Role::App, Restart::Always);
    app.probes.liveness = probe(2);
    let mut machine = Machine::new(vec![app]);
    machine.starts(0, 0);
    machine.acts();
    let failed = || Event::Probed(0, 0, ProbeKind::Liveness, Passed::No);
    machine.feed(failed());
    let again = Duration::from_secs(5);
    let check = Wait::Probe(ProbeKind::Liveness);
    assert_eq!(machine.acts(), [Action::Wait(0, 0, check, again)]);
    machine.feed(Event::Probed(0, 0, ProbeKind::Liveness, Passed::Yes));
    machine.feed(failed());
    machine.acts();
    machine.feed(failed());
    assert_eq!(machine.acts(), [Action::Stop(0, 0)]);
    // Probes under way, and one that waits, are of no account any more.
    machine.feed(failed());
    machine.feed(Event::Waited(0, 0, check));
    assert_eq!(machine.acts(), []);
    machine.feed(exited(0, 0, 137));
    assert_eq!(machine.acts(), [wait(0, 1, 0)]);
}

#[test]
fn readiness_is_told_when_it_changes() {
    let mut app = kept("a", Role::App, Restart::Always);
    app.probes.readiness = probe(1);
    app.probes.startup = probe(1);
    let mut machine = Machine::new(vec![app]);
    machine.starts(0, 0);
    machine.news();
    let probed = |kind, passed| Event::Probed(0, 0, kind, passed);
    // It has no turn yet.
    machine.feed(probed(ProbeKind::Readiness, Passed::Yes));
    assert_eq!(machine.news(), []);
    machine.feed(probed(ProbeKind::Startup, Passed::Yes));
    assert_eq!(machine.news(), [News::StartupPassed(0)]);
    for (passed, news) in [
        (Passed::No, vec![]),
        (Passed::Yes, vec![News::Ready(0)]),
        (Passed::Yes, vec![]),
        (Passed::No, vec![News::NotReady(0)]),
    ] {
        machine.feed(probed(ProbeKind::Readiness, passed));
        assert_eq!(machine.news(), news);
    }
}

#[test]
fn nothing_starts_once_the_sandbox_is_not_ready() {
    let mut machine = Machine::new(vec![kept("a", Role::App, Restart::Always)]);
    machine.starts(0, 0);
    machine.feed(exited(0, 0, 1));
    machine.acts();
    machine.feed(Event::Gone);
    machine.feed(Event::Waited(0, 1, Wait::Restart));
    assert_eq!(machine.acts(), []);
    assert_eq!(machine.pod.outcome(), Some(Outcome::Gone));
}

#[test]
fn a_stop_that_was_asked_for_has_an_order_and_restarts_nothing() {
    let mut machine = Machine::new(vec![
        kept("s", Role::Sidecar, Restart::Always),
        kept("a", Role::App, Restart::Always),
        kept("b", Role::App, Restart::Always),
        kept("c", Role::App, Restart::Always),
    ]);
    for index in 0..3 {
        machine.starts(index, 0);
    }
    machine.acts();
    machine.feed(exited(1, 0, 1));
    machine.feed(Event::StopAsked);
    // One runs, one waits for its restart, one is being started.
    assert_eq!(machine.acts(), [wait(1, 1, 0), Action::Stop(2, 0)]);
    machine.feed(Event::Waited(1, 1, Wait::Restart));
    machine.feed(exited(2, 0, 143));
    assert_eq!(machine.acts(), []);
    machine.feed(Event::Started(3, 0));
    assert_eq!(machine.acts(), [Action::Stop(3, 0)]);
    machine.feed(exited(3, 0, 143));
    assert_eq!(machine.acts(), [Action::Stop(0, 0)]);
    machine.feed(exited(0, 0, 143));
    assert_eq!(machine.pod.outcome(), Some(Outcome::Stopped));
}

#[test]
fn a_keeper_that_takes_over_goes_on_where_the_pod_is() {
    let all = || {
        vec![
            kept("i", Role::Init, Restart::OnFailure),
            kept("s", Role::Sidecar, Restart::Always),
            kept("a", Role::App, Restart::Always),
            kept("b", Role::App, Restart::OnFailure),
            kept("c", Role::App, Restart::Never),
        ]
    };
    // The init container was removed meanwhile; one container is at its third attempt, one made but not started.
    let mut machine = Machine::found(
        all(),
        &[
            seen(1, 0, SeenState::Running),
            seen(2, 1, SeenState::Exited(exit(1))),
            seen(2, 2, SeenState::Exited(exit(1))),
            seen(3, 4, SeenState::Created),
            seen(4, 0, SeenState::Exited(exit(0))),
        ],
    );
    assert_eq!(machine.acts(), [wait(2, 3, 20), Action::Start(3, 4)]);
    machine.feed(Event::Started(3, 4));
    assert!(machine.news().contains(&News::Up));

    let mut fresh = Machine::found(all(), &[]);
    assert_eq!(fresh.acts(), [Action::Start(0, 0)]);
}

/// Events of two attempts at four containers, in any order: most make no sense, which must do no harm.
fn any_event() -> impl Strategy<Value = Event> {
    let place = (0..4_usize, 0..3_u32);
    let kinds = prop::sample::select(ProbeKind::ALL.to_vec());
    let passed = prop::sample::select(vec![Passed::Yes, Passed::No]);
    prop_oneof![
        4 => (place.clone(), 0..2_i32).prop_map(|((index, attempt), code)| exited(index, attempt, code)),
        6 => place.clone().prop_map(|(index, attempt)| Event::Started(index, attempt)),
        1 => place.clone().prop_map(|(index, attempt)| {
            Event::StartFailed(index, attempt, String::new())
        }),
        4 => place.clone().prop_map(|(index, attempt)| Event::Waited(index, attempt, Wait::Restart)),
        2 => (place, kinds, passed).prop_map(|((index, attempt), kind, passed)| {
            Event::Probed(index, attempt, kind, passed)
        }),
        1 => Just(Event::StopAsked),
        1 => Just(Event::Gone),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_nothing_starts_out_of_turn(events in prop::collection::vec(any_event(), 0..60)) {
        let mut sidecar = kept("s", Role::Sidecar, Restart::Always);
        sidecar.probes.startup = probe(1);
        let mut machine = Machine::new(vec![
            kept("i", Role::Init, Restart::OnFailure),
            sidecar,
            kept("a", Role::App, Restart::Always),
            kept("b", Role::App, Restart::OnFailure),
        ]);
        let mut stopped = false;
        machine.actions.clear();
        for event in events {
            stopped |= matches!(event, Event::StopAsked | Event::Gone);
            machine.feed(event);
            for action in machine.acts() {
                let Action::Start(index, attempt) = action else { continue };
                prop_assert!(!stopped, "{index} starts after the stop");
                let starting = Phase::Starting { attempt };
                prop_assert_eq!(machine.pod.phase(index), Some(&starting));
                let done = machine.pod.phase(0) == Some(&Phase::Ended { code: Some(0) });
                prop_assert!(index == 0 || done, "{index} starts before the init container's success");
            }
        }
    }
}
