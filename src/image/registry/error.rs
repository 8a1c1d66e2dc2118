//! Errors of requests to a registry.

use super::hosts::HostsError;
use crate::digest::Digest;
use std::time::Duration;

/// Why something could not be had from a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The configuration of the hosts cannot be used.
    #[error("cannot use the configured hosts of registry {host}")]
    Hosts {
        /// The host of the registry.
        host: String,
        /// The cause of the failure.
        #[source]
        source: HostsError,
    },
    /// The HTTP client could not be made, mostly for an unusable certificate.
    #[error("cannot prepare the connection to {url}: check the certificates of its hosts.toml")]
    Client {
        /// The URL that was to be fetched.
        url: String,
        /// The cause of the failure.
        #[source]
        source: reqwest::Error,
    },
    /// No connection, or it broke too often.
    #[error("cannot reach {url}: check the name, the network and the proxy settings")]
    Unreachable {
        /// The URL that was to be fetched.
        url: String,
        /// The last error of the connection.
        #[source]
        source: reqwest::Error,
    },
    /// The host takes connections and sends nothing.
    #[error("{url} sent nothing for {} seconds: check the network, or raise image.stall_timeout", period.as_secs())]
    Stalled {
        /// The URL that was to be fetched.
        url: String,
        /// The time in which nothing came.
        period: Duration,
    },
    /// The host sends, and so little that the download would never end.
    #[error(
        "{url} sent less than {rate} bytes per second for {} seconds: if it is no faster, lower \
         image.min_download_rate",
        period.as_secs()
    )]
    TooSlow {
        /// The URL that was to be fetched.
        url: String,
        /// The least a useful download brings, in bytes per second.
        rate: u64,
        /// Measured over this time.
        period: Duration,
    },
    /// The host answered with an error that trying again did not cure.
    #[error("{url} answered {status}{}", detail_suffix(detail))]
    Status {
        /// The URL that was to be fetched.
        url: String,
        /// The status of the answer.
        status: http::StatusCode,
        /// The text of the registry's answer, shortened.
        detail: String,
    },
    /// There is no such repository, tag or blob.
    #[error("{url} does not exist{}", detail_suffix(detail))]
    NotFound {
        /// The URL that was to be fetched.
        url: String,
        /// The text of the registry's answer, shortened.
        detail: String,
    },
    /// The registry wants other credentials.
    #[error(
        "{url} refused access{}: check the credentials and that the repository exists",
        detail_suffix(detail)
    )]
    Unauthorized {
        /// The URL that was to be fetched.
        url: String,
        /// The text of the registry's answer, shortened.
        detail: String,
    },
    /// A token, the caller's or one that the token service gave, cannot be sent.
    #[error(
        "the registry token for {url} holds a line break or another control character: correct the credentials"
    )]
    Token {
        /// The URL that was to be fetched.
        url: String,
    },
    /// The answer is not what the specification says.
    #[error("{url} sent an unusable answer: {what}")]
    Answer {
        /// The URL that was asked for.
        url: String,
        /// Description of the fault.
        what: &'static str,
    },
    /// The content came compressed in a way that nobody asked for and that is not known.
    #[error(
        "{url} sent its content in the unknown coding {coding:?}: let the registry, or the proxy before it, send \
         content as it is"
    )]
    UnknownCoding {
        /// The URL that was asked for.
        url: String,
        /// The coding that the answer names.
        coding: String,
    },
    /// The content is not in the coding that the answer names.
    #[error("{url} sent content that its Content-Encoding does not describe")]
    Coding {
        /// The URL that was asked for.
        url: String,
        /// Description of the fault.
        #[source]
        source: std::io::Error,
    },
    /// The content is not the one that was asked for.
    #[error("{url} sent content with digest {found} instead of {expected}")]
    Mismatch {
        /// The URL that was asked for.
        url: String,
        /// The digest asked for.
        expected: Box<Digest>,
        /// The digest of what came.
        found: Box<Digest>,
    },
    /// The content has another length than the manifest says.
    #[error("{url} has {found} bytes, {} than the manifest says ({expected})", if found < expected { "shorter" } else { "longer" })]
    Length {
        /// The URL that was asked for.
        url: String,
        /// The manifest's length, in bytes.
        expected: u64,
        /// The length that the host announced, or that came before the end.
        found: u64,
    },
    /// The content goes on after the last byte that the manifest announces.
    #[error("{url} is longer than the manifest says ({expected} bytes)")]
    TooLong {
        /// The URL that was asked for.
        url: String,
        /// The manifest's length, in bytes.
        expected: u64,
    },
    /// A document is larger than allowed.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// The URL that was asked for.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The download was ended by the extraction of the layer, or by the failure of another layer.
    #[error("the download of {url} was given up")]
    GivenUp {
        /// The URL that was being fetched.
        url: String,
    },
    /// Several hosts were asked, and none of them had what was asked for.
    #[error("{}: {}", outcome_of_all(last), asked.join("; "))]
    AllHosts {
        /// The answers of the hosts, in the order in which they were asked.
        asked: Vec<String>,
        /// The error of the last host, which is the registry's own unless configured otherwise. It decides what the
        /// failure means. Its text stands in `asked`, so that it is not the source of this error.
        last: Box<RegistryError>,
    },
}

/// The failure of several hosts in a few words.
fn outcome_of_all(last: &RegistryError) -> &'static str {
    match last {
        RegistryError::NotFound { .. } => "not found on any registry",
        _ => "cannot be had from any registry",
    }
}

fn detail_suffix(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(" ({detail})")
    }
}

impl RegistryError {
    /// Whether a host answered without what was asked for, so that another request may fare better.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Status { .. }
                | Self::NotFound { .. }
                | Self::Unauthorized { .. }
                | Self::Answer { .. }
        )
    }

    /// The error that decides: the last host's, where several were asked.
    pub fn decisive(&self) -> &Self {
        match self {
            Self::AllHosts { last, .. } => last.decisive(),
            other => other,
        }
    }
}
