//! Streams of exec, attach and port-forward.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::serve::quantity::Period;
use crate::stream::{ServerSettings, Tls};

/// The table `streaming`: the server for exec, attach and port-forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamingConfig {
    /// Address and port of the streaming server, which clients are told to connect to; port 0 takes a free port.
    pub address: SocketAddr,
    /// File of a TLS certificate in PEM, with `tls_key`; without them it is plain HTTP.
    pub tls_cert: Option<PathBuf>,
    /// File of the certificate's private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// A stream that is not used for this long is closed.
    pub idle_timeout: Period,
}

impl Default for StreamingConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            tls_cert: None,
            tls_key: None,
            idle_timeout: Period::from_secs(4 * 60 * 60),
        }
    }
}

impl StreamingConfig {
    /// Converts the table to the settings of the streaming server.
    pub(in crate::serve) fn settings(&self) -> ServerSettings {
        let tls = self.tls_cert.clone().zip(self.tls_key.clone());
        ServerSettings {
            address: self.address,
            tls: tls.map(|(certificate, key)| Tls { certificate, key }),
            idle: self.idle_timeout.get(),
        }
    }
}
