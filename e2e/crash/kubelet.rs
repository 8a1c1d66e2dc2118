//! What a kubelet does after something went wrong: it looks, and asks for what is missing.

use std::time::Duration;

use cri_api::runtime::v1::{
    Container, ContainerConfig, ContainerState, ContainerStatus, PodSandbox, PodSandboxConfig,
    PodSandboxState,
};
use e2e::call::until;
use e2e::must;

use crate::world::World;

/// How long a container may take to end by itself.
const END_DEADLINE: Duration = Duration::from_secs(15);

/// A pod and a container in it, as they are wanted.
#[derive(Debug, Clone)]
pub struct Subject {
    pub config: PodSandboxConfig,
    pub pod: String,
    pub container: ContainerConfig,
    pub id: String,
    pub image: String,
}

impl Subject {
    /// Nothing of it exists yet.
    pub fn new(config: PodSandboxConfig, container: ContainerConfig) -> Self {
        Self {
            config,
            pod: String::new(),
            container,
            id: String::new(),
            image: String::new(),
        }
    }
}

/// All sandboxes of a pod.
fn sandboxes(world: &World, config: &PodSandboxConfig) -> Vec<PodSandbox> {
    let uid = |of: &Option<cri_api::runtime::v1::PodSandboxMetadata>| {
        of.as_ref().map(|metadata| metadata.uid.clone())
    };
    let mut all = world.daemon.pods();
    all.retain(|pod| uid(&pod.metadata) == uid(&config.metadata));
    all
}

/// Sees to it that a pod runs, in a sandbox that works.
pub fn run_pod(world: &World, subject: &mut Subject) {
    let found = sandboxes(world, &subject.config);
    let ready: Vec<_> = found
        .iter()
        .filter(|pod| pod.state() == PodSandboxState::SandboxReady)
        .collect();
    assert!(ready.len() < 2, "two ready sandboxes of one pod");
    if let [one] = ready[..] {
        subject.pod.clone_from(&one.id);
    } else {
        for pod in &found {
            must("StopPodSandbox", world.daemon.try_stop_pod(&pod.id));
        }
        if let (Some(metadata), false) = (&mut subject.config.metadata, found.is_empty()) {
            metadata.attempt += 1;
        }
        // A port of the host may still be owed by the sandbox before.
        subject.pod = until("a sandbox of the pod", END_DEADLINE, || {
            let owed = |status: &tonic::Status| status.message().contains("host port");
            match world.daemon.try_run(&subject.config) {
                Err(status) if owed(&status) => None,
                other => Some(must("RunPodSandbox", other)),
            }
        });
    }
    let status = must(
        "PodSandboxStatus",
        world.daemon.try_pod_status(&subject.pod),
    );
    let status = status.status.unwrap_or_default();
    assert_eq!(status.state(), PodSandboxState::SandboxReady);
    assert!(
        !status.network.unwrap_or_default().ip.is_empty(),
        "no address"
    );
}

/// The containers of a pod.
pub fn containers(world: &World, pod: &str) -> Vec<Container> {
    let mut all = world.daemon.containers();
    all.retain(|container| container.pod_sandbox_id == pod);
    all
}

/// Status of a subject's container.
pub fn status(world: &World, id: &str) -> ContainerStatus {
    must("ContainerStatus", world.daemon.try_status(id))
        .status
        .unwrap_or_default()
}

/// Sees to it that the container runs in its pod, and that it works.
pub fn run_container(world: &World, subject: &mut Subject) {
    run_pod(world, subject);
    let there = containers(world, &subject.pod);
    assert!(there.len() < 2, "two containers of one name: {there:?}");
    let state = there.first().map(|container| container.state());
    subject.id = match (there.first(), state) {
        (
            Some(container),
            Some(ContainerState::ContainerRunning | ContainerState::ContainerCreated),
        ) => container.id.clone(),
        (ended, _) => {
            if let (Some(metadata), true) = (&mut subject.container.metadata, ended.is_some()) {
                metadata.attempt += 1;
            }
            create(world, subject)
        }
    };
    must("StartContainer", world.daemon.try_start(&subject.id));
    assert_works(world, &subject.id);
}

/// Calls CreateContainer and returns the container's id.
pub fn create(world: &World, subject: &Subject) -> String {
    must(
        "CreateContainer",
        world
            .daemon
            .try_create(&subject.pod, &subject.config, &subject.container),
    )
}

/// A container that runs has its namespaces, its root and its network.
pub fn assert_works(world: &World, id: &str) {
    assert_eq!(status(world, id).state(), ContainerState::ContainerRunning);
    let script = "cat /sys/class/net/lo/flags && ls /bin/sh && touch /written";
    let answer = must(
        "ExecSync",
        world.daemon.try_exec(id, &["sh", "-c", script], 10),
    );
    assert_eq!(
        answer.exit_code,
        0,
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
}

/// Whether the pod's sandbox is still ready.
pub fn is_ready(world: &World, subject: &Subject) -> bool {
    world
        .daemon
        .pods()
        .iter()
        .any(|pod| pod.id == subject.pod && pod.state() == PodSandboxState::SandboxReady)
}

/// The status of a container that has ended, or ends soon.
pub fn ended(world: &World, id: &str) -> ContainerStatus {
    let ended = until("the end of the container", END_DEADLINE, || {
        let status = status(world, id);
        (status.state() == ContainerState::ContainerExited).then_some(status)
    });
    assert!(
        ended.finished_at >= ended.started_at && ended.started_at >= ended.created_at,
        "times out of order: {ended:?}"
    );
    ended
}
