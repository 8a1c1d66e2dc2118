//! Sizes and flags of a compiled filter, as the kernel has them.

/// `BPF_MAXINSNS` of Linux: most instructions of a filter.
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

/// Bytes of a `struct sock_filter`.
pub(super) const INSTRUCTION: usize = 8;

pub(super) const FLAG_TSYNC: u32 = 1;
pub(super) const FLAG_LOG: u32 = 2;
pub(super) const FLAG_SPEC_ALLOW: u32 = 4;
