//! Converts a `CreateContainerRequest` to a checked `ContainerConfig`.

use std::collections::{BTreeMap, HashMap};

use cri_api::runtime::v1 as cri;

use super::field::{name, no_nul, sorted};
use super::image::image_spec;
use super::mount::volume;
use super::security::container_security;
use super::signal::signal;
use super::{FieldError, resources};
use crate::spec::experiments;
use crate::spec::{
    ContainerConfig, ContainerMetadata, ContainerPath, DeviceRequest, HostPath, NamespaceOptions,
};

/// Converts the container of a request, for a pod with these namespaces. The request's copy of the pod's
/// configuration is not read; the configuration that the pod was made with is used.
///
/// # Errors
/// [`FieldError`] names the first field that cannot be met.
pub(crate) fn container_config(
    request: &cri::CreateContainerRequest,
    pod: &NamespaceOptions,
) -> Result<ContainerConfig, FieldError> {
    let remedy = "give at least config.metadata and config.image";
    let config = request
        .config
        .as_ref()
        .ok_or_else(|| FieldError::missing("config", remedy))?;
    let linux = config.linux.as_ref();
    let context = linux.and_then(|linux| linux.security_context.as_ref());
    let limits = linux.and_then(|linux| linux.resources.as_ref());
    Ok(ContainerConfig {
        metadata: metadata(config.metadata.as_ref())?,
        image: image_spec("config.image", config.image.as_ref())?,
        command: no_nul("config.command", &config.command)?,
        args: no_nul("config.args", &config.args)?,
        working_dir: working_dir(&config.working_dir)?,
        envs: envs(&config.envs)?,
        mounts: indexed("config.mounts", &config.mounts, |field, mount| {
            volume(field, mount, pod)
        })?,
        devices: indexed("config.devices", &config.devices, device)?,
        cdi_devices: indexed("config.CDI_devices", &config.cdi_devices, cdi_device)?,
        labels: sorted(&config.labels),
        annotations: annotations(&config.annotations)?,
        log_path: log_path(&config.log_path)?,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        resources: resources("config.linux.resources", limits)?,
        security: container_security("config.linux.security_context", context, pod)?,
        stop_signal: signal("config.stop_signal", config.stop_signal)?,
    })
}

/// Experiments are asked for with the pod. On a container they would be passed over in silence.
fn annotations(
    annotations: &HashMap<String, String>,
) -> Result<BTreeMap<String, String>, FieldError> {
    let annotations = sorted(annotations);
    let experiment = |key: &&String| key.starts_with(experiments::PREFIX);
    if let Some(key) = annotations.keys().find(experiment) {
        let remedy = "experiments are annotations of the pod sandbox; put it there";
        return Err(FieldError::invalid("config.annotations", key, remedy));
    }
    Ok(annotations)
}

fn indexed<M, T>(
    field: &str,
    messages: &[M],
    convert: impl Fn(&str, &M) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    let item = |(index, message)| convert(&format!("{field}[{index}]"), message);
    messages.iter().enumerate().map(item).collect()
}

fn metadata(metadata: Option<&cri::ContainerMetadata>) -> Result<ContainerMetadata, FieldError> {
    let remedy = "give name and attempt of the container";
    let metadata = metadata.ok_or_else(|| FieldError::missing("config.metadata", remedy))?;
    Ok(ContainerMetadata {
        name: name("config.metadata.name", &metadata.name)?,
        attempt: metadata.attempt,
    })
}

fn working_dir(text: &str) -> Result<Option<String>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    // The text is kept as written: the checked path is only proof that it can be one.
    ContainerPath::new("config.working_dir", text)?;
    Ok(Some(text.to_owned()))
}

fn envs(pairs: &[cri::KeyValue]) -> Result<Vec<(String, Vec<u8>)>, FieldError> {
    let pair = |(index, pair): (usize, &cri::KeyValue)| {
        if pair.key.is_empty() || pair.key.contains(['=', '\0']) {
            let field = format!("config.envs[{index}].key");
            return Err(FieldError::invalid(
                field,
                &pair.key,
                "give a name without \"=\" and NUL",
            ));
        }
        if pair.value.contains(&0) {
            let field = format!("config.envs[{index}].value");
            let remedy = "give a value without NUL bytes";
            return Err(FieldError::invalid(field, &pair.key, remedy));
        }
        Ok((pair.key.clone(), pair.value.clone()))
    };
    pairs.iter().enumerate().map(pair).collect()
}

fn device(field: &str, device: &cri::Device) -> Result<DeviceRequest, FieldError> {
    let host_path = HostPath::new(&format!("{field}.host_path"), &device.host_path)?;
    // As in containerd: without a path in the container it is the host's.
    let inside = match device.container_path.as_str() {
        "" => host_path.as_str(),
        path => path,
    };
    let permissions = device.permissions.as_str();
    if permissions.is_empty() || !permissions.bytes().all(|byte| b"rwm".contains(&byte)) {
        let remedy = "give some of the letters r, w and m";
        return Err(FieldError::invalid(
            format!("{field}.permissions"),
            permissions,
            remedy,
        ));
    }
    Ok(DeviceRequest {
        container_path: ContainerPath::new(&format!("{field}.container_path"), inside)?,
        host_path,
        permissions: permissions.to_owned(),
    })
}

/// Checks that a CDI device has a name. The reader of CDI descriptions checks its form.
fn cdi_device(field: &str, device: &cri::CdiDevice) -> Result<String, FieldError> {
    if device.name.is_empty() {
        let remedy = "give the name of a device like vendor.com/class=name";
        return Err(FieldError::missing(format!("{field}.name"), remedy));
    }
    Ok(device.name.clone())
}

/// A log file stays below the pod's log directory.
fn log_path(text: &str) -> Result<String, FieldError> {
    let leaves = text.starts_with('/') || text.split('/').any(|part| part == "..");
    if leaves || text.contains('\0') || text.ends_with('/') {
        let remedy = "give a file name relative to the pod's log_directory and without \"..\"";
        return Err(FieldError::invalid("config.log_path", text, remedy));
    }
    Ok(text.to_owned())
}
