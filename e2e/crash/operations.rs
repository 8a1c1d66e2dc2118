//! The operations that are killed.

use std::time::Duration;

use cri_api::runtime::v1::{
    ContainerState, LinuxContainerResources, PodSandbox, PodSandboxState, PortMapping,
    ReopenContainerLogRequest, UpdateContainerResourcesRequest,
};
use e2e::call::{call, until};
use e2e::log;
use e2e::request::{PodParts, container, shell};
use e2e::{BUSYBOX, must};
use tonic::{Code, Status};

use crate::kubelet::{self, Subject};
use crate::world::{Network, World};

/// One operation of the CRI, or the daemon's own start.
#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    pub network: Network,
    /// What has to be there before.
    pub prepare: fn(&World) -> Subject,
    /// The operation. It may fail: something is killed.
    pub act: fn(&World, &Subject),
    /// What the client does then, and what it may demand.
    pub retry: fn(&World, &mut Subject),
}

/// A container that tells that it runs, ends with 3 when it is asked to, and with 7 by itself when it is told to.
const SCRIPT: &str =
    "trap 'exit 3' TERM; trap 'echo bye; exit 7' USR1; echo hello; while :; do sleep 0.02; done";

/// An image that nothing else uses, of more than one layer.
const OTHER: &str = "registry.holdfast.test/layers/whiteouts:1";

/// All operations that are killed at each step.
pub fn all() -> Vec<Operation> {
    let operation = |name, prepare, act, retry| Operation {
        name,
        network: Network::Bridge,
        prepare,
        act,
        retry,
    };
    let with_plugins = |name, prepare, act, retry| Operation {
        network: Network::Plugins,
        ..operation(name, prepare, act, retry)
    };
    let served = |name, prepare, act, retry| Operation {
        network: Network::Served,
        ..operation(name, prepare, act, retry)
    };
    vec![
        operation("run-pod", new, run, kubelet::run_container),
        operation("run-userns-pod", new_mapped, run, kubelet::run_container),
        operation("run-joiner", new_joiner, run, joined),
        operation("stop-joined", with_joiner, stop_pod, left_alone),
        with_plugins("cni-run-pod", new, run, kubelet::run_container),
        with_plugins("cni-remove-pod", running, remove_pod, gone),
        served("served-run-pod", new, run, kubelet::run_container),
        served("served-remove-pod", running, remove_pod, gone),
        operation("create", with_pod, create, kubelet::run_container),
        operation("start", created, start, started),
        operation("exec", running, exec, kubelet::run_container),
        operation("stop", running, stop, stopped),
        operation("exit", running, exit, exited),
        operation("update", running, update, updated),
        operation("reopen-log", running, reopen, reopened),
        operation("remove-container", running, remove_container, removed),
        operation("stop-pod", running, stop_pod, pod_stopped),
        operation("remove-pod", running, remove_pod, gone),
        operation("restart", zoo, restart, zoo_is_whole),
        with_plugins("cni-restart", zoo, restart, zoo_is_whole),
        operation("pull", without_image, pull, pulled),
        operation("import", archive, import, imported),
        operation("remove-image", with_image, remove_image, without),
    ]
}

fn new(world: &World) -> Subject {
    let name = world.name();
    let mut config = world.daemon.pod(&name);
    config.port_mappings.push(PortMapping {
        container_port: 80,
        host_port: 18080,
        ..PortMapping::default()
    });
    let key = "kubernetes.io/egress-bandwidth".to_owned();
    config.annotations.insert(key, "100M".to_owned());
    Subject::new(config, shell("c", SCRIPT))
}

fn new_mapped(world: &World) -> Subject {
    use cri_api::runtime::v1::{IdMapping, NamespaceMode, UserNamespace};
    let mut subject = new(world);
    let mapping = IdMapping {
        host_id: 1_000_000,
        container_id: 0,
        length: 65536,
    };
    let mapped = UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![mapping],
        gids: vec![mapping],
    };
    subject.config.namespaces().userns_options = Some(mapped.clone());
    if let Some(linux) = &mut subject.container.linux
        && let Some(options) = linux
            .security_context
            .as_mut()
            .and_then(|security| security.namespace_options.as_mut())
    {
        options.userns_options = Some(mapped);
    }
    subject
}

/// What joins the network of the pod of that name.
const JOIN: &str = "experiments.holdfast.internal/join-network";

/// A pod with all experiments: in the network of another one, which runs.
fn new_joiner(world: &World) -> Subject {
    let other = running(world);
    let name = other.config.metadata.map(|of| of.name).unwrap_or_default();
    let mut config = world.daemon.pod(&world.name());
    let experiments = [
        (JOIN, format!("e2e/{name}")),
        (
            "experiments.holdfast.internal/time-offsets",
            "boottime=86400s".to_owned(),
        ),
        (
            "experiments.holdfast.internal/namespaces.c",
            "uts=own ipc=own cgroup=pod".to_owned(),
        ),
    ];
    let experiments = experiments.map(|(key, value)| (key.to_owned(), value));
    config.annotations.extend(experiments);
    Subject::new(config, shell("c", SCRIPT))
}

/// The joiner is made, in the network of a pod of that name that is ready.
fn joined(world: &World, subject: &mut Subject) {
    let joins = subject.config.annotations[JOIN].clone();
    let other = joins.trim_start_matches("e2e/");
    let named = |pod: &PodSandbox| pod.metadata.as_ref().is_some_and(|of| of.name == other);
    let ready = |pod: &PodSandbox| pod.state() == PodSandboxState::SandboxReady;
    let is_there = || {
        let pods = world.daemon.pods();
        pods.iter().any(|pod| named(pod) && ready(pod))
    };
    let wants_other =
        |status: Status| [Code::FailedPrecondition, Code::Unavailable].contains(&status.code());
    if world
        .daemon
        .try_run(&subject.config)
        .is_err_and(wants_other)
    {
        // The daemon hears of a shim's end a moment after it was in want of an answer.
        until("the end of the joined pod", Duration::from_secs(5), || {
            (!is_there()).then_some(())
        });
    }
    if !is_there() {
        // Its shim was what was killed. A joiner that there may be is not connected any more.
        for pod in world.daemon.pods() {
            must("RemovePodSandbox", world.daemon.try_remove_pod(&pod.id));
        }
        must(
            "RunPodSandbox",
            world.daemon.try_run(&world.daemon.pod(other)),
        );
    }
    kubelet::run_container(world, subject);
}

/// A pod that another one has joined, which is there already.
fn with_joiner(world: &World) -> Subject {
    let mut joiner = new_joiner(world);
    kubelet::run_container(world, &mut joiner);
    let joins = &joiner.config.annotations[JOIN];
    let other = joins.trim_start_matches("e2e/").to_owned();
    let mut subject = Subject::new(world.daemon.pod(&other), shell("c", SCRIPT));
    let pods = world.daemon.pods();
    let found = pods
        .iter()
        .find(|pod| pod.metadata.as_ref().is_some_and(|of| of.name == other));
    subject.pod = found.map(|pod| pod.id.clone()).unwrap_or_default();
    subject.id = kubelet::containers(world, &subject.pod)[0].id.clone();
    subject.image = joiner.id;
    subject
}

/// The joined pod is stopped; the other one runs on, unless its own shim was killed.
fn left_alone(world: &World, subject: &mut Subject) {
    pod_stopped(world, subject);
    let status = kubelet::status(world, &subject.image);
    if status.state() == ContainerState::ContainerRunning {
        kubelet::assert_works(world, &subject.image);
    } else {
        assert_eq!(status.reason, "ShimLost");
    }
}

fn with_pod(world: &World) -> Subject {
    let mut subject = new(world);
    kubelet::run_pod(world, &mut subject);
    subject
}

fn created(world: &World) -> Subject {
    let mut subject = with_pod(world);
    subject.id = kubelet::create(world, &subject);
    subject
}

fn running(world: &World) -> Subject {
    let mut subject = with_pod(world);
    kubelet::run_container(world, &mut subject);
    subject
}

fn run(world: &World, subject: &Subject) {
    let _ = world.daemon.try_run(&subject.config);
}

fn create(world: &World, subject: &Subject) {
    let _ = world
        .daemon
        .try_create(&subject.pod, &subject.config, &subject.container);
}

fn start(world: &World, subject: &Subject) {
    let _ = world.daemon.try_start(&subject.id);
}

/// The lines of a container's standard output.
fn lines(subject: &Subject) -> Vec<String> {
    let path =
        std::path::Path::new(&subject.config.log_directory).join(&subject.container.log_path);
    let written = log::written(&log::read(&path), "stdout");
    String::from_utf8_lossy(&written)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn started(world: &World, subject: &mut Subject) {
    let first = subject.id.clone();
    kubelet::run_container(world, subject);
    if subject.id == first {
        e2e::call::until("its first line", std::time::Duration::from_secs(5), || {
            (!lines(subject).is_empty()).then_some(())
        });
        assert_eq!(lines(subject), ["hello"], "it was started more than once");
    }
}

fn exec(world: &World, subject: &Subject) {
    let _ = world.daemon.try_exec(
        &subject.id,
        &["sh", "-c", "echo one; sleep 0.01; echo two"],
        10,
    );
}

fn stop(world: &World, subject: &Subject) {
    let _ = world.daemon.try_stop(&subject.id, 10);
}

fn stopped(world: &World, subject: &mut Subject) {
    must("StopContainer", world.daemon.try_stop(&subject.id, 10));
    let status = kubelet::ended(world, &subject.id);
    assert_code(world, subject, &status, 3);
}

/// The code is the container's own, unless its shim is gone, and then the reason says so.
fn assert_code(
    world: &World,
    subject: &Subject,
    status: &cri_api::runtime::v1::ContainerStatus,
    code: i32,
) {
    let lost = !kubelet::is_ready(world, subject);
    let told = matches!(status.reason.as_str(), "ShimLost") && status.exit_code != 0;
    assert!(
        status.exit_code == code || lost && told,
        "exit code {} ({}), not {code}; the sandbox is {}",
        status.exit_code,
        status.reason,
        if lost { "not ready" } else { "ready" }
    );
}

fn exit(world: &World, subject: &Subject) {
    let _ = world
        .daemon
        .try_exec(&subject.id, &["sh", "-c", "kill -USR1 1"], 10);
}

fn exited(world: &World, subject: &mut Subject) {
    let status = kubelet::status(world, &subject.id);
    if status.state() == ContainerState::ContainerRunning {
        // The command may have died before it had sent the signal.
        exit(world, subject);
    }
    let status = kubelet::ended(world, &subject.id);
    assert_code(world, subject, &status, 7);
    let (log, told) = (lines(subject), status.exit_code == 7);
    assert!(
        log == ["hello", "bye"] || !told && log == ["hello"],
        "the log has {log:?}"
    );
}

const LIMIT: i64 = 64 << 20;

fn update_request(subject: &Subject) -> UpdateContainerResourcesRequest {
    UpdateContainerResourcesRequest {
        container_id: subject.id.clone(),
        linux: Some(LinuxContainerResources {
            memory_limit_in_bytes: LIMIT,
            cpu_shares: 512,
            ..LinuxContainerResources::default()
        }),
        ..UpdateContainerResourcesRequest::default()
    }
}

fn update(world: &World, subject: &Subject) {
    let mut runtime = world.daemon.clients().runtime;
    let _ = call(runtime.update_container_resources(update_request(subject)));
}

fn updated(world: &World, subject: &mut Subject) {
    kubelet::run_container(world, subject);
    let mut runtime = world.daemon.clients().runtime;
    must(
        "UpdateContainerResources",
        call(runtime.update_container_resources(update_request(subject))),
    );
    let status = kubelet::status(world, &subject.id);
    let limit = status
        .resources
        .and_then(|all| all.linux)
        .map(|linux| linux.memory_limit_in_bytes);
    assert_eq!(limit, Some(LIMIT));
}

fn reopen(world: &World, subject: &Subject) {
    let path =
        std::path::Path::new(&subject.config.log_directory).join(&subject.container.log_path);
    let _ = std::fs::rename(&path, path.with_extension("old"));
    let mut runtime = world.daemon.clients().runtime;
    let request = ReopenContainerLogRequest {
        container_id: subject.id.clone(),
    };
    let _ = call(runtime.reopen_container_log(request));
}

fn reopened(world: &World, subject: &mut Subject) {
    let before = subject.id.clone();
    kubelet::run_container(world, subject);
    reopen(world, subject);
    if subject.id == before {
        exit(world, subject);
        kubelet::ended(world, &subject.id);
        assert_eq!(
            lines(subject),
            ["bye"],
            "what follows a rotation is in the new file"
        );
    }
}

fn remove_container(world: &World, subject: &Subject) {
    let _ = world.daemon.try_remove(&subject.id);
}

fn removed(world: &World, subject: &mut Subject) {
    must("RemoveContainer", world.daemon.try_remove(&subject.id));
    let left = kubelet::containers(world, &subject.pod);
    assert!(left.is_empty(), "it is still listed: {left:?}");
    kubelet::run_container(world, subject);
}

fn stop_pod(world: &World, subject: &Subject) {
    let _ = world.daemon.try_stop_pod(&subject.pod);
}

fn pod_stopped(world: &World, subject: &mut Subject) {
    must("StopPodSandbox", world.daemon.try_stop_pod(&subject.pod));
    assert!(
        !kubelet::is_ready(world, subject),
        "a stopped sandbox is ready"
    );
    let status = kubelet::ended(world, &subject.id);
    assert_ne!(status.exit_code, 0, "{status:?}");
}

fn remove_pod(world: &World, subject: &Subject) {
    let _ = world.daemon.try_remove_pod(&subject.pod);
}

fn gone(world: &World, subject: &mut Subject) {
    must("StopPodSandbox", world.daemon.try_stop_pod(&subject.pod));
    must(
        "RemovePodSandbox",
        world.daemon.try_remove_pod(&subject.pod),
    );
    let left = world.daemon.pods();
    assert!(left.is_empty(), "it is still listed: {left:?}");
    // The name, the addresses and the port are free again.
    subject.id.clear();
    kubelet::run_container(world, subject);
}

/// Pods and containers in all their states.
fn zoo(world: &World) -> Subject {
    let subject = running(world);
    for (name, script) in [("ended", "exit 5"), ("idle", "sleep 1000")] {
        let id = must(
            "CreateContainer",
            world.daemon.try_create(
                &subject.pod,
                &subject.config,
                &container(name, BUSYBOX, &["sh", "-c", script]),
            ),
        );
        if name == "ended" {
            must("StartContainer", world.daemon.try_start(&id));
            kubelet::ended(world, &id);
        }
    }
    let name = world.name();
    let other = must(
        "RunPodSandbox",
        world.daemon.try_run(&world.daemon.pod(&name)),
    );
    must("StopPodSandbox", world.daemon.try_stop_pod(&other));
    subject
}

fn restart(world: &World, _: &Subject) {
    if world.daemon.is_alive() {
        world.daemon.kill9();
    }
    // It may be killed before it answers.
    let _ = world.daemon.try_restart();
}

fn zoo_is_whole(world: &World, subject: &mut Subject) {
    let survived = kubelet::is_ready(world, subject);
    let states: Vec<_> = kubelet::containers(world, &subject.pod)
        .iter()
        .map(|one| {
            let name = one.metadata.as_ref().map(|of| of.name.clone());
            (name.unwrap_or_default(), one.state(), one.id.clone())
        })
        .collect();
    assert_eq!(states.len(), 3, "{states:?}");
    for (name, state, id) in states {
        let wanted = match (name.as_str(), survived) {
            ("ended", _) | ("c", false) => ContainerState::ContainerExited,
            ("idle", _) => ContainerState::ContainerCreated,
            _ => ContainerState::ContainerRunning,
        };
        assert_eq!(state, wanted, "{name}");
        match (name.as_str(), survived) {
            ("ended", _) => assert_eq!(kubelet::status(world, &id).exit_code, 5),
            ("c", true) => kubelet::assert_works(world, &id),
            ("idle", true) => must("StartContainer", world.daemon.try_start(&id)),
            _ => {}
        }
    }
    assert_eq!(world.daemon.pods().len(), 2);
}

fn without_image(world: &World) -> Subject {
    let mut subject = new(world);
    subject.image = OTHER.to_owned();
    subject
}

fn with_image(world: &World) -> Subject {
    let subject = without_image(world);
    must("PullImage", world.daemon.try_pull(&subject.image));
    subject
}

fn pull(world: &World, subject: &Subject) {
    let _ = world.daemon.try_pull(&subject.image);
}

/// An image is whole or absent, and can be had.
fn pulled(world: &World, subject: &mut Subject) {
    must("PullImage", world.daemon.try_pull(&subject.image));
    run_of_image(world, subject);
}

fn run_of_image(world: &World, subject: &mut Subject) {
    subject.container = container("c", &subject.image.clone(), &["sh", "-c", SCRIPT]);
    kubelet::run_container(world, subject);
}

fn archive(world: &World) -> Subject {
    let mut subject = new(world);
    let name = world.name();
    subject.image = format!("localhost/imported:{name}");
    let dir = world.daemon.place.dir.join("tree");
    if !dir.exists() {
        let script = format!(
            "mkdir -p {0}/bin {0}/dev {0}/proc {0}/sys; cp $(command -v busybox) {0}/bin/busybox; \
             for name in sh sleep cat ls touch kill; do ln -s busybox {0}/bin/$name; done; \
             tar -C {0} -cf {0}.tar .",
            dir.display()
        );
        e2e::program::sh(&script);
    }
    subject
}

fn import_archive(world: &World, subject: &Subject) -> e2e::program::Ran {
    let tar = world.daemon.place.dir.join("tree.tar");
    let tar = tar.display().to_string();
    world
        .daemon
        .holdfast(&["image", "import", &tar, &subject.image])
}

fn import(world: &World, subject: &Subject) {
    let _ = import_archive(world, subject);
}

fn imported(world: &World, subject: &mut Subject) {
    import_archive(world, subject).ok();
    run_of_image(world, subject);
}

fn remove_image(world: &World, subject: &Subject) {
    let _ = world.daemon.try_remove_image(&subject.image);
}

fn without(world: &World, subject: &mut Subject) {
    must("RemoveImage", world.daemon.try_remove_image(&subject.image));
    assert!(world.daemon.image(&subject.image).is_none());
    pulled(world, subject);
}
