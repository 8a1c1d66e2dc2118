//! The credentials of a caller at a registry: passwords and tokens, which no debug output shows.

use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Credentials from one request, in one of the four forms of CRI's `AuthConfig`.
///
/// They live as long as the request that brought them; no debug output shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    secret: Secret,
    /// The registry they are for, when the caller said so; they are shown to no other host.
    server: Option<String>,
}

/// A secret, and the form in which a registry wants it.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// User name and password.
    Password { username: String, password: String },
    /// A refresh token to exchange at the token endpoint (OAuth 2).
    Identity(String),
    /// A bearer token to send as it is.
    Registry(String),
}

/// A hash by which credentials can be compared without being kept.
pub(super) type Fingerprint = [u8; 32];

/// An `auth` text that is not `base64(USER:PASSWORD)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the registry credential is not the base64 text of USER:PASSWORD")]
pub struct CredentialsError;

impl Credentials {
    /// User name and password.
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::new(Secret::Password {
            username: username.into(),
            password: password.into(),
        })
    }

    /// `base64(USER:PASSWORD)`, as in a Docker configuration file.
    pub fn encoded(auth: &str) -> Result<Self, CredentialsError> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(auth.trim())
            .map_err(|_| CredentialsError)?;
        let text = String::from_utf8(bytes).map_err(|_| CredentialsError)?;
        let (username, password) = text.split_once(':').ok_or(CredentialsError)?;
        Ok(Self::password(username, password.trim_end_matches('\0')))
    }

    /// A refresh token for the registry's token endpoint.
    pub fn identity_token(token: impl Into<String>) -> Self {
        Self::new(Secret::Identity(token.into()))
    }

    /// A bearer token for the registry itself.
    pub fn registry_token(token: impl Into<String>) -> Self {
        Self::new(Secret::Registry(token.into()))
    }

    /// Restricts the credentials to one registry, given as a host or a URL; empty means any.
    pub fn for_server(mut self, address: &str) -> Self {
        let host = address.split_once("://").map_or(address, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default();
        self.server = (!host.is_empty()).then(|| host.to_owned());
        self
    }

    fn new(secret: Secret) -> Self {
        Self {
            secret,
            server: None,
        }
    }

    /// The secret, when it is meant for the registry of that name.
    pub(super) fn secret_for(&self, registry: &str) -> Option<&Secret> {
        match &self.server {
            Some(server) => is_same_host(server, registry).then_some(&self.secret),
            None => Some(&self.secret),
        }
    }

    /// The secret, when the caller said that it is for that host.
    pub(super) fn secret_named(&self, host: &str) -> Option<&Secret> {
        let server = self.server.as_deref()?;
        is_same_host(server, host).then_some(&self.secret)
    }

    /// A value that tells credentials apart without being them.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let (kind, first, second) = match &self.secret {
            Secret::Password { username, password } => {
                ("password", username.as_str(), password.as_str())
            }
            Secret::Identity(token) => ("identity", token.as_str(), ""),
            Secret::Registry(token) => ("registry", token.as_str(), ""),
        };
        for part in [
            kind,
            first,
            second,
            self.server.as_deref().unwrap_or_default(),
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

/// Whether two names are of the same registry.
pub(super) fn is_same_host(one: &str, other: &str) -> bool {
    one == other || (is_docker_hub(one) && is_docker_hub(other))
}

fn is_docker_hub(host: &str) -> bool {
    matches!(
        host,
        "docker.io" | "index.docker.io" | "registry-1.docker.io"
    )
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.secret {
            Secret::Password { .. } => "password",
            Secret::Identity(_) => "identity token",
            Secret::Registry(_) => "registry token",
        };
        f.debug_struct("Credentials")
            .field("kind", &kind)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
