//! The daemon's own metrics.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The table `metrics`: where the daemon's own metrics are served.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Address that serves /metrics over HTTP; without it there is no server.
    pub address: Option<SocketAddr>,
}
