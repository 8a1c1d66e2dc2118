//! The built-in network: one bridge, one veth pair a pod.
//!
//! ```text
//!   ensure ──▶ attach(pod) ──▶ detach(pod) … ──▶ teardown
//!     ▲            │ lease → veth pair → addresses and routes inside; a failure takes the pair and the
//!     └ repeats    └ leases back
//! ```

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::hostport::{HostPortError, PortBook};
use super::ipam::{Ipam, IpamError};
use super::link::{self, Link, VethPair};
use super::netlink::{Batch, NetlinkError, NetlinkSocket};
use super::reaper::{self, Reaper};
use super::subnet::Subnet;
use super::{names, nft, sysctl};
use holdfast_disk::{Dir, DirError};

/// The pod's interface; the kubelet and many programs expect this name.
const POD_INTERFACE: &str = "eth0";
/// The smallest MTU that carries IPv6 (RFC 8200, section 5), and the largest of a veth pair.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 1280..=65535;

/// The settings of a bridge network.
#[derive(Debug, Clone)]
pub struct BridgeSettings {
    /// The bridge's interface name, 1 to 15 characters. Two daemons on one machine need two names.
    pub name: String,
    /// The subnet of IPv4 addresses; the first host address is the bridge's.
    pub subnet4: Option<Subnet>,
    /// The subnet of IPv6 addresses. It makes the host forward IPv6, and a forwarding host ignores router
    /// advertisements unless its interface has `accept_ra=2`.
    pub subnet6: Option<Subnet>,
    /// The MTU of the bridge and of the pods' interfaces; None leaves the kernel's 1,500.
    pub mtu: Option<u32>,
    /// The directory of the leases, created when missing.
    pub state_dir: PathBuf,
    /// The directory in which the pods' namespaces are pinned.
    pub netns_dir: PathBuf,
}

/// A failed operation on the bridge network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The settings do not make a network.
    #[error("bridge network `{name}`: {reason}")]
    Settings {
        /// The name of the bridge.
        name: String,
        /// The fault, and the allowed values.
        reason: &'static str,
    },
    /// The lease directory cannot be used.
    #[error("cannot open the leases of bridge network `{name}`")]
    State {
        /// The name of the bridge.
        name: String,
        /// The cause of the failure.
        #[source]
        source: DirError,
    },
    /// Addresses could not be leased or released.
    #[error("cannot {operation} addresses on bridge `{name}`")]
    Addresses {
        /// The operation, `lease` or `release`.
        operation: &'static str,
        /// The name of the bridge.
        name: String,
        /// The cause of the failure.
        #[source]
        source: IpamError,
    },
    /// The kernel refused a change.
    #[error("cannot {operation}")]
    Kernel {
        /// The operation, as a verb with the pod or the bridge.
        operation: String,
        /// The cause, with the object and the kernel's words.
        #[source]
        source: NetlinkError,
    },
    /// A switch could not be set.
    #[error("cannot set {path} to 1, which bridge `{name}` needs to reach other networks")]
    Sysctl {
        /// The name of the bridge.
        name: String,
        /// The path of the file.
        path: String,
        /// The cause of the failure.
        #[source]
        source: io::Error,
    },
    /// A port of the host cannot be mapped to the pod.
    #[error(transparent)]
    Port(#[from] HostPortError),
    /// The bridge is not there.
    #[error(
        "bridge `{name}` does not exist; it was deleted after the daemon made it, so restart the daemon"
    )]
    NoBridge {
        /// The name of the bridge.
        name: String,
    },
    /// The name belongs to something else.
    #[error(
        "interface `{name}` exists and is a `{kind}`, not a bridge; choose another bridge name"
    )]
    NotABridge {
        /// The name of the interface.
        name: String,
        /// The kind of the interface.
        kind: String,
    },
}

/// A pod's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The addresses of the pod, IPv4 first.
    pub ips: Vec<IpAddr>,
    /// The MAC address of its `eth0`. It follows from the first address, so that a neighbour table that still
    /// has that address from an earlier pod is right.
    pub mac: [u8; 6],
    /// The host end of its veth pair.
    pub host_interface: String,
}

/// The built-in bridge network.
#[derive(Debug)]
pub struct BridgeNetwork {
    settings: BridgeSettings,
    subnets: Vec<Subnet>,
    ipam: Ipam,
    host: Mutex<Host>,
    reaper: Reaper,
    /// Whether [`BridgeNetwork::ensure`] has been done.
    made: AtomicBool,
    /// Ports of the host that lead into pods; see `publish`.
    pub(super) ports: Mutex<PortBook>,
}

/// The daemon's socket in the host's namespace. The kernel serializes changes of links by a lock of its own,
/// so one socket is as fast as many.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) socket: NetlinkSocket<OwnedFd>,
    bridge: Option<u32>,
}

impl BridgeNetwork {
    /// Reads the leases and opens a socket in the calling thread's network namespace, which is the network's
    /// home from then on. Makes nothing yet.
    ///
    /// # Errors
    /// [`NetworkError::Settings`], [`NetworkError::State`], [`NetworkError::Addresses`],
    /// [`NetworkError::Kernel`].
    pub fn new(settings: BridgeSettings) -> Result<BridgeNetwork, NetworkError> {
        check(&settings)?;
        let subnets: Vec<Subnet> = [settings.subnet4, settings.subnet6]
            .into_iter()
            .flatten()
            .collect();
        let dir = Dir::create_root(&settings.state_dir).map_err(|source| NetworkError::State {
            name: settings.name.clone(),
            source,
        })?;
        let ipam = Ipam::open(dir, &subnets).map_err(|source| NetworkError::Addresses {
            operation: "read the leased",
            name: settings.name.clone(),
            source,
        })?;
        let open = || {
            NetlinkSocket::open(SockProtocol::NetlinkRoute).map_err(|source| NetworkError::Kernel {
                operation: format!("prepare bridge `{}`", settings.name),
                source,
            })
        };
        let socket = open()?;
        let reaper = Reaper::start(open()?);
        let host = Mutex::new(Host {
            socket,
            bridge: None,
        });
        Ok(BridgeNetwork {
            settings,
            subnets,
            ipam,
            host,
            reaper,
            made: AtomicBool::new(false),
            ports: Mutex::default(),
        })
    }

    /// Returns the settings of this network.
    pub fn settings(&self) -> &BridgeSettings {
        &self.settings
    }

    /// Makes the bridge, its addresses, forwarding and the masquerade rule, as far as they are missing. To be
    /// called in the namespace of [`BridgeNetwork::new`], once at start.
    ///
    /// # Errors
    /// [`NetworkError::NotABridge`], [`NetworkError::Sysctl`], [`NetworkError::Kernel`].
    pub fn ensure(&self) -> Result<(), NetworkError> {
        let name = &self.settings.name;
        let failed = |source| NetworkError::Kernel {
            operation: format!("set up bridge `{name}`"),
            source,
        };
        let mut host = self.lock();
        let bridge = match link::find(&mut host.socket, name).map_err(failed)? {
            Some(found) => found,
            None => {
                let mut batch = Batch::new();
                link::push_bridge(&mut batch, name, names::mac_of(name), self.settings.mtu);
                host.socket.run(batch).map_err(failed)?;
                self.find_bridge(&mut host)?
            }
        };
        if bridge.kind != "bridge" {
            return Err(NetworkError::NotABridge {
                name: name.clone(),
                kind: bridge.kind,
            });
        }
        let mut batch = Batch::new();
        link::push_bridge_up(&mut batch, bridge.index, name, self.settings.mtu);
        for subnet in &self.subnets {
            link::push_address(&mut batch, bridge.index, subnet.gateway(), subnet);
        }
        host.socket.run(batch).map_err(failed)?;
        host.bridge = Some(bridge.index);
        drop(host);
        for (path, subnet) in [
            (sysctl::FORWARD_V4, self.settings.subnet4),
            (sysctl::FORWARD_V6, self.settings.subnet6),
        ] {
            if subnet.is_some() {
                sysctl::switch_on(path).map_err(|source| NetworkError::Sysctl {
                    name: name.clone(),
                    path: path.to_owned(),
                    source,
                })?;
            }
        }
        nft::install(name, &self.subnets).map_err(failed)?;
        self.made.store(true, Ordering::Release);
        Ok(())
    }

    /// Calls [`BridgeNetwork::ensure`], unless that has been done.
    ///
    /// # Errors
    /// As there.
    pub fn ensure_once(&self) -> Result<(), NetworkError> {
        if self.is_made() {
            Ok(())
        } else {
            self.ensure()
        }
    }

    /// Whether the bridge has been made, or found.
    pub fn is_made(&self) -> bool {
        self.made.load(Ordering::Acquire)
    }

    /// Whether any pod has addresses of this network.
    pub fn is_used(&self) -> bool {
        self.ipam.is_used()
    }

    /// Gives a pod its addresses, its `eth0` and its routes. `netns` is the pod's network namespace, `control`
    /// a NETLINK_ROUTE socket that was opened inside it and that nobody else uses meanwhile.
    ///
    /// Repeated for the same pod it returns the same attachment and leaves connections alone. On failure the
    /// veth pair and the leases are taken back.
    ///
    /// # Errors
    /// [`NetworkError::Addresses`] when a subnet is exhausted; [`NetworkError::NoBridge`];
    /// [`NetworkError::Kernel`].
    pub fn attach(
        &self,
        owner: &str,
        netns: BorrowedFd<'_>,
        control: BorrowedFd<'_>,
    ) -> Result<Attachment, NetworkError> {
        let known = !self.ipam.addresses(owner).is_empty();
        let leases = self
            .ipam
            .lease(owner)
            .map_err(|source| self.addresses_failed("lease", source))?;
        let attached = self.wire(owner, &leases, netns, control);
        if attached.is_err() && !known {
            // The first error is the one to report; what this leaves is found by reconcile.
            let _ = self.detach(owner);
        }
        attached
    }

    /// Whether a pod has addresses of this network.
    pub fn is_attached(&self, owner: &str) -> bool {
        !self.ipam.addresses(owner).is_empty()
    }

    /// Takes a pod off the network: no port leads into it, its traffic ends, its leases are free, and its veth pair is deleted a few
    /// milliseconds later in the background, with both ends ([`BridgeNetwork::flush`] waits for that). Works
    /// when the namespace is gone already and when the pod was never attached.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`], [`NetworkError::Addresses`].
    pub fn detach(&self, owner: &str) -> Result<(), NetworkError> {
        // The ports first: nothing may lead to an address that is free again.
        self.withdraw(owner)?;
        let name = names::host_interface(&self.settings.name, owner);
        let mut batch = Batch::new();
        link::push_mark_for_deletion(&mut batch, &name);
        let marked = missing_is_fine(self.lock().socket.run(batch));
        marked.map_err(|source| NetworkError::Kernel {
            operation: format!("detach pod {owner} from bridge `{}`", self.settings.name),
            source,
        })?;
        self.reaper.wake();
        self.ipam
            .release(owner)
            .map_err(|source| self.addresses_failed("release", source))
    }

    /// Waits until the interfaces of all detached pods are gone.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`].
    pub fn flush(&self) -> Result<(), NetworkError> {
        reaper::delete_marked(&mut self.lock().socket).map_err(|source| NetworkError::Kernel {
            operation: format!("clean up bridge `{}`", self.settings.name),
            source,
        })
    }

    /// Takes everything off the network that does not belong to a live pod. Returns how many veth pairs and
    /// addresses that were.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`], [`NetworkError::Addresses`], after everything was tried.
    pub fn reconcile(&self, live: &[&str]) -> Result<usize, NetworkError> {
        let bridge = &self.settings.name;
        let failed = |source| NetworkError::Kernel {
            operation: format!("clean up bridge `{bridge}`"),
            source,
        };
        let (prefix, shaping) = (names::host_prefix(bridge), names::shaping_prefix(bridge));
        let ours = |link: &&Link| match link.kind.as_str() {
            "veth" => link.name.starts_with(&prefix),
            "ifb" => link.name.starts_with(&shaping),
            _ => false,
        };
        let names_of = |owner: &&str| {
            [
                names::host_interface(bridge, owner),
                names::shaping_interface(bridge, owner),
            ]
        };
        let wanted: HashSet<String> = live.iter().flat_map(names_of).collect();
        let mut host = self.lock();
        let links = link::list(&mut host.socket).map_err(failed)?;
        let mut gone = 0;
        let mut first_error = None;
        for stale in links
            .iter()
            .filter(ours)
            .filter(|link| !wanted.contains(&link.name))
        {
            let mut batch = Batch::new();
            link::push_mark_for_deletion(&mut batch, &stale.name);
            match missing_is_fine(host.socket.run(batch)) {
                Ok(()) => gone += 1,
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        if let Err(error) = reaper::delete_marked(&mut host.socket) {
            first_error.get_or_insert(error);
        }
        drop(host);
        let freed = self
            .ipam
            .reconcile(&live.iter().copied().collect())
            .map_err(|source| self.addresses_failed("release", source))?;
        first_error.map_or(Ok(gone + freed), |error| Err(failed(error)))
    }

    /// Removes the veth pairs of all pods, the bridge and its nftables table. To be called in the namespace
    /// of [`BridgeNetwork::new`]. Forwarding stays on, because others may rely on it.
    ///
    /// # Errors
    /// As [`BridgeNetwork::reconcile`].
    pub fn teardown(&self) -> Result<(), NetworkError> {
        self.reconcile(&[])?;
        let name = &self.settings.name;
        let failed = |source| NetworkError::Kernel {
            operation: format!("remove bridge `{name}`"),
            source,
        };
        let mut host = self.lock();
        host.bridge = None;
        delete_link(&mut host.socket, name).map_err(failed)?;
        drop(host);
        nft::remove(name).map_err(failed)
    }

    fn wire(
        &self,
        owner: &str,
        leases: &[(IpAddr, Subnet)],
        netns: BorrowedFd<'_>,
        control: BorrowedFd<'_>,
    ) -> Result<Attachment, NetworkError> {
        let failed = |source| NetworkError::Kernel {
            operation: format!("attach pod {owner} to bridge `{}`", self.settings.name),
            source,
        };
        let ips: Vec<IpAddr> = leases.iter().map(|(address, _)| *address).collect();
        let mac = names::mac_of(&ips[0].to_string());
        let host_interface = names::host_interface(&self.settings.name, owner);
        let mut inside = NetlinkSocket::new(control).map_err(failed)?;
        let mut host = self.lock();
        let bridge = match host.bridge {
            Some(index) => index,
            None => self.find_bridge(&mut host)?.index,
        };
        let pair = VethPair {
            host: &host_interface,
            bridge,
            peer: POD_INTERFACE,
            peer_mac: mac,
            netns,
            mtu: self.settings.mtu,
        };
        join(&mut host.socket, &mut inside, &pair, owner).map_err(|error| {
            // An index that is not an interface any more is the bridge's.
            host.bridge = None;
            failed(error)
        })?;
        host.bridge = Some(bridge);
        drop(host);
        configure(&mut inside, leases).map_err(failed)?;
        Ok(Attachment {
            ips,
            mac,
            host_interface,
        })
    }

    fn find_bridge(&self, host: &mut Host) -> Result<Link, NetworkError> {
        let name = &self.settings.name;
        link::find(&mut host.socket, name)
            .map_err(|source| NetworkError::Kernel {
                operation: format!("look for bridge `{name}`"),
                source,
            })?
            .ok_or_else(|| NetworkError::NoBridge { name: name.clone() })
    }

    fn addresses_failed(&self, operation: &'static str, source: IpamError) -> NetworkError {
        NetworkError::Addresses {
            operation,
            name: self.settings.name.clone(),
            source,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Host> {
        // The kernel's state is the truth; a panic leaves at worst late answers, which are passed over.
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(settings: &BridgeSettings) -> Result<(), NetworkError> {
    let wrong = |reason| {
        Err(NetworkError::Settings {
            name: settings.name.chars().take(64).collect(),
            reason,
        })
    };
    if !names::is_interface_name(&settings.name) {
        return wrong("the name must be 1 to 15 letters, digits, `.`, `_` or `-`");
    }
    if settings.subnet4.is_none() && settings.subnet6.is_none() {
        return wrong("an IPv4 or an IPv6 subnet is needed");
    }
    if settings.subnet4.is_some_and(|subnet| subnet.is_ipv6()) {
        return wrong("subnet4 must be an IPv4 subnet");
    }
    if settings.subnet6.is_some_and(|subnet| !subnet.is_ipv6()) {
        return wrong("subnet6 must be an IPv6 subnet");
    }
    if settings.mtu.is_some_and(|mtu| !MTU_RANGE.contains(&mtu)) {
        return wrong("the MTU must be 1280 to 65535");
    }
    Ok(())
}

/// Makes the veth pair. When its name is taken, by an earlier attempt for this pod, a pair that ends in this
/// very namespace is kept, and one that ends elsewhere is made anew.
fn join(
    host: &mut NetlinkSocket<OwnedFd>,
    inside: &mut NetlinkSocket<BorrowedFd<'_>>,
    pair: &VethPair<'_>,
    owner: &str,
) -> Result<(), NetlinkError> {
    let create = |host: &mut NetlinkSocket<OwnedFd>| {
        let mut batch = Batch::new();
        link::push_veth(&mut batch, pair);
        link::push_port(&mut batch, pair.host, owner);
        host.run(batch)
    };
    match create(host) {
        Err(error) if error.errno() == Some(Errno::EEXIST) => {}
        other => return other,
    }
    let ours = link::find(host, pair.host)?.is_some_and(|found| found.bridge == Some(pair.bridge))
        && link::find(inside, pair.peer)?.is_some_and(|peer| peer.mac == pair.peer_mac);
    if ours {
        return Ok(());
    }
    delete_link(host, pair.host)?;
    create(host)
}

/// Sets up the inside of the pod's namespace, in two exchanges: the second needs the number of `eth0`.
fn configure(
    inside: &mut NetlinkSocket<BorrowedFd<'_>>,
    leases: &[(IpAddr, Subnet)],
) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    link::push_loopback_up(&mut batch);
    link::push_up(&mut batch, POD_INTERFACE);
    link::push_get(&mut batch, POD_INTERFACE);
    let index = inside
        .run_acknowledged(batch, &[2])?
        .iter()
        .find_map(|message| link::parse(message))
        .map_or(0, |eth0| eth0.index);
    let mut batch = Batch::new();
    for (address, subnet) in leases {
        link::push_address(&mut batch, index, *address, subnet);
    }
    for (_, subnet) in leases {
        link::push_default_route(&mut batch, index, subnet.gateway());
    }
    inside.run(batch)
}

fn delete_link(socket: &mut NetlinkSocket<OwnedFd>, name: &str) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    link::push_delete(&mut batch, name);
    missing_is_fine(socket.run(batch))
}

/// An interface that is gone already is what its removal is to reach.
fn missing_is_fine(outcome: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match outcome {
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
        other => other,
    }
}
