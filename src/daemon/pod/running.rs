//! What is done in pods and containers that run: commands, attached clients, connections to ports.
//!
//! The end of a pod or a container may come at any moment, and whatever is under way in it fails then in one way or
//! another. The answer is the one that a request after the end gets, so that no client has to guess.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Pods;
use super::entry::PodSnapshot;
use super::error::{ErrorKind, PodError, Refusal, RequestError};
use super::exec::{self, ExecOutput};
use super::link::ShimLink;
use super::record::ContainerRecord;
use super::session::{self, Session, Streams};
use super::state::{ContainerPhase, Goal, PodPhase};
use holdfast_kernel::id::{ContainerId, PodId};
use holdfast_wire::plan::TerminalSize;

/// A container that runs, its pod and its shim.
type Running = (Arc<PodSnapshot>, Arc<ContainerRecord>, Arc<ShimLink>);

/// Pauses before it is looked again whether a container has ended in which something failed for no other reason.
const END_IS_KNOWN_AFTER: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

impl Pods {
    /// Runs a command in a running container to its end. Without a timeout it may take for ever.
    ///
    /// # Errors
    /// The container does not run, the command cannot be started, or it took too long or wrote too much;
    /// then it was killed with everything that it had started.
    pub(crate) async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: Option<Duration>,
    ) -> Result<ExecOutput, PodError> {
        if command.first().is_none_or(String::is_empty) {
            return Err(PodError::Request(RequestError::EmptyCommand));
        }
        let (pod, record, link) = self.running(id, "commands run in running containers")?;
        let ran = exec::run(&self.0, &pod, &record, &link, (&command, timeout)).await;
        self.explained(record.id, ran).await
    }

    /// What work in a container came to, with the end of the container where that explains a failure.
    pub(super) async fn explained<T>(
        &self,
        id: ContainerId,
        result: Result<T, PodError>,
    ) -> Result<T, PodError> {
        let Err(error) = result else {
            return result;
        };
        if !matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) {
            return Err(error);
        }
        // The kernel ends the processes of a container one after the other, and the first one may be the last.
        for pause in END_IS_KNOWN_AFTER {
            tokio::time::sleep(pause).await;
            if let Some(what) = self.end_of(id) {
                return Err(error.overtaken("container", id, what));
            }
        }
        Err(error)
    }

    /// How a container stopped to run, unless it does.
    fn end_of(&self, id: ContainerId) -> Option<&'static str> {
        match self.container(&id.to_string()) {
            Err(_) => Some("was removed"),
            Ok((pod, _)) if pod.pod.phase != PodPhase::Ready => Some("was stopped with its pod"),
            Ok((_, record)) => match record.phase {
                ContainerPhase::Running(_, Goal::Run) => None,
                ContainerPhase::Running(..) => Some("was stopped"),
                _ => Some("ended"),
            },
        }
    }

    /// A container that runs, its pod and its shim.
    fn running(&self, id: &str, wanted: &'static str) -> Result<Running, PodError> {
        let (pod, record) = self.container(id)?;
        let link = self.0.index.pod(&pod.pod.id.to_string())?.link.load_full();
        match (&record.phase, link) {
            (ContainerPhase::Running(..), Some(link)) => Ok((pod, record, link)),
            _ => Err(PodError::Refused(Refusal::ContainerPhase {
                id: record.id,
                phase: "not running",
                wanted,
            })),
        }
    }

    /// Whether a client may attach to a container or run a command in it now: its full id.
    ///
    /// # Errors
    /// It is not known, or does not run.
    pub(crate) fn running_container(&self, id: &str) -> Result<ContainerId, PodError> {
        let (_, record, _) = self.running(id, "clients attach to running containers")?;
        Ok(record.id)
    }

    /// Whether ports of a pod may be forwarded now: its full id.
    ///
    /// # Errors
    /// It is not known, or is not ready.
    pub(crate) fn ready_pod(&self, id: &str) -> Result<PodId, PodError> {
        let snapshot = self.pod(id)?;
        match snapshot.pod.phase {
            PodPhase::Ready => Ok(snapshot.pod.id),
            _ => Err(PodError::Refused(Refusal::PodPhase {
                id: snapshot.pod.id,
                phase: "not ready",
                wanted: "ports of ready sandboxes are forwarded",
            })),
        }
    }

    /// Starts a command in a running container with a client at its streams. A terminal begins with the size.
    ///
    /// # Errors
    /// The container does not run, or the command cannot be started.
    pub(crate) async fn exec(
        &self,
        id: ContainerId,
        command: &[String],
        streams: Streams,
        size: Option<TerminalSize>,
    ) -> Result<Session, PodError> {
        let wanted = "commands run in running containers";
        let (pod, record, link) = self.running(&id.to_string(), wanted)?;
        let request = (command, streams, size);
        let session = session::exec(&self.0, &pod, &record, &link, request).await;
        self.explained(id, session).await
    }

    /// Puts a client at the streams of a running container: output from now on, nothing that was.
    ///
    /// # Errors
    /// The container does not run.
    pub(crate) async fn attach(
        &self,
        id: ContainerId,
        streams: Streams,
    ) -> Result<Session, PodError> {
        let wanted = "clients attach to running containers";
        let (_, record, link) = self.running(&id.to_string(), wanted)?;
        let session = session::attach(&record, &link, streams).await;
        self.explained(id, session).await
    }

    /// Connects to a port of localhost inside a pod's network namespace.
    ///
    /// # Errors
    /// The pod does not run, or nothing listens there.
    pub(crate) async fn dial(&self, id: PodId, port: u16) -> Result<TcpStream, PodError> {
        let dialled = session::dial(&*self.link(id)?, port).await;
        dialled.map_err(|error| match self.ready_pod(&id.to_string()) {
            Ok(_) => error,
            Err(_) => error.overtaken("pod sandbox", id, "was stopped"),
        })
    }

    /// Waits until a pod's processes have all ended. At once for one that does not run.
    pub(crate) async fn pod_end(&self, id: PodId) {
        if let Ok(link) = self.link(id) {
            session::shim_end(&link).await;
        }
    }

    fn link(&self, id: PodId) -> Result<Arc<ShimLink>, PodError> {
        let link = self.0.index.pod(&id.to_string())?.link.load_full();
        link.ok_or(PodError::Refused(Refusal::PodPhase {
            id,
            phase: "not ready",
            wanted: "ports of ready sandboxes are forwarded",
        }))
    }
}
