//! One container of a manifest as a CRI configuration, with the defaults that a kubelet would send.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use cri_api::runtime::v1::security_profile::ProfileType;
use cri_api::runtime::v1::{self as cri, MountPropagation, SupplementalGroupsPolicy};

use super::expand::expand;
use super::plan::{PlannedContainer, PullPolicy, namespaces};
use super::schema::{self, Container, PodSpec, Profile};
use super::{ManifestError, quantity};

/// Volumes of the pod by name.
pub(super) type Volumes = BTreeMap<String, PathBuf>;

/// What the kubelet hides below /proc and /sys unless procMount is Unmasked.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// What the kubelet makes read-only.
const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The limit on processes: not a resource of Kubernetes, so its name has our domain.
const PIDS: &str = "holdfast.dev/pids";

/// Plans a container with the pod's volumes and labels.
pub(super) fn plan(
    field: &str,
    container: &Container,
    spec: &PodSpec,
    (volumes, labels): (&Volumes, &HashMap<String, String>),
) -> Result<PlannedContainer, ManifestError> {
    let env = environment(field, container)?;
    let expand_all = |texts: &[String]| texts.iter().map(|text| expand(text, &env)).collect();
    let mut labels = labels.clone();
    labels.insert(
        "io.kubernetes.container.name".to_owned(),
        container.name.clone(),
    );
    let config = cri::ContainerConfig {
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
        mounts: mounts(field, container, volumes)?,
        labels,
        log_path: format!("{}/0.log", container.name),
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(resources(field, &container.resources)?),
            security_context: Some(security(field, container, spec)?),
        }),
        envs: env
            .into_iter()
            .map(|(key, value)| cri::KeyValue {
                key,
                value: value.into(),
            })
            .collect(),
        ..Default::default()
    };
    let pod = spec.security_context.run_as_non_root;
    Ok(PlannedContainer {
        config,
        pull: pull_policy(field, container.image_pull_policy.as_deref())?,
        non_root: container
            .security_context
            .run_as_non_root
            .or(pod)
            .unwrap_or_default(),
    })
}

fn pull_policy(field: &str, policy: Option<&str>) -> Result<PullPolicy, ManifestError> {
    match policy {
        None | Some("IfNotPresent") => Ok(PullPolicy::IfNotPresent),
        Some("Always") => Ok(PullPolicy::Always),
        Some("Never") => Ok(PullPolicy::Never),
        Some(other) => {
            let field = format!("{field}.imagePullPolicy");
            Err(ManifestError::field(
                field,
                other,
                "give IfNotPresent, Always or Never",
            ))
        }
    }
}

fn environment(field: &str, container: &Container) -> Result<Vec<(String, String)>, ManifestError> {
    let mut env: Vec<(String, String)> = Vec::new();
    for (index, variable) in container.env.iter().enumerate() {
        if variable.name.is_empty() || variable.name.contains('=') {
            let field = format!("{field}.env[{index}].name");
            return Err(ManifestError::field(
                field,
                &variable.name,
                "give a name without \"=\"",
            ));
        }
        // A variable sees those before it.
        let value = expand(variable.value.as_deref().unwrap_or_default(), &env);
        env.push((variable.name.clone(), value));
    }
    Ok(env)
}

fn mounts(
    field: &str,
    container: &Container,
    volumes: &Volumes,
) -> Result<Vec<cri::Mount>, ManifestError> {
    let mount = |(index, mount): (usize, &schema::VolumeMount)| {
        let field = format!("{field}.volumeMounts[{index}]");
        let host_path = volumes.get(&mount.name).ok_or_else(|| {
            ManifestError::field(
                format!("{field}.name"),
                &mount.name,
                "spec.volumes has no such volume",
            )
        })?;
        Ok(cri::Mount {
            container_path: mount.mount_path.clone(),
            host_path: host_path.to_string_lossy().into_owned(),
            readonly: mount.read_only,
            recursive_read_only: recursive(&field, mount)?,
            propagation: propagation(&field, mount)?.into(),
            ..Default::default()
        })
    };
    container
        .volume_mounts
        .iter()
        .enumerate()
        .map(mount)
        .collect()
}

fn recursive(field: &str, mount: &schema::VolumeMount) -> Result<bool, ManifestError> {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => Ok(false),
        Some("Enabled") => Ok(true),
        Some(other) => {
            let field = format!("{field}.recursiveReadOnly");
            Err(ManifestError::field(
                field,
                other,
                "give Enabled or Disabled",
            ))
        }
    }
}

fn propagation(
    field: &str,
    mount: &schema::VolumeMount,
) -> Result<MountPropagation, ManifestError> {
    match mount.mount_propagation.as_deref() {
        None | Some("None") => Ok(MountPropagation::PropagationPrivate),
        Some("HostToContainer") => Ok(MountPropagation::PropagationHostToContainer),
        Some("Bidirectional") => Ok(MountPropagation::PropagationBidirectional),
        Some(other) => {
            let field = format!("{field}.mountPropagation");
            Err(ManifestError::field(
                field,
                other,
                "give None, HostToContainer or Bidirectional",
            ))
        }
    }
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
            "memory" => limits.memory_limit_in_bytes = quantity::whole(&field, amount)?,
            PIDS => {
                let most = quantity::whole(&field, amount)?.to_string();
                limits.unified.insert("pids.max".to_owned(), most);
            }
            _ => {
                return Err(ManifestError::field(
                    field,
                    amount,
                    "only cpu, memory and holdfast.dev/pids are limited",
                ));
            }
        }
    }
    for (name, amount) in &resources.requests {
        let field = format!("{field}.resources.requests.{name}");
        match name.as_str() {
            "cpu" => limits.cpu_shares = shares(quantity::thousandths(&field, amount)?),
            // Nothing schedules here: what it needs is checked for form only, as on a node.
            "memory" => drop(quantity::whole(&field, amount)?),
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

fn security(
    field: &str,
    container: &Container,
    spec: &PodSpec,
) -> Result<cri::LinuxContainerSecurityContext, ManifestError> {
    let own = &container.security_context;
    let pod = &spec.security_context;
    let field = format!("{field}.securityContext");
    let number =
        |own: Option<i64>, pod: Option<i64>| own.or(pod).map(|value| cri::Int64Value { value });
    let profile = own
        .seccomp_profile
        .as_ref()
        .or(pod.seccomp_profile.as_ref());
    let masked = masked(&field, own)?;
    let paths = |paths: &[&str]| {
        if masked {
            paths.iter().map(|path| (*path).to_owned()).collect()
        } else {
            Vec::new()
        }
    };
    Ok(cri::LinuxContainerSecurityContext {
        capabilities: Some(cri::Capability {
            add_capabilities: own.capabilities.add.clone(),
            drop_capabilities: own.capabilities.drop.clone(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged: own.privileged,
        namespace_options: Some(namespaces(spec)?),
        run_as_user: number(own.run_as_user, pod.run_as_user),
        run_as_group: number(own.run_as_group, pod.run_as_group),
        readonly_rootfs: own.read_only_root_filesystem,
        supplemental_groups: pod.supplemental_groups.clone(),
        supplemental_groups_policy: groups_policy(pod)?.into(),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READONLY),
        seccomp: Some(seccomp(&field, profile)?),
        ..Default::default()
    })
}

fn masked(field: &str, context: &schema::SecurityContext) -> Result<bool, ManifestError> {
    match context.proc_mount.as_deref() {
        None | Some("Default") => Ok(!context.privileged),
        Some("Unmasked") => Ok(false),
        Some(other) => Err(ManifestError::field(
            format!("{field}.procMount"),
            other,
            "give Default or Unmasked",
        )),
    }
}

fn groups_policy(
    pod: &schema::PodSecurityContext,
) -> Result<SupplementalGroupsPolicy, ManifestError> {
    match pod.supplemental_groups_policy.as_deref() {
        None | Some("Merge") => Ok(SupplementalGroupsPolicy::Merge),
        Some("Strict") => Ok(SupplementalGroupsPolicy::Strict),
        Some(other) => {
            let field = "spec.securityContext.supplementalGroupsPolicy";
            Err(ManifestError::field(field, other, "give Merge or Strict"))
        }
    }
}

/// Without a profile it is the runtime's default, the safer one of the two that kubelets are set up with.
fn seccomp(field: &str, profile: Option<&Profile>) -> Result<cri::SecurityProfile, ManifestError> {
    let Some(profile) = profile else {
        return Ok(cri::SecurityProfile::default());
    };
    let field = format!("{field}.seccompProfile");
    let kind = match profile.r#type.as_str() {
        "RuntimeDefault" => ProfileType::RuntimeDefault,
        "Unconfined" => ProfileType::Unconfined,
        "Localhost" => ProfileType::Localhost,
        other => {
            let remedy = "give RuntimeDefault, Unconfined or Localhost";
            return Err(ManifestError::field(format!("{field}.type"), other, remedy));
        }
    };
    let file = profile.localhost_profile.clone().unwrap_or_default();
    if (kind == ProfileType::Localhost) != file.starts_with('/') {
        let remedy = "give the absolute path of a profile with type Localhost, and only then";
        return Err(ManifestError::field(
            format!("{field}.localhostProfile"),
            file,
            remedy,
        ));
    }
    Ok(cri::SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: file,
    })
}

/// The ports of all containers.
pub(super) fn ports(spec: &PodSpec) -> Result<Vec<cri::PortMapping>, ManifestError> {
    let mut mappings = Vec::new();
    for (at, container) in spec.containers.iter().enumerate() {
        for (index, port) in container.ports.iter().enumerate() {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => cri::Protocol::Tcp,
                Some("UDP") => cri::Protocol::Udp,
                Some("SCTP") => cri::Protocol::Sctp,
                Some(other) => {
                    let field = format!("spec.containers[{at}].ports[{index}].protocol");
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
