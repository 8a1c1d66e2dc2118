//! Ends UDP flows that go where a port mapping of the past sent them.
//!
//! The kernel asks the rules for the first packet of a flow only. A client that goes on sending, a statsd or a
//! resolver for example, keeps its flow alive for ever: it would never reach a pod that came to the port later,
//! and its packets would follow the address of a pod that is gone. TCP ends its connections by itself.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::hostport::{HostAddress, PortMapping, Protocol};
use super::netlink::{Batch, Flags, NetlinkError, NetlinkSocket, attributes};

/// NFNL_SUBSYS_CTNETLINK in the upper half of a message type, with IPCTNL_MSG_CT_GET and _DELETE.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
/// CTA_TUPLE_ORIG, CTA_TUPLE_REPLY and CTA_FILTER; of a tuple CTA_TUPLE_IP and CTA_TUPLE_PROTO.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const FILTER: u16 = 25;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
/// Attributes of a flow: CTA_PROTO_NUM and CTA_PROTO_DST_PORT.
const PROTO_NUM: u16 = 1;
const PROTO_DST_PORT: u16 = 3;
/// UDP in IP headers.
const UDP: u8 = 17;

/// A flow, as far as it matters here.
#[derive(Debug)]
struct Flow {
    /// The tuple that names it, as the kernel sent it.
    original: Vec<u8>,
    /// The address to which the first packet was sent.
    destination: IpAddr,
    /// The address that answers: the pod that the port is mapped to, or the destination itself.
    answering: IpAddr,
}

/// Ends the flows to ports of this machine that do not go where `ports` say, when `Now::Mapped`, or that go
/// to the pod, when `Now::Withdrawn`. To be called in the machine's namespace.
///
/// # Errors
/// [`NetlinkError`], naming the request that failed.
pub(super) fn end_flows(ports: &[PortMapping], now: Now) -> Result<(), NetlinkError> {
    let udp = |mapping: &&PortMapping| mapping.protocol == Protocol::Udp;
    let ports: Vec<&PortMapping> = ports.iter().filter(udp).collect();
    if ports.is_empty() {
        return Ok(());
    }
    let local = local_addresses();
    let mut socket = NetlinkSocket::open(SockProtocol::NetlinkNetFilter)?;
    for mapping in ports {
        let (is_v4, object) = (mapping.to.is_ipv4(), mapping.to_string());
        for flow in flows_to(&mut socket, (is_v4, mapping.port), &object)? {
            let ours = match mapping.at {
                HostAddress::Address(address) => flow.destination == address,
                HostAddress::Any => local.contains(&flow.destination),
            };
            let leads = flow.answering == mapping.to.ip();
            if ours && leads == (now == Now::Withdrawn) {
                delete_flow(&mut socket, (is_v4, &object), &flow)?;
            }
        }
    }
    Ok(())
}

/// Ends all UDP flows to ports, wherever they are, as the plugin `portmap` does. To be called in the machine's namespace.
///
/// # Errors
/// [`NetlinkError`], naming the request that failed.
pub(super) fn end_all_flows(is_v4: bool, ports: &[u16]) -> Result<(), NetlinkError> {
    let mut socket = NetlinkSocket::open(SockProtocol::NetlinkNetFilter)?;
    for port in ports {
        let object = format!("UDP port {port}");
        for flow in flows_to(&mut socket, (is_v4, *port), &object)? {
            delete_flow(&mut socket, (is_v4, &object), &flow)?;
        }
    }
    Ok(())
}

/// The present state of the ports whose flows are to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Now {
    /// The ports are mapped to a pod from now on.
    Mapped,
    /// The ports are mapped to the pod no longer.
    Withdrawn,
}

fn local_addresses() -> HashSet<IpAddr> {
    // Without the list nothing is known to be ours, and flows end by themselves some time.
    let found = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = found.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    addresses.collect()
}

/// `struct nfgenmsg` of a family.
fn nfgen(is_v4: bool) -> [u8; 4] {
    [if is_v4 { 2 } else { 10 }, 0, 0, 0]
}

/// All UDP flows to a port, wherever it is. The kernel filters them since Linux 5.8; an older one sends all.
fn flows_to(
    socket: &mut NetlinkSocket<OwnedFd>,
    (is_v4, port): (bool, u16),
    object: &str,
) -> Result<Vec<Flow>, NetlinkError> {
    /// CTA_FILTER_ORIG_FLAGS, and CTA_FILTER_F_CTA_PROTO_NUM with CTA_FILTER_F_CTA_PROTO_DST_PORT of them.
    const FILTER_ORIGINAL: u16 = 1;
    const BY_PROTOCOL_AND_PORT: u32 = 1 << 3 | 1 << 5;
    let mut batch = Batch::new();
    batch.push(
        (GET, Flags::Dump),
        ("list the flows of", object),
        &nfgen(is_v4),
        |request| {
            request.nest(ORIGINAL, &[], |tuple| {
                tuple.nest(TUPLE_PROTO, &[], |protocol| {
                    protocol.bytes(PROTO_NUM, &[UDP]);
                    protocol.bytes(PROTO_DST_PORT, &port.to_be_bytes());
                });
            });
            request.nest(FILTER, &[], |filter| {
                filter.u32(FILTER_ORIGINAL, BY_PROTOCOL_AND_PORT)
            });
        },
    );
    let objects = socket.dump(batch)?;
    let flows = objects
        .iter()
        .filter_map(|object| flow(object.get(20..)?, port));
    Ok(flows.collect())
}

/// Reads a flow that is one of UDP to a port.
fn flow(object: &[u8], port: u16) -> Option<Flow> {
    let find = |bytes: &'_ [u8], wanted: u16| {
        let found = attributes(bytes).find(|(kind, _)| *kind == wanted);
        found.map(|(_, value)| value.to_vec())
    };
    let original = find(object, ORIGINAL)?;
    let protocol = find(&original, TUPLE_PROTO)?;
    if find(&protocol, PROTO_NUM)? != [UDP]
        || find(&protocol, PROTO_DST_PORT)? != port.to_be_bytes()
    {
        return None;
    }
    let reply = find(object, REPLY)?;
    Some(Flow {
        destination: address(&find(&original, TUPLE_IP)?, Side::Destination)?,
        answering: address(&find(&reply, TUPLE_IP)?, Side::Source)?,
        original,
    })
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// CTA_IP_V4_SRC to CTA_IP_V6_DST are 1 to 4.
fn address(ip: &[u8], side: Side) -> Option<IpAddr> {
    let (v4, v6) = match side {
        Side::Source => (1, 3),
        Side::Destination => (2, 4),
    };
    attributes(ip).find_map(|(kind, value)| match kind {
        kind if kind == v4 => Some(Ipv4Addr::from(*value.first_chunk::<4>()?).into()),
        kind if kind == v6 => Some(Ipv6Addr::from(*value.first_chunk::<16>()?).into()),
        _ => None,
    })
}

fn delete_flow(
    socket: &mut NetlinkSocket<OwnedFd>,
    (is_v4, object): (bool, &str),
    flow: &Flow,
) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    batch.push(
        (DELETE, Flags::Plain),
        ("end a flow of", object),
        &nfgen(is_v4),
        |request| request.nest(ORIGINAL, &flow.original, |_| {}),
    );
    match socket.run(batch) {
        // It has ended meanwhile.
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(()),
        other => other,
    }
}
