//! The daemon's own metrics.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The daemon's own metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where they are served over HTTP at /metrics; without it nowhere.
    pub address: Option<SocketAddr>,
}
