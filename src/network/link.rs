//! rtnetlink requests: links, addresses, routes and counters (rtnetlink(7)).

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::netlink::{
    Attributes, Batch, Flags, NetlinkError, NetlinkSocket, attributes, string_of, u32_of,
};
use super::subnet::Subnet;

/// The loopback interface is always number 1 (`LOOPBACK_IFINDEX`).
pub(super) const LOOPBACK: u32 = 1;
/// The flag IFF_UP of netdevice(7).
pub(super) const UP: u32 = 1;
/// The interface group (IFLA_GROUP) of interfaces that are to be deleted, "hfdd" in ASCII. Whoever is in it is
/// off the network already, so it does not matter which daemon deletes it.
const DOOMED: u32 = 0x6866_6464;
/// Attributes of a bridge port: IFLA_INFO_SLAVE_KIND and IFLA_INFO_SLAVE_DATA.
pub(super) const SLAVE_KIND: u16 = 4;
pub(super) const SLAVE_DATA: u16 = 5;
/// IFLA_BRPORT_MODE, which is the hairpin mode.
pub(super) const BRPORT_MODE: u16 = 4;
/// The attribute with the other end, VETH_INFO_PEER.
pub(super) const VETH_PEER: u16 = 1;

/// A link as listed by the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Vec<u8>,
    /// The bridge it is a port of.
    pub(super) bridge: Option<u32>,
    pub(super) kind: String,
    /// The flags of netdevice(7).
    pub(super) flags: u32,
    /// The index of a veth's other end, in the namespace where that is.
    pub(super) peer: Option<u32>,
    /// The state of RFC 2863, as a number of IF_OPER_*.
    pub(super) state: u8,
    /// Whether it takes router advertisements; none where there is no IPv6.
    pub(super) accepts_ra: Option<bool>,
    counters: InterfaceStats,
}

/// The counters of one interface since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// The name of the interface.
    pub name: String,
    /// The number of bytes received.
    pub rx_bytes: u64,
    /// The number of packets received.
    pub rx_packets: u64,
    /// The number of bad packets received.
    pub rx_errors: u64,
    /// Packets dropped on receiving.
    pub rx_dropped: u64,
    /// The number of bytes sent.
    pub tx_bytes: u64,
    /// The number of packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets dropped on sending.
    pub tx_dropped: u64,
}

/// The properties of a new veth pair.
#[derive(Debug)]
pub(super) struct VethPair<'a> {
    pub(super) host: &'a str,
    pub(super) bridge: u32,
    pub(super) peer: &'a str,
    pub(super) peer_mac: [u8; 6],
    pub(super) netns: BorrowedFd<'a>,
    pub(super) mtu: Option<u32>,
}

/// Brings the loopback interface up in the namespace of `control`, a NETLINK_ROUTE socket opened there. The
/// kernel gives it 127.0.0.1 and ::1 by itself.
///
/// # Errors
/// [`NetlinkError`], naming the request that failed.
pub fn loopback_up(control: BorrowedFd<'_>) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    push_loopback_up(&mut batch);
    NetlinkSocket::new(control)?.run(batch)
}

/// The counters of all interfaces but the loopback in the namespace of `control`.
///
/// # Errors
/// [`NetlinkError`], naming the request that failed.
pub fn interface_stats(control: BorrowedFd<'_>) -> Result<Vec<InterfaceStats>, NetlinkError> {
    let links = list(&mut NetlinkSocket::new(control)?)?;
    Ok(links
        .into_iter()
        .filter(|link| link.index != LOOPBACK)
        .map(|link| InterfaceStats {
            name: link.name,
            ..link.counters
        })
        .collect())
}

/// The `struct ifinfomsg` of rtnetlink(7).
pub(super) fn ifinfo(family: i32, index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = u8::try_from(family).unwrap_or(0);
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    // The change mask: only these flags are meant.
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

pub(super) fn push_loopback_up(batch: &mut Batch) {
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("bring up", "interface lo"),
        &ifinfo(0, LOOPBACK, UP),
        |_| {},
    );
}

/// Brings an interface up by name.
pub(super) fn push_up(batch: &mut Batch, name: &str) {
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("bring up interface", name),
        &ifinfo(0, 0, UP),
        |link| link.string(libc::IFLA_IFNAME, name),
    );
}

/// Creates a bridge that is up, with a MAC of its own: without one it takes the lowest of its ports', and the
/// pods' neighbour tables go stale when that pod leaves.
pub(super) fn push_bridge(batch: &mut Batch, name: &str, mac: [u8; 6], mtu: Option<u32>) {
    batch.push(
        (libc::RTM_NEWLINK, Flags::Create),
        ("create bridge", name),
        &ifinfo(0, 0, UP),
        |link| {
            link.string(libc::IFLA_IFNAME, name);
            link.bytes(libc::IFLA_ADDRESS, &mac);
            if let Some(mtu) = mtu {
                link.u32(libc::IFLA_MTU, mtu);
            }
            link.nest(libc::IFLA_LINKINFO, &[], |info| {
                info.string(libc::IFLA_INFO_KIND, "bridge");
            });
        },
    );
}

/// Creates an intermediate functional block, a device that sends what it is given back into the receive path of
/// where it came from, unless it is there, and notes the owner: the kernel takes an alias for what exists only.
pub(super) fn push_ifb(batch: &mut Batch, name: &str, owner: &str) {
    batch.push(
        (libc::RTM_NEWLINK, Flags::Create),
        ("create ifb", name),
        &ifinfo(0, 0, UP),
        |link| {
            link.string(libc::IFLA_IFNAME, name);
            link.nest(libc::IFLA_LINKINFO, &[], |info| {
                info.string(libc::IFLA_INFO_KIND, "ifb");
            });
        },
    );
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("note the owner of ifb", name),
        &ifinfo(0, 0, 0),
        |link| {
            link.string(libc::IFLA_IFNAME, name);
            link.string(libc::IFLA_IFALIAS, owner.get(..255).unwrap_or(owner));
        },
    );
}

/// Brings an existing bridge up and gives it its MTU again.
pub(super) fn push_bridge_up(batch: &mut Batch, index: u32, name: &str, mtu: Option<u32>) {
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("bring up bridge", name),
        &ifinfo(0, index, UP),
        |link| {
            if let Some(mtu) = mtu {
                link.u32(libc::IFLA_MTU, mtu);
            }
        },
    );
}

/// Gives a veth one queue instead of one for each processor (the kernel's default since 5.14): each costs time and
/// memory when the link is made. Frames cross a veth without a queue's lock; only XDP programs use more.
fn one_queue(link: &mut Attributes<'_>) {
    link.u32(libc::IFLA_NUM_TX_QUEUES, 1);
    link.u32(libc::IFLA_NUM_RX_QUEUES, 1);
}

/// Creates a veth pair whose peer is made in the pod's namespace; the host end is up and a port of the bridge
/// before anybody sees it. The kernel does not open a peer that is not tied to its other end yet (ENOTCONN),
/// so the peer is brought up from inside.
pub(super) fn push_veth(batch: &mut Batch, pair: &VethPair<'_>) {
    let mtu = |link: &mut Attributes<'_>| {
        if let Some(mtu) = pair.mtu {
            link.u32(libc::IFLA_MTU, mtu);
        }
    };
    batch.push(
        (libc::RTM_NEWLINK, Flags::CreateNew),
        ("create the veth pair of", pair.host),
        &ifinfo(0, 0, UP),
        |link| {
            link.string(libc::IFLA_IFNAME, pair.host);
            link.u32(libc::IFLA_MASTER, pair.bridge);
            mtu(link);
            one_queue(link);
            link.nest(libc::IFLA_LINKINFO, &[], |info| {
                info.string(libc::IFLA_INFO_KIND, "veth");
                info.nest(libc::IFLA_INFO_DATA, &[], |data| {
                    data.nest(VETH_PEER, &ifinfo(0, 0, 0), |peer| {
                        peer.string(libc::IFLA_IFNAME, pair.peer);
                        peer.bytes(libc::IFLA_ADDRESS, &pair.peer_mac);
                        mtu(peer);
                        one_queue(peer);
                        let netns = pair.netns.as_raw_fd();
                        peer.bytes(libc::IFLA_NET_NS_FD, &netns.to_ne_bytes());
                    });
                });
            });
        },
    );
}

/// Lets a bridge port send a frame back to where it came from, which a pod needs to reach itself through a
/// forwarded port, and notes the owner where `ip link` shows it.
pub(super) fn push_port(batch: &mut Batch, name: &str, owner: &str) {
    batch.push(
        (libc::RTM_NEWLINK, Flags::Plain),
        ("configure bridge port", name),
        &ifinfo(0, 0, 0),
        |link| {
            link.string(libc::IFLA_IFNAME, name);
            // IFALIASZ is 256 with the NUL.
            link.string(libc::IFLA_IFALIAS, owner.get(..255).unwrap_or(owner));
            link.nest(libc::IFLA_LINKINFO, &[], |info| {
                info.string(SLAVE_KIND, "bridge");
                info.nest(SLAVE_DATA, &[], |port| port.bytes(BRPORT_MODE, &[1]));
            });
        },
    );
}

/// Deletes a link by name; a veth's peer goes with it.
pub(super) fn push_delete(batch: &mut Batch, name: &str) {
    batch.push(
        (libc::RTM_DELLINK, Flags::Plain),
        ("delete interface", name),
        &ifinfo(0, 0, 0),
        |link| link.string(libc::IFLA_IFNAME, name),
    );
}

/// Takes an interface down and off its bridge, and puts it into the group of interfaces to be deleted.
pub(super) fn push_mark_for_deletion(batch: &mut Batch, name: &str) {
    let mut header = ifinfo(0, 0, UP);
    // The flag is meant (change mask) and off.
    header[8..12].fill(0);
    batch.push(
        (libc::RTM_SETLINK, Flags::Plain),
        ("take down interface", name),
        &header,
        |link| {
            link.string(libc::IFLA_IFNAME, name);
            link.u32(libc::IFLA_MASTER, 0);
            link.u32(libc::IFLA_GROUP, DOOMED);
        },
    );
}

/// Deletes every interface in the group of those to be deleted.
pub(super) fn push_delete_marked(batch: &mut Batch) {
    batch.push(
        (libc::RTM_DELLINK, Flags::Plain),
        ("delete", "the interfaces of detached pods"),
        &ifinfo(0, 0, 0),
        |link| link.u32(libc::IFLA_GROUP, DOOMED),
    );
}

/// Asks for one link by name.
pub(super) fn push_get(batch: &mut Batch, name: &str) {
    batch.push(
        (libc::RTM_GETLINK, Flags::Plain),
        ("look up interface", name),
        &ifinfo(0, 0, 0),
        |link| link.string(libc::IFLA_IFNAME, name),
    );
}

/// Gives an interface an address of a subnet, or leaves the one it has. IPv6 skips duplicate address
/// detection, which would hold the address back for a second or two; the leases make it unique.
pub(super) fn push_address(batch: &mut Batch, index: u32, address: IpAddr, subnet: &Subnet) {
    /// The attribute IFA_FLAGS and its flag IFA_F_NODAD.
    const IFA_FLAGS: u16 = 8;
    const NODAD: u32 = 2;
    let mut header = [0; 8];
    header[0] = family(address);
    header[1] = subnet.prefix();
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let object = format!("{address}/{}", subnet.prefix());
    batch.push(
        (libc::RTM_NEWADDR, Flags::Replace),
        ("add address", &object),
        &header,
        |attrs| {
            attrs.bytes(libc::IFA_LOCAL, &octets(address));
            attrs.bytes(libc::IFA_ADDRESS, &octets(address));
            match subnet.broadcast() {
                Some(broadcast) => attrs.bytes(libc::IFA_BROADCAST, &broadcast.octets()),
                None => attrs.u32(IFA_FLAGS, NODAD),
            }
        },
    );
}

/// Sets the default route of an address family.
pub(super) fn push_default_route(batch: &mut Batch, index: u32, gateway: IpAddr) {
    /// RTPROT_STATIC: set by an administrator's tool, not by a routing daemon.
    const STATIC: u8 = 4;
    let mut header = [0; 12];
    header[0] = family(gateway);
    header[4] = libc::RT_TABLE_MAIN;
    header[5] = STATIC;
    header[6] = libc::RT_SCOPE_UNIVERSE;
    header[7] = libc::RTN_UNICAST;
    let object = format!("via {gateway}");
    batch.push(
        (libc::RTM_NEWROUTE, Flags::Replace),
        ("add the default route", &object),
        &header,
        |attrs| {
            attrs.bytes(libc::RTA_GATEWAY, &octets(gateway));
            attrs.u32(libc::RTA_OIF, index);
        },
    );
}

/// All links of the socket's namespace.
pub(super) fn list<F: AsFd>(socket: &mut NetlinkSocket<F>) -> Result<Vec<Link>, NetlinkError> {
    let mut batch = Batch::new();
    batch.push(
        (libc::RTM_GETLINK, Flags::Dump),
        ("list", "interfaces"),
        &ifinfo(0, 0, 0),
        |_| {},
    );
    let messages = socket.dump(batch)?;
    Ok(messages.iter().filter_map(|m| parse(m)).collect())
}

/// The link of a name, if any.
pub(super) fn find<F: AsFd>(
    socket: &mut NetlinkSocket<F>,
    name: &str,
) -> Result<Option<Link>, NetlinkError> {
    let mut batch = Batch::new();
    push_get(&mut batch, name);
    match socket.run_acknowledged(batch, &[0]) {
        Ok(messages) => Ok(messages.iter().find_map(|m| parse(m))),
        Err(error) if error.errno() == Some(nix::errno::Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The link of an index, if any.
pub(super) fn find_index<F: AsFd>(
    socket: &mut NetlinkSocket<F>,
    index: u32,
) -> Result<Option<Link>, NetlinkError> {
    let mut batch = Batch::new();
    batch.push(
        (libc::RTM_GETLINK, Flags::Plain),
        ("look up interface", &index.to_string()),
        &ifinfo(0, index, 0),
        |_| {},
    );
    match socket.run_acknowledged(batch, &[0]) {
        Ok(messages) => Ok(messages.iter().find_map(|m| parse(m))),
        Err(error) if error.errno() == Some(nix::errno::Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads an RTM_NEWLINK message, its netlink header included.
pub(super) fn parse(message: &[u8]) -> Option<Link> {
    let body = message.get(16..)?;
    let mut link = Link {
        index: u32_of(body.get(4..8)?)?,
        flags: u32_of(body.get(8..12)?)?,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            libc::IFLA_IFNAME => link.name = string_of(value),
            libc::IFLA_ADDRESS => link.mac = value.to_vec(),
            libc::IFLA_MASTER => link.bridge = u32_of(value),
            libc::IFLA_LINK => link.peer = u32_of(value),
            libc::IFLA_OPERSTATE => link.state = value.first().copied().unwrap_or(0),
            libc::IFLA_AF_SPEC => link.accepts_ra = accepts_ra(value),
            libc::IFLA_STATS64 => link.counters = counters(value),
            libc::IFLA_LINKINFO => {
                link.kind = attributes(value)
                    .find(|(kind, _)| *kind == libc::IFLA_INFO_KIND)
                    .map(|(_, value)| string_of(value))
                    .unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(link)
}

/// The setting `accept_ra` in what a link tells of its families: IFLA_INET6_CONF is an array of all settings.
fn accepts_ra(families: &[u8]) -> Option<bool> {
    const INET6: u16 = 10;
    const SETTINGS: u16 = 2;
    /// The place DEVCONF_ACCEPT_RA in the array.
    const ACCEPT_RA: usize = 3;
    let (_, of_v6) = attributes(families).find(|(kind, _)| *kind == INET6)?;
    let (_, settings) = attributes(of_v6).find(|(kind, _)| *kind == SETTINGS)?;
    Some(u32_of(settings.get(ACCEPT_RA * 4..)?)? != 0)
}

/// The first eight fields of `struct rtnl_link_stats64`.
fn counters(value: &[u8]) -> InterfaceStats {
    let at = |index: usize| {
        value
            .get(index * 8..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    InterfaceStats {
        name: String::new(),
        rx_packets: at(0),
        tx_packets: at(1),
        rx_bytes: at(2),
        tx_bytes: at(3),
        rx_errors: at(4),
        tx_errors: at(5),
        rx_dropped: at(6),
        tx_dropped: at(7),
    }
}

pub(super) fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    u8::try_from(family).unwrap_or(0)
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
