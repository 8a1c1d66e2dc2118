//! Manifests: every example is planned, and what is outside the subset is refused with field and line.

use std::path::Path;

use cri_api::runtime::v1::NamespaceMode;

use super::{Manifest, ManifestError, PodPlan, Roots};

fn roots() -> Roots {
    Roots {
        logs: "/logs".into(),
        volumes: "/volumes".into(),
        memory_volumes: "/memory".into(),
    }
}

fn plan(text: &str) -> Result<PodPlan, ManifestError> {
    PodPlan::new(&Manifest::parse(text)?, "uid-1", &roots())
}

fn error(text: &str) -> String {
    let error = plan(text).unwrap_err();
    match &error {
        ManifestError::Syntax(cause) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

fn pod(rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec:\n  containers: [{{name: a, image: i}}]\n{rest}"
    )
}

fn container(rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec:\n  containers:\n  - name: a\n    image: i\n{rest}"
    )
}

#[test]
fn every_example_is_planned() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("pods");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("# "),
            "{} does not say what it shows",
            path.display()
        );
        let plan = plan(&text).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        assert_eq!(
            plan.sandbox.metadata.unwrap().name,
            path.file_stem().unwrap().to_str().unwrap()
        );
        count += 1;
    }
    assert!(count >= 10, "{count} examples");
}

#[test]
fn fields_outside_the_subset_are_refused_with_their_line() {
    let text = error(&pod("  nodeName: n\n"));
    assert!(
        text.contains("nodeName") && text.contains("line 6"),
        "{text}"
    );
    let text = error(&container("    livenessProbe: {}\n"));
    assert!(
        text.contains("spec.containers[0]") && text.contains("livenessProbe"),
        "{text}"
    );
    let text = error(&container("    env: [{name: A, valueFrom: {}}]\n"));
    assert!(text.contains("valueFrom"), "{text}");
}

#[test]
fn anything_but_one_pod_is_refused() {
    assert!(error("").contains("0 documents"));
    assert!(error(&format!("{}---\n{}", pod(""), pod(""))).contains("2 documents"));
    assert!(error("apiVersion: v1\nkind: List\nitems: []\n").contains("List"));
    assert!(error("apiVersion: apps/v1\nkind: Deployment\n").contains("Deployment"));
    assert!(plan(&format!("---\n{}", pod(""))).is_ok());
}

#[test]
fn values_that_do_not_fit_are_refused_by_field() {
    for (text, field) in [
        (pod("  restartPolicy: Always\n"), "spec.restartPolicy"),
        (pod("  dnsPolicy: ClusterFirst\n"), "spec.dnsPolicy"),
        (pod("  volumes: [{name: v}]\n"), "spec.volumes[0]"),
        (
            pod("  volumes: [{name: v, hostPath: {path: rel}}]\n"),
            "spec.volumes[0].hostPath.path",
        ),
        (
            container("    imagePullPolicy: Sometimes\n"),
            "spec.containers[0].imagePullPolicy",
        ),
        (
            container("    volumeMounts: [{name: v, mountPath: /v}]\n"),
            "spec.containers[0].volumeMounts[0].name",
        ),
        (
            container("    resources: {limits: {memory: 5Q}}\n"),
            "spec.containers[0].resources.limits.memory",
        ),
        (
            container("    resources: {limits: {gpu: 1}}\n"),
            "spec.containers[0].resources.limits.gpu",
        ),
        (
            container("    securityContext: {seccompProfile: {type: X}}\n"),
            "spec.containers[0].securityContext.seccompProfile.type",
        ),
        (
            container("  - {name: a, image: i}\n"),
            "spec.containers[1].name",
        ),
        (pod("").replace("name: x", "name: ../x"), "metadata.name"),
    ] {
        let found = error(&text);
        assert!(found.starts_with(field), "{found:?} does not name {field}");
    }
}

#[test]
fn the_kubelets_defaults_are_sent() {
    let plan = plan(&container(
        "    resources: {limits: {cpu: 500m, memory: 64Mi, holdfast.dev/pids: 9}}\n",
    ))
    .unwrap();
    let linux = plan.containers[0].config.linux.clone().unwrap();
    let (limits, context) = (linux.resources.unwrap(), linux.security_context.unwrap());
    assert_eq!(
        (limits.cpu_period, limits.cpu_quota, limits.cpu_shares),
        (100_000, 50_000, 512)
    );
    assert_eq!(limits.memory_limit_in_bytes, 64 << 20);
    assert_eq!(limits.unified["pids.max"], "9");
    assert!(context.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert_eq!(
        context.namespace_options.unwrap().pid,
        i32::from(NamespaceMode::Container)
    );
    assert_eq!(plan.containers[0].config.log_path, "a/0.log");
    assert_eq!(plan.sandbox.log_directory, "/logs/default_x_uid-1");
    assert_eq!(plan.sandbox.hostname, "x");
}

#[test]
fn variables_are_expanded_in_commands_and_environment() {
    let text = container(
        "    env: [{name: A, value: '1'}, {name: B, value: $(A)2}]\n    args: [$(B), $$(A)]\n",
    );
    let config = plan(&text).unwrap().containers.remove(0).config;
    assert_eq!(config.args, ["12", "$(A)"]);
    assert_eq!(config.envs[1].value, b"12");
}
