//! Requests as a kubelet makes them, with what a test does not care about filled in.

use cri_api::runtime::v1::{
    ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig,
    LinuxContainerResources, LinuxContainerSecurityContext, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, Mount, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata,
};

use crate::place::Place;

/// A small system with a shell and /bin/probe.
pub const BUSYBOX: &str = "registry.holdfast.test/busybox:1";

/// The namespaces that the kubelet asks for by default: net and ipc of the pod, pid of the container.
pub fn namespaces() -> NamespaceOption {
    NamespaceOption {
        pid: NamespaceMode::Container.into(),
        ..NamespaceOption::default()
    }
}

/// A pod. Its logs go below the place, into a directory of its name.
pub fn pod(place: &Place, name: &str) -> PodSandboxConfig {
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            namespace: "e2e".to_owned(),
            attempt: 0,
        }),
        hostname: name.to_owned(),
        log_directory: place.logs().join(name).display().to_string(),
        linux: Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces()),
                ..LinuxSandboxSecurityContext::default()
            }),
            ..LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    }
}

/// A container of an image with a command.
pub fn container(name: &str, image: &str, command: &[&str]) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: name.to_owned(),
            attempt: 0,
        }),
        image: Some(image_spec(image)),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        log_path: format!("{name}.log"),
        linux: Some(LinuxContainerConfig {
            security_context: Some(LinuxContainerSecurityContext {
                namespace_options: Some(namespaces()),
                ..LinuxContainerSecurityContext::default()
            }),
            ..LinuxContainerConfig::default()
        }),
        ..ContainerConfig::default()
    }
}

/// A container of the small system that runs a script of sh.
pub fn shell(name: &str, script: &str) -> ContainerConfig {
    container(name, BUSYBOX, &["sh", "-c", script])
}

/// A container of the small system that does nothing until it is stopped.
pub fn idle(name: &str) -> ContainerConfig {
    container(name, BUSYBOX, &["sleep", "100000"])
}

/// A reference to an image.
pub fn image_spec(image: &str) -> ImageSpec {
    ImageSpec {
        image: image.to_owned(),
        user_specified_image: image.to_owned(),
        ..ImageSpec::default()
    }
}

/// A bind mount of a host path.
pub fn mount(host: impl AsRef<std::path::Path>, container: &str) -> Mount {
    Mount {
        host_path: host.as_ref().display().to_string(),
        container_path: container.to_owned(),
        ..Mount::default()
    }
}

/// An environment variable with its value.
pub fn variable(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.into(),
    }
}

/// Short ways to the inner parts of a pod's configuration.
pub trait PodParts {
    /// The message `linux`, made when missing.
    fn linux(&mut self) -> &mut LinuxPodSandboxConfig;
    /// The message `linux.security_context`, made when missing.
    fn security(&mut self) -> &mut LinuxSandboxSecurityContext;
    /// The message `linux.security_context.namespace_options`, made when missing.
    fn namespaces(&mut self) -> &mut NamespaceOption;
}

impl PodParts for PodSandboxConfig {
    fn linux(&mut self) -> &mut LinuxPodSandboxConfig {
        self.linux.get_or_insert_default()
    }

    fn security(&mut self) -> &mut LinuxSandboxSecurityContext {
        self.linux().security_context.get_or_insert_default()
    }

    fn namespaces(&mut self) -> &mut NamespaceOption {
        self.security().namespace_options.get_or_insert_default()
    }
}

/// Short ways to the inner parts of a container's configuration.
pub trait ContainerParts {
    /// The message `linux.security_context`, made when missing.
    fn security(&mut self) -> &mut LinuxContainerSecurityContext;
    /// The message `linux.security_context.namespace_options`, made when missing.
    fn namespaces(&mut self) -> &mut NamespaceOption;
    /// The message `linux.resources`, made when missing.
    fn resources(&mut self) -> &mut LinuxContainerResources;
}

impl ContainerParts for ContainerConfig {
    fn security(&mut self) -> &mut LinuxContainerSecurityContext {
        self.linux
            .get_or_insert_default()
            .security_context
            .get_or_insert_default()
    }

    fn namespaces(&mut self) -> &mut NamespaceOption {
        self.security().namespace_options.get_or_insert_default()
    }

    fn resources(&mut self) -> &mut LinuxContainerResources {
        self.linux
            .get_or_insert_default()
            .resources
            .get_or_insert_default()
    }
}
