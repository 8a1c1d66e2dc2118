//! Names against pods of several namespaces, several pods of one name, and their attempts.

use super::{Name, NamespaceArgs, Node, SelectError, Target, bare_meant, cri, meant, only};

fn pod(id: &str, title: &str, uid: &str) -> cri::PodSandbox {
    let (namespace, name) = title.split_once('/').unwrap();
    cri::PodSandbox {
        id: id.to_owned(),
        metadata: Some(cri::PodSandboxMetadata {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            uid: uid.to_owned(),
            attempt: 0,
        }),
        ..Default::default()
    }
}

fn container(id: &str, pod: &str, name: &str) -> cri::Container {
    cri::Container {
        id: id.to_owned(),
        pod_sandbox_id: pod.to_owned(),
        metadata: Some(cri::ContainerMetadata {
            name: name.to_owned(),
            attempt: 0,
        }),
        ..Default::default()
    }
}

/// `web` in two namespaces, one of them in two attempts; `lone` only once; two pods called `twin`.
fn node() -> Node {
    Node {
        pods: vec![
            pod("a1", "default/web", "u1"),
            pod("b1", "other/web", "u2"),
            pod("a2", "default/web", "u1"),
            pod("c1", "default/lone", "u3"),
            pod("d1", "default/twin", "u4"),
            pod("d2", "default/twin", "u5"),
            pod("e1", "web/app", "u6"),
        ],
        containers: vec![
            container("f1", "a1", "app"),
            container("f2", "b1", "app"),
            container("f3", "a2", "app"),
            container("f4", "a2", "app"),
            container("f5", "c1", "only"),
        ],
    }
}

fn find(text: &str, namespace: Option<&str>) -> Result<String, String> {
    let args = NamespaceArgs {
        namespace: namespace.map(str::to_owned),
    };
    let found = meant(&node(), args.name(text));
    found
        .map(|target| target.id().to_owned())
        .map_err(|error| error.to_string())
}

/// `rm two-containers` removed the newer of two pods of this name, which was in another namespace than the one that was
/// meant.
#[test]
fn a_name_of_several_namespaces_is_refused_with_their_list() {
    let said = find("web", None).unwrap_err();
    assert!(
        said.contains("default/web, other/web") && said.contains("--namespace"),
        "{said}"
    );
    assert_eq!(find("web", Some("other")).unwrap(), "b1");
    assert_eq!(find("other/web", None).unwrap(), "b1");
    assert_eq!(find("lone", None).unwrap(), "c1");
    let said = find("lone", Some("other")).unwrap_err();
    assert!(said.contains("in the namespace \"other\""), "{said}");
}

#[test]
fn the_newest_counts_among_attempts_of_one_pod_only() {
    assert_eq!(find("default/web", None).unwrap(), "a2");
    assert_eq!(find("default/web/app", None).unwrap(), "f4");
    let said = find("twin", None).unwrap_err();
    assert!(
        said.contains("default/twin (d1), default/twin (d2)") && said.contains("the id"),
        "{said}"
    );
    assert_eq!(find("d1", None).unwrap(), "d1");
}

#[test]
fn containers_are_refused_in_the_same_way() {
    let said = find("web/app", None).unwrap_err();
    assert!(
        said.contains("web/app, default/web/app, other/web/app"),
        "{said}"
    );
    assert_eq!(find("web/app", Some("other")).unwrap(), "f2");
    assert_eq!(find("lone/only", None).unwrap(), "f5");
    assert_eq!(find("c1/only", None).unwrap(), "f5");
    assert!(find("only", None).is_err(), "the pod has to be named");
    let text = "app".to_owned();
    let Err(error) = bare_meant(&node(), Name::from(&"only".to_owned())).map(|_| ()) else {
        // The pod `web/app` wins over containers.
        assert_eq!(bare_meant(&node(), Name::from(&text)).unwrap().id(), "e1");
        return;
    };
    panic!("{error}");
}

#[test]
fn ids_are_told_apart_and_empty_names_mean_nothing() {
    assert_eq!(find("f5", None).unwrap(), "f5");
    assert!(find("f5", Some("other")).is_err());
    let name = "f".to_owned();
    let several = only(
        "container",
        Name::from(&name),
        Vec::new(),
        node().containers_with_id(Name::from(&name)),
    );
    assert!(matches!(several, Err(SelectError::Several { .. })));
    assert!(matches!(
        meant(&node(), Name::from(&String::new())),
        Err(SelectError::None { .. })
    ));
    assert!(matches!(
        meant(&node(), Name::from(&"c1".to_owned())),
        Ok(Target::Pod(_))
    ));
}
