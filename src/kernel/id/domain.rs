//! The domain that the keys of Holdfast's own annotations and resources begin with.
//!
//! Kubernetes wants such a prefix to be a DNS subdomain. `internal` is the top-level domain that ICANN keeps out of the
//! public DNS for good (resolution 2024.07.29.06), so nobody can ever register this name.

/// Expands to the domain as a literal, so that `concat!` makes a whole key of it.
#[macro_export]
macro_rules! domain {
    () => {
        "holdfast.internal"
    };
}
