//! Requests that make no sense: each has its code and its words, and nothing is left of it.

use std::fs;

use cri_api::runtime::v1::{
    ContainerMetadata, ContainerState, CreateContainerRequest, NamespaceMode, PodSandboxConfig,
    PodSandboxMetadata, ReopenContainerLogRequest, RunPodSandboxRequest,
    UpdateContainerResourcesRequest,
};
use e2e::disk::{self, Filler};
use e2e::place::Place;
use e2e::request::{self, BUSYBOX, ContainerParts, PodParts, idle, mount};
use e2e::{Daemon, call, fails, must};
use tonic::Code;

#[test]
fn unknown_ids_are_not_found() {
    let daemon = Daemon::start();
    let unknown = "fedcba9876543210".repeat(4);
    let words = [unknown.as_str()];
    fails(daemon.try_pod_status(&unknown), Code::NotFound, &words);
    fails(daemon.try_status(&unknown), Code::NotFound, &words);
    fails(daemon.try_start(&unknown), Code::NotFound, &words);
    fails(
        daemon.try_exec(&unknown, &["true"], 1),
        Code::NotFound,
        &words,
    );
    fails(
        daemon.try_create(&unknown, &daemon.pod("x"), &idle("c")),
        Code::NotFound,
        &words[..0],
    );
    let mut runtime = daemon.clients().runtime;
    let request = ReopenContainerLogRequest {
        container_id: unknown.clone(),
    };
    fails(
        call(runtime.reopen_container_log(request)),
        Code::NotFound,
        &words,
    );
    let request = UpdateContainerResourcesRequest {
        container_id: unknown.clone(),
        linux: Some(Default::default()),
        ..Default::default()
    };
    fails(
        call(runtime.update_container_resources(request)),
        Code::NotFound,
        &words,
    );
}

#[test]
fn ids_that_are_none_do_no_harm() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("stays");
    let long = "a".repeat(100_000);
    for id in [
        "../..",
        "..",
        "/",
        "%2e%2e",
        "a\0b",
        "\n",
        "*",
        "0123456789ABCDEF",
        " ",
        "\u{1f980}",
        &long,
    ] {
        let status = daemon.try_pod_status(id).unwrap_err();
        assert!(
            matches!(status.code(), Code::NotFound | Code::InvalidArgument),
            "{id:?}: {status}"
        );
        let status = daemon.try_status(id).unwrap_err();
        assert!(
            matches!(status.code(), Code::NotFound | Code::InvalidArgument),
            "{id:?}: {status}"
        );
        for result in [
            daemon.try_stop_pod(id),
            daemon.try_remove_pod(id),
            daemon.try_stop(id, 0),
            daemon.try_remove(id),
        ] {
            if let Err(status) = result {
                assert_eq!(status.code(), Code::InvalidArgument, "{id:?}: {status}");
            }
        }
    }
    // Empty means a client's mistake, never "all".
    for result in [
        daemon.try_stop_pod(""),
        daemon.try_remove_pod(""),
        daemon.try_stop("", 0),
        daemon.try_remove(""),
    ] {
        fails(result, Code::InvalidArgument, &["empty"]);
    }
    fails(daemon.try_status(""), Code::InvalidArgument, &["empty"]);
    assert!(e2e::evidence::is_alive(pod.pause()));
}

#[test]
fn missing_configurations_are_refused_by_name() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("pod");
    let mut runtime = daemon.clients().runtime;
    let none = RunPodSandboxRequest::default();
    fails(
        call(runtime.run_pod_sandbox(none)),
        Code::InvalidArgument,
        &["config"],
    );
    let bare = RunPodSandboxRequest {
        config: Some(PodSandboxConfig::default()),
        ..Default::default()
    };
    fails(
        call(runtime.run_pod_sandbox(bare)),
        Code::InvalidArgument,
        &["metadata"],
    );
    let create = |change: &dyn Fn(&mut CreateContainerRequest)| {
        let mut request = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(idle("c")),
            sandbox_config: Some(pod.config.clone()),
        };
        change(&mut request);
        call(daemon.clients().runtime.create_container(request)).map(|_| ())
    };
    fails(
        create(&|of| of.config = None),
        Code::InvalidArgument,
        &["config"],
    );
    fails(
        create(&|of| of.config.as_mut().unwrap().metadata = None),
        Code::InvalidArgument,
        &["metadata"],
    );
    fails(
        create(&|of| of.config.as_mut().unwrap().image = None),
        Code::InvalidArgument,
        &["image"],
    );
    fails(
        create(&|of| of.pod_sandbox_id.clear()),
        Code::InvalidArgument,
        &["empty"],
    );
    let nameless = |of: &mut CreateContainerRequest| {
        of.config.as_mut().unwrap().metadata = Some(ContainerMetadata::default());
    };
    fails(create(&nameless), Code::InvalidArgument, &["name"]);
    let none = UpdateContainerResourcesRequest {
        container_id: pod.create(idle("d")).id,
        ..Default::default()
    };
    // Nothing to change is nothing wrong.
    let _ = call(runtime.update_container_resources(none));
}

#[test]
fn hostile_names_stay_names() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    let names = [
        "../../../../var/tmp/holdfast-e2e-escape",
        "a/b",
        "..",
        "a\0b",
        "a\nb",
        "-rf",
        "$(reboot)",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let mut config = daemon.pod("hostile");
        config.metadata = Some(PodSandboxMetadata {
            name: name.into(),
            uid: format!("../{name}{number}"),
            namespace: name.into(),
            attempt: 0,
        });
        config.hostname = "plain".into();
        // Taken as an opaque text, or refused: never a path.
        match daemon.try_run(&config) {
            Ok(id) => {
                let status = must("status", daemon.try_pod_status(&id)).status.unwrap();
                assert_eq!(status.metadata, config.metadata);
                let mut container = idle("c");
                container.metadata.as_mut().unwrap().name = name.into();
                if let Ok(id) = daemon.try_create(&id, &config, &container) {
                    let _ = daemon.try_start(&id);
                }
            }
            Err(status) => assert_eq!(status.code(), Code::InvalidArgument, "{name:?}: {status}"),
        }
    }
    assert!(!fs::exists("/var/tmp/holdfast-e2e-escape").unwrap());
}

#[test]
fn names_and_configurations_that_are_too_long_are_refused() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("long");
    config.hostname = "x".repeat(65);
    fails(
        daemon.try_run(&config),
        Code::InvalidArgument,
        &["hostname"],
    );
    let mut config = daemon.pod("long");
    config.hostname = "bad\nname".into();
    fails(
        daemon.try_run(&config),
        Code::InvalidArgument,
        &["hostname"],
    );
    let pod = daemon.run_named("pod");
    let mut config = idle("c");
    config.args = vec!["x".repeat(3 << 20)];
    let outcome = daemon
        .try_create(&pod.id, &pod.config, &config)
        .and_then(|id| daemon.try_start(&id));
    let status = outcome.unwrap_err();
    assert!(
        !status.message().is_empty(),
        "E2BIG of execve has to arrive as an error"
    );
}

#[test]
fn hostile_paths_are_refused_by_field() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("paths");
    daemon.provide(BUSYBOX);
    let refused =
        |name: &str, change: &dyn Fn(&mut cri_api::runtime::v1::ContainerConfig), word: &str| {
            let mut config = idle(name);
            change(&mut config);
            let answer = daemon.try_create(&pod.id, &pod.config, &config);
            assert!(answer.is_err(), "case {name} was accepted");
            fails(answer, Code::InvalidArgument, &[word]);
        };
    refused(
        "a",
        &|of| of.mounts = vec![mount("relative", "/data")],
        "host_path",
    );
    refused("b", &|of| of.mounts = vec![mount("", "/data")], "host_path");
    refused(
        "c",
        &|of| of.mounts = vec![mount("/tmp", "")],
        "container_path",
    );
    refused(
        "d",
        &|of| of.mounts = vec![mount("/tmp", "/a/../../b")],
        "container_path",
    );
    refused(
        "e",
        &|of| of.mounts = vec![mount("/tmp", "/a\0b")],
        "container_path",
    );
    refused(
        "f",
        &|of| of.working_dir = "/a/../../b".into(),
        "working_dir",
    );
    refused("g", &|of| of.command = vec!["a\0b".into()], "NUL");
    refused(
        "h",
        &|of| of.envs = vec![request::variable("A=B", "c")],
        "envs",
    );
    refused(
        "i",
        &|of| of.envs = vec![request::variable("", "c")],
        "envs",
    );
    refused(
        "j",
        &|of| of.envs = vec![request::variable("A", "c\0d")],
        "NUL",
    );
    refused(
        "k",
        &|of| of.mounts = vec![mount("/tmp", &format!("/{}", "x/".repeat(3000)))],
        "container_path",
    );
    assert!(daemon.containers().is_empty());
}

#[test]
fn mounts_on_proc_are_refused() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("proc");
    for (number, path) in ["/proc", "/proc/self", "/proc/sys/kernel", "//proc//1"]
        .into_iter()
        .enumerate()
    {
        let mut config = idle(&format!("c{number}"));
        config.mounts = vec![mount(&daemon.place.dir, path)];
        let outcome = daemon
            .try_create(&pod.id, &pod.config, &config)
            .and_then(|id| daemon.try_start(&id));
        assert!(outcome.is_err(), "{path}");
    }
}

#[test]
fn an_unknown_handler_is_refused() {
    let daemon = Daemon::start();
    let request = RunPodSandboxRequest {
        config: Some(daemon.pod("x")),
        runtime_handler: "kata".into(),
    };
    let mut runtime = daemon.clients().runtime;
    fails(
        call(runtime.run_pod_sandbox(request)),
        Code::InvalidArgument,
        &["kata"],
    );
    assert!(daemon.pods().is_empty());
}

#[test]
fn impossible_namespaces_are_refused() {
    let daemon = Daemon::start();
    for (field, mode) in [
        ("network", 1),
        ("network", 3),
        ("ipc", 1),
        ("ipc", 3),
        ("network", 99),
        ("pid", 99),
    ] {
        let mut config = daemon.pod("modes");
        let namespaces = config.namespaces();
        match field {
            "network" => namespaces.network = mode,
            "ipc" => namespaces.ipc = mode,
            _ => namespaces.pid = mode,
        }
        fails(daemon.try_run(&config), Code::InvalidArgument, &[field]);
    }
    let pod = daemon.run_named("pod");
    let mut config = idle("c");
    config.namespaces().pid = NamespaceMode::Target.into();
    config.namespaces().target_id = "no-such-container".into();
    daemon.provide(BUSYBOX);
    let outcome = daemon
        .try_create(&pod.id, &pod.config, &config)
        .and_then(|id| daemon.try_start(&id));
    fails(outcome, Code::InvalidArgument, &["no-such-container"]);
}

#[test]
fn a_hostile_cgroup_parent_is_refused() {
    let daemon = Daemon::start();
    for parent in ["../..", "/a/../b", "/", "/a\0b", "/a\nb"] {
        let mut config = daemon.pod("parent");
        config.linux().cgroup_parent = parent.into();
        fails(daemon.try_run(&config), Code::InvalidArgument, &["cgroup"]);
    }
}

#[test]
fn requests_that_are_not_served_say_unimplemented() {
    use cri_api::runtime::v1::CheckpointContainerRequest;
    let daemon = Daemon::start();
    let mut runtime = daemon.clients().runtime;
    fails(
        call(runtime.checkpoint_container(CheckpointContainerRequest::default())),
        Code::Unimplemented,
        &[],
    );
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    let daemon = disk::daemon_on_small(Place::root, "3m");
    let big = "registry.k8s.io/e2e-test-images/nginx:1.14-2";
    let text = fails(daemon.try_pull(big), Code::ResourceExhausted, &["nginx"]);
    assert!(text.to_lowercase().contains("no space left"), "{text}");
    assert_eq!(daemon.image(big), None);
    // What fits still works, and so does what needs no disk.
    daemon.pull("registry.holdfast.test/probe:1");
    let pod = must("run", daemon.try_run(&daemon.pod("pod")));
    let config = request::container(
        "c",
        "registry.holdfast.test/probe:1",
        &["/bin/probe", "signals"],
    );
    let id = must(
        "create",
        daemon.try_create(&pod, &daemon.pod("pod"), &config),
    );
    must("start", daemon.try_start(&id));
    let out = daemon.try_exec(&id, &["/bin/probe", "ids"], 5).unwrap();
    assert_eq!(out.exit_code, 0);
    must("remove", daemon.try_remove_pod(&pod));
}

#[test]
fn a_full_disk_for_records_fails_the_request_only() {
    let daemon = disk::daemon_on_small(Place::run, "1m");
    let kept = must("run", daemon.try_run(&daemon.pod("kept")));
    daemon.pull(BUSYBOX);
    let config = idle("c");
    let container = must(
        "create",
        daemon.try_create(&kept, &daemon.pod("kept"), &config),
    );
    let filler = Filler::of(&daemon.place.run());
    let status = daemon.try_run(&daemon.pod("full")).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(
        status.message().to_lowercase().contains("no space left"),
        "{status}"
    );
    assert_eq!(daemon.pods().len(), 1);
    // A start of which no record would know is none.
    let status = daemon.try_start(&container).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let created = daemon.try_status_brief(&container).unwrap().status.unwrap();
    assert_eq!(created.state(), ContainerState::ContainerCreated);
    // What is there can be stopped and removed even now.
    must("stop", daemon.try_stop_pod(&kept));
    must("remove", daemon.try_remove_pod(&kept));
    drop(filler);
    must("run", daemon.try_run(&daemon.pod("full")));
}
