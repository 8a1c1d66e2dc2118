//! Carries out what the keeper's machine says, and tells it what happens.
//!
//! ```text
//!   daemon ──events, and a look after each gap──▶ observe ──┐
//!   daemon, pod ◀──create, start, stop, exec, connect── crew ┼──Event──▶ keeper::Pod ──Action──▶ crew, timers
//!   holdfast stop · holdfast run --watch ──▶ door ───────────┘                     └──News──▶ who runs it
//! ```
//!
//! The daemon may be restarted at any time: whoever talks to it here tries again for a while, and a gap in the
//! stream of events is followed by a look at the whole pod. What this module must never do: decide anything that
//! the machine decides.

use std::sync::Arc;
use std::time::Duration;

use cri_api::runtime::v1 as cri;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::keeper::{Action, Event, Index, Kept, News, Outcome, Passed, Pod, ProbeKind};
use super::manifest::PodPlan;
use crate::CliError;
use crate::connect::Daemon;

mod crew;
mod door;
mod observe;
mod probe;

use crew::Crew;
pub(crate) use door::ask_to_stop;
pub(super) use door::ask_to_yield;
use door::{Ask, Door};

/// A pod under care.
pub(super) struct Keeper {
    crew: Arc<Crew>,
    pod: Pod,
    jobs: FuturesUnordered<BoxFuture<'static, Option<Event>>>,
    events: mpsc::Receiver<Event>,
    door: Door,
    /// Those who asked to stop or to yield: they wait until these are dropped, which is after the door.
    asked: Vec<UnixStream>,
    /// What the machine said at the beginning.
    first: Vec<Action>,
}

/// What came of one step.
#[derive(Debug)]
pub(super) enum Step {
    /// What people may be told.
    News(Vec<News>),
    /// Another keeper wants the pod.
    Yield,
}

/// A pod that is there.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// Its id.
    pub id: String,
    /// Its addresses.
    pub ips: Vec<String>,
    /// Its containers.
    pub containers: Vec<cri::ContainerStatus>,
}

/// Looks at a pod. None when it is not ready, or not there.
pub(super) async fn look(daemon: &Daemon, id: &str) -> Result<Option<Sandbox>, tonic::Status> {
    let request = cri::PodSandboxStatusRequest {
        pod_sandbox_id: id.to_owned(),
        verbose: false,
    };
    let reply = match daemon.runtime.clone().pod_sandbox_status(request).await {
        Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
        reply => reply?.into_inner(),
    };
    let status = reply.status.unwrap_or_default();
    if status.state() != cri::PodSandboxState::SandboxReady {
        return Ok(None);
    }
    let network = status.network.unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|ip| ip.ip);
    let ips = std::iter::once(network.ip).chain(more);
    Ok(Some(Sandbox {
        id: status.id,
        ips: ips.filter(|ip| !ip.is_empty()).collect(),
        containers: reply.containers_statuses,
    }))
}

impl Keeper {
    /// Takes a pod under care. None when another keeper has it.
    pub(super) async fn take(
        daemon: Daemon,
        sandbox: &Sandbox,
        plan: PodPlan,
        grace: u32,
    ) -> Result<Option<Self>, CliError> {
        let opened = Door::open(&sandbox.id);
        let Some(door) = opened.map_err(CliError::io("listen for those who stop the pod"))? else {
            return Ok(None);
        };
        let kept: Vec<Kept> = plan.containers.iter().map(|one| one.kept.clone()).collect();
        let names: Vec<_> = kept.iter().map(|one| one.name.clone()).collect();
        let seen = observe::seen(&names, &sandbox.containers);
        let (pod, first) = Pod::new(kept, &seen);
        let events = observe::observe(daemon.clone(), sandbox.id.clone(), names);
        Ok(Some(Self {
            crew: Arc::new(Crew::new(daemon, sandbox, plan, grace)),
            pod,
            jobs: FuturesUnordered::new(),
            events,
            door,
            asked: Vec::new(),
            first,
        }))
    }

    /// Waits for the next thing that happens, and does what follows. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Step {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Step::News(self.perform(first));
        }
        let event = tokio::select! {
            Some(event) = self.events.recv() => event,
            Some(event) = self.jobs.next(), if !self.jobs.is_empty() => match event {
                Some(event) => event,
                None => return Step::News(Vec::new()),
            },
            ask = self.door.next() => match ask {
                Ask::Yield(stream) => {
                    self.asked.push(stream);
                    return Step::Yield;
                }
                Ask::Stop(grace, stream) => {
                    self.asked.push(stream);
                    self.crew.set_grace(grace);
                    Event::StopAsked
                }
            },
        };
        Step::News(self.take_in(event))
    }

    /// Stops the pod's containers in order, with this grace period in seconds.
    pub(super) fn stop(&mut self, grace: Option<u32>) -> Vec<News> {
        if let Some(grace) = grace {
            self.crew.set_grace(grace);
        }
        self.take_in(Event::StopAsked)
    }

    /// How it ended with the pod, once it has.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.pod.outcome()
    }

    fn take_in(&mut self, event: Event) -> Vec<News> {
        let (pod, actions) = self.pod.clone().apply(event);
        self.pod = pod;
        self.perform(actions)
    }

    fn perform(&mut self, actions: Vec<Action>) -> Vec<News> {
        let mut news = Vec::new();
        for action in actions {
            let crew = Arc::clone(&self.crew);
            let job = match action {
                Action::Tell(one) => {
                    news.push(one);
                    continue;
                }
                Action::Start(index, attempt) => start(crew, index, attempt).boxed(),
                Action::Stop(index, attempt) => async move {
                    crew.stop(index, attempt).await;
                    None
                }
                .boxed(),
                Action::Probe(index, attempt, kind) => probe(crew, index, attempt, kind).boxed(),
                Action::Wait(index, attempt, wait, time) => async move {
                    tokio::time::sleep(time).await;
                    Some(Event::Waited(index, attempt, wait))
                }
                .boxed(),
            };
            self.jobs.push(job);
        }
        news
    }
}

async fn start(crew: Arc<Crew>, index: Index, attempt: u32) -> Option<Event> {
    Some(match crew.start(index, attempt).await {
        Ok(()) => Event::Started(index, attempt),
        Err(why) => Event::StartFailed(index, attempt, why),
    })
}

async fn probe(crew: Arc<Crew>, index: Index, attempt: u32, kind: ProbeKind) -> Option<Event> {
    let passed = match crew.probe(index, attempt, kind).await {
        true => Passed::Yes,
        false => Passed::No,
    };
    Some(Event::Probed(index, attempt, kind, passed))
}

/// Tries a call again while the daemon cannot be reached, for a minute.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, tonic::Status>
where
    F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    const PAUSE: Duration = Duration::from_millis(300);
    const TRIES: u32 = 200;
    let mut tries = 0;
    loop {
        tries += 1;
        match call().await {
            Err(status) if is_lost(&status) && tries < TRIES => tokio::time::sleep(PAUSE).await,
            reply => return reply.map(tonic::Response::into_inner),
        }
    }
}

/// Whether a call failed because of the connection: what the daemon answers has no cause on this side.
fn is_lost(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::Unavailable || std::error::Error::source(status).is_some()
}
