//! Pods and containers from their making to their removal, as the CRI promises it.

use std::collections::HashMap;
use std::thread;

use cri_api::runtime::v1::{
    ContainerState, NamespaceMode, PodSandboxState, RunPodSandboxRequest, StatusRequest,
    VersionRequest,
};
use e2e::evidence::is_alive;
use e2e::request::{self, idle, shell};
use e2e::{Daemon, call, fails, must};
use tonic::Code;

#[test]
fn version_is_what_a_kubelet_accepts() {
    let daemon = Daemon::start();
    let version = must(
        "Version",
        call(daemon.clients().runtime.version(VersionRequest::default())),
    );
    assert_eq!(version.runtime_name, "holdfast");
    assert_eq!(version.runtime_api_version, "v1");
    assert!(!version.version.is_empty());
    assert_eq!(
        version.runtime_version.split('.').count(),
        3,
        "{}",
        version.runtime_version
    );
}

#[test]
fn status_says_ready_and_names_the_default_handler() {
    let daemon = Daemon::start();
    let request = StatusRequest { verbose: true };
    let answer = must("Status", call(daemon.clients().runtime.status(request)));
    let conditions = answer.status.clone().unwrap_or_default().conditions;
    for wanted in ["RuntimeReady", "NetworkReady"] {
        let condition = conditions
            .iter()
            .find(|condition| condition.r#type == wanted);
        assert!(
            condition.is_some_and(|condition| condition.status),
            "{wanted}: {conditions:?}"
        );
    }
    assert!(
        answer
            .runtime_handlers
            .iter()
            .any(|handler| handler.name.is_empty())
    );
    assert!(!answer.info.is_empty());
}

#[test]
fn a_pod_lives_stops_and_is_gone() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("life");
    let status = pod.status();
    assert_eq!(status.id, pod.id);
    assert_eq!(status.state(), PodSandboxState::SandboxReady);
    assert!(status.created_at > 0);
    let pause = pod.pause();
    assert!(is_alive(pause));

    pod.stop();
    assert_eq!(pod.status().state(), PodSandboxState::SandboxNotready);
    assert!(!is_alive(pause), "the pause outlived its pod");
    let network = pod.status().network.unwrap_or_default();
    assert!(
        network.ip.is_empty(),
        "a stopped pod has no address: {}",
        network.ip
    );
    must("RemovePodSandbox", daemon.try_remove_pod(&pod.id));
    fails(daemon.try_pod_status(&pod.id), Code::NotFound, &[&pod.id]);
    assert!(daemon.pods().is_empty());
}

#[test]
fn a_container_lives_stops_and_is_gone() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("life");
    let container = pod.create(idle("c"));
    let created = container.status();
    assert_eq!(created.state(), ContainerState::ContainerCreated);
    assert!(created.created_at > 0);
    assert_eq!((created.started_at, created.finished_at), (0, 0));

    container.start();
    let running = container.status();
    assert_eq!(running.state(), ContainerState::ContainerRunning);
    assert!(running.started_at >= created.created_at);
    let pid = container.pid();

    container.stop(0);
    let exited = container.status();
    assert_eq!(exited.state(), ContainerState::ContainerExited);
    assert_eq!(exited.exit_code, 137);
    assert!(exited.finished_at >= running.started_at);
    assert!(!is_alive(pid));

    container.remove();
    fails(
        daemon.try_status(&container.id),
        Code::NotFound,
        &[&container.id],
    );
    assert!(daemon.containers().is_empty());
}

#[test]
fn stopping_and_removing_may_be_repeated() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("again");
    let container = pod.start(idle("c"));
    for _ in 0..3 {
        container.stop(0);
    }
    for _ in 0..3 {
        container.remove();
    }
    container.stop(0);
    for _ in 0..3 {
        pod.stop();
    }
    for _ in 0..3 {
        must("RemovePodSandbox", daemon.try_remove_pod(&pod.id));
    }
    pod.stop();
}

#[test]
fn what_is_unknown_is_stopped_and_removed() {
    let daemon = Daemon::start();
    let unknown = "0123456789abcdef".repeat(4);
    must("StopContainer", daemon.try_stop(&unknown, 0));
    must("RemoveContainer", daemon.try_remove(&unknown));
    must("StopPodSandbox", daemon.try_stop_pod(&unknown));
    must("RemovePodSandbox", daemon.try_remove_pod(&unknown));
}

#[test]
fn removing_a_running_pod_takes_its_containers_along() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("force");
    let one = pod.start(idle("one"));
    let two = pod.create(idle("two"));
    let pid = one.pid();
    must("RemovePodSandbox", daemon.try_remove_pod(&pod.id));
    assert!(!is_alive(pid));
    fails(daemon.try_status(&two.id), Code::NotFound, &[]);
}

#[test]
fn removing_a_running_container_kills_it() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("force");
    let container = pod.start(idle("c"));
    let pid = container.pid();
    container.remove();
    assert!(!is_alive(pid));
}

#[test]
fn a_repeated_request_gets_the_same_pod_and_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("retry");
    assert_eq!(must("RunPodSandbox", daemon.try_run(&pod.config)), pod.id);
    let container = pod.create(idle("c"));
    let again = daemon.try_create(&pod.id, &pod.config, &container.config);
    assert_eq!(must("CreateContainer", again), container.id);
    container.start();
    container.start();
}

#[test]
fn retries_at_the_same_time_join() {
    let daemon = Daemon::start();
    daemon.provide(request::BUSYBOX);
    let config = daemon.pod("storm");
    let ids: Vec<_> = thread::scope(|scope| {
        let run = || must("RunPodSandbox", daemon.try_run(&config));
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(daemon.pods().len(), 1);

    let container = idle("c");
    let made: Vec<_> = thread::scope(|scope| {
        let create = || {
            must(
                "CreateContainer",
                daemon.try_create(&ids[0], &config, &container),
            )
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
}

#[test]
fn a_name_is_taken_by_one_pod_and_one_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("taken");
    let mut other = pod.config.clone();
    other.labels.insert("other".into(), "yes".into());
    fails(
        daemon.try_run(&other),
        Code::AlreadyExists,
        &[&pod.id, "taken"],
    );
    // A further attempt is another pod.
    other.metadata.as_mut().unwrap().attempt = 1;
    let second = daemon.run(other);
    assert_ne!(second.id, pod.id);

    let container = pod.create(idle("c"));
    let mut other = container.config.clone();
    other.args = vec!["5".into()];
    let refused = daemon.try_create(&pod.id, &pod.config, &other);
    fails(refused, Code::AlreadyExists, &[&container.id]);
    container.start();
    other.metadata.as_mut().unwrap().attempt = 1;
    pod.create(other);
}

#[test]
fn a_caller_that_goes_away_finds_its_pod_made() {
    let daemon = Daemon::start();
    let config = daemon.pod("gone");
    let request = RunPodSandboxRequest {
        config: Some(config.clone()),
        runtime_handler: String::new(),
    };
    let mut client = daemon.clients().runtime;
    let mut request = tonic::Request::new(request);
    request.set_timeout(std::time::Duration::from_millis(1));
    // It may be done within the millisecond.
    let _ = call(client.run_pod_sandbox(request));
    let id = must("RunPodSandbox", daemon.try_run(&config));
    assert_eq!(daemon.pods().len(), 1);
    assert_eq!(daemon.pods()[0].id, id);
}

#[test]
fn labels_and_annotations_come_back_byte_for_byte() {
    let daemon = Daemon::start();
    let odd = HashMap::from([
        ("empty".to_owned(), String::new()),
        (
            "äöü/\u{1f980}".to_owned(),
            "line\nbreak \"quoted\" \\ \t\u{7f}".to_owned(),
        ),
        ("json".to_owned(), r#"{"a":[1,2,{"b":null}]}"#.to_owned()),
        ("long".to_owned(), "x".repeat(200_000)),
    ]);
    let mut config = daemon.pod("bytes");
    config.labels.clone_from(&odd);
    config.annotations.clone_from(&odd);
    let pod = daemon.run(config);
    let mut config = idle("c");
    config.labels.clone_from(&odd);
    config.annotations.clone_from(&odd);
    let container = pod.create(config);
    let check =
        |what: &str, labels: &HashMap<String, String>, annotations: &HashMap<String, String>| {
            assert!(labels == &odd, "labels of {what}: {labels:?}");
            assert!(
                annotations == &odd,
                "annotations of {what}: {annotations:?}"
            );
        };
    let verify = || {
        let status = pod.status();
        check("PodSandboxStatus", &status.labels, &status.annotations);
        let listed = &daemon.pods()[0];
        check("ListPodSandbox", &listed.labels, &listed.annotations);
        let status = container.status();
        check("ContainerStatus", &status.labels, &status.annotations);
        let listed = &daemon.containers()[0];
        check("ListContainers", &listed.labels, &listed.annotations);
    };
    verify();
    daemon.kill9();
    daemon.restart();
    verify();
}

#[test]
fn labels_of_an_image_are_not_a_containers() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("labels");
    let image = "registry.holdfast.test/config/labels:1";
    let mut config = request::container("c", image, &["true"]);
    config.labels.insert("own".into(), "yes".into());
    let status = pod.create(config).status();
    assert_eq!(status.labels, HashMap::from([("own".into(), "yes".into())]));
    assert!(status.annotations.is_empty(), "{:?}", status.annotations);
}

#[test]
fn status_fields_echo_the_request() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("echo");
    let status = pod.status();
    assert_eq!(status.metadata, pod.config.metadata);
    assert_eq!(status.runtime_handler, "");
    let options = status
        .linux
        .and_then(|linux| linux.namespaces)
        .and_then(|of| of.options);
    let options = options.unwrap_or_else(|| panic!("no namespace options in the status"));
    assert_eq!(options.network(), NamespaceMode::Pod);
    assert_eq!(options.pid(), NamespaceMode::Container);
    let info = pod.info();
    assert_eq!(info["pid"].as_i64(), Some(i64::from(pod.pause())));

    let mut config = idle("c");
    config.mounts = vec![request::mount("/etc", "/host-etc")];
    config.mounts[0].readonly = true;
    let container = pod.create(config.clone());
    let status = container.status();
    assert_eq!(status.metadata, config.metadata);
    assert_eq!(status.mounts, config.mounts);
    assert_eq!(status.log_path, container.log_path().display().to_string());
    assert_eq!(
        status.image.clone().unwrap_or_default().image,
        request::BUSYBOX
    );
    let image = daemon.image(request::BUSYBOX).unwrap();
    assert_eq!(status.image_id, image.id);
    assert!(
        image.repo_digests.contains(&status.image_ref) || status.image_ref == image.id,
        "image_ref {}: {:?}",
        status.image_ref,
        image.repo_digests
    );
    assert_eq!(status.reason, "");
}

#[test]
fn ends_have_reasons_and_codes() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("ends");
    let (_, status) = pod.finish(shell("good", "true"));
    assert_eq!((status.exit_code, status.reason.as_str()), (0, "Completed"));
    let (_, status) = pod.finish(shell("bad", "exit 42"));
    assert_eq!((status.exit_code, status.reason.as_str()), (42, "Error"));
    let (_, status) = pod.finish(shell("highest", "exit 255"));
    assert_eq!(status.exit_code, 255);
    // A child's signal is the shell's 128 + n; the first process itself ends by a signal from outside only.
    let (_, status) = pod.finish(shell("signalled", "sh -c 'kill -SEGV $$'; exit $?"));
    assert_eq!(status.exit_code, 139);
}

#[test]
fn a_container_needs_a_ready_pod() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("stopped");
    pod.stop();
    let refused = daemon.try_create(&pod.id, &pod.config, &idle("c"));
    fails(refused, Code::FailedPrecondition, &["not ready"]);
    // The name of a pod that is over is taken until it is removed.
    fails(
        daemon.try_run(&pod.config),
        Code::AlreadyExists,
        &["stopped"],
    );
    pod.remove();
    daemon.run(pod.config.clone());
}

#[test]
fn stopping_a_pod_ends_its_containers() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("stop");
    let containers: Vec<_> = (0..4).map(|n| pod.start(idle(&format!("c{n}")))).collect();
    let created = pod.create(idle("created"));
    pod.stop();
    for container in &containers {
        let status = container.status();
        assert_eq!(status.state(), ContainerState::ContainerExited);
        assert_eq!(status.exit_code, 137);
    }
    let state = created.status().state();
    assert_ne!(state, ContainerState::ContainerRunning);
    fails(daemon.try_start(&created.id), Code::FailedPrecondition, &[]);
}

#[test]
fn a_finished_container_does_not_start_again() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("once");
    let (container, _) = pod.finish(shell("c", "true"));
    fails(
        daemon.try_start(&container.id),
        Code::FailedPrecondition,
        &[&container.id],
    );
    fails(
        daemon.try_exec(&container.id, &["true"], 5),
        Code::FailedPrecondition,
        &[],
    );
}

#[test]
fn many_pods_at_once_all_run() {
    let daemon = Daemon::start();
    daemon.provide(request::BUSYBOX);
    thread::scope(|scope| {
        for number in 0..16 {
            let daemon = &daemon;
            scope.spawn(move || {
                let pod = daemon.run_named(&format!("p{number}"));
                let container = pod.start(idle("c"));
                assert_eq!(container.sh("echo $HOSTNAME").trim(), format!("p{number}"));
                pod.remove();
            });
        }
    });
    assert!(daemon.pods().is_empty());
}
