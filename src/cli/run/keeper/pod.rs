//! The keeper's state machine of one pod and its containers.

use super::checks::{Checks, Verdict};
use super::container::{Index, Kept, Role, Seen, SeenState};
use super::event::{Action, Event, News, Outcome, Wait};
use super::exit::Exit;
use super::probe::{Passed, ProbeKind};
use super::restart::Backoff;

/// Where a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The turn of the container has not come.
    Waiting {
        /// The attempt it will be.
        attempt: u32,
    },
    /// The container is being started.
    Starting {
        /// The attempt it is.
        attempt: u32,
    },
    Running {
        /// The attempt it is.
        attempt: u32,
        /// Where its probes stand.
        checks: Checks,
    },
    /// The container is being stopped.
    Stopping {
        /// The attempt it is.
        attempt: u32,
    },
    /// The container waits for its restart.
    Backoff {
        /// The attempt it will be.
        attempt: u32,
    },
    /// The container has ended and is not started again; without a code it never ran.
    Ended {
        /// Exit code of the last attempt that ran.
        code: Option<i32>,
    },
}

/// Where a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Up,
    Ending(Ending),
    Over(Outcome),
}

/// Why a pod ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Asked,
    Finished,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    kept: Kept,
    phase: Phase,
    backoff: Backoff,
    /// The exit of the newest attempt that was seen, since it may be seen before the start is reported.
    exit: Option<(u32, Exit)>,
    /// The container has been started once: later containers do not wait for its restarts.
    started_once: bool,
}

/// A pod with its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    members: Vec<Member>,
    stage: Stage,
}

type Actions = Vec<Action>;

impl Pod {
    /// A pod of these containers, in the order of starting, as it was found.
    pub(crate) fn new(kept: Vec<Kept>, seen: &[Seen]) -> (Self, Vec<Action>) {
        let member = |kept| Member {
            kept,
            phase: Phase::Waiting { attempt: 0 },
            backoff: Backoff::default(),
            exit: None,
            started_once: false,
        };
        let mut pod = Self {
            members: kept.into_iter().map(member).collect(),
            stage: Stage::Starting,
        };
        let mut actions = Vec::new();
        for index in 0..pod.members.len() {
            let newest = seen.iter().filter(|container| container.container == index);
            if let Some(newest) = newest.max_by_key(|container| container.attempt) {
                pod.found(newest, &mut actions);
            }
        }
        pod.skip_done_inits();
        pod.advance(&mut actions);
        (pod, actions)
    }

    /// Applies an event, and returns the actions that follow from it.
    #[must_use]
    pub(crate) fn apply(mut self, event: Event) -> (Self, Vec<Action>) {
        let mut actions = Vec::new();
        if matches!(self.stage, Stage::Over(_)) {
            return (self, actions);
        }
        match event {
            Event::Seen(all) => all
                .iter()
                .for_each(|container| self.seen(container, &mut actions)),
            Event::Gone => self.over(Outcome::Gone, &mut actions),
            Event::StopAsked => self.stage = Stage::Ending(Ending::Asked),
            Event::Started(index, attempt) => self.started(index, attempt, &mut actions),
            Event::StartFailed(index, attempt, why) => {
                self.start_failed((index, attempt), why, &mut actions);
            }
            Event::Waited(index, attempt, wait) => self.waited(index, attempt, wait, &mut actions),
            Event::Probed(index, attempt, kind, passed) => {
                self.probed((index, attempt), kind, passed, &mut actions);
            }
        }
        self.advance(&mut actions);
        (self, actions)
    }

    /// How it ended, once it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.stage {
            Stage::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Phase of a container.
    pub(super) fn phase(&self, index: Index) -> Option<&Phase> {
        self.members.get(index).map(|member| &member.phase)
    }

    /// Takes over the containers that were there before this keeper.
    fn found(&mut self, seen: &Seen, actions: &mut Actions) {
        let Some(member) = self.members.get_mut(seen.container) else {
            return;
        };
        let attempt = seen.attempt;
        member.backoff = Backoff::at(attempt);
        match &seen.state {
            SeenState::Created => member.phase = Phase::Waiting { attempt },
            SeenState::Running => self.run(seen.container, attempt, actions),
            SeenState::Exited(exit) => {
                member.started_once = true;
                member.exit = Some((attempt, exit.clone()));
                self.exited(seen.container, attempt, exit, actions);
            }
        }
    }

    /// Init containers before one that has been started have succeeded, though they may have been removed.
    fn skip_done_inits(&mut self) {
        let begun = |member: &Member| !matches!(member.phase, Phase::Waiting { .. });
        let last = self.members.iter().rposition(begun).unwrap_or_default();
        for member in &mut self.members[..last] {
            if member.kept.role == Role::Init && matches!(member.phase, Phase::Waiting { .. }) {
                member.phase = Phase::Ended { code: Some(0) };
            }
        }
    }

    fn seen(&mut self, seen: &Seen, actions: &mut Actions) {
        let Some(member) = self.members.get_mut(seen.container) else {
            return;
        };
        let SeenState::Exited(exit) = &seen.state else {
            return;
        };
        // Every look shows the attempts before, too.
        if member
            .exit
            .as_ref()
            .is_none_or(|(newest, _)| *newest <= seen.attempt)
        {
            member.exit = Some((seen.attempt, exit.clone()));
        }
        match member.phase {
            Phase::Running { attempt, .. } | Phase::Stopping { attempt }
                if attempt == seen.attempt =>
            {
                self.exited(seen.container, attempt, exit, actions);
            }
            _ => {}
        }
    }

    fn exited(&mut self, index: Index, attempt: u32, exit: &Exit, actions: &mut Actions) {
        let ending = matches!(self.stage, Stage::Ending(_));
        let member = &mut self.members[index];
        let mut after = None;
        if ending || !member.kept.restart.wants(exit) {
            member.phase = Phase::Ended {
                code: Some(exit.code),
            };
        } else {
            let wait = member.backoff.after(exit);
            after = Some(wait);
            let attempt = attempt.saturating_add(1);
            member.phase = Phase::Backoff { attempt };
            actions.push(Action::Wait(index, attempt, Wait::Restart, wait));
        }
        actions.push(Action::Tell(News::Exited(index, exit.clone(), after)));
    }

    fn start(&mut self, index: Index, attempt: u32, actions: &mut Actions) {
        self.members[index].phase = Phase::Starting { attempt };
        actions.push(Action::Tell(News::Starting(index, attempt)));
        actions.push(Action::Start(index, attempt));
    }

    fn started(&mut self, index: Index, started: u32, actions: &mut Actions) {
        let Some(Phase::Starting { attempt }) = self.phase(index).cloned() else {
            return;
        };
        if attempt != started {
            return;
        }
        self.run(index, attempt, actions);
        let exit = self.members[index].exit.clone();
        if let Some((_, exit)) = exit.filter(|(ended, _)| *ended == attempt) {
            self.exited(index, attempt, &exit, actions);
        }
    }

    /// Records that a container runs, and begins its probes.
    fn run(&mut self, index: Index, attempt: u32, actions: &mut Actions) {
        let member = &mut self.members[index];
        let checks = Checks::new(&member.kept.probes);
        member.started_once |= checks.is_started();
        member.phase = Phase::Running { attempt, checks };
        actions.push(Action::Tell(News::Started(index, attempt)));
        self.begin_probes(index, actions);
    }

    fn begin_probes(&mut self, index: Index, actions: &mut Actions) {
        let member = &self.members[index];
        let Phase::Running { attempt, checks } = &member.phase else {
            return;
        };
        for kind in ProbeKind::ALL {
            if let Some(probe) = member.kept.probes.get(kind)
                && checks.is_active(kind)
            {
                let wait = Wait::Probe(kind);
                actions.push(Action::Wait(index, *attempt, wait, probe.delay));
            }
        }
    }

    fn start_failed(&mut self, (index, failed): (Index, u32), why: String, actions: &mut Actions) {
        let Some(Phase::Starting { attempt }) = self.phase(index).cloned() else {
            return;
        };
        if attempt != failed {
            return;
        }
        let ending = matches!(self.stage, Stage::Ending(_));
        let member = &mut self.members[index];
        let wait = member.backoff.after_failed_start();
        let again = if ending {
            member.phase = Phase::Ended { code: None };
            None
        } else {
            let attempt = attempt.saturating_add(1);
            member.phase = Phase::Backoff { attempt };
            actions.push(Action::Wait(index, attempt, Wait::Restart, wait));
            Some(wait)
        };
        actions.push(Action::Tell(News::StartFailed(index, why, again)));
    }

    fn waited(&mut self, index: Index, waited: u32, wait: Wait, actions: &mut Actions) {
        match (self.phase(index).cloned(), wait) {
            (Some(Phase::Backoff { attempt }), Wait::Restart)
                if attempt == waited && !matches!(self.stage, Stage::Ending(_)) =>
            {
                self.start(index, attempt, actions);
            }
            (Some(Phase::Running { attempt, checks }), Wait::Probe(kind))
                if attempt == waited && checks.is_active(kind) =>
            {
                actions.push(Action::Probe(index, attempt, kind));
            }
            _ => {}
        }
    }

    fn probed(
        &mut self,
        (index, probed): (Index, u32),
        kind: ProbeKind,
        passed: Passed,
        actions: &mut Actions,
    ) {
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        let Phase::Running { attempt, checks } = &mut member.phase else {
            return;
        };
        if *attempt != probed || !checks.is_active(kind) {
            return;
        }
        let verdict = checks.count(&member.kept.probes, kind, passed);
        match verdict {
            Verdict::StartupPassed => {
                member.started_once = true;
                actions.push(Action::Tell(News::StartupPassed(index)));
                return self.begin_probes(index, actions);
            }
            Verdict::Unhealthy => {
                member.phase = Phase::Stopping { attempt: probed };
                actions.push(Action::Tell(News::Unhealthy(index, kind)));
                actions.push(Action::Stop(index, probed));
                return;
            }
            Verdict::Ready => actions.push(Action::Tell(News::Ready(index))),
            Verdict::NotReady => actions.push(Action::Tell(News::NotReady(index))),
            Verdict::Same => {}
        }
        if let Some(probe) = member.kept.probes.get(kind) {
            actions.push(Action::Wait(index, probed, Wait::Probe(kind), probe.period));
        }
    }

    /// Whatever can be done next by the order of containers.
    fn advance(&mut self, actions: &mut Actions) {
        if self.stage == Stage::Starting {
            self.advance_start(actions);
        }
        let apps_ended = || {
            let mut apps = self
                .members
                .iter()
                .filter(|member| member.kept.role == Role::App);
            apps.all(|app| matches!(app.phase, Phase::Ended { .. }))
        };
        if self.stage == Stage::Up && apps_ended() {
            self.stage = Stage::Ending(Ending::Finished);
        }
        if let Stage::Ending(ending) = self.stage {
            self.advance_end(ending, actions);
        }
    }

    fn advance_start(&mut self, actions: &mut Actions) {
        for index in 0..self.members.len() {
            let member = &self.members[index];
            match (member.kept.role, &member.phase) {
                (_, Phase::Waiting { attempt }) => return self.start(index, *attempt, actions),
                // A restart of one that has been started before holds up nobody.
                (Role::Sidecar | Role::App, _) if member.started_once => {}
                (_, Phase::Starting { .. })
                | (Role::Init | Role::Sidecar, Phase::Running { .. }) => {
                    return;
                }
                (Role::Init, Phase::Ended { code: Some(0) }) => {}
                (Role::Init, Phase::Ended { .. }) => {
                    self.stage = Stage::Ending(Ending::Finished);
                    return;
                }
                (Role::Init | Role::Sidecar, _) => return,
                (Role::App | Role::Ephemeral, _) => {}
            }
        }
        self.stage = Stage::Up;
        actions.push(Action::Tell(News::Up));
    }

    /// Stops what still runs: the containers at the same time, then the sidecars from the last to the first.
    fn advance_end(&mut self, ending: Ending, actions: &mut Actions) {
        for member in &mut self.members {
            let last = member.exit.as_ref().map(|(_, exit)| exit.code);
            if matches!(member.phase, Phase::Waiting { .. } | Phase::Backoff { .. }) {
                member.phase = Phase::Ended { code: last };
            }
        }
        let mut busy = false;
        for index in 0..self.members.len() {
            if self.members[index].kept.role != Role::Sidecar {
                busy |= self.end_one(index, actions);
            }
        }
        for index in (0..self.members.len()).rev() {
            if !busy && self.members[index].kept.role == Role::Sidecar {
                busy |= self.end_one(index, actions);
            }
        }
        if !busy {
            self.over(self.result(ending), actions);
        }
    }

    /// Stops one that runs. Whether it is not yet over with it.
    fn end_one(&mut self, index: Index, actions: &mut Actions) -> bool {
        let member = &mut self.members[index];
        if let Phase::Running { attempt, .. } = member.phase {
            member.phase = Phase::Stopping { attempt };
            actions.push(Action::Tell(News::Stopping(index)));
            actions.push(Action::Stop(index, attempt));
        }
        !matches!(member.phase, Phase::Ended { .. })
    }

    fn result(&self, ending: Ending) -> Outcome {
        let well = |member: &Member| {
            matches!(member.kept.role, Role::Sidecar | Role::Ephemeral)
                || member.phase == Phase::Ended { code: Some(0) }
        };
        match ending {
            Ending::Asked => Outcome::Stopped,
            Ending::Finished if self.members.iter().all(well) => Outcome::Succeeded,
            Ending::Finished => Outcome::Failed,
        }
    }

    fn over(&mut self, outcome: Outcome, actions: &mut Actions) {
        self.stage = Stage::Over(outcome);
        actions.push(Action::Tell(News::Over(outcome)));
    }
}
