//! Compiles OCI seccomp profiles to BPF and keeps the last ones.

/// Compiled filters by profile, bounded.
#[derive(Debug, Default)]
pub struct FilterCache {}
