//! Probes and hooks.

use serde::Deserialize;

use super::name_value::NameValue;

/// `Probe`. Exactly one of `exec`, `httpGet` and `tcpSocket` has to be there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Probe {
    /// A command in the container passes with exit code 0.
    pub exec: Option<Exec>,
    /// A request over plain HTTP passes with a status from 200 to 399.
    pub http_get: Option<HttpGet>,
    /// A connection passes when it is taken.
    pub tcp_socket: Option<TcpSocket>,
    /// Seconds before the first one.
    #[serde(default)]
    pub initial_delay_seconds: u32,
    /// Seconds between two; 10 when missing.
    pub period_seconds: Option<u32>,
    /// Seconds that one may take; 1 when missing.
    pub timeout_seconds: Option<u32>,
    /// So many failures in a row count; 3 when missing.
    pub failure_threshold: Option<u32>,
    /// So many successes in a row count; 1 when missing.
    pub success_threshold: Option<u32>,
}

/// `ExecAction` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exec {
    /// The command and its arguments; no shell.
    pub command: Vec<String>,
}

/// `HTTPGetAction` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct HttpGet {
    /// Path; `/` when missing.
    pub path: Option<String>,
    pub port: PortRef,
    /// Address; the pod's when missing.
    pub host: Option<String>,
    /// Only `HTTP`, which it also is when missing.
    pub scheme: Option<String>,
    #[serde(default)]
    pub http_headers: Vec<NameValue>,
}

/// `TCPSocketAction` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TcpSocket {
    pub port: PortRef,
    /// Address; the pod's when missing.
    pub host: Option<String>,
}

/// A port by number or by its name among the container's ports.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum PortRef {
    Number(u16),
    Name(String),
}

/// `Lifecycle` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Lifecycle {
    /// Runs right after the start; a container whose hook fails is stopped.
    pub post_start: Option<Hook>,
    /// Runs before the stop signal.
    pub pre_stop: Option<Hook>,
}

/// `LifecycleHandler` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hook {
    /// A command in the container.
    pub exec: Exec,
}
