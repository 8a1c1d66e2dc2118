//! Manifests: every example is planned, and what is outside the subset is refused with field and line.

use std::path::Path;

use cri_api::runtime::v1::NamespaceMode;

use super::{Check, ManifestError, PodFacts, PodPlan, RequiredPathKind, Roots, read};
use crate::run::keeper::{ProbeKind, Restart, Role};

fn roots() -> Roots {
    Roots {
        logs: "/logs".into(),
        volumes: "/volumes".into(),
        memory_volumes: "/memory".into(),
    }
}

fn known() -> PodFacts {
    PodFacts {
        uid: "uid-1".to_owned(),
        roots: roots(),
        node_name: "node".to_owned(),
        pod_ips: vec!["10.0.0.2".to_owned(), "fd00::2".to_owned()],
    }
}

fn plan(text: &str) -> Result<PodPlan, ManifestError> {
    let (_, plan) = read(text, |manifest| PodPlan::new(manifest, &known()))?;
    Ok(plan)
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
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pods");
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
    let text = error(&pod("  hostAliases: []\n"));
    assert!(
        text.contains("spec.hostAliases: this field of Kubernetes is not served")
            && text.contains("line 6"),
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
        (pod("  restartPolicy: Sometimes\n"), "spec.restartPolicy"),
        (pod("  dnsPolicy: Cluster\n"), "spec.dnsPolicy"),
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
        "    resources: {limits: {cpu: 500m, memory: 64Mi, holdfast.internal/pids: 9}}\n",
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

#[test]
fn init_containers_come_first_and_sidecars_among_them() {
    let plan = plan(&pod(
        "  initContainers:\n  - {name: i, image: i}\n  - {name: s, image: i, restartPolicy: Always}\n",
    ))
    .unwrap();
    let kept: Vec<_> = plan
        .containers
        .iter()
        .map(|container| &container.kept)
        .collect();
    let found: Vec<_> = kept
        .iter()
        .map(|kept| (kept.name.as_str(), kept.role, kept.restart))
        .collect();
    assert_eq!(
        found,
        [
            ("i", Role::Init, Restart::OnFailure),
            ("s", Role::Sidecar, Restart::Always),
            ("a", Role::App, Restart::Always),
        ]
    );
    assert!(plan.needs_keeping());
}

#[test]
fn an_ephemeral_container_comes_last_and_aims_at_a_container() {
    let debug = |rest: &str| {
        pod(&format!(
            "  ephemeralContainers:\n  - {{name: e, image: i, {rest}}}\n"
        ))
    };
    let planned = plan(&debug("targetContainerName: a")).unwrap();
    let last = planned.containers.last().unwrap();
    assert_eq!(
        (last.kept.role, last.kept.restart),
        (Role::Ephemeral, Restart::Never)
    );
    assert_eq!(last.target.as_deref(), Some("a"));
    for (rest, field) in [
        (
            "targetContainerName: z",
            "spec.ephemeralContainers[0].targetContainerName",
        ),
        ("ports: [{containerPort: 1}]", "spec.ephemeralContainers[0]"),
    ] {
        let error = plan(&debug(rest)).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn a_pod_that_runs_once_needs_no_keeper() {
    for (rest, needs) in [
        ("", false),
        ("    livenessProbe: {exec: {command: [x]}}\n", true),
        ("    lifecycle: {preStop: {exec: {command: [x]}}}\n", true),
        (
            "    lifecycle: {postStart: {exec: {command: [x]}}}\n",
            false,
        ),
    ] {
        let text = container(&format!("{rest}  restartPolicy: Never\n"));
        assert_eq!(plan(&text).unwrap().needs_keeping(), needs, "{rest}");
    }
}

#[test]
fn what_only_some_containers_have_is_refused_elsewhere_by_field() {
    let init = |rest: &str| {
        pod(&format!(
            "  initContainers: [{{name: i, image: i, {rest}}}]\n"
        ))
    };
    for (text, field) in [
        (
            init("restartPolicy: OnFailure"),
            "spec.initContainers[0].restartPolicy",
        ),
        (
            init("livenessProbe: {exec: {command: [x]}}"),
            "spec.initContainers[0]",
        ),
        (
            init("lifecycle: {preStop: {exec: {command: [x]}}}"),
            "spec.initContainers[0]",
        ),
        (
            container("    restartPolicy: Always\n"),
            "spec.containers[0].restartPolicy",
        ),
        (
            container("    livenessProbe: {}\n"),
            "spec.containers[0].livenessProbe",
        ),
        (
            container("    livenessProbe: {exec: {command: [x]}, tcpSocket: {port: 1}}\n"),
            "spec.containers[0].livenessProbe",
        ),
        (
            container("    livenessProbe: {exec: {command: [x]}, successThreshold: 2}\n"),
            "spec.containers[0].livenessProbe.successThreshold",
        ),
        (
            container("    readinessProbe: {tcpSocket: {port: web}}\n"),
            "spec.containers[0].readinessProbe.tcpSocket.port",
        ),
        (
            container("    readinessProbe: {httpGet: {port: 1, scheme: HTTPS}}\n"),
            "spec.containers[0].readinessProbe.httpGet.scheme",
        ),
        (
            container("    startupProbe: {exec: {command: [x]}, periodSeconds: 0}\n"),
            "spec.containers[0].startupProbe.periodSeconds",
        ),
    ] {
        let found = error(&text);
        assert!(found.starts_with(field), "{found:?} does not name {field}");
    }
}

#[test]
fn values_of_pods_that_cannot_be_kept_are_refused_by_field() {
    for (text, field) in [
        (
            container("    env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}]\n"),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
        ),
        (
            container(
                "    volumeMounts: [{name: v, mountPath: /v, subPath: x}]\n  volumes: [{name: v, emptyDir: {}}]\n",
            ),
            "spec.containers[0].volumeMounts[0].subPath",
        ),
        (
            pod("  volumes: [{name: v, emptyDir: {}, image: {reference: i}}]\n"),
            "spec.volumes[0]",
        ),
        (
            pod("  volumes: [{name: v, hostPath: {path: /dev/null, type: Socket}}]\n"),
            "spec.volumes[0].hostPath.path",
        ),
        (
            pod("  securityContext: {fsGroup: -1}\n"),
            "spec.securityContext.fsGroup",
        ),
        (
            pod("  securityContext: {fsGroupChangePolicy: OnRootMismatch}\n"),
            "spec.securityContext.fsGroupChangePolicy",
        ),
        (
            pod("  securityContext: {appArmorProfile: {type: Localhost}}\n"),
            "spec.containers[0].securityContext.appArmorProfile.localhostProfile",
        ),
        (
            pod("  hostUsers: false\n  hostPID: true\n"),
            "spec.hostUsers",
        ),
    ] {
        let found = error(&text);
        assert!(found.starts_with(field), "{found:?} does not name {field}");
    }
    let found = error(&pod("  volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]\n"));
    assert!(
        found.contains("sizeLimit") && found.contains("line 6"),
        "{found}"
    );
}

#[test]
fn a_mount_that_is_recursively_read_only_is_read_only_and_private() {
    let mount = |flags: &str| {
        container(&format!(
            "    volumeMounts: [{{name: v, mountPath: /v, recursiveReadOnly: Enabled{flags}}}]\n  \
             volumes: [{{name: v, emptyDir: {{}}}}]\n"
        ))
    };
    for flags in ["", ", readOnly: true, mountPropagation: HostToContainer"] {
        let found = error(&mount(flags));
        let field = "spec.containers[0].volumeMounts[0].recursiveReadOnly";
        assert!(found.starts_with(field), "{found:?} does not name {field}");
    }
    let planned = plan(&mount(", readOnly: true")).unwrap();
    let mount = &planned.containers[0].config.mounts[0];
    assert!(mount.readonly && mount.recursive_read_only);
}

#[test]
fn probes_have_the_kubelets_defaults() {
    let plan = plan(&container(
        "    ports: [{name: web, containerPort: 8080}]\n    livenessProbe: {httpGet: {port: web}}\n",
    ))
    .unwrap();
    let probe = plan.containers[0].checks.get(ProbeKind::Liveness).unwrap();
    let Check::Http { port, path, .. } = &probe.check else {
        panic!("{probe:?}");
    };
    assert_eq!((*port, path.as_str()), (8080, "/"));
    assert_eq!(
        (probe.timeout.as_secs(), probe.pace.period.as_secs()),
        (1, 10)
    );
    assert_eq!((probe.pace.failures, probe.pace.successes), (3, 1));
}

#[test]
fn fields_of_the_pod_become_variables() {
    let variable = |path: &str| {
        let text = container(&format!(
            "    args: [$(A)]\n    env: [{{name: A, valueFrom: {{fieldRef: {{fieldPath: \"{path}\"}}}}}}]\n"
        ));
        let text = text.replace(
            "{name: x}",
            "{name: x, labels: {l: one}, annotations: {k/k: two}}",
        );
        plan(&text)
            .unwrap()
            .containers
            .remove(0)
            .config
            .args
            .remove(0)
    };
    for (path, value) in [
        ("metadata.name", "x"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "uid-1"),
        ("metadata.labels['l']", "one"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['k/k']", "two"),
        ("spec.nodeName", "node"),
        ("status.podIP", "10.0.0.2"),
        ("status.podIPs", "10.0.0.2,fd00::2"),
    ] {
        assert_eq!(variable(path), value, "{path}");
    }
}

#[test]
fn volumes_are_mapped_in_a_user_namespace_and_belong_to_the_group() {
    let plan = plan(
        &container(
            "    volumeMounts: [{name: v, mountPath: /v}, {name: i, mountPath: /i, subPath: bin}]\n  \
             volumes: [{name: v, emptyDir: {}}, {name: i, image: {reference: r, pullPolicy: Never}}]\n  \
             hostUsers: false\n  securityContext: {fsGroup: 7, supplementalGroups: [8]}\n",
        ),
    )
    .unwrap();
    let config = &plan.containers[0].config;
    let context = config.linux.clone().unwrap().security_context.unwrap();
    let users = context.namespace_options.unwrap().userns_options.unwrap();
    assert_eq!(config.mounts[0].uid_mappings, users.uids);
    assert_eq!(context.supplemental_groups, [8, 7]);
    let image = &config.mounts[1];
    assert_eq!(
        (image.image_sub_path.as_str(), image.readonly),
        ("bin", true)
    );
    assert!(image.uid_mappings.is_empty() && image.host_path.is_empty());
    assert_eq!(plan.images.len(), 1);
    let volume = plan
        .needed
        .iter()
        .find(|needed| needed.path.ends_with("v"))
        .unwrap();
    let kind = RequiredPathKind::Directory {
        mode: 0o3777,
        group: Some(7),
    };
    assert_eq!(volume.kind, kind);
}

/// A manifest of `kubectl create --dry-run=client -o yaml` was refused field by field.
#[test]
fn manifests_of_tools_are_taken_and_inert_fields_are_named() {
    let kubectl = "
apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: null
  labels: {run: web}
  name: web
spec:
  containers:
  - image: nginx
    name: web
    ports:
    - containerPort: 80
      protocol: tcp
    resources: {}
    terminationMessagePath: /dev/termination-log
  dnsPolicy: ClusterFirst
  restartPolicy: Always
  automountServiceAccountToken: false
status: {}
";
    let (manifest, plan) = read(kubectl, |manifest| PodPlan::new(manifest, &known())).unwrap();
    assert_eq!(
        manifest.inert,
        [
            "status",
            "metadata.creationTimestamp",
            "spec.automountServiceAccountToken",
            "spec.dnsPolicy ClusterFirst",
            "spec.containers[0].terminationMessagePath",
        ]
    );
    assert_eq!(plan.sandbox.port_mappings[0].container_port, 80);
}

#[test]
fn all_mistakes_of_a_file_come_together_with_their_lines() {
    let text = error(
        "apiVersion: v1
kind: Pod
metadata:
  name: x
spec:
  magic: 1
  hostNetwork: maybe
  hostAliases: []
  restartPolicy: Sometimes
  containers:
  - name: a
    image:
    resources:
      limits: {memory: 5Q}
  - name: b
    image: i
    lifecycle: {stopSignal: SIGHUP}
    imagePullPolicy: Sometimes
",
    );
    for (field, line) in [
        ("spec.magic: unknown field", 6),
        ("spec.hostNetwork: invalid type", 7),
        (
            "spec.hostAliases: this field of Kubernetes is not served",
            8,
        ),
        ("spec.restartPolicy: invalid value", 9),
        ("spec.containers[0]: missing field `image`", 11),
        (
            "spec.containers[0].resources.limits.memory: invalid value",
            14,
        ),
        (
            "spec.containers[1].lifecycle.stopSignal: this field of Kubernetes",
            17,
        ),
        ("spec.containers[1].imagePullPolicy: invalid value", 18),
    ] {
        let found = text.lines().find(|found| found.contains(field));
        let found = found.unwrap_or_else(|| panic!("{field} is not in {text}"));
        assert!(found.ends_with(&format!("(line {line})")), "{found}");
    }
    assert_eq!(text.lines().count(), 8, "{text}");
    let text = error(&pod("").replace("image: i", "image: ''"));
    assert!(
        text.starts_with("spec.containers[0].image: invalid value") && text.ends_with("(line 5)"),
        "{text}"
    );
}
