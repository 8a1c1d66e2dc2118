//! The two contracts of Holdfast, generated from the protos of this package.
//!
//! The generated code is committed below `src/generated`, so that a build needs neither a compiler of protos nor the
//! half minute in which cargo builds one. A test fails when the code and the protos differ. After an edit of a proto,
//! `UPDATE=1 cargo test -p cri-api` writes the code again.
//!
//! [`runtime::v1`] is the Container Runtime Interface at the level of Kubernetes 1.38-beta, server and
//! client; [`holdfast::v1`] is the small service for what the CRI lacks. There is no logic here
//! and there must be none: names, numbers and types are the contract, and what they mean is
//! decided by whoever imports them. The only code written by hand keeps secrets out of logs.

use std::fmt;

use runtime::v1::AuthConfig;

/// The Container Runtime Interface.
pub mod runtime {
    /// Version v1, package `runtime.v1`.
    #[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
    pub mod v1 {
        include!("generated/runtime.v1.rs");
    }
}

/// The runtime's own service.
pub mod holdfast {
    /// Version v1, package `holdfast.v1`.
    #[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
    pub mod v1 {
        include!("generated/holdfast.v1.rs");
    }
}

/// Says which secrets are present, never what they are: requests end up in logs and error chains.
impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart in full, so that a field added to the contract has to be judged here.
        let Self {
            username,
            password,
            auth,
            server_address,
            identity_token,
            registry_token,
        } = self;
        f.debug_struct("AuthConfig")
            .field("username", username)
            .field("password", &redacted(password))
            .field("auth", &redacted(auth))
            .field("server_address", server_address)
            .field("identity_token", &redacted(identity_token))
            .field("registry_token", &redacted(registry_token))
            .finish()
    }
}

/// The word shown in place of a secret.
fn redacted(secret: &str) -> &'static str {
    if secret.is_empty() { "" } else { "REDACTED" }
}

#[cfg(test)]
mod tests;
