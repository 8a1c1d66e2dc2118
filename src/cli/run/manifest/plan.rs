//! From a manifest to the requests that run it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use cri_api::runtime::v1::{self as cri, NamespaceMode};

use super::ManifestError;
use super::container::{self, Volumes};
use super::schema::{Manifest, PodSecurityContext, PodSpec, Volume};

/// Annotation on pods that were made from a manifest: only their directories are deleted with them.
pub const MANIFEST_ANNOTATION: &str = "holdfast.dev/manifest";
/// Annotation with the grace period of the manifest in seconds.
pub const GRACE_ANNOTATION: &str = "holdfast.dev/grace-seconds";

/// Where directories of pods are made.
#[derive(Debug, Clone)]
pub struct Roots {
    /// Logs, a directory a pod.
    pub logs: PathBuf,
    /// `emptyDir` volumes, a directory a pod.
    pub volumes: PathBuf,
    /// `emptyDir` volumes in memory, a directory a pod.
    pub memory_volumes: PathBuf,
}

/// Which file system a directory is to be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A disk.
    Disk,
    /// Memory.
    Memory,
}

/// A directory that has to exist before the pod runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Its path.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

/// When to pull an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// When it is missing.
    IfNotPresent,
    /// Every time.
    Always,
    /// Never: it has to be there.
    Never,
}

/// A container to be made.
#[derive(Debug, Clone)]
pub struct PlannedContainer {
    /// The request's configuration.
    pub config: cri::ContainerConfig,
    /// When to pull its image.
    pub pull: PullPolicy,
    /// Refuse to run it as root.
    pub non_root: bool,
}

/// Everything that `holdfast run` asks of the daemon.
#[derive(Debug, Clone)]
pub struct PodPlan {
    /// The sandbox.
    pub sandbox: cri::PodSandboxConfig,
    /// Runtime handler.
    pub runtime_handler: String,
    /// The containers, in order.
    pub containers: Vec<PlannedContainer>,
    /// Directories to make.
    pub directories: Vec<Directory>,
}

impl PodPlan {
    /// Plans a manifest; `uid` counts when the manifest has none.
    ///
    /// # Errors
    /// [`ManifestError::Field`] for a value that cannot be used.
    pub fn new(manifest: &Manifest, uid: &str, roots: &Roots) -> Result<Self, ManifestError> {
        let spec = &manifest.spec;
        check_policies(spec)?;
        let metadata = metadata(manifest, uid)?;
        let log_directory = roots.logs.join(log_directory_name(&metadata));
        let mut directories = vec![Directory {
            path: log_directory.clone(),
            mode: 0o755,
        }];
        let volumes = volumes(&spec.volumes, &metadata.uid, roots, &mut directories)?;
        let labels = labels(manifest, &metadata);
        let mut containers = Vec::new();
        for (index, container) in spec.containers.iter().enumerate() {
            let field = format!("spec.containers[{index}]");
            containers.push(container::plan(
                &field,
                container,
                spec,
                (&volumes, &labels),
            )?);
            directories.push(Directory {
                path: log_directory.join(&container.name),
                mode: 0o755,
            });
        }
        unique_names(spec)?;
        let privileged = spec
            .containers
            .iter()
            .any(|one| one.security_context.privileged);
        Ok(Self {
            runtime_handler: spec.runtime_class_name.clone().unwrap_or_default(),
            sandbox: cri::PodSandboxConfig {
                hostname: hostname(spec, &metadata.name),
                log_directory: log_directory.to_string_lossy().into_owned(),
                dns_config: dns(spec)?,
                port_mappings: container::ports(spec)?,
                annotations: annotations(manifest),
                linux: Some(linux(
                    &spec.security_context,
                    namespaces(spec)?,
                    privileged,
                )?),
                metadata: Some(metadata),
                labels,
                windows: None,
            },
            containers,
            directories,
        })
    }
}

/// `NAMESPACE_NAME_UID`: what the kubelet calls a pod's log directory.
pub fn log_directory_name(metadata: &cri::PodSandboxMetadata) -> String {
    format!("{}_{}_{}", metadata.namespace, metadata.name, metadata.uid)
}

fn check_policies(spec: &PodSpec) -> Result<(), ManifestError> {
    if let Some(policy) = spec
        .restart_policy
        .as_deref()
        .filter(|policy| *policy != "Never")
    {
        let remedy = "nothing here restarts containers: give Never";
        return Err(ManifestError::field("spec.restartPolicy", policy, remedy));
    }
    if spec.containers.is_empty() {
        return Err(ManifestError::field(
            "spec.containers",
            "[]",
            "give at least one container",
        ));
    }
    Ok(())
}

/// A name that can be part of a directory's name: DNS label characters and dots.
fn plain(field: &str, text: &str) -> Result<String, ManifestError> {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(fits) || text.starts_with('.') {
        let remedy = "give lower-case letters, digits, hyphens and dots";
        return Err(ManifestError::field(field, text, remedy));
    }
    Ok(text.to_owned())
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
    let mut seen = BTreeMap::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let field = format!("spec.containers[{index}].name");
        plain(&field, &container.name)?;
        if seen.insert(&container.name, ()).is_some() {
            return Err(ManifestError::field(
                field,
                &container.name,
                "another container has this name",
            ));
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

fn dns_option(option: &super::schema::NameValue) -> String {
    match &option.value {
        Some(value) => format!("{}:{value}", option.name),
        None => option.name.clone(),
    }
}

/// The namespaces of the pod and, since the kubelet sends the same to both, of its containers.
pub(super) fn namespaces(spec: &PodSpec) -> Result<cri::NamespaceOption, ManifestError> {
    if spec.host_pid && spec.share_process_namespace {
        let remedy = "hostPID is set as well; give only one of them";
        return Err(ManifestError::field(
            "spec.shareProcessNamespace",
            "true",
            remedy,
        ));
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
        userns_options: None,
    })
}

fn linux(
    context: &PodSecurityContext,
    namespaces: cri::NamespaceOption,
    privileged: bool,
) -> Result<cri::LinuxPodSandboxConfig, ManifestError> {
    let mut sysctls = HashMap::new();
    for (index, sysctl) in context.sysctls.iter().enumerate() {
        let value = sysctl.value.clone().ok_or_else(|| {
            let field = format!("spec.securityContext.sysctls[{index}].value");
            ManifestError::field(field, "", "give a value")
        })?;
        sysctls.insert(sysctl.name.clone(), value);
    }
    Ok(cri::LinuxPodSandboxConfig {
        security_context: Some(cri::LinuxSandboxSecurityContext {
            namespace_options: Some(namespaces),
            privileged,
            seccomp: Some(cri::SecurityProfile::default()),
            ..Default::default()
        }),
        sysctls,
        ..Default::default()
    })
}

fn volumes(
    volumes: &[Volume],
    uid: &str,
    roots: &Roots,
    directories: &mut Vec<Directory>,
) -> Result<Volumes, ManifestError> {
    let mut found = Volumes::new();
    for (index, volume) in volumes.iter().enumerate() {
        let field = format!("spec.volumes[{index}]");
        plain(&format!("{field}.name"), &volume.name)?;
        let path = match (&volume.empty_dir, &volume.host_path) {
            (Some(empty), None) => {
                let root = match medium(&field, &empty.medium)? {
                    Medium::Disk => &roots.volumes,
                    Medium::Memory => &roots.memory_volumes,
                };
                let path = root.join(uid).join(&volume.name);
                directories.push(Directory {
                    path: path.clone(),
                    mode: 0o1777,
                });
                path
            }
            (None, Some(host)) => host_path(&field, host, directories)?,
            _ => {
                return Err(ManifestError::field(
                    field,
                    &volume.name,
                    "give either emptyDir or hostPath",
                ));
            }
        };
        if found.insert(volume.name.clone(), path).is_some() {
            let remedy = "another volume has this name";
            return Err(ManifestError::field(
                format!("{field}.name"),
                &volume.name,
                remedy,
            ));
        }
    }
    Ok(found)
}

fn medium(field: &str, medium: &str) -> Result<Medium, ManifestError> {
    match medium {
        "" => Ok(Medium::Disk),
        "Memory" => Ok(Medium::Memory),
        other => {
            let field = format!("{field}.emptyDir.medium");
            Err(ManifestError::field(field, other, "give Memory or nothing"))
        }
    }
}

fn host_path(
    field: &str,
    host: &super::schema::HostPath,
    directories: &mut Vec<Directory>,
) -> Result<PathBuf, ManifestError> {
    let path = Path::new(&host.path);
    let field = format!("{field}.hostPath");
    if !path.is_absolute() {
        return Err(ManifestError::field(
            format!("{field}.path"),
            &host.path,
            "give an absolute path",
        ));
    }
    let fits = match host.r#type.as_str() {
        "" => true,
        "Directory" => path.is_dir(),
        "File" => path.is_file(),
        "DirectoryOrCreate" => {
            directories.push(Directory {
                path: path.to_owned(),
                mode: 0o755,
            });
            true
        }
        other => {
            let remedy = "give Directory, File, DirectoryOrCreate or nothing";
            return Err(ManifestError::field(format!("{field}.type"), other, remedy));
        }
    };
    if !fits {
        return Err(ManifestError::field(
            format!("{field}.path"),
            &host.path,
            "there is no such thing of this type",
        ));
    }
    Ok(path.to_owned())
}
