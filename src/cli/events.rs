//! `holdfast events`: the daemon's events of pods and containers.

use std::collections::HashMap;

use clap::Args;
use cri_api::runtime::v1::{self as cri, ContainerEventType};
use serde::Serialize;

use super::connect::Daemon;
use super::out::style::{BAD, FAINT, GOOD, STRONG, WARN, paint};
use super::out::{self, FormatArgs, Reader, time};
use super::ps;
use super::select::{self, NamespaceArgs};
use crate::refusal::Refusal;
use crate::request::RequestError;

/// The command line of `holdfast events`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast events -o json\n\n\
    Each event is one line of JSON, or one YAML document.")]
pub struct EventsArgs {
    /// Show only events of this pod: POD, NAMESPACE/POD or an id.
    pub pod: Option<String>,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// An event as it is printed. Fields that nobody knows of a removed container are null.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    time: i64,
    kind: &'static str,
    pod_id: String,
    pod: String,
    namespace: String,
    /// Id of the container; None for events of the pod itself.
    container_id: Option<String>,
    container: Option<String>,
    state: Option<&'static str>,
    exit_code: Option<i32>,
    reason: Option<String>,
}

/// Shows events until the reader or the daemon goes away.
pub(super) async fn run(mut daemon: Daemon, args: EventsArgs) -> Result<(), RequestError> {
    let only = match &args.pod {
        Some(name) => Some(select::pod(&mut daemon, args.within.name(name)).await?.id),
        None => None,
    };
    // The events are asked for before the names, so that none is missed in between.
    let stream = daemon
        .runtime
        .get_container_events(cri::GetEventsRequest {});
    let mut stream = stream
        .await
        .map_err(Refusal::to("listen to events"))?
        .into_inner();
    let mut names = Names::load(&mut daemon).await?;
    loop {
        let next = stream.message().await;
        let Some(event) = next.map_err(Refusal::to("listen to events"))? else {
            return Ok(());
        };
        let event = names.with_names(event);
        if only.as_ref().is_some_and(|id| *id != event.pod_id)
            || !args.within.admits(&event.namespace)
        {
            continue;
        }
        if out::each(args.format.output, &event, line)? == Reader::Gone {
            return Ok(());
        }
    }
}

/// Names of containers by their ids, because the event of a removal has no name.
struct Names(HashMap<String, String>);

impl Names {
    async fn load(daemon: &mut Daemon) -> Result<Self, RequestError> {
        let containers = select::containers(daemon).await?.into_iter();
        Ok(Self(
            containers
                .map(|container| (container.id.clone(), select::container_name(&container)))
                .collect(),
        ))
    }

    fn with_names(&mut self, event: cri::ContainerEventResponse) -> Event {
        let kind = event.container_event_type();
        let pod = event.pod_sandbox_status.unwrap_or_default();
        for status in &event.containers_statuses {
            let name = status.metadata.clone().unwrap_or_default().name;
            self.0.insert(status.id.clone(), name);
        }
        let of_pod = pod.id == event.container_id;
        let mut statuses = event.containers_statuses.into_iter();
        let status = statuses.find(|status| status.id == event.container_id);
        // A container that ended at once has already exited when its start is reported.
        let exited = status
            .as_ref()
            .filter(|_| kind == ContainerEventType::ContainerStoppedEvent)
            .filter(|status| status.state() == cri::ContainerState::ContainerExited);
        let container = match kind {
            ContainerEventType::ContainerDeletedEvent => self.0.remove(&event.container_id),
            _ => self.0.get(&event.container_id).cloned(),
        };
        let state = match &status {
            Some(status) => Some(ps::state_name(status.state())),
            None if of_pod && kind != ContainerEventType::ContainerDeletedEvent => {
                Some(ps::pod_state_name(pod.state()))
            }
            None => None,
        };
        let metadata = pod.metadata.unwrap_or_default();
        Event {
            time: event.created_at,
            kind: kind_name(kind),
            pod_id: pod.id,
            pod: metadata.name,
            namespace: metadata.namespace,
            container: container.filter(|_| !of_pod),
            state,
            exit_code: exited.map(|status| status.exit_code),
            reason: exited.map(|status| status.reason.clone()),
            container_id: (!of_pod).then_some(event.container_id),
        }
    }
}

fn kind_name(kind: ContainerEventType) -> &'static str {
    match kind {
        ContainerEventType::ContainerCreatedEvent => "created",
        ContainerEventType::ContainerStartedEvent => "started",
        ContainerEventType::ContainerStoppedEvent => "stopped",
        ContainerEventType::ContainerDeletedEvent => "deleted",
    }
}

fn line(event: &Event) -> String {
    let kind = format!("{:<8}", event.kind);
    let kind = match (event.kind, event.exit_code) {
        ("started", _) => paint(GOOD, kind),
        ("stopped", None | Some(0)) => paint(WARN, kind),
        ("stopped", Some(_)) => paint(BAD, kind),
        ("deleted", _) => paint(FAINT, kind),
        _ => kind,
    };
    let object = match (&event.container, &event.container_id) {
        (Some(name), _) => format!("{}/{name}", event.pod),
        (None, Some(id)) => format!("{}/{}", event.pod, out::text::short(id)),
        (None, None) => event.pod.clone(),
    };
    let mut text = format!(
        "{}  {kind}  {}",
        paint(FAINT, time::millis(event.time)),
        paint(STRONG, object)
    );
    if let Some(code) = event.exit_code {
        text.push_str(&format!("  exit code {code}"));
        let reason = event.reason.as_deref().unwrap_or_default();
        if !matches!(reason, "" | "Completed" | "Error") {
            text.push_str(&format!(", {reason}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use cri_api::runtime::v1 as cri;

    use super::Names;

    fn event(id: &str, kind: cri::ContainerEventType) -> cri::ContainerEventResponse {
        cri::ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.into(),
            created_at: 1,
            pod_sandbox_status: Some(cri::PodSandboxStatus {
                id: "p".to_owned(),
                ..Default::default()
            }),
            containers_statuses: Vec::new(),
        }
    }

    /// An event of a container that is over when the event is told.
    fn event_of_ended(kind: cri::ContainerEventType) -> cri::ContainerEventResponse {
        let status = cri::ContainerStatus {
            id: "c".to_owned(),
            metadata: Some(cri::ContainerMetadata {
                name: "web".to_owned(),
                attempt: 0,
            }),
            state: cri::ContainerState::ContainerExited.into(),
            exit_code: 7,
            ..Default::default()
        };
        cri::ContainerEventResponse {
            containers_statuses: vec![status],
            ..event("c", kind)
        }
    }

    #[test]
    fn an_exit_code_is_told_where_a_container_stops() {
        use cri::ContainerEventType::{ContainerStartedEvent, ContainerStoppedEvent};
        let mut names = Names(HashMap::new());
        let started = names.with_names(event_of_ended(ContainerStartedEvent));
        assert_eq!((started.exit_code, started.reason), (None, None));
        assert_eq!(started.state, Some("exited"));
        let stopped = names.with_names(event_of_ended(ContainerStoppedEvent));
        assert_eq!(stopped.exit_code, Some(7));
    }

    #[test]
    fn a_removed_container_still_has_its_name() {
        use cri::ContainerEventType::{ContainerDeletedEvent, ContainerStoppedEvent};
        let mut names = Names(HashMap::new());
        let told = names.with_names(event_of_ended(ContainerStoppedEvent));
        assert_eq!(told.container.as_deref(), Some("web"));
        assert_eq!((told.exit_code, told.state), (Some(7), Some("exited")));
        let told = names.with_names(event("c", ContainerDeletedEvent));
        assert_eq!(told.container.as_deref(), Some("web"));
        assert_eq!((told.exit_code, told.state), (None, None));
        assert!(names.0.is_empty());
        let told = names.with_names(event("p", ContainerStoppedEvent));
        assert_eq!((told.container_id, told.state), (None, Some("ready")));
    }
}
