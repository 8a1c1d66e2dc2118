//! Plans the probes of a container: their actions and their periods.

use std::time::Duration;

use super::manifest_error::ManifestError;
use super::schema::{self, Container, PortRef};
use crate::run::keeper::{Probe, ProbeKind, Probes, Role};

/// The action of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// Runs a command in the container.
    Exec(Vec<String>),
    /// Asks for a page over HTTP.
    Http {
        /// Address; the pod's when empty.
        host: String,
        port: u16,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp {
        /// Address; the pod's when empty.
        host: String,
        port: u16,
    },
}

/// A probe of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedProbe {
    pub check: Check,
    /// How long it may take.
    pub timeout: Duration,
    /// How often, and what counts.
    pub pace: Probe,
}

/// The probes of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    startup: Option<PlannedProbe>,
    readiness: Option<PlannedProbe>,
    liveness: Option<PlannedProbe>,
}

impl Checks {
    /// Returns the probe of a kind, if the container has one.
    pub(crate) fn get(&self, kind: ProbeKind) -> Option<&PlannedProbe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }

    /// Returns the periods and thresholds of the probes, without their actions.
    pub(super) fn paces(&self) -> Probes {
        let pace = |probe: &Option<PlannedProbe>| probe.as_ref().map(|probe| probe.pace.clone());
        Probes {
            startup: pace(&self.startup),
            readiness: pace(&self.readiness),
            liveness: pace(&self.liveness),
        }
    }
}

/// The probes of a container. An init container that has to end has none, and no hooks either.
pub(super) fn checks(
    field: &str,
    container: &Container,
    role: Role,
) -> Result<Checks, ManifestError> {
    let plan = |name: &str, probe: &Option<schema::Probe>| {
        let field = format!("{field}.{name}");
        let probe = probe.as_ref();
        probe
            .map(|probe| planned(&field, probe, container))
            .transpose()
    };
    let checks = Checks {
        startup: plan("startupProbe", &container.startup_probe)?,
        readiness: plan("readinessProbe", &container.readiness_probe)?,
        liveness: plan("livenessProbe", &container.liveness_probe)?,
    };
    for (name, probe) in [
        ("startupProbe", &checks.startup),
        ("livenessProbe", &checks.liveness),
    ] {
        if probe
            .as_ref()
            .is_some_and(|probe| probe.pace.successes != 1)
        {
            let field = format!("{field}.{name}.successThreshold");
            return Err(ManifestError::field(field, "not 1", "give 1 or nothing"));
        }
    }
    let hooks = &container.lifecycle;
    let has_hooks = hooks.post_start.is_some() || hooks.pre_stop.is_some();
    if role == Role::Init && (checks != Checks::default() || has_hooks) {
        let remedy =
            "an init container has neither probes nor hooks, unless its restartPolicy is Always";
        return Err(ManifestError::field(field, &container.name, remedy));
    }
    let has_ports = !container.ports.is_empty();
    if role == Role::Ephemeral && (checks != Checks::default() || has_hooks || has_ports) {
        let remedy = "an ephemeral container has neither ports nor probes nor hooks";
        return Err(ManifestError::field(field, &container.name, remedy));
    }
    Ok(checks)
}

fn planned(
    field: &str,
    probe: &schema::Probe,
    container: &Container,
) -> Result<PlannedProbe, ManifestError> {
    let seconds = |value: u32| Duration::from_secs(value.into());
    let at_least_one = |name: &str, value: Option<u32>, default: u32| match value.unwrap_or(default)
    {
        0 => Err(ManifestError::field(
            format!("{field}.{name}"),
            0,
            "give at least 1",
        )),
        value => Ok(value),
    };
    Ok(PlannedProbe {
        check: check(field, probe, container)?,
        timeout: seconds(at_least_one("timeoutSeconds", probe.timeout_seconds, 1)?),
        pace: Probe {
            delay: seconds(probe.initial_delay_seconds),
            period: seconds(at_least_one("periodSeconds", probe.period_seconds, 10)?),
            failures: at_least_one("failureThreshold", probe.failure_threshold, 3)?,
            successes: at_least_one("successThreshold", probe.success_threshold, 1)?,
        },
    })
}

fn check(
    field: &str,
    probe: &schema::Probe,
    container: &Container,
) -> Result<Check, ManifestError> {
    match (&probe.exec, &probe.http_get, &probe.tcp_socket) {
        (Some(exec), None, None) if !exec.command.is_empty() => {
            Ok(Check::Exec(exec.command.clone()))
        }
        (None, Some(get), None) => http(&format!("{field}.httpGet"), get, container),
        (None, None, Some(tcp)) => Ok(Check::Tcp {
            host: tcp.host.clone().unwrap_or_default(),
            port: port(&format!("{field}.tcpSocket.port"), &tcp.port, container)?,
        }),
        _ => {
            let remedy = "give one of exec with a command, httpGet and tcpSocket";
            Err(ManifestError::field(field, &container.name, remedy))
        }
    }
}

fn http(field: &str, get: &schema::HttpGet, container: &Container) -> Result<Check, ManifestError> {
    if let Some(other) = get.scheme.as_deref().filter(|scheme| *scheme != "HTTP") {
        let field = format!("{field}.scheme");
        return Err(ManifestError::field(field, other, "give HTTP or nothing"));
    }
    let path = get.path.clone().unwrap_or_else(|| "/".to_owned());
    let mut headers = Vec::new();
    for header in &get.http_headers {
        let value = header.value.clone().unwrap_or_default();
        headers.push((header.name.clone(), value));
    }
    let texts = headers.iter().flat_map(|(name, value)| [name, value]);
    if let Some(text) = texts
        .chain([&path])
        .find(|text| text.contains(['\r', '\n']))
    {
        return Err(ManifestError::field(field, text, "give texts of one line"));
    }
    Ok(Check::Http {
        host: get.host.clone().unwrap_or_default(),
        port: port(&format!("{field}.port"), &get.port, container)?,
        path,
        headers,
    })
}

fn port(field: &str, port: &PortRef, container: &Container) -> Result<u16, ManifestError> {
    let name = match port {
        PortRef::Number(0) => return Err(ManifestError::field(field, 0, "give a port")),
        PortRef::Number(number) => return Ok(*number),
        PortRef::Name(name) => name,
    };
    let named = container.ports.iter();
    let mut named = named.filter(|port| port.name.as_ref() == Some(name));
    let number = named
        .next()
        .and_then(|port| u16::try_from(port.container_port).ok());
    number.ok_or_else(|| {
        let remedy = "give a number, or the name of one of the container's ports";
        ManifestError::field(field, name, remedy)
    })
}
