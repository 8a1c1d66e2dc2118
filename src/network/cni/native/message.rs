//! The rtnetlink requests of the reference plugins, as far as the built-in bridge has none like them.

use std::fmt;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use super::error::NativeError;
use crate::link::{BRPORT_MODE, SLAVE_DATA, SLAVE_KIND, UP, VETH_PEER, family, ifinfo, octets};
use crate::netlink::{Attributes, Batch, Flags, NetlinkError, NetlinkSocket, attributes, u32_of};
use holdfast_kernel::id::PodId;

/// IFF_PROMISC of netdevice(7): the interface takes frames for others too.
pub(super) const PROMISCUOUS: u32 = 0x100;
/// IFLA_BRPORT_ISOLATED: the port does not see other such ports.
const BRPORT_ISOLATED: u16 = 33;
/// RTPROT_BOOT, which a route has whose maker says nothing else.
const BOOT: u8 = 3;

/// An address of an interface, or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl Held {
    /// Whether an address is in the network of this one.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
            IpAddr::V6(v6) => u128::from(v6),
        };
        let other = bits(self.ip) ^ bits(ip);
        self.ip.is_ipv4() == ip.is_ipv4() && other.leading_zeros() >= u32::from(self.prefix)
    }

    /// The last address of its network, where that means all.
    fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.ip {
            IpAddr::V4(v4) if self.prefix < 31 => {
                let host = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                Some(Ipv4Addr::from(u32::from(v4) | host))
            }
            _ => None,
        }
    }
}

/// What a new veth pair is to be.
#[derive(Debug)]
pub(super) struct Veth<'a> {
    /// The name of the host's end.
    pub(super) host: &'a str,
    /// The name of the pod's end.
    pub(super) peer: &'a str,
    /// The index of the bridge, where it is a port of one.
    pub(super) bridge: Option<u32>,
    pub(super) namespace: &'a File,
    pub(super) mtu: Option<u32>,
    /// The pod's end has no queue, as the host's has none.
    pub(super) peer_without_queue: bool,
}

/// How a port of a bridge differs from others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Port {
    /// A frame may go back to where it came from.
    pub(super) hairpin: bool,
    /// Isolated ports do not see each other.
    pub(super) isolated: bool,
}

/// A name for the host's end of a veth pair.
///
/// # Errors
/// [`NativeError::State`] when the kernel gives no random bytes.
pub(super) fn random_name() -> Result<String, NativeError> {
    let id = PodId::random().map_err(|error| NativeError::State(error.to_string()))?;
    Ok(format!(
        "veth{}",
        id.to_string().get(..8).unwrap_or_default()
    ))
}

/// A MAC address for an interface, of those that are given out locally.
///
/// # Errors
/// As [`random_name`].
pub(super) fn random_mac() -> Result<[u8; 6], NativeError> {
    let id = PodId::random().map_err(|error| NativeError::State(error.to_string()))?;
    let digits = id.to_string();
    let byte = |at: usize| u8::from_str_radix(digits.get(at * 2..at * 2 + 2)?, 16).ok();
    let mut mac: [u8; 6] = std::array::from_fn(|at| byte(at).unwrap_or(0));
    mac[0] = mac[0] & 0xfe | 0x02;
    Ok(mac)
}

/// Creates a bridge, which is down and has a random MAC address.
pub(super) fn push_bridge(batch: &mut Batch, name: &str, mtu: Option<u32>) {
    batch.push(
        (libc::RTM_NEWLINK, Flags::CreateNew),
        ("create bridge", name),
        &ifinfo(0, 0, 0),
        |link| {
            link.string(libc::IFLA_IFNAME, name);
            put_mtu(link, mtu);
            link.nest(libc::IFLA_LINKINFO, &[], |info| {
                info.string(libc::IFLA_INFO_KIND, "bridge");
            });
        },
    );
}

fn put_mtu(link: &mut Attributes<'_>, mtu: Option<u32>) {
    if let Some(mtu) = mtu {
        link.u32(libc::IFLA_MTU, mtu);
    }
}

/// Sets flags of an interface.
pub(super) fn push_flags(batch: &mut Batch, (index, name): (u32, &str), flags: u32) {
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("bring up interface", name),
        &ifinfo(0, index, flags),
        |_| {},
    );
}

/// Has an interface tell its neighbours of itself when it comes up: the setting `arp_notify`, without a way through
/// /proc/sys, which grows with the number of network namespaces.
pub(super) fn push_arp_notify(batch: &mut Batch, (index, name): (u32, &str)) {
    const INET: u16 = 2;
    /// The attribute IFLA_INET_CONF, and IPV4_DEVCONF_ARP_NOTIFY of it.
    const SETTINGS: u16 = 1;
    const ARP_NOTIFY: u16 = 22;
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("set arp_notify of", name),
        &ifinfo(0, index, 0),
        |link| {
            link.nest(libc::IFLA_AF_SPEC, &[], |families| {
                families.nest(INET, &[], |of_v4| {
                    of_v4.nest(SETTINGS, &[], |settings| settings.u32(ARP_NOTIFY, 1));
                });
            });
        },
    );
}

/// Whether the host forwards packets of a family. None when the kernel does not say.
pub(super) fn forwards<F: AsFd>(socket: &mut NetlinkSocket<F>, family: i32) -> Option<bool> {
    const GET_NETCONF: u16 = 82;
    /// The attributes NETCONFA_IFINDEX with the number of all interfaces, and NETCONFA_FORWARDING.
    const INTERFACE: u16 = 1;
    const ALL: i32 = -1;
    const FORWARDING: u16 = 2;
    let header = [u8::try_from(family).unwrap_or(0), 0, 0, 0];
    let mut batch = Batch::new();
    batch.push(
        (GET_NETCONF, Flags::Plain),
        ("look up", "the settings of all interfaces"),
        &header,
        |attrs| attrs.bytes(INTERFACE, &ALL.to_ne_bytes()),
    );
    let found = socket.run_acknowledged(batch, &[0]).ok()?;
    // `struct netconfmsg` is one byte, aligned.
    let mut all = attributes(found.first()?.get(20..)?);
    let (_, value) = all.find(|(kind, _)| *kind == FORWARDING)?;
    u32_of(value).map(|value| value != 0)
}

/// Gives an interface a MAC address of its own.
pub(super) fn push_mac(batch: &mut Batch, (index, name): (u32, &str), mac: &[u8]) {
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("set the MAC address of", name),
        &ifinfo(0, index, 0),
        |link| link.bytes(libc::IFLA_ADDRESS, mac),
    );
}

/// Sets the state of RFC 2863 of an interface whose state is not known.
pub(super) fn push_state(batch: &mut Batch, (index, name): (u32, &str), state: u8) {
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("set the state of", name),
        &ifinfo(0, index, 0),
        |link| link.bytes(libc::IFLA_OPERSTATE, &[state]),
    );
}

/// Creates a veth pair: the host's end is up and perhaps a port of a bridge, the other one is in the pod and down.
pub(super) fn push_veth(batch: &mut Batch, veth: &Veth<'_>) {
    batch.push(
        (libc::RTM_NEWLINK, Flags::CreateNew),
        ("create the veth pair of", veth.host),
        &ifinfo(0, 0, UP),
        |link| {
            link.string(libc::IFLA_IFNAME, veth.host);
            if let Some(bridge) = veth.bridge {
                link.u32(libc::IFLA_MASTER, bridge);
            }
            link.u32(libc::IFLA_TXQLEN, 0);
            put_mtu(link, veth.mtu);
            link.nest(libc::IFLA_LINKINFO, &[], |info| {
                info.string(libc::IFLA_INFO_KIND, "veth");
                info.nest(libc::IFLA_INFO_DATA, &[], |data| {
                    data.nest(VETH_PEER, &ifinfo(0, 0, 0), |peer| {
                        peer.string(libc::IFLA_IFNAME, veth.peer);
                        put_mtu(peer, veth.mtu);
                        if veth.peer_without_queue {
                            peer.u32(libc::IFLA_TXQLEN, 0);
                        }
                        let namespace = veth.namespace.as_raw_fd();
                        peer.bytes(libc::IFLA_NET_NS_FD, &namespace.to_ne_bytes());
                    });
                });
            });
        },
    );
}

/// Sets how a port of a bridge differs from others.
pub(super) fn push_port(batch: &mut Batch, name: &str, port: Port) {
    batch.push(
        (libc::RTM_NEWLINK, Flags::Plain),
        ("configure bridge port", name),
        &ifinfo(0, 0, 0),
        |link| {
            link.string(libc::IFLA_IFNAME, name);
            link.nest(libc::IFLA_LINKINFO, &[], |info| {
                info.string(SLAVE_KIND, "bridge");
                info.nest(SLAVE_DATA, &[], |data| {
                    if port.hairpin {
                        data.bytes(BRPORT_MODE, &[1]);
                    }
                    if port.isolated {
                        data.bytes(BRPORT_ISOLATED, &[1]);
                    }
                });
            });
        },
    );
}

fn ifaddr(held: Held, index: u32) -> [u8; 8] {
    let mut header = [0; 8];
    header[0] = family(held.ip);
    header[1] = held.prefix;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

/// Gives an interface an address that it does not have.
pub(super) fn push_address(batch: &mut Batch, (index, name): (u32, &str), held: Held) {
    batch.push(
        (libc::RTM_NEWADDR, Flags::CreateNew),
        ("add to an interface", &format!("{name} {held}")),
        &ifaddr(held, index),
        |attrs| {
            attrs.bytes(libc::IFA_LOCAL, &octets(held.ip));
            attrs.bytes(libc::IFA_ADDRESS, &octets(held.ip));
            if let Some(broadcast) = held.broadcast() {
                attrs.bytes(libc::IFA_BROADCAST, &broadcast.octets());
            }
        },
    );
}

/// Takes an address off an interface.
pub(super) fn push_address_off(batch: &mut Batch, (index, name): (u32, &str), held: Held) {
    batch.push(
        (libc::RTM_DELADDR, Flags::Plain),
        ("remove from an interface", &format!("{name} {held}")),
        &ifaddr(held, index),
        |attrs| {
            attrs.bytes(libc::IFA_LOCAL, &octets(held.ip));
            attrs.bytes(libc::IFA_ADDRESS, &octets(held.ip));
        },
    );
}

/// A route to be added.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewRoute {
    pub(super) to: Held,
    pub(super) gateway: Option<IpAddr>,
    /// One of RT_SCOPE_*: how far away the destination is.
    pub(super) scope: u8,
    /// The address that packets are sent from which name none.
    pub(super) source: Option<IpAddr>,
}

impl NewRoute {
    /// A route through a gateway where there is one.
    pub(super) fn through(to: Held, gateway: Option<IpAddr>) -> NewRoute {
        NewRoute {
            to,
            gateway,
            scope: libc::RT_SCOPE_UNIVERSE,
            source: None,
        }
    }
}

/// Adds a route by an interface.
pub(super) fn push_route(batch: &mut Batch, index: u32, route: NewRoute) {
    let to = route.to;
    let mut header = [0; 12];
    header[0] = family(to.ip);
    header[1] = to.prefix;
    header[4] = libc::RT_TABLE_MAIN;
    header[5] = BOOT;
    header[6] = route.scope;
    header[7] = libc::RTN_UNICAST;
    batch.push(
        (libc::RTM_NEWROUTE, Flags::Create),
        ("add the route to", &to.to_string()),
        &header,
        |attrs| {
            attrs.bytes(libc::RTA_DST, &octets(to.ip));
            if let Some(source) = route.source {
                attrs.bytes(libc::RTA_PREFSRC, &octets(source));
            }
            if let Some(gateway) = route.gateway {
                attrs.bytes(libc::RTA_GATEWAY, &octets(gateway));
            }
            attrs.u32(libc::RTA_OIF, index);
        },
    );
}

/// Removes the route by an interface to a network.
pub(super) fn push_route_off(batch: &mut Batch, index: u32, to: Held) {
    let mut header = [0; 12];
    header[0] = family(to.ip);
    header[1] = to.prefix;
    header[4] = libc::RT_TABLE_MAIN;
    header[6] = libc::RT_SCOPE_NOWHERE;
    batch.push(
        (libc::RTM_DELROUTE, Flags::Plain),
        ("remove the route to", &to.to_string()),
        &header,
        |attrs| {
            attrs.bytes(libc::RTA_DST, &octets(to.ip));
            attrs.u32(libc::RTA_OIF, index);
        },
    );
}

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) to: Held,
    pub(super) gateway: Option<IpAddr>,
}

/// The routes of one family in the main table.
///
/// # Errors
/// [`NetlinkError`].
pub(super) fn routes<F: AsFd>(
    socket: &mut NetlinkSocket<F>,
    family: i32,
) -> Result<Vec<Route>, NetlinkError> {
    let mut header = [0; 12];
    header[0] = u8::try_from(family).unwrap_or(0);
    header[4] = libc::RT_TABLE_MAIN;
    let mut batch = Batch::new();
    batch.push(
        (libc::RTM_GETROUTE, Flags::Dump),
        ("list the routes of", "the pod"),
        &header,
        |_| {},
    );
    let messages = socket.dump(batch)?;
    Ok(messages
        .iter()
        .filter_map(|message| route(message))
        .collect())
}

/// Reads an RTM_NEWROUTE message, its netlink header included. None of what is in another table.
fn route(message: &[u8]) -> Option<Route> {
    let body = message.get(16..)?;
    let (family, prefix, table) = (*body.first()?, *body.get(1)?, *body.get(4)?);
    let of = |kind: u16| {
        let mut all = attributes(body.get(12..)?);
        let (_, value) = all.find(|(found, _)| *found == kind)?;
        octets_of(value)
    };
    let unspecified: IpAddr = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    (table == libc::RT_TABLE_MAIN).then(|| Route {
        to: Held {
            ip: of(libc::RTA_DST).unwrap_or(unspecified),
            prefix,
        },
        gateway: of(libc::RTA_GATEWAY),
    })
}

/// The index of the interface by which an address is reached, where there is a way to it.
pub(super) fn route_to<F: AsFd>(socket: &mut NetlinkSocket<F>, ip: IpAddr) -> Option<u32> {
    let mut header = [0; 12];
    header[0] = family(ip);
    header[1] = if ip.is_ipv4() { 32 } else { 128 };
    let mut batch = Batch::new();
    batch.push(
        (libc::RTM_GETROUTE, Flags::Plain),
        ("look up the route to", &ip.to_string()),
        &header,
        |attrs| attrs.bytes(libc::RTA_DST, &octets(ip)),
    );
    let found = socket.run_acknowledged(batch, &[0]).ok()?;
    let mut all = attributes(found.first()?.get(28..)?);
    let (_, index) = all.find(|(kind, _)| *kind == libc::RTA_OIF)?;
    u32_of(index)
}

/// Takes an interface down.
pub(super) fn push_down(batch: &mut Batch, index: u32, name: &str) {
    let mut header = ifinfo(0, index, UP);
    // The flag is meant (change mask) and off.
    header[8..12].fill(0);
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("take down interface", name),
        &header,
        |_| {},
    );
}

/// The addresses of an interface in one family, in the kernel's order. The socket filters dumps.
pub(super) fn addresses<F: AsFd>(
    socket: &mut NetlinkSocket<F>,
    (index, name): (u32, &str),
    family: i32,
) -> Result<Vec<Held>, NetlinkError> {
    let mut header = [0; 8];
    header[0] = u8::try_from(family).unwrap_or(0);
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut batch = Batch::new();
    batch.push(
        (libc::RTM_GETADDR, Flags::Dump),
        ("list the addresses of", name),
        &header,
        |_| {},
    );
    let messages = socket.dump(batch)?;
    Ok(messages
        .iter()
        .filter_map(|message| held(message))
        .collect())
}

/// Reads an RTM_NEWADDR message, its netlink header included.
fn held(message: &[u8]) -> Option<Held> {
    let body = message.get(16..)?;
    let prefix = *body.get(1)?;
    let of = |kind: u16| {
        let mut all = attributes(body.get(8..)?);
        let (_, value) = all.find(|(found, _)| *found == kind)?;
        octets_of(value)
    };
    // IFA_ADDRESS is the other end's where there is one; without one IPv6 has nothing else.
    let ip = of(libc::IFA_LOCAL).or_else(|| of(libc::IFA_ADDRESS))?;
    Some(Held { ip, prefix })
}

fn octets_of(value: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}
