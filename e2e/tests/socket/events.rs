//! GetContainerEvents.

use std::time::Duration;

use cri_api::runtime::v1::{
    ContainerEventResponse, ContainerEventType, ContainerState, GetEventsRequest, PodSandboxState,
};
use e2e::call::Clients;
use e2e::request::{idle, shell};
use e2e::{Daemon, call, must};
use tonic::{Code, Response, Status, Streaming};

/// A client that listens to events.
struct Listener(Streaming<ContainerEventResponse>);

impl Listener {
    fn new(daemon: &Daemon) -> Self {
        Self::of(daemon.clients())
    }

    fn of(clients: Clients) -> Self {
        let mut client = clients.runtime;
        let answer = call(async move { client.get_container_events(GetEventsRequest {}).await });
        Self(must("GetContainerEvents", answer))
    }

    /// The next event; none when the stream has ended.
    fn try_next(&mut self) -> Result<Option<ContainerEventResponse>, Status> {
        call(async { self.0.message().await.map(Response::new) })
    }

    #[track_caller]
    fn next(&mut self) -> ContainerEventResponse {
        must("the next event", self.try_next()).expect("the stream ended")
    }

    #[track_caller]
    fn take(&mut self, count: usize) -> Vec<ContainerEventResponse> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn kinds(events: &[ContainerEventResponse]) -> Vec<(ContainerEventType, &str)> {
    events
        .iter()
        .map(|event| (event.container_event_type(), event.container_id.as_str()))
        .collect()
}

use ContainerEventType::{
    ContainerCreatedEvent as Created, ContainerDeletedEvent as Deleted,
    ContainerStartedEvent as Started, ContainerStoppedEvent as Stopped,
};

#[test]
fn a_life_is_told_in_order_with_the_state_after_each_event() {
    let daemon = Daemon::start();
    let mut listener = Listener::new(&daemon);
    let pod = daemon.run_named("events");
    let container = pod.start(idle("c"));
    container.stop(0);
    container.remove();
    pod.stop();
    pod.remove();
    let events = listener.take(8);
    let (p, c) = (pod.id.as_str(), container.id.as_str());
    let wanted = [
        (Created, p),
        (Started, p),
        (Created, c),
        (Started, c),
        (Stopped, c),
        (Deleted, c),
        (Stopped, p),
        (Deleted, p),
    ];
    assert_eq!(kinds(&events), wanted);
    assert!(
        events
            .windows(2)
            .all(|two| two[0].created_at < two[1].created_at),
        "stamps go forward"
    );
    let states: Vec<_> = events
        .iter()
        .map(|event| {
            event
                .containers_statuses
                .first()
                .map(|status| status.state())
        })
        .collect();
    use ContainerState::{ContainerCreated, ContainerExited, ContainerRunning};
    let wanted = [
        None,
        None,
        Some(ContainerCreated),
        Some(ContainerRunning),
        Some(ContainerExited),
        None,
        None,
        None,
    ];
    assert_eq!(states, wanted);
    assert_eq!(events[4].containers_statuses[0].exit_code, 137);
    for (number, event) in events.iter().enumerate() {
        let status = event.pod_sandbox_status.as_ref().unwrap();
        assert_eq!(status.id, p);
        assert_eq!(status.metadata.as_ref().unwrap().name, "events");
        let ready = status.state() == PodSandboxState::SandboxReady;
        assert_eq!(ready, number < 6, "event {number}");
    }
}

#[test]
fn an_end_without_a_request_is_told_with_its_exit_code() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("ends");
    let mut listener = Listener::new(&daemon);
    let container = pod.start(shell("c", "exit 3"));
    let events = listener.take(3);
    let c = container.id.as_str();
    assert_eq!(kinds(&events), [(Created, c), (Started, c), (Stopped, c)]);
    let status = &events[2].containers_statuses[0];
    assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"));
    // One that cannot be started has ended, too.
    let broken = pod.create(e2e::request::container(
        "broken",
        e2e::request::BUSYBOX,
        &["/nonexistent"],
    ));
    daemon.try_start(&broken.id).unwrap_err();
    let events = listener.take(2);
    let broken = broken.id.as_str();
    assert_eq!(kinds(&events), [(Created, broken), (Stopped, broken)]);
    let ended = |status: &&cri_api::runtime::v1::ContainerStatus| status.id == broken;
    let status = events[1].containers_statuses.iter().find(ended).unwrap();
    assert_eq!(status.exit_code, 128);
}

/// A kubelet with the gate EventedPLEG asks for the containers one by one only while the status has no stamp
/// (kubernetes v1.37 and v1.38.0-beta.0, `GetPodStatus`). Such a kubelet listens to events, so that somebody
/// listens must not bring the stamp back.
#[test]
fn a_status_has_no_stamp_and_the_containers_of_the_event() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("stamps");
    let alone = must("PodSandboxStatus", daemon.try_pod_status(&pod.id));
    let mut listener = Listener::new(&daemon);
    let before = must("PodSandboxStatus", daemon.try_pod_status(&pod.id));
    assert!(before.containers_statuses.is_empty());
    pod.create(idle("c"));
    let event = listener.next();
    let after = must("PodSandboxStatus", daemon.try_pod_status(&pod.id));
    assert_eq!([alone.timestamp, before.timestamp, after.timestamp], [0; 3]);
    assert!(event.created_at > 0);
    assert_eq!(after.containers_statuses, event.containers_statuses);
}

#[test]
fn everybody_who_listens_is_told_and_one_that_does_not_read_hinders_nobody() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("many");
    // One that does not read fills its connection: it has one of its own, as another program would.
    let other = Clients::new(&daemon.place.socket());
    let (mut reads, _sleeps) = (Listener::new(&daemon), Listener::of(other));
    for number in 0..30 {
        let (container, _) = pod.finish(shell(&format!("c{number}"), "true"));
        container.remove();
    }
    let events = reads.take(4 * 30);
    let deleted = kinds(&events)
        .into_iter()
        .filter(|(kind, _)| *kind == Deleted);
    assert_eq!(deleted.count(), 30);
}

#[test]
fn listeners_are_bounded() {
    let daemon = Daemon::start();
    let listeners: Vec<_> = (0..64).map(|_| Listener::new(&daemon)).collect();
    let mut client = daemon.clients().runtime;
    let status = call(client.get_container_events(GetEventsRequest {})).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    drop(listeners);
    e2e::call::until("a free place", Duration::from_secs(10), || {
        call(client.get_container_events(GetEventsRequest {})).ok()
    });
}

#[test]
fn the_end_of_the_daemon_ends_the_stream() {
    let daemon = Daemon::start();
    let mut listener = Listener::new(&daemon);
    assert_eq!(daemon.terminate(), 0);
    // A stream that the daemon had to break off ends with an error instead.
    assert!(matches!(listener.try_next(), Ok(None)), "no end");
    daemon.restart();
    let mut listener = Listener::new(&daemon);
    daemon.run_named("after");
    assert_eq!(listener.next().container_event_type(), Created);
}
