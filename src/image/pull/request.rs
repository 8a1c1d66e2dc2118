//! The request for a pull.

use crate::credentials::Credentials;

/// The reference of the image to pull, and the credentials.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Anything a person may write: `busybox`, `registry.k8s.io/pause:3.10`, `host:5000/a@sha256:…`.
    pub reference: String,
    /// Used for this pull only.
    pub credentials: Option<Credentials>,
}
