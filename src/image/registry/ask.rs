//! The host that a request goes to, and the credentials with it.

use super::error::RegistryError;
use super::hosts::{Endpoint, Scheme};
use crate::credentials::Secret;
use reqwest::Url;

/// How often a host is tried before the next one, or the kubelet's next attempt, is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempts {
    /// Once, because another host follows.
    Once,
    /// Several times, because there is nobody else to ask.
    Several,
}

impl Attempts {
    /// The most attempts, given what the last of them met.
    pub(super) fn most(self, error: &RegistryError) -> u32 {
        match (self, error) {
            (Self::Once, _) => 1,
            // A host that takes no connections rarely does so for a second only.
            (Self::Several, RegistryError::Unreachable { source, .. }) if source.is_connect() => 3,
            (Self::Several, _) => 5,
        }
    }
}

/// The host that is asked, the repository, and the caller.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub endpoint: &'a Endpoint,
    /// The path of the repository.
    pub repository: &'a str,
    /// The registry in the image's name, which a mirror is told.
    pub registry: &'a str,
    pub secret: Option<&'a Secret>,
    pub fingerprint: Option<[u8; 32]>,
    pub attempts: Attempts,
    pub accept: &'static str,
}

impl Ask<'_> {
    /// The URL of something in the repository, fit for error texts: it holds no secret.
    pub(super) fn url(&self, path: &str) -> String {
        let scheme = match self.endpoint.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        let Endpoint {
            authority,
            path: prefix,
            ..
        } = self.endpoint;
        format!("{scheme}://{authority}{prefix}/{}/{path}", self.repository)
    }

    /// The URL to ask, with the registry's name for a mirror (containerd's `ns` parameter).
    pub(super) fn full_url(&self, path: &str) -> Result<Url, RegistryError> {
        let text = self.url(path);
        let mut url = Url::parse(&text).map_err(|_| RegistryError::Answer {
            url: text,
            what: "its host makes no usable URL",
        })?;
        let is_hub =
            self.registry == "docker.io" && self.endpoint.authority == "registry-1.docker.io";
        if self.endpoint.authority != self.registry && !is_hub {
            url.query_pairs_mut().append_pair("ns", self.registry);
        }
        Ok(url)
    }
}
