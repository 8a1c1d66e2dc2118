//! Work in pods and containers that run: commands, attached clients, connections to ports.
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

    /// Returns the result of work in a container, with the end of the container where that explains a failure.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::state::Exit;
    use crate::pod::testing::{self, Shim};
    use crate::spec::{ContainerConfig, PodConfig};
    use holdfast_kernel::error_chain;

    /// A pod in this phase with a container in that one. The pod of a container that is nowhere has none.
    fn place(
        phase: PodPhase,
        container: Option<ContainerPhase>,
    ) -> (
        tempfile::TempDir,
        Pods,
        Arc<crate::pod::entry::PodEntry>,
        ContainerId,
    ) {
        let (guard, node) = testing::node();
        let mut pod = testing::pod_of(&node, PodConfig::default());
        pod.phase = phase;
        let entry = testing::known(&node, &pod);
        let mut record = testing::container(pod.id, ContainerConfig::default());
        let id = record.id;
        if let Some(phase) = container {
            record.phase = phase;
            entry.snapshot.store(testing::snapshot(&pod, &[&record]));
            node.index.add_container(id, Arc::clone(&entry));
        }
        (guard, Pods(node), entry, id)
    }

    fn exited() -> ContainerPhase {
        ContainerPhase::Exited(Exit {
            code: 0,
            finished_at: 9,
            started_at: 5,
            reason: "Completed".to_owned(),
            message: String::new(),
        })
    }

    fn running(goal: Goal) -> Option<ContainerPhase> {
        Some(ContainerPhase::Running(testing::run(), goal))
    }

    /// The answer is the one that a request after the end gets, and names what has ended.
    #[tokio::test]
    async fn a_failure_is_explained_by_the_end_of_what_it_happened_in() {
        let cases = [
            (PodPhase::Ready, None, "was removed"),
            (PodPhase::Ready, running(Goal::Stop), "was stopped"),
            (PodPhase::Ready, running(Goal::Remove), "was stopped"),
            (PodPhase::Ready, Some(exited()), "ended"),
            (PodPhase::Ready, Some(ContainerPhase::Removing), "ended"),
            (
                PodPhase::Stopping,
                running(Goal::Run),
                "was stopped with its pod",
            ),
        ];
        for (phase, container, what) in cases {
            let case = format!("{phase:?} {container:?}");
            let (_guard, pods, _entry, id) = place(phase, container);
            let failed = || PodError::System {
                doing: "wait for the command",
                source: std::io::ErrorKind::BrokenPipe.into(),
            };
            let error = pods.explained::<()>(id, Err(failed())).await.unwrap_err();
            let wanted = format!("container {id} {what} meanwhile: cannot wait for the command");
            assert!(
                error_chain(&error).starts_with(&wanted),
                "{case}: {}",
                error_chain(&error)
            );
            assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{case}");
            // What the request got wrong has nothing to do with an end.
            let wrong = PodError::Request(RequestError::EmptyCommand);
            let same = pods.explained::<()>(id, Err(wrong)).await.unwrap_err();
            assert_eq!(same.kind(), ErrorKind::InvalidArgument, "{case}");
            assert_eq!(pods.explained(id, Ok(7)).await.unwrap(), 7, "{case}");
        }
        let (_guard, pods, _entry, id) = place(PodPhase::Ready, running(Goal::Run));
        assert_eq!(pods.end_of(id), None);
    }

    /// Commands, clients and connections need something that runs, with a shim behind it.
    #[tokio::test]
    async fn only_what_runs_takes_commands_and_connections() {
        for (phase, container, runs) in [
            (PodPhase::Ready, running(Goal::Run), true),
            (PodPhase::Ready, running(Goal::Stop), true),
            (PodPhase::Ready, Some(ContainerPhase::Created), false),
            (PodPhase::Ready, Some(exited()), false),
        ] {
            let (_guard, pods, entry, id) = place(phase, container.clone());
            let refused = pods.running_container(&id.to_string()).unwrap_err();
            assert_eq!(
                refused.kind(),
                ErrorKind::FailedPrecondition,
                "its shim is gone"
            );
            let (_shim, link, _events) = Shim::pair();
            entry.link.store(Some(Arc::new(link)));
            let found = pods.running_container(&id.to_string());
            assert_eq!(found.is_ok(), runs, "{container:?}");
            if let Err(error) = found {
                let text = error.to_string();
                assert!(
                    text.contains("not running") && text.contains("clients attach"),
                    "{text}"
                );
            }
        }
        let (_guard, pods, entry, id) = place(PodPhase::NotReady, running(Goal::Run));
        let error = pods.ready_pod(&entry.id.to_string()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("ports of ready sandboxes are forwarded"),
            "{error}"
        );
        let error = pods.dial(entry.id, 80).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        // Nothing runs, so nothing is waited for.
        pods.pod_end(entry.id).await;
        for command in [vec![], vec![String::new()]] {
            let error = pods
                .exec_sync(&id.to_string(), command, None)
                .await
                .unwrap_err();
            assert!(error.to_string().starts_with("cmd is empty"), "{error}");
        }
    }

    /// A pod that is being made is seen by nobody; one that vanished under its end has ended.
    #[tokio::test]
    async fn what_is_not_there_is_stopped_and_removed() {
        let (_guard, pods, entry, _) = place(PodPhase::Creating, None);
        let id = entry.id.to_string();
        assert_eq!(pods.pod(&id).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(pods.pods().is_empty());
        let (_guard, pods, entry, container) = place(PodPhase::Ready, running(Goal::Run));
        // Its task has ended: nobody reads the requests any more.
        let id = entry.id.to_string();
        let unknown = PodId::random().unwrap().to_string();
        let grace = Duration::from_secs(1);
        for pod in [&id, &unknown] {
            pods.stop_pod(pod).await.unwrap();
            pods.remove_pod(pod).await.unwrap();
        }
        for container in [&container.to_string(), &unknown] {
            pods.stop_container(container, grace).await.unwrap();
            pods.remove_container(container).await.unwrap();
        }
        let error = pods
            .start_container(&container.to_string())
            .await
            .unwrap_err();
        assert!(
            matches!(*error, PodError::Refused(Refusal::Gone)),
            "{error:?}"
        );
        for empty in [
            pods.stop_pod("").await.unwrap_err(),
            pods.stop_container("", grace).await.unwrap_err(),
        ] {
            assert_eq!(
                empty.kind(),
                ErrorKind::InvalidArgument,
                "it would mean all of them"
            );
        }
    }
}
