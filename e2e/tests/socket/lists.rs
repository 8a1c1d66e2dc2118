//! Lists with filters, and ids cut short.

use std::collections::HashMap;

use cri_api::runtime::v1::{
    ContainerFilter, ContainerState, ContainerStateValue, ListContainersRequest,
    ListPodSandboxRequest, NamespaceMode, PodSandboxFilter, PodSandboxState, PodSandboxStateValue,
};
use e2e::request::{PodParts, idle};
use e2e::{Daemon, call, fails, must};
use tonic::Code;

#[test]
fn filters_narrow_the_lists() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("a");
    config.labels = HashMap::from([("app".into(), "x".into()), ("tier".into(), "front".into())]);
    let a = daemon.run(config);
    let mut config = daemon.pod("b");
    config.labels = HashMap::from([("app".into(), "x".into())]);
    let b = daemon.run(config);
    b.stop();

    let list = |filter: PodSandboxFilter| {
        let request = ListPodSandboxRequest {
            filter: Some(filter),
        };
        let pods = must(
            "list",
            call(daemon.clients().runtime.list_pod_sandbox(request)),
        )
        .items;
        let mut names: Vec<_> = pods
            .into_iter()
            .map(|pod| pod.metadata.unwrap().name)
            .collect();
        names.sort();
        names.join(" ")
    };
    let labels = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()));
        PodSandboxFilter {
            label_selector: pairs.collect(),
            ..PodSandboxFilter::default()
        }
    };
    let state = |state: PodSandboxState| PodSandboxFilter {
        state: Some(PodSandboxStateValue {
            state: state.into(),
        }),
        ..PodSandboxFilter::default()
    };
    let id = |id: &str| PodSandboxFilter {
        id: id.to_owned(),
        ..PodSandboxFilter::default()
    };
    assert_eq!(list(PodSandboxFilter::default()), "a b");
    assert_eq!(list(labels(&[("app", "x")])), "a b");
    assert_eq!(list(labels(&[("app", "x"), ("tier", "front")])), "a");
    assert_eq!(list(labels(&[("app", "y")])), "");
    assert_eq!(list(state(PodSandboxState::SandboxReady)), "a");
    assert_eq!(list(state(PodSandboxState::SandboxNotready)), "b");
    assert_eq!(list(id(&a.id)), "a");
    assert_eq!(list(id(&a.id[..13])), "a");
    assert_eq!(list(id("ffffffffffff0")), "");
    let both = PodSandboxFilter {
        id: b.id.clone(),
        ..state(PodSandboxState::SandboxReady)
    };
    assert_eq!(list(both), "");
}

#[test]
fn container_filters_narrow_the_lists() {
    let daemon = Daemon::start();
    let (a, b) = (daemon.run_named("a"), daemon.run_named("b"));
    let mut config = idle("one");
    config.labels.insert("app".into(), "x".into());
    let one = a.start(config);
    a.create(idle("two"));
    b.start(idle("three"));
    let list = |filter: ContainerFilter| {
        let request = ListContainersRequest {
            filter: Some(filter),
        };
        let answer = call(daemon.clients().runtime.list_containers(request));
        let found = must("list", answer).containers;
        let mut names: Vec<_> = found
            .into_iter()
            .map(|of| of.metadata.unwrap().name)
            .collect();
        names.sort();
        names.join(" ")
    };
    let none = ContainerFilter::default;
    let state = |state: ContainerState| {
        Some(ContainerStateValue {
            state: state.into(),
        })
    };
    assert_eq!(list(none()), "one three two");
    assert_eq!(
        list(ContainerFilter {
            pod_sandbox_id: a.id.clone(),
            ..none()
        }),
        "one two"
    );
    assert_eq!(
        list(ContainerFilter {
            pod_sandbox_id: a.id[..13].to_owned(),
            ..none()
        }),
        "one two"
    );
    assert_eq!(
        list(ContainerFilter {
            state: state(ContainerState::ContainerCreated),
            ..none()
        }),
        "two"
    );
    assert_eq!(
        list(ContainerFilter {
            id: one.id[..12].to_owned(),
            ..none()
        }),
        "one"
    );
    let label_selector = HashMap::from([("app".into(), "x".into())]);
    assert_eq!(
        list(ContainerFilter {
            label_selector,
            ..none()
        }),
        "one"
    );
    assert_eq!(
        list(ContainerFilter {
            id: "ffffffffffffff".into(),
            ..none()
        }),
        ""
    );
}

#[test]
fn short_ids_will_do_when_they_are_unique() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("short");
    let container = pod.start(idle("c"));
    let short = &container.id[..13];
    assert_eq!(
        must("status", daemon.try_status(short)).status.unwrap().id,
        container.id
    );
    assert_eq!(
        must("exec", daemon.try_exec(short, &["true"], 5)).exit_code,
        0
    );
    must("stop", daemon.try_stop(short, 0));
    must("remove", daemon.try_remove(short));
    must("stop", daemon.try_stop_pod(&pod.id[..13]));
    must("remove", daemon.try_remove_pod(&pod.id[..13]));
}

#[test]
fn an_ambiguous_id_names_the_candidates() {
    let daemon = Daemon::start();
    // Seventeen ids cannot have sixteen different first digits.
    let mut ids: Vec<String> = Vec::new();
    for number in 0..17 {
        let mut config = daemon.pod(&format!("many-{number}"));
        config.namespaces().network = NamespaceMode::Node.into();
        ids.push(must("RunPodSandbox", daemon.try_run(&config)));
    }
    let like = |id: &String| ids.iter().filter(|other| other[..1] == id[..1]).count();
    let shared = ids.iter().max_by_key(|id| like(id)).unwrap();
    let prefix = &shared[..1];
    let text = fails(
        daemon.try_pod_status(prefix),
        Code::InvalidArgument,
        &["ambiguous"],
    );
    let named = ids.iter().filter(|id| text.contains(id.as_str()));
    let named: Vec<_> = named.collect();
    assert_eq!(named.len(), like(shared).min(4), "{text}");
    assert!(named.iter().all(|id| id.starts_with(prefix)), "{text}");
    fails(
        daemon.try_stop_pod(prefix),
        Code::InvalidArgument,
        &["ambiguous"],
    );
    assert_eq!(daemon.pods().len(), 17);
}
