//! The loop of a keeper: events in, actions out.

use std::io;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::control::{ControlRequest, ControlSocket};
use super::executor::Executor;
use super::observe;
use super::sandbox::Sandbox;
use crate::connect::Daemon;
use crate::run::keeper::{Action, Event, Index, Kept, News, Outcome, Passed, Pod, ProbeKind};
use crate::run::manifest::PodPlan;

/// A pod under care.
pub(crate) struct Keeper {
    executor: Arc<Executor>,
    pod: Pod,
    jobs: FuturesUnordered<BoxFuture<'static, Option<Event>>>,
    events: mpsc::Receiver<Event>,
    control: ControlSocket,
    /// Connections of those who asked the keeper to stop or to yield. They wait until these are dropped, which is after
    /// `control`.
    waiting_clients: Vec<UnixStream>,
    /// The first actions of the state machine.
    initial_actions: Vec<Action>,
}

/// The result of one step.
#[derive(Debug)]
pub(crate) enum Step {
    /// News that may be shown.
    News(Vec<News>),
    /// Another keeper wants the pod.
    Yield,
}

/// The keeper cannot listen for those who stop the pod.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on the control socket of the pod's keeper")]
pub(crate) struct TakeError(#[source] io::Error);

impl Keeper {
    /// Takes a pod under care. None when another keeper has it.
    pub(crate) async fn take(
        daemon: Daemon,
        sandbox: &Sandbox,
        plan: PodPlan,
        grace: u32,
    ) -> Result<Option<Self>, TakeError> {
        let opened = ControlSocket::open(&sandbox.id);
        let Some(control) = opened.map_err(TakeError)? else {
            return Ok(None);
        };
        let kept: Vec<Kept> = plan
            .containers
            .iter()
            .map(|container| container.kept.clone())
            .collect();
        let names: Vec<_> = kept.iter().map(|kept| kept.name.clone()).collect();
        let seen = observe::seen(&names, &sandbox.containers);
        let (pod, first) = Pod::new(kept, &seen);
        let events = observe::observe(daemon.clone(), sandbox.id.clone(), names);
        Ok(Some(Self {
            executor: Arc::new(Executor::new(daemon, sandbox, plan, grace)),
            pod,
            jobs: FuturesUnordered::new(),
            events,
            control,
            waiting_clients: Vec::new(),
            initial_actions: first,
        }))
    }

    /// Waits for the next thing that happens, and does what follows. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Step {
        if !self.initial_actions.is_empty() {
            let first = std::mem::take(&mut self.initial_actions);
            return Step::News(self.perform(first));
        }
        let event = tokio::select! {
            Some(event) = self.events.recv() => event,
            Some(event) = self.jobs.next(), if !self.jobs.is_empty() => match event {
                Some(event) => event,
                None => return Step::News(Vec::new()),
            },
            ask = self.control.next() => match ask {
                ControlRequest::Yield(stream) => {
                    self.waiting_clients.push(stream);
                    return Step::Yield;
                }
                ControlRequest::Stop(grace, stream) => {
                    self.waiting_clients.push(stream);
                    self.executor.set_grace(grace);
                    Event::StopAsked
                }
            },
        };
        Step::News(self.take_in(event))
    }

    /// Stops the pod's containers in order, with this grace period in seconds.
    pub(crate) fn stop(&mut self, grace: Option<u32>) -> Vec<News> {
        if let Some(grace) = grace {
            self.executor.set_grace(grace);
        }
        self.take_in(Event::StopAsked)
    }

    /// How it ended with the pod, once it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
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
            let executor = Arc::clone(&self.executor);
            let job = match action {
                Action::Tell(one) => {
                    news.push(one);
                    continue;
                }
                Action::Start(index, attempt) => start(executor, index, attempt).boxed(),
                Action::Stop(index, attempt) => async move {
                    executor.stop(index, attempt).await;
                    None
                }
                .boxed(),
                Action::Probe(index, attempt, kind) => {
                    probe(executor, index, attempt, kind).boxed()
                }
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

async fn start(executor: Arc<Executor>, index: Index, attempt: u32) -> Option<Event> {
    Some(match executor.start(index, attempt).await {
        Ok(()) => Event::Started(index, attempt),
        Err(why) => Event::StartFailed(index, attempt, why),
    })
}

async fn probe(
    executor: Arc<Executor>,
    index: Index,
    attempt: u32,
    kind: ProbeKind,
) -> Option<Event> {
    let passed = match executor.probe(index, attempt, kind).await {
        true => Passed::Yes,
        false => Passed::No,
    };
    Some(Event::Probed(index, attempt, kind, passed))
}
