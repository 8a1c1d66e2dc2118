//! From a manifest to the requests that run it.

use std::collections::{BTreeMap, HashMap};

use cri_api::runtime::v1::{self as cri, NamespaceMode};

use super::manifest_error::ManifestError;
use super::name::{log_directory_name, plain};
use super::planned::{PodFacts, PodPlan, RequiredPath, Restarts};
use super::pod::Pod;
use super::probe::Checks;
use super::schema::{Container, Manifest, NameValue, PodSecurityContext, PodSpec};
use super::{container, security, users, volume};
use crate::annotations::{GRACE_ANNOTATION, MANIFEST_ANNOTATION, RESTART_ANNOTATION};
use crate::run::keeper::{Restart, Role};

impl PodPlan {
    /// Plans a manifest.
    ///
    /// # Errors
    /// [`ManifestError::Field`] for a value that cannot be used.
    pub(crate) fn new(manifest: &Manifest, known: &PodFacts) -> Result<Self, ManifestError> {
        let spec = &manifest.spec;
        let metadata = metadata(manifest, &known.uid)?;
        unique_names(spec)?;
        let log_directory = known.roots.logs.join(log_directory_name(&metadata));
        let volumes = volume::volumes(spec, &metadata.uid, &known.roots)?;
        let mut needed = vec![RequiredPath::plain_directory(log_directory.clone())];
        needed.extend(volumes.needed);
        let pod = Pod {
            manifest,
            spec,
            known,
            namespaces: namespaces(spec, &metadata.uid)?,
            volumes: volumes.volumes,
            labels: labels(manifest, &metadata),
            restarts: restarts(spec)?,
            metadata: &metadata,
        };
        let mut containers = Vec::new();
        for (field, container, role) in spec.in_order()? {
            containers.push(container::plan(&field, container, role, &pod)?);
            let logs = log_directory.join(&container.name);
            needed.push(RequiredPath::plain_directory(logs));
        }
        Ok(Self {
            runtime_handler: spec.runtime_class_name.clone().unwrap_or_default(),
            sandbox: sandbox(&pod, &log_directory.to_string_lossy())?,
            containers,
            images: volumes.images,
            needed,
        })
    }

    /// Whether the pod needs a keeper once all its containers have been started.
    pub(crate) fn needs_keeping(&self) -> bool {
        self.containers.iter().any(|container| {
            let kept = &container.kept;
            kept.role == Role::Sidecar
                || (kept.role == Role::App && kept.restart != Restart::Never)
                || container.checks != Checks::default()
                || container.pre_stop.is_some()
        })
    }
}

fn sandbox(pod: &Pod<'_>, log_directory: &str) -> Result<cri::PodSandboxConfig, ManifestError> {
    let spec = pod.spec;
    Ok(cri::PodSandboxConfig {
        hostname: hostname(spec, &pod.metadata.name),
        log_directory: log_directory.to_owned(),
        dns_config: dns(spec)?,
        port_mappings: container::ports(spec)?,
        annotations: annotations(pod.manifest),
        linux: Some(linux(pod)?),
        metadata: Some(pod.metadata.clone()),
        labels: pod.labels.clone(),
        windows: None,
    })
}

fn restarts(spec: &PodSpec) -> Result<Restarts, ManifestError> {
    match spec.restart_policy.as_deref() {
        None | Some("Always") => Ok(Restarts::Always),
        Some("OnFailure") => Ok(Restarts::OnFailure),
        Some("Never") => Ok(Restarts::Never),
        Some(other) => {
            let remedy = "give Always, OnFailure or Never";
            Err(ManifestError::field("spec.restartPolicy", other, remedy))
        }
    }
}

fn metadata(manifest: &Manifest, uid: &str) -> Result<cri::PodSandboxMetadata, ManifestError> {
    let metadata = &manifest.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    Ok(cri::PodSandboxMetadata {
        name: plain("metadata.name", &metadata.name)?,
        uid: plain("metadata.uid", metadata.uid.as_deref().unwrap_or(uid))?,
        namespace: plain("metadata.namespace", namespace)?,
        attempt: 0,
    })
}

fn unique_names(spec: &PodSpec) -> Result<(), ManifestError> {
    if spec.containers.is_empty() {
        let remedy = "give at least one container";
        return Err(ManifestError::field("spec.containers", "[]", remedy));
    }
    let mut seen = BTreeMap::new();
    for (field, container, _) in spec.in_order()? {
        let field = format!("{field}.name");
        plain(&field, &container.name)?;
        if seen.insert(&container.name, ()).is_some() {
            let remedy = "another container has this name";
            return Err(ManifestError::field(field, &container.name, remedy));
        }
    }
    Ok(())
}

fn labels(manifest: &Manifest, metadata: &cri::PodSandboxMetadata) -> HashMap<String, String> {
    let mut labels: HashMap<_, _> = manifest.metadata.labels.clone().into_iter().collect();
    for (key, value) in [
        ("io.kubernetes.pod.name", &metadata.name),
        ("io.kubernetes.pod.namespace", &metadata.namespace),
        ("io.kubernetes.pod.uid", &metadata.uid),
    ] {
        labels.insert(key.to_owned(), value.clone());
    }
    labels
}

fn annotations(manifest: &Manifest) -> HashMap<String, String> {
    let mut annotations: HashMap<_, _> =
        manifest.metadata.annotations.clone().into_iter().collect();
    annotations.insert(MANIFEST_ANNOTATION.to_owned(), "true".to_owned());
    let policy = manifest.spec.restart_policy.as_deref().unwrap_or("Always");
    annotations.insert(RESTART_ANNOTATION.to_owned(), policy.to_owned());
    if let Some(grace) = manifest.spec.termination_grace_period_seconds {
        annotations.insert(GRACE_ANNOTATION.to_owned(), grace.to_string());
    }
    annotations
}

fn hostname(spec: &PodSpec, name: &str) -> String {
    /// Kubernetes shortens to a DNS label.
    const LONGEST: usize = 63;
    if spec.host_network && spec.hostname.is_none() {
        return String::new();
    }
    let name = spec.hostname.as_deref().unwrap_or(name);
    name.chars()
        .take(LONGEST)
        .collect::<String>()
        .trim_end_matches(['-', '.'])
        .to_owned()
}

fn dns(spec: &PodSpec) -> Result<Option<cri::DnsConfig>, ManifestError> {
    let config = spec.dns_config.as_ref();
    match spec.dns_policy.as_deref() {
        Some("Default") if config.is_some() => {
            let remedy = "dnsConfig replaces the host's resolv.conf: give None with it";
            Err(ManifestError::field("spec.dnsPolicy", "Default", remedy))
        }
        None | Some("Default" | "None") => Ok(config.map(|config| cri::DnsConfig {
            servers: config.nameservers.clone(),
            searches: config.searches.clone(),
            options: config.options.iter().map(dns_option).collect(),
        })),
        Some(policy) => {
            let remedy = "there is no cluster DNS here: give Default or None";
            Err(ManifestError::field("spec.dnsPolicy", policy, remedy))
        }
    }
}

fn dns_option(option: &NameValue) -> String {
    match &option.value {
        Some(value) => format!("{}:{value}", option.name),
        None => option.name.clone(),
    }
}

/// The namespaces of the pod and, since the kubelet sends the same to both, of its containers.
fn namespaces(spec: &PodSpec, uid: &str) -> Result<cri::NamespaceOption, ManifestError> {
    if spec.host_pid && spec.share_process_namespace {
        let remedy = "hostPID is set as well; give only one of them";
        return Err(ManifestError::field(
            "spec.shareProcessNamespace",
            "true",
            remedy,
        ));
    }
    let mapped = spec.host_users == Some(false);
    if mapped && spec.host_pid {
        let remedy = "hostPID is set as well; give only one of them";
        return Err(ManifestError::field("spec.hostUsers", "false", remedy));
    }
    let mode = |host: bool| {
        if host {
            NamespaceMode::Node
        } else {
            NamespaceMode::Pod
        }
    };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (true, _) => NamespaceMode::Node,
        (false, true) => NamespaceMode::Pod,
        (false, false) => NamespaceMode::Container,
    };
    Ok(cri::NamespaceOption {
        network: mode(spec.host_network).into(),
        pid: pid.into(),
        ipc: mode(spec.host_ipc).into(),
        target_id: String::new(),
        userns_options: mapped.then(|| users::user_namespace(uid)),
        ..Default::default()
    })
}

fn linux(pod: &Pod<'_>) -> Result<cri::LinuxPodSandboxConfig, ManifestError> {
    let context = &pod.spec.security_context;
    let spec = pod.spec;
    let containers = spec.init_containers.iter().chain(&spec.containers);
    let containers = containers.chain(&spec.ephemeral_containers);
    let privileged = |container: &Container| container.security_context.privileged;
    Ok(cri::LinuxPodSandboxConfig {
        security_context: Some(cri::LinuxSandboxSecurityContext {
            namespace_options: Some(pod.namespaces.clone()),
            privileged: containers.into_iter().any(privileged),
            seccomp: Some(cri::SecurityProfile::default()),
            selinux_options: context.se_linux_options.as_ref().map(security::se_linux),
            ..Default::default()
        }),
        sysctls: sysctls(context)?,
        ..Default::default()
    })
}

fn sysctls(context: &PodSecurityContext) -> Result<HashMap<String, String>, ManifestError> {
    let mut sysctls = HashMap::new();
    for (index, sysctl) in context.sysctls.iter().enumerate() {
        let value = sysctl.value.clone().ok_or_else(|| {
            let field = format!("spec.securityContext.sysctls[{index}].value");
            ManifestError::field(field, "", "give a value")
        })?;
        sysctls.insert(sysctl.name.clone(), value);
    }
    Ok(sysctls)
}
