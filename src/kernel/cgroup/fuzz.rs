//! Files of the kernel that this module reads, for the fuzzer: see `e2e/fuzz`.

use super::{detail, mounts, psi, stats};

/// Reads a text as each of the files that are parsed.
pub fn file(text: &str) {
    let _ = mounts::parse(text);
    let _ = stats::parse_cpu_stat(text);
    let _ = stats::parse_io_stat(text);
    let _ = stats::parse_blkio(text);
    let _ = detail::parse_io_devices(text);
    let _ = detail::parse_blkio_devices(text, text);
    let _ = psi::Pressure::parse(text);
}
