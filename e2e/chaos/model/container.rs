//! What is known of a container.

use std::time::{Duration, Instant};

use cri_api::runtime::v1::{ContainerState, ContainerStatus};

use super::pod::Pod;
use super::{Checked, Since, When};
use crate::random::Random;

/// How long the containers of a pod may still be ending when it is shown as not ready, on a machine that does much
/// else: a pod is not ready from the moment at which somebody stops it.
const ENDING: Duration = Duration::from_secs(3);

/// What a container does when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, and SIGTERM does not end it.
    Idle,
    /// Ends with a code, after milliseconds.
    Exits(i32, u64),
    /// Ends with a code at SIGTERM.
    Obeys(i32),
    /// Starts further processes and waits for them.
    Crowd,
    /// Its program does not exist.
    Missing,
}

impl Kind {
    /// Of a container's name: what is asked for again has to be the same.
    pub fn of(pod: super::PodKey, slot: usize, attempt: u32) -> Self {
        let mut random = Random::new(&[
            pod.slot as u64,
            u64::from(pod.attempt),
            slot as u64,
            u64::from(attempt),
        ]);
        match random.below(12) {
            0..=3 => Self::Idle,
            4..=6 => Self::Exits([0, 1, 3, 42, 200][random.index(5)], random.below(900)),
            7 | 8 => Self::Obeys([0, 9, 77][random.index(3)]),
            9 | 10 => Self::Crowd,
            _ => Self::Missing,
        }
    }

    /// The command that makes a container behave so.
    pub fn script(self) -> Vec<String> {
        let script = match self {
            Self::Idle => "exec sleep 100000".to_owned(),
            Self::Exits(code, millis) => {
                format!(
                    "echo one; sleep {}.{:03}; exit {code}",
                    millis / 1000,
                    millis % 1000
                )
            }
            Self::Obeys(code) => {
                format!("trap 'exit {code}' TERM; while :; do sleep 0.05; done")
            }
            Self::Crowd => "sleep 100001 & sleep 100001 & echo two; exec sleep 100000".to_owned(),
            Self::Missing => return vec!["/no/such/program".to_owned()],
        };
        ["sh", "-c", &script].map(str::to_owned).into()
    }
}

/// How a container was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenState {
    Created,
    Running,
    Exited,
    Gone,
}

/// Where a container was in a status or a list.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub state: SeenState,
    /// With the rest of it, in a status.
    pub status: Option<&'a ContainerStatus>,
    /// The disk may have refused what was recorded of late.
    pub unkept: bool,
}

impl<'a> Seen<'a> {
    pub fn of(state: ContainerState, status: Option<&'a ContainerStatus>) -> Result<Self, String> {
        let state = match state {
            ContainerState::ContainerCreated => SeenState::Created,
            ContainerState::ContainerRunning => SeenState::Running,
            ContainerState::ContainerExited => SeenState::Exited,
            ContainerState::ContainerUnknown => return Err(format!("state UNKNOWN: {status:?}")),
        };
        Ok(Self {
            state,
            status,
            unkept: false,
        })
    }

    pub const GONE: Seen<'static> = Seen {
        state: SeenState::Gone,
        status: None,
        unkept: false,
    };
}

/// The end of a container, as its status says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    code: i32,
    started_at: i64,
    finished_at: i64,
    reason: String,
    message: String,
}

impl End {
    /// The daemon says so because nobody saw the end: one that comes after it says it anew.
    fn is_made_up(&self) -> bool {
        ["ShimLost", "KillPending"].contains(&self.reason.as_str())
    }
}

/// A container that was created.
#[derive(Debug)]
pub struct Container {
    pub id: String,
    pub pod: String,
    pub slot: usize,
    pub attempt: u32,
    pub kind: Kind,
    pub created: Since,
    pub running: Since,
    pub exited: Since,
    pub gone: Since,
    pub start_asked: Since,
    pub stop_asked: Since,
    pub remove_asked: Since,
    /// Its first process was killed.
    pub hurt: Since,
    /// A step of its launch may have failed.
    pub launch_troubled: bool,
    end: Option<End>,
    /// Nobody but the daemon that told the end may know it.
    end_unkept: bool,
}

impl Container {
    pub fn new(id: &str, pod: &Pod, slot: usize, attempt: u32, at: Instant) -> Self {
        let mut created = Since::default();
        created.note(at);
        Self {
            id: id.to_owned(),
            pod: pod.id.clone(),
            slot,
            attempt,
            kind: Kind::of(pod.key, slot, attempt),
            created,
            running: Since::default(),
            exited: Since::default(),
            gone: Since::default(),
            start_asked: Since::default(),
            stop_asked: Since::default(),
            remove_asked: Since::default(),
            hurt: Since::default(),
            launch_troubled: false,
            end: None,
            end_unkept: false,
        }
    }

    /// Whether something may have ended it from outside until that time.
    pub fn may_be_killed(&self, pod: &Pod, at: Instant) -> bool {
        self.stop_asked.by(at)
            || self.remove_asked.by(at)
            || self.hurt.by(at)
            || pod.may_be_down(at)
    }

    /// Whether it may have ended until that time.
    pub fn may_be_over(&self, pod: &Pod, at: Instant) -> bool {
        let ends = matches!(self.kind, Kind::Exits(..) | Kind::Missing);
        self.start_asked.by(at) && (ends || self.launch_troubled) || self.may_be_killed(pod, at)
    }

    pub fn may_be_gone(&self, pod: &Pod, at: Instant) -> bool {
        self.remove_asked.by(at) || pod.remove_asked.by(at)
    }

    /// Checks a state that the daemon has reported, and remembers it.
    pub fn seen(&mut self, pod: &Pod, seen: Seen<'_>, when: When) -> Checked {
        let was = |what: &str| {
            let id = &self.id;
            Err(format!("container {id} {what} and is {:?}", seen.state))
        };
        if seen.state == SeenState::Gone {
            return self.missing(pod, when);
        }
        if self.gone.by(when.start) || pod.gone.by(when.start) {
            return was("was gone");
        }
        match seen.state {
            SeenState::Created if self.running.by(when.start) => return was("had been started"),
            SeenState::Created | SeenState::Running if self.exited.by(when.start) => {
                return was("had ended");
            }
            SeenState::Running
                if when
                    .start
                    .checked_sub(ENDING)
                    .is_some_and(|at| pod.not_ready.by(at)) =>
            {
                return was("is in a pod that was not ready");
            }
            SeenState::Running | SeenState::Exited if !self.start_asked.by(when.end) => {
                return was("was never to be started");
            }
            SeenState::Exited if !self.may_be_over(pod, when.end) => {
                return was("runs until it is stopped, nobody did,");
            }
            SeenState::Running => self.running.note(when.end),
            SeenState::Exited => {
                self.running.note(when.end);
                self.exited.note(when.end);
            }
            SeenState::Created | SeenState::Gone => {}
        }
        match seen.status {
            Some(status) => self.details(pod, seen, status, when),
            None => Ok(()),
        }
    }

    fn missing(&mut self, pod: &Pod, when: When) -> Checked {
        if !self.created.by(when.start) {
            return Ok(());
        }
        if !self.may_be_gone(pod, when.end) {
            return Err(format!(
                "container {} is gone, and nobody removed it",
                self.id
            ));
        }
        self.gone.note(when.end);
        Ok(())
    }

    fn details(
        &mut self,
        pod: &Pod,
        Seen { state, unkept, .. }: Seen<'_>,
        status: &ContainerStatus,
        when: When,
    ) -> Checked {
        let id = &self.id;
        if state != SeenState::Exited {
            let ended = status.finished_at != 0 || status.exit_code != 0;
            let started = (status.started_at != 0) != (state == SeenState::Running);
            return if ended || started {
                Err(format!(
                    "container {id} has a status that does not fit: {status:?}"
                ))
            } else {
                Ok(())
            };
        }
        let end = End {
            code: status.exit_code,
            started_at: status.started_at,
            finished_at: status.finished_at,
            reason: status.reason.clone(),
            message: status.message.clone(),
        };
        match &self.end {
            Some(known) if *known == end => return Ok(()),
            Some(known) if !(self.end_unkept && end.is_made_up()) => {
                return Err(format!(
                    "container {id} ended as {known:?}, and now as {end:?}"
                ));
            }
            Some(_) | None => {}
        }
        let ran = end.reason != "StartError";
        if ran && !(status.created_at <= end.started_at && end.started_at <= end.finished_at) {
            return Err(format!("container {id} has times out of order: {status:?}"));
        }
        self.code(pod, &end, when)?;
        // The shim has room for what it sees, if the disk had any when the container started.
        self.end_unkept = unkept && end.is_made_up();
        self.end = Some(end);
        Ok(())
    }

    /// Whether it may have ended with that code.
    fn code(&self, pod: &Pod, end: &End, when: When) -> Checked {
        let killed = self.may_be_killed(pod, when.end);
        let own = match self.kind {
            Kind::Exits(code, _) => end.code == code,
            Kind::Obeys(code) => end.code == code && killed,
            Kind::Missing => end.reason == "StartError",
            Kind::Idle | Kind::Crowd => false,
        };
        let fits = own
            || end.code == 137 && killed
            // SIGTERM reaches a shell that has not set its trap yet, as any first process: it is ignored.
            || end.reason == "ShimLost" && pod.hurt.by(when.end)
            || end.reason == "StartError" && (killed || self.launch_troubled);
        if fits {
            return Ok(());
        }
        let (id, kind) = (&self.id, self.kind);
        Err(format!(
            "container {id}, {kind:?}, ended as {end:?}; killed: {killed}"
        ))
    }
}
