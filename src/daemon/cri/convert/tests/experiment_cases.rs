use super::*;

fn annotation(name: &str, value: &str) -> HashMap<String, String> {
    let key = format!("{}{name}", crate::spec::experiments::PREFIX);
    [(key, value.to_owned())].into()
}

#[test]
fn a_pods_experiments_are_read_at_the_border() {
    let read = |name, value| {
        pod_config(&pod_request(cri::PodSandboxConfig {
            annotations: annotation(name, value),
            ..Default::default()
        }))
    };
    let pod = read("join-network", "default/db").unwrap();
    assert!(!pod.owns_network());
    assert_eq!(pod.annotations.len(), 1, "it is not echoed");
    let error = read("join-network", "nobody").unwrap_err();
    assert_eq!(
        tonic::Status::from(error.clone()).code(),
        tonic::Code::InvalidArgument
    );
    assert!(error.to_string().contains("nobody"), "{error}");
}

#[test]
fn experiments_of_a_container_belong_to_its_pod() {
    let request = container_request(cri::ContainerConfig {
        annotations: annotation("namespaces.main", "uts=own"),
        ..Default::default()
    });
    let error = container_config(&request, &NamespaceOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("config.annotations"), "{text}");
    assert!(
        text.contains("namespaces.main") && text.contains("pod sandbox"),
        "{text}"
    );
}
