//! A client: makes the steps of its script, one after the other, and checks every answer.

mod containers;
mod images;
mod pods;
mod reads;

use std::error::Error;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use e2e::call::{Clients, call};
use tonic::{Code, Response, Status};

use crate::model::{Checked, Trouble, When};
use crate::script::{Op, Script, Step};
use crate::world::World;

/// A read may take this long on a machine that does much else; whoever reads longer hangs.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// How long an operation may have been under way that a call joins: its answer tells of troubles that long ago.
const JOINED: Duration = Duration::from_secs(1);

/// What refusals say when something on the machine is broken.
const BROKEN: [Code; 7] = [
    Code::Internal,
    // A registry that is not reached (RegistryUnavailable).
    Code::Unknown,
    Code::ResourceExhausted,
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::FailedPrecondition,
    Code::NotFound,
];

/// What became of a call.
#[derive(Debug)]
pub enum Answer<T> {
    Is(T),
    Refused(Status),
    /// The client went away, or the daemon did.
    Lost,
}

/// One of the clients of a round.
#[derive(Debug)]
pub struct Client<'w> {
    pub world: &'w World,
    pub number: u64,
    clients: Clients,
}

impl<'w> Client<'w> {
    pub fn new(world: &'w World, number: u64) -> Self {
        Self {
            world,
            number,
            // Connections of their own: one that breaks is one client's trouble.
            clients: Clients::new(&world.daemon.place.socket()),
        }
    }

    /// Makes steps until the round is over.
    pub fn run(&self, script: Script, until: Instant, most: u64) {
        for step in script.take(usize::try_from(most).unwrap_or(usize::MAX)) {
            if self.world.is_over() || Instant::now() > until {
                return;
            }
            self.step(&step);
            std::thread::sleep(step.rest);
        }
    }

    fn step(&self, step: &Step) {
        if !matches!(step.op, Op::Disturb(_)) {
            self.world.calls.fetch_add(1, Ordering::Relaxed);
        }
        match step.op {
            Op::RunPod => self.run_pod(step),
            Op::StopPod => self.stop_pod(step),
            Op::RemovePod => self.remove_pod(step),
            Op::Create => self.create(step),
            Op::Start => self.start(step),
            Op::Stop(grace) => self.stop(step, grace),
            Op::Remove => self.remove(step),
            Op::Exec(code) => self.exec(step, code),
            Op::Update => self.update(step),
            Op::ReopenLog => self.reopen_log(step),
            Op::Pull => self.pull(step),
            Op::RemoveImage => self.remove_image(step),
            Op::ListImages => self.list_images(),
            Op::PodStatus => self.pod_status(step),
            Op::ListPods => drop(self.list_pods()),
            Op::ContainerStatus => self.container_status(step),
            Op::ListContainers => drop(self.list_containers()),
            Op::PodStats | Op::ContainerStats | Op::Metrics => self.statistics(step),
            Op::Unknown => self.unknown(),
            Op::Disturb(disturbance) => self.disturb(disturbance, step),
        }
    }

    /// Keeps a line of the history.
    pub fn note(&self, line: &str) {
        self.world
            .model()
            .note(format!("client {} {line}", self.number));
    }

    /// Makes a call, and gives up on it after a time when there is one.
    fn ask<T>(
        &self,
        what: &str,
        cancel: Option<Duration>,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> (Answer<T>, When) {
        let start = Instant::now();
        let given_up = std::cell::Cell::new(false);
        let result = call(async {
            let Some(limit) = cancel else {
                return answer.await;
            };
            match tokio::time::timeout(limit, answer).await {
                Ok(result) => result,
                Err(_) => {
                    given_up.set(true);
                    Err(Status::cancelled("given up by the client"))
                }
            }
        });
        let when = When {
            start,
            end: Instant::now(),
        };
        let answer = match result {
            Ok(value) => Answer::Is(value),
            Err(_) if given_up.get() => Answer::Lost,
            Err(status) => self.refusal(what, status, when),
        };
        let told = match &answer {
            Answer::Is(_) => "done".to_owned(),
            Answer::Refused(status) => format!("{:?}: {}", status.code(), status.message()),
            Answer::Lost => "lost".to_owned(),
        };
        let took = when.end - when.start;
        self.note(&format!("{what} [{took:?}] {told}"));
        (answer, when)
    }

    /// A refusal, if it is one of the daemon's and not of a connection that broke.
    fn refusal<T>(&self, what: &str, status: Status, when: When) -> Answer<T> {
        let text = status.message().to_lowercase();
        if text.contains("reserved") || matches!(status.code(), Code::Unknown | Code::DataLoss) {
            let broken = status.source().is_some() && self.alone(when);
            if !broken {
                self.world.check(Err(format!("{what}: {status}")));
            }
        }
        if status.source().is_none() && !(status.code() == Code::Unavailable && self.alone(when)) {
            return Answer::Refused(status);
        }
        if !self.alone(when) {
            self.world.check(Err(format!(
                "{what}: the connection broke though the daemon lived: {status:?}"
            )));
        }
        Answer::Lost
    }

    /// No daemon answered at some time of a call.
    fn alone(&self, when: When) -> bool {
        self.world.model().troubled(Trouble::NoDaemon, when)
    }

    /// A refusal that the model allows, by codes and the condition under which each may come.
    fn allow(
        &self,
        what: &str,
        status: &Status,
        when: When,
        allowed: &[(bool, &[Code])],
    ) -> Checked {
        // The answer may be that of an operation which an earlier call began, and for whose end this one has waited.
        let begun = when.start.checked_sub(JOINED).unwrap_or(when.start);
        let reach = When {
            start: begun,
            end: when.end,
        };
        let broken = self.world.model().troubled(Trouble::Broken, reach);
        let code = status.code();
        let fits = allowed
            .iter()
            .any(|(may, codes)| *may && codes.contains(&code));
        if fits || broken && BROKEN.contains(&code) {
            return Ok(());
        }
        Err(format!("{what} is refused: {code:?}: {}", status.message()))
    }

    /// A read that took too long hangs.
    fn read_in_time(&self, what: &str, when: When) {
        let took = when.end - when.start;
        if took > READ_LIMIT && !self.alone(when) {
            self.world.check(Err(format!("{what} took {took:?}")));
        }
    }

    /// A pod of the step's slot: the newest most times, an older one or one that is gone else.
    pub fn pick_pod(&self, step: &Step) -> Option<String> {
        let model = self.world.model();
        let now = Instant::now();
        let in_slot = model.pods.values().filter(|pod| pod.key.slot == step.pod);
        let mut all: Vec<_> = in_slot
            .map(|pod| (pod.key.attempt, pod.gone.by(now), &pod.id))
            .collect();
        all.sort();
        pick(&all, step.choice)
    }

    /// A container of the step's slots, likewise.
    pub fn pick_container(&self, step: &Step) -> Option<String> {
        let pod = self.pick_pod(step)?;
        let model = self.world.model();
        let now = Instant::now();
        let in_slot = model
            .containers
            .values()
            .filter(|container| container.pod == pod && container.slot == step.container);
        let mut all: Vec<_> = in_slot
            .map(|container| (container.attempt, container.gone.by(now), &container.id))
            .collect();
        all.sort();
        pick(&all, step.choice / 8)
    }
}

/// The last one that is not gone, and once in eight times any.
fn pick(all: &[(u32, bool, &String)], choice: u64) -> Option<String> {
    if choice.is_multiple_of(8) {
        let index = usize::try_from(choice / 64).unwrap_or(0) % all.len().max(1);
        return all.get(index).map(|(_, _, id)| (*id).clone());
    }
    let there = all.iter().rev().find(|(_, gone, _)| !gone);
    there.map(|(_, _, id)| (*id).clone())
}
