//! The client's side of the OCI distribution specification: manifests and blobs over HTTP.
//!
//! A pull asks the hosts of [`hosts`] in order and takes the first that answers. This module only reads;
//! it pushes nothing. Credentials go only to the hosts that the administrator configured for the
//! registry, and to the token service that such a host names, never along a redirect.

mod ask;
mod auth;
mod blob;
mod challenge;
mod client;
mod coding;
mod error;
pub(super) mod hosts;
mod timers;
mod tokens;

#[cfg(test)]
mod distribution_tests;
#[cfg(test)]
mod quirks_tests;
#[cfg(test)]
mod tests;

use super::credentials::{Credentials, is_same_host};
use super::digest::Digest;
use super::layer::Chunk;
use super::reference::{Reference, Target};
use ask::{Ask, Attempts};
use bytes::Bytes;
use client::Client;
pub use error::RegistryError;
use holdfast_kernel::error_chain;
use hosts::Endpoint;
pub use hosts::HostsError;
use http::Method;
use std::path::PathBuf;
use std::sync::Arc;
pub(super) use timers::Timers;

/// The largest manifest, index or configuration accepted, in bytes; registries refuse larger
/// manifests too (distribution specification, "Pushing Manifests").
pub(super) const DOCUMENT_MAX: usize = 4 << 20;

/// The manifest types understood, most wanted first.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, */*;q=0.1";

/// A document from a registry, verified where a digest was asked for.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub bytes: Bytes,
    pub digest: Digest,
}

/// The registries of the world, as far as the credentials reach.
#[derive(Debug)]
pub(super) struct Registry {
    client: Arc<Client>,
    hosts_dir: Option<PathBuf>,
}

/// A repository of a registry, as one pull asks for it: the hosts, the path and the caller.
#[derive(Debug)]
pub(super) struct Repository {
    client: Arc<Client>,
    endpoints: Vec<Endpoint>,
    /// The file in which the hosts are configured; empty when no file is.
    hosts_file: PathBuf,
    reference: Reference,
    credentials: Option<Credentials>,
}

impl Registry {
    pub(crate) fn new(hosts_dir: Option<PathBuf>, timers: Timers) -> Self {
        Self {
            client: Arc::new(Client::new(timers)),
            hosts_dir,
        }
    }

    /// Reads the hosts' configuration anew and prepares for a repository.
    pub(crate) async fn repository(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Repository, RegistryError> {
        let (dir, host) = (self.hosts_dir.clone(), reference.host().to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let file = dir.as_deref().and_then(|dir| hosts::file_of(dir, &host));
            let endpoints = hosts::endpoints(dir.as_deref(), &host)?;
            Ok((endpoints, file.unwrap_or_default()))
        })
        .await;
        let (endpoints, hosts_file) = read
            .unwrap_or_else(|_| {
                let path = self.hosts_dir.clone().unwrap_or_default();
                Err(HostsError::Read {
                    path,
                    source: std::io::ErrorKind::Interrupted.into(),
                })
            })
            .map_err(|source| RegistryError::Hosts {
                host: reference.host().to_owned(),
                source,
            })?;
        Ok(Repository {
            client: Arc::clone(&self.client),
            endpoints,
            hosts_file,
            reference: reference.clone(),
            credentials,
        })
    }
}

impl Repository {
    /// The digest that a host names for `target` without sending the manifest; for a digest this is that digest
    /// itself. `None` when no host says it: HEAD only saves a request, and registries refuse it in many ways
    /// though they answer GET, so whoever wants to know more asks by GET.
    pub(crate) async fn head(&self, target: &Target) -> Option<Digest> {
        let path = format!("manifests/{}", target.as_path());
        for endpoint in self.endpoints_for(target) {
            let ask = Ask {
                attempts: Attempts::Once,
                ..self.ask(endpoint)
            };
            match self.client.send(&ask, Method::HEAD, &path, 0).await {
                Ok(response) => {
                    let header = response.headers().get("docker-content-digest");
                    let said = header
                        .and_then(|value| value.to_str().ok())
                        .and_then(|text| text.trim().parse().ok());
                    return match (target, said) {
                        (Target::Digest(digest), None) if header.is_none() => Some(*digest),
                        (Target::Digest(digest), said) => said.filter(|said| said == digest),
                        (Target::Tag(_), said) => said,
                    };
                }
                Err(error) => tracing::debug!(
                    host = endpoint.authority,
                    error = &error as &dyn std::error::Error,
                    "a registry does not answer HEAD requests"
                ),
            }
        }
        None
    }

    /// A manifest or an index, verified when it was asked for by digest.
    pub(crate) async fn manifest(&self, target: &Target) -> Result<Document, RegistryError> {
        self.document(target, &format!("manifests/{}", target.as_path()))
            .await
    }

    /// A small blob, verified.
    pub(crate) async fn small_blob(&self, expected: Digest) -> Result<Document, RegistryError> {
        self.document(&Target::Digest(expected), &format!("blobs/{expected}"))
            .await
    }

    async fn document(&self, target: &Target, path: &str) -> Result<Document, RegistryError> {
        let mut asked = FailedHosts::default();
        for endpoint in self.endpoints_for(target) {
            let ask = self.ask(endpoint);
            match self.client.document(&ask, path, DOCUMENT_MAX).await {
                Ok(bytes) => {
                    let digest = match target {
                        Target::Digest(expected) => expected.same_of(&bytes),
                        Target::Tag(_) => Digest::of(&bytes),
                    };
                    match target {
                        Target::Digest(expected) if *expected != digest => {
                            let url = ask.url(path);
                            let mismatch = RegistryError::Mismatch {
                                url,
                                expected: Box::new(*expected),
                                found: Box::new(digest),
                            };
                            asked.remember(&endpoint.authority, mismatch);
                        }
                        _ => return Ok(Document { bytes, digest }),
                    }
                }
                Err(e) => asked.remember(&endpoint.authority, e),
            }
        }
        Err(self.all_failed(target, asked))
    }

    /// Sends a large blob into `sink`; verifying is the receiver's part, since only it sees the end.
    pub(crate) async fn blob(
        &self,
        digest: Digest,
        size: u64,
        sink: &tokio::sync::mpsc::Sender<Chunk>,
    ) -> Result<(), RegistryError> {
        let mut transfer = blob::Transfer::new(digest, size, sink);
        let mut asked = FailedHosts::default();
        let target = Target::Digest(digest);
        for endpoint in self.endpoints_for(&target) {
            match transfer.run(&self.client, &self.ask(endpoint)).await {
                Ok(()) => return Ok(()),
                Err(e @ (RegistryError::GivenUp { .. } | RegistryError::TooLong { .. })) => {
                    return Err(e);
                }
                Err(e) => asked.remember(&endpoint.authority, e),
            }
        }
        Err(self.all_failed(&target, asked))
    }

    /// The hosts that may be asked: what a tag means not every mirror may say, and not every host that says it has
    /// the content, as in containerd 2.4.2 (core/remotes/docker/resolver.go).
    fn endpoints_for(&self, target: &Target) -> impl Iterator<Item = &Endpoint> {
        let by_digest = matches!(target, Target::Digest(_));
        self.endpoints
            .iter()
            .filter(move |endpoint| match by_digest {
                true => endpoint.pull,
                false => endpoint.resolve,
            })
    }

    fn ask<'a>(&'a self, endpoint: &'a Endpoint) -> Ask<'a> {
        let credentials = self.credentials.as_ref();
        let (host, server) = (self.reference.host(), self.endpoints.last());
        // The registry is where its name says, or where the administrator says that it is. A mirror is
        // somebody else: it gets what is meant for it by name only.
        let is_registry = is_same_host(&endpoint.authority, host)
            || server.is_some_and(|server| server.authority == endpoint.authority);
        let secret = credentials.and_then(|c| {
            let own = c.secret_for(host).filter(|_| is_registry);
            own.or_else(|| c.secret_named(&endpoint.authority))
        });
        let others = server.is_some_and(|server| !std::ptr::eq(server, endpoint));
        Ask {
            endpoint,
            repository: self.reference.path(),
            registry: self.reference.host(),
            secret,
            fingerprint: credentials.map(Credentials::fingerprint),
            attempts: if others {
                Attempts::Once
            } else {
                Attempts::Several
            },
            accept: ACCEPT,
        }
    }

    fn all_failed(&self, target: &Target, asked: FailedHosts) -> RegistryError {
        let needed = match target {
            Target::Digest(_) => "pull",
            Target::Tag(_) => "resolve",
        };
        match asked.last {
            Some(last) if asked.before.is_empty() => last,
            Some(last) => RegistryError::AllHosts {
                asked: asked
                    .before
                    .into_iter()
                    .chain([last_in_full(&last)])
                    .collect(),
                last: Box::new(last),
            },
            None => RegistryError::Hosts {
                host: self.reference.host().to_owned(),
                source: HostsError::Key {
                    path: self.hosts_file.clone(),
                    key: "capabilities".to_owned(),
                    what: format!("no host has {needed:?}: add it to the one to be asked"),
                },
            },
        }
    }
}

/// The hosts that were asked in vain, with what they answered.
#[derive(Default)]
struct FailedHosts {
    before: Vec<String>,
    last: Option<RegistryError>,
}

impl FailedHosts {
    fn remember(&mut self, host: &str, error: RegistryError) {
        // When a later host has it, nothing else tells of this one.
        tracing::debug!(
            host,
            error = &error as &dyn std::error::Error,
            "cannot use a host of a registry; trying the next one"
        );
        if let Some(before) = self.last.replace(error) {
            self.before.push(short(&before));
        }
    }
}

/// The answer of a host in a few words.
fn short(error: &RegistryError) -> String {
    let (url, outcome) = match error {
        RegistryError::Unreachable { url, .. } => (url, "unreachable".to_owned()),
        RegistryError::Stalled { url, .. } => (url, "sent nothing".to_owned()),
        RegistryError::TooSlow { url, .. } => (url, "too slow".to_owned()),
        RegistryError::NotFound { url, .. } => (url, "404 Not Found".to_owned()),
        RegistryError::Unauthorized { url, .. } => (url, "access refused".to_owned()),
        RegistryError::Status { url, status, .. } => (url, status.to_string()),
        other => return other.to_string(),
    };
    let host = url.split('/').nth(2).unwrap_or(url);
    format!("{host}: {outcome}")
}

/// The answer of the last host with the whole URL, which names the requested object.
fn last_in_full(error: &RegistryError) -> String {
    match error {
        RegistryError::NotFound { url, detail } if detail.is_empty() => {
            format!("{url}: 404 Not Found")
        }
        RegistryError::NotFound { url, detail } => format!("{url}: 404 Not Found ({detail})"),
        other => error_chain(other),
    }
}

#[cfg(feature = "fuzz")]
pub(super) fn fuzz_hosts(text: &str) {
    let dir = std::path::Path::new("/nonexistent");
    let _ = hosts::parse(dir, &dir.join("hosts.toml"), text, "registry.test:5000");
}

/// Decodes what begins as `coding`: it ends, in pieces that no answer makes large.
#[cfg(feature = "fuzz")]
pub(super) fn fuzz_coding(coding: &str, bytes: &[u8]) {
    let coding = http::HeaderValue::from_str(coding).into_iter();
    let headers = coding.map(|coding| (http::header::CONTENT_ENCODING, coding));
    let Ok(mut decoder) = coding::Decoder::from_headers(&headers.collect()) else {
        return;
    };
    decoder.feed(Bytes::copy_from_slice(bytes));
    let mut left = DOCUMENT_MAX;
    while let (Ok(Some(piece)), 1..) = (decoder.draw(), left) {
        assert!(piece.len() <= 256 << 10, "{} bytes at once", piece.len());
        left = left.saturating_sub(piece.len());
    }
}

#[cfg(feature = "fuzz")]
pub(super) fn fuzz_challenges(text: &str) {
    let _ = challenge::parse(http::HeaderValue::from_str(text).iter());
    let _ = challenge::error_detail(text.as_bytes());
}
