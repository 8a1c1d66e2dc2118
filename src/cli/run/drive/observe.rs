//! Observes the pod's containers: follows the daemon's events, and lists all containers after each gap.

use std::collections::HashMap;
use std::time::Duration;

use cri_api::runtime::v1::{self as cri, ContainerEventType, ContainerState, PodSandboxState};
use tokio::sync::mpsc;

use super::sandbox::find_sandbox;
use crate::connect::Daemon;
use crate::run::keeper::{Event, Exit, Seen, SeenState};

/// Events that wait for the keeper.
const MAX_QUEUED_EVENTS: usize = 16;
/// The wait after the stream has ended, since the daemon is away then: doubled up to [`MAX_RECONNECT_DELAY`].
const RECONNECT_DELAY: Duration = Duration::from_millis(100);
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(5);
/// Exit code of a container that somebody removed: by SIGKILL, as the daemon does it.
const KILLED: i32 = 137;

/// The observer of one pod.
struct Observer {
    daemon: Daemon,
    pod: String,
    names: Vec<String>,
    /// Which container has which id.
    known: HashMap<String, (usize, u32)>,
    events: mpsc::Sender<Event>,
}

/// The observer's end: nobody listens any more, or there is nothing more to see.
struct ObserverEnded;

/// Observes a pod in a task that ends with the receiver.
pub(super) fn observe(daemon: Daemon, pod: String, names: Vec<String>) -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(MAX_QUEUED_EVENTS);
    let mut observer = Observer {
        daemon,
        pod,
        names,
        known: HashMap::new(),
        events,
    };
    tokio::spawn(async move {
        let mut pause = RECONNECT_DELAY;
        loop {
            match observer.listen().await {
                Err(ObserverEnded) => break,
                Ok(true) => pause = RECONNECT_DELAY,
                Ok(false) => pause = (pause * 2).min(MAX_RECONNECT_DELAY),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = observer.events.closed() => break,
            }
        }
    });
    receiver
}

/// The containers of a pod as the machine sees them.
pub(super) fn seen(names: &[String], statuses: &[cri::ContainerStatus]) -> Vec<Seen> {
    let one = |status: &cri::ContainerStatus| {
        let metadata = status.metadata.as_ref()?;
        let container = names.iter().position(|name| *name == metadata.name)?;
        Some(Seen {
            container,
            attempt: metadata.attempt,
            state: state(status),
        })
    };
    statuses.iter().filter_map(one).collect()
}

fn state(status: &cri::ContainerStatus) -> SeenState {
    match status.state() {
        ContainerState::ContainerCreated => SeenState::Created,
        ContainerState::ContainerRunning | ContainerState::ContainerUnknown => SeenState::Running,
        ContainerState::ContainerExited => {
            let ran = match status.started_at {
                0 => 0,
                started => status.finished_at.saturating_sub(started),
            };
            SeenState::Exited(Exit {
                code: status.exit_code,
                reason: status.reason.clone(),
                ran: Duration::from_nanos(u64::try_from(ran).unwrap_or_default()),
            })
        }
    }
}

impl Observer {
    /// Listens until the stream ends. Whether there was one.
    async fn listen(&mut self) -> Result<bool, ObserverEnded> {
        let request = cri::GetEventsRequest {};
        let Ok(stream) = self.daemon.runtime.get_container_events(request).await else {
            return Ok(false);
        };
        let mut stream = stream.into_inner();
        // What happened before the stream began.
        self.poll_pod().await?;
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                () = self.events.closed() => return Err(ObserverEnded),
            };
            match message {
                Ok(Some(event)) => self.handle_event(&event).await?,
                Ok(None) | Err(_) => return Ok(true),
            }
        }
    }

    async fn poll_pod(&mut self) -> Result<(), ObserverEnded> {
        match find_sandbox(&self.daemon, &self.pod).await {
            Ok(Some(sandbox)) => self.send_statuses(&sandbox.containers).await,
            Ok(None) => self.pod_is_gone().await,
            // The stream will say so too.
            Err(_) => Ok(()),
        }
    }

    async fn handle_event(
        &mut self,
        event: &cri::ContainerEventResponse,
    ) -> Result<(), ObserverEnded> {
        let of_pod = |status: &cri::PodSandboxStatus| status.id == self.pod;
        let kind = event.container_event_type();
        if event.container_id == self.pod && kind == ContainerEventType::ContainerDeletedEvent {
            return self.pod_is_gone().await;
        }
        let Some(status) = event
            .pod_sandbox_status
            .as_ref()
            .filter(|status| of_pod(status))
        else {
            return Ok(());
        };
        if status.state() == PodSandboxState::SandboxNotready {
            return self.pod_is_gone().await;
        }
        if kind == ContainerEventType::ContainerDeletedEvent
            && let Some((container, attempt)) = self.known.remove(&event.container_id)
        {
            let exit = Exit {
                code: KILLED,
                reason: "Removed".to_owned(),
                ran: Duration::ZERO,
            };
            let removed = Seen {
                container,
                attempt,
                state: SeenState::Exited(exit),
            };
            self.send(Event::Seen(vec![removed])).await?;
        }
        self.send_statuses(&event.containers_statuses).await
    }

    async fn send_statuses(
        &mut self,
        statuses: &[cri::ContainerStatus],
    ) -> Result<(), ObserverEnded> {
        for status in statuses {
            let one = seen(&self.names, std::slice::from_ref(status));
            if let Some(one) = one.first() {
                let known = (one.container, one.attempt);
                self.known.insert(status.id.clone(), known);
            }
        }
        self.send(Event::Seen(seen(&self.names, statuses))).await
    }

    async fn pod_is_gone(&mut self) -> Result<(), ObserverEnded> {
        self.send(Event::Gone).await?;
        Err(ObserverEnded)
    }

    async fn send(&mut self, event: Event) -> Result<(), ObserverEnded> {
        self.events.send(event).await.map_err(|_| ObserverEnded)
    }
}
