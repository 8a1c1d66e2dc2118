//! Network counters of a pod, read from procfs through its pause: that asks neither the shim nor a socket in
//! the namespace, so a reading waits for nobody and keeps no namespace alive.

use std::fs::File;
use std::io::{self, Read};

use crate::pod::process::ProcessIdentity;
use holdfast_network::InterfaceStats;

/// Most that is read of one file: several thousand interfaces or routes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Interfaces of a pod but its loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// The one with the default route.
    pub default: Option<InterfaceStats>,
    pub others: Vec<InterfaceStats>,
}

impl Traffic {
    pub(crate) fn all(&self) -> impl Iterator<Item = &InterfaceStats> {
        self.default.iter().chain(&self.others)
    }
}

/// Reads the counters in the network namespace of a process; nothing when the process has gone.
pub(super) fn read(process: ProcessIdentity) -> Option<Traffic> {
    let text = |name: &str| text(&process.pid.proc_file(&format!("net/{name}")));
    let interfaces = parse_interfaces(&text("dev").ok()?);
    let default = text("route")
        .ok()
        .and_then(|routes| default_v4(&routes))
        .or_else(|| default_v6(&text("ipv6_route").ok()?));
    // What was read is this process' only if it is still there now.
    if !process.exists() {
        return None;
    }
    let (mut chosen, others): (Vec<_>, Vec<_>) = interfaces
        .into_iter()
        .partition(|interface| Some(&interface.name) == default.as_ref());
    Some(Traffic {
        default: chosen.pop(),
        others,
    })
}

fn text(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// /proc/net/dev, proc_pid_net(5): two lines of headings, then eight counters for each direction.
fn parse_interfaces(text: &str) -> Vec<InterfaceStats> {
    let line = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> = counters
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let name = name.trim();
        if name == "lo" || counters.len() < 12 {
            return None;
        }
        Some(InterfaceStats {
            name: name.to_owned(),
            rx_bytes: counters[0],
            rx_packets: counters[1],
            rx_errors: counters[2],
            rx_dropped: counters[3],
            tx_bytes: counters[8],
            tx_packets: counters[9],
            tx_errors: counters[10],
            tx_dropped: counters[11],
        })
    };
    text.lines().skip(2).filter_map(line).collect()
}

/// The interface of the default route with the smallest metric in /proc/net/route: `Iface Destination Gateway
/// Flags RefCnt Use Metric Mask …`, addresses in hexadecimal.
fn default_v4(text: &str) -> Option<String> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let default = *words.get(1)? == "00000000" && *words.get(7)? == "00000000";
        let metric: u64 = words.get(6)?.parse().ok()?;
        default.then(|| (metric, words[0].to_owned()))
    });
    routes.min().map(|(_, name)| name)
}

/// Does for /proc/net/ipv6_route what [`default_v4`] does for IPv4. Its columns are `destination prefix source prefix
/// gateway metric refcnt use flags Iface`, numbers in hexadecimal. A route through `lo` is the kernel's refusal of
/// everything.
fn default_v6(text: &str) -> Option<String> {
    let routes = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let anywhere = words.first()?.bytes().all(|digit| digit == b'0') && *words.get(1)? == "00";
        let metric = u64::from_str_radix(words.get(5)?, 16).ok()?;
        let name = *words.get(9)?;
        (anywhere && name != "lo").then(|| (metric, name.to_owned()))
    });
    routes.min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0
  eth0: 5000000000      20    1    2    0     0          0         0      700       7    3    4    0     0       0          0
  net1:       1       1    0    0    0     0          0         0        2       2    0    0    0     0       0          0
";

    #[test]
    fn counters_are_read_and_the_loopback_is_left_out() {
        let found = parse_interfaces(DEV);
        let names: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["eth0", "net1"]);
        let eth0 = &found[0];
        assert_eq!(
            (
                eth0.rx_bytes,
                eth0.rx_packets,
                eth0.rx_errors,
                eth0.rx_dropped
            ),
            (5_000_000_000, 20, 1, 2)
        );
        assert_eq!(
            (
                eth0.tx_bytes,
                eth0.tx_packets,
                eth0.tx_errors,
                eth0.tx_dropped
            ),
            (700, 7, 3, 4)
        );
    }

    #[test]
    fn the_default_route_with_the_smallest_metric_counts() {
        let text = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
net1\t00000000\t0102000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t00000000\t0101000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";
        assert_eq!(default_v4(text).as_deref(), Some("eth0"));
        assert_eq!(default_v4("Iface\n"), None);
    }

    #[test]
    fn a_pod_with_ipv6_alone_has_a_default_interface() {
        let zero = "0".repeat(32);
        let text = format!(
            "{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             {zero} 00 {zero} 00 fe80{} 00000400 00000001 00000000 00000003     eth0\n",
            "0".repeat(28)
        );
        assert_eq!(default_v6(&text).as_deref(), Some("eth0"));
    }
}
