//! The settings under /proc/sys/net that a bridge network needs. They belong to the network namespace of the calling
//! thread.

use std::fs::OpenOptions;
use std::io::{self, Write};

use holdfast_kernel::fault;

/// Forwards IPv4 between interfaces.
pub(super) const FORWARD_V4: &str = "/proc/sys/net/ipv4/ip_forward";
/// Forwards IPv6 between interfaces.
pub(super) const FORWARD_V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Lets packets with addresses of 127.0.0.0/8 pass an interface (ip-sysctl).
pub(super) fn route_localnet(interface: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet")
}

/// Sets a switch to 1 unless it is: on a machine where it is set already, /proc/sys may be read-only.
pub(super) fn switch_on(path: &str) -> io::Result<()> {
    if std::fs::read_to_string(path)?.trim() == "1" {
        return Ok(());
    }
    let _step = fault::step("sysctl.write")?;
    OpenOptions::new().write(true).open(path)?.write_all(b"1\n")
}
