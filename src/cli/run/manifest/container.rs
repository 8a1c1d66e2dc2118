//! One container of a manifest as a CRI configuration, with the defaults that a kubelet would send.

use cri_api::runtime::v1 as cri;
use holdfast_kernel::domain;

use super::environment::environment;
use super::expand::expand;
use super::manifest_error::ManifestError;
use super::mount::mounts;
use super::planned::{PlannedContainer, Restarts};
use super::pod::Pod;
use super::pull::pull_policy;
use super::schema::{self, Container, PodSpec};
use super::security::security;
use super::{probe, quantity};
use crate::run::keeper::{Kept, Restart, Role};

/// The limit on processes: not a resource of Kubernetes, so its name has our domain.
const PIDS: &str = concat!(domain!(), "/pids");

/// Converts a container of the manifest to the request and the facts for the keeper.
pub(super) fn plan(
    field: &str,
    container: &Container,
    role: Role,
    pod: &Pod<'_>,
) -> Result<PlannedContainer, ManifestError> {
    if container.image.is_empty() {
        let field = format!("{field}.image");
        return Err(ManifestError::field(field, "", "give an image"));
    }
    let checks = probe::checks(field, container, role)?;
    let own = &container.security_context;
    let hooks = &container.lifecycle;
    let command = |hook: &schema::Hook| hook.exec.command.clone();
    Ok(PlannedContainer {
        config: config(field, container, pod)?,
        pull: pull_policy(
            &format!("{field}.imagePullPolicy"),
            container.image_pull_policy.as_deref(),
        )?,
        non_root: own
            .run_as_non_root
            .or(pod.spec.security_context.run_as_non_root)
            .unwrap_or_default(),
        kept: Kept {
            name: container.name.clone(),
            role,
            restart: restart(role, pod.restarts),
            probes: checks.paces(),
        },
        target: target(field, container, role, pod.spec)?,
        checks,
        post_start: hooks.post_start.as_ref().map(command),
        pre_stop: hooks.pre_stop.as_ref().map(command),
    })
}

/// The container that an ephemeral one looks at.
fn target(
    field: &str,
    container: &Container,
    role: Role,
    spec: &PodSpec,
) -> Result<Option<String>, ManifestError> {
    let Some(name) = &container.target_container_name else {
        return Ok(None);
    };
    let field = format!("{field}.targetContainerName");
    if role != Role::Ephemeral {
        let remedy = "only spec.ephemeralContainers have one";
        return Err(ManifestError::field(field, name, remedy));
    }
    if !spec
        .containers
        .iter()
        .any(|container| container.name == *name)
    {
        let remedy = "spec.containers has no such container";
        return Err(ManifestError::field(field, name, remedy));
    }
    Ok(Some(name.clone()))
}

/// An init container that fails is tried again unless the pod is to be run once.
fn restart(role: Role, policy: Restarts) -> Restart {
    match (role, policy) {
        (Role::Sidecar, _) | (Role::App, Restarts::Always) => Restart::Always,
        (Role::Ephemeral, _) | (_, Restarts::Never) => Restart::Never,
        (Role::Init, Restarts::Always) | (_, Restarts::OnFailure) => Restart::OnFailure,
    }
}

fn config(
    field: &str,
    container: &Container,
    pod: &Pod<'_>,
) -> Result<cri::ContainerConfig, ManifestError> {
    let env = environment(field, container, pod)?;
    let expand_all = |texts: &[String]| texts.iter().map(|text| expand(text, &env)).collect();
    let mut labels = pod.labels.clone();
    labels.insert(
        "io.kubernetes.container.name".to_owned(),
        container.name.clone(),
    );
    Ok(cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: container.name.clone(),
            attempt: 0,
        }),
        image: Some(cri::ImageSpec {
            image: container.image.clone(),
            ..Default::default()
        }),
        command: expand_all(&container.command),
        args: expand_all(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts: mounts(field, container, pod)?,
        labels,
        log_path: format!("{}/0.log", container.name),
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(resources(field, &container.resources)?),
            security_context: Some(security(field, container, pod)?),
        }),
        envs: env
            .into_iter()
            .map(|(key, value)| cri::KeyValue {
                key,
                value: value.into(),
            })
            .collect(),
        ..Default::default()
    })
}

fn resources(
    field: &str,
    resources: &schema::Resources,
) -> Result<cri::LinuxContainerResources, ManifestError> {
    /// CFS period of the kubelet in microseconds, and thousandths of a CPU in one.
    const PERIOD: i64 = 100_000;
    let mut limits = cri::LinuxContainerResources::default();
    for (name, amount) in &resources.limits {
        let field = format!("{field}.resources.limits.{name}");
        match name.as_str() {
            "cpu" => {
                let thousandths = quantity::thousandths(&field, amount)?;
                limits.cpu_period = PERIOD;
                // The kernel refuses quotas below a millisecond.
                limits.cpu_quota = thousandths.saturating_mul(PERIOD / 1000).max(1000);
                limits.cpu_shares = shares(thousandths);
            }
            "memory" => limits.memory_limit_in_bytes = quantity::whole_number(&field, amount)?,
            PIDS => {
                let most = quantity::whole_number(&field, amount)?.to_string();
                limits.unified.insert("pids.max".to_owned(), most);
            }
            _ => {
                return Err(ManifestError::field(
                    field,
                    amount,
                    concat!("only cpu, memory and ", domain!(), "/pids are limited"),
                ));
            }
        }
    }
    for (name, amount) in &resources.requests {
        let field = format!("{field}.resources.requests.{name}");
        match name.as_str() {
            "cpu" => limits.cpu_shares = shares(quantity::thousandths(&field, amount)?),
            // Nothing schedules here: what it needs is checked for form only, as on a node.
            "memory" => drop(quantity::whole_number(&field, amount)?),
            _ => {
                return Err(ManifestError::field(
                    field,
                    amount,
                    "only cpu and memory can be requested",
                ));
            }
        }
    }
    Ok(limits)
}

/// CPU shares as the kubelet computes them: 1024 a CPU, within what the kernel takes.
fn shares(thousandths: i64) -> i64 {
    (thousandths.saturating_mul(1024) / 1000).clamp(2, 262_144)
}

/// The ports of all containers that go on running.
pub(super) fn ports(spec: &PodSpec) -> Result<Vec<cri::PortMapping>, ManifestError> {
    let mut mappings = Vec::new();
    for (field, container, _) in spec.in_order()? {
        for (index, port) in container.ports.iter().enumerate() {
            let protocol = match port.protocol.as_deref().map(str::to_uppercase).as_deref() {
                None | Some("TCP") => cri::Protocol::Tcp,
                Some("UDP") => cri::Protocol::Udp,
                Some("SCTP") => cri::Protocol::Sctp,
                Some(other) => {
                    let field = format!("{field}.ports[{index}].protocol");
                    return Err(ManifestError::field(field, other, "give TCP, UDP or SCTP"));
                }
            };
            mappings.push(cri::PortMapping {
                protocol: protocol.into(),
                container_port: port.container_port,
                host_port: port.host_port,
                host_ip: port.host_ip.clone(),
            });
        }
    }
    Ok(mappings)
}
