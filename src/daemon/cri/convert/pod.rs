//! Converts a `RunPodSandboxRequest` to a checked `PodConfig`.

use std::net::IpAddr;

use cri_api::runtime::v1 as cri;

use super::field::{lines, name, optional_name, sorted};
use super::handler::runtime_handler;
use super::namespace::pod_namespaces;
use super::security::pod_security;
use super::{FieldError, resources};
use crate::spec::experiments::Experiments;
use crate::spec::{DnsConfig, HostPath, PodConfig, PodMetadata, PortMapping, Protocol};

/// The pod that a request describes.
///
/// # Errors
/// [`FieldError`] names the first field that cannot be met.
pub(crate) fn pod_config(request: &cri::RunPodSandboxRequest) -> Result<PodConfig, FieldError> {
    let remedy = "give at least config.metadata";
    let config = request
        .config
        .as_ref()
        .ok_or_else(|| FieldError::missing("config", remedy))?;
    let none = cri::LinuxPodSandboxConfig::default();
    let linux = config.linux.as_ref().unwrap_or(&none);
    let context = linux.security_context.as_ref();
    let security = "config.linux.security_context";
    let limits = |name: &str, limits: &Option<cri::LinuxContainerResources>| {
        let field = format!("config.linux.{name}");
        limits
            .as_ref()
            .map(|limits| resources(&field, Some(limits)))
            .transpose()
    };
    Ok(PodConfig {
        metadata: metadata(config.metadata.as_ref())?,
        hostname: hostname(&config.hostname)?,
        log_directory: log_directory(&config.log_directory)?,
        dns: config.dns_config.as_ref().map(dns).transpose()?,
        port_mappings: port_mappings(&config.port_mappings)?,
        labels: sorted(&config.labels),
        annotations: sorted(&config.annotations),
        cgroup_parent: cgroup_parent(&linux.cgroup_parent)?,
        sysctls: sorted(&linux.sysctls),
        namespaces: pod_namespaces(
            &format!("{security}.namespace_options"),
            context.and_then(|context| context.namespace_options.as_ref()),
        )?,
        security: pod_security(security, context)?,
        runtime_handler: runtime_handler("runtime_handler", &request.runtime_handler)?,
        resources: limits("resources", &linux.resources)?,
        overhead: limits("overhead", &linux.overhead)?,
        experiments: Experiments::parse(&sorted(&config.annotations))?,
    })
}

fn metadata(metadata: Option<&cri::PodSandboxMetadata>) -> Result<PodMetadata, FieldError> {
    /// Uids and namespaces are shorter; a static pod's uid is a hash.
    const LONGEST: usize = 253;
    let field = "config.metadata";
    let remedy = "give name, namespace, uid and attempt of the pod";
    let metadata = metadata.ok_or_else(|| FieldError::missing(field, remedy))?;
    Ok(PodMetadata {
        name: name("config.metadata.name", &metadata.name)?,
        uid: optional_name("config.metadata.uid", &metadata.uid, LONGEST)?,
        namespace: optional_name("config.metadata.namespace", &metadata.namespace, LONGEST)?,
        attempt: metadata.attempt,
    })
}

fn hostname(text: &str) -> Result<String, FieldError> {
    /// `__NEW_UTS_LEN` of Linux, in bytes.
    const LONGEST: usize = 64;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.len() <= LONGEST && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    let remedy = "give at most 64 letters, digits, dots, hyphens and underscores";
    Err(FieldError::invalid("config.hostname", text, remedy))
}

fn log_directory(text: &str) -> Result<Option<HostPath>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(HostPath::new("config.log_directory", text)?))
}

fn dns(dns: &cri::DnsConfig) -> Result<DnsConfig, FieldError> {
    Ok(DnsConfig {
        servers: lines("config.dns_config.servers", &dns.servers)?,
        searches: lines("config.dns_config.searches", &dns.searches)?,
        options: lines("config.dns_config.options", &dns.options)?,
    })
}

fn port_mappings(mappings: &[cri::PortMapping]) -> Result<Vec<PortMapping>, FieldError> {
    let mapping = |(index, mapping): (usize, &cri::PortMapping)| {
        let field = format!("config.port_mappings[{index}]");
        let checked = PortMapping {
            protocol: protocol(&field, mapping.protocol)?,
            container_port: port(&format!("{field}.container_port"), mapping.container_port)?,
            // Zero means no port of the host, never one that the runtime chooses.
            host_port: port(&format!("{field}.host_port"), mapping.host_port)?,
            host_ip: host_ip(&field, &mapping.host_ip)?,
        };
        if checked.host_port != 0 && checked.container_port == 0 {
            let remedy = "give the port in the pod that host_port leads to, from 1 to 65535";
            let field = format!("{field}.container_port");
            return Err(FieldError::invalid(field, 0, remedy));
        }
        Ok(checked)
    };
    mappings.iter().enumerate().map(mapping).collect()
}

fn protocol(field: &str, number: i32) -> Result<Protocol, FieldError> {
    match cri::Protocol::try_from(number) {
        Ok(cri::Protocol::Tcp) => Ok(Protocol::Tcp),
        Ok(cri::Protocol::Udp) => Ok(Protocol::Udp),
        Ok(cri::Protocol::Sctp) => Ok(Protocol::Sctp),
        Err(_) => {
            let field = format!("{field}.protocol");
            Err(FieldError::invalid(
                field,
                number,
                "give TCP (0), UDP (1) or SCTP (2)",
            ))
        }
    }
}

fn port(field: &str, number: i32) -> Result<u16, FieldError> {
    u16::try_from(number)
        .map_err(|_| FieldError::invalid(field, number, "give a port from 0 to 65535"))
}

fn host_ip(field: &str, text: &str) -> Result<String, FieldError> {
    if text.is_empty() || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let field = format!("{field}.host_ip");
    Err(FieldError::invalid(
        field,
        text,
        "give an IP address of the host, or nothing for all",
    ))
}

/// Refuses a parent cgroup that leads out of the tree. The cgroup module checks the rest.
fn cgroup_parent(text: &str) -> Result<Option<String>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    let leaves = text.split('/').any(|part| part == "..");
    if leaves || text.chars().any(char::is_control) {
        let remedy = "give a cgroup path without \"..\" and control characters";
        return Err(FieldError::invalid(
            "config.linux.cgroup_parent",
            text,
            remedy,
        ));
    }
    Ok(Some(text.to_owned()))
}
