//! Which ports of the host are mapped to which pod. Pure: `nft` carries out what is decided here.
//!
//! A port belongs to one pod, as it would to one process that listens: a port of all addresses excludes the
//! same port of any one address. The book lives in memory; at its start a daemon fills it from the pods'
//! records.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The Transmission Control Protocol.
    Tcp,
    /// The User Datagram Protocol.
    Udp,
    /// The Stream Control Transmission Protocol.
    Sctp,
}

impl Protocol {
    /// The number of the protocol in IP headers.
    pub(super) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// The name of the protocol in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// A port of the host that is to be mapped to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    /// The protocol of the port.
    pub protocol: Protocol,
    /// Address of the host; None and the unspecified ones mean all of their family.
    pub host_ip: Option<IpAddr>,
    /// Port of the host, not 0.
    pub host_port: u16,
    /// Port in the pod, not 0.
    pub pod_port: u16,
}

/// Why a port cannot be mapped to a pod.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum HostPortError {
    /// Another pod has the port.
    #[error(
        "host port {port}/{protocol} at {address} belongs to pod sandbox {owner} already; stop that pod or use another port"
    )]
    Taken {
        /// The port of the host.
        port: u16,
        /// The protocol in lower case.
        protocol: &'static str,
        /// The address that was asked for.
        address: String,
        /// The pod that has it.
        owner: String,
    },
    /// The pod wants the port for two of its own.
    #[error(
        "host port {port}/{protocol} at {address} is asked for twice, with two container ports; map it to one of them"
    )]
    Twice {
        /// The port of the host.
        port: u16,
        /// The protocol in lower case.
        protocol: &'static str,
        /// The address that was asked for.
        address: String,
    },
    /// The pod has no address of the family.
    #[error(
        "host port {port}/{protocol} at {address} cannot be mapped to a pod without an address of that family; leave the host address out"
    )]
    Family {
        /// The port of the host.
        port: u16,
        /// The protocol in lower case.
        protocol: &'static str,
        /// The address that was asked for.
        address: String,
    },
}

/// The addresses of the host at which a port is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum HostAddress {
    /// All addresses of the target's family.
    Any,
    /// A single address of the host.
    Address(IpAddr),
}

/// A port of the host, of one address family, that is mapped to a port of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PortMapping {
    pub(super) protocol: Protocol,
    pub(super) at: HostAddress,
    pub(super) port: u16,
    pub(super) to: SocketAddr,
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, address) = (self.protocol.as_str(), self.address());
        write!(f, "{protocol} {address} port {} to {}", self.port, self.to)
    }
}

impl PortMapping {
    fn address(&self) -> String {
        match self.at {
            HostAddress::Address(address) => address.to_string(),
            HostAddress::Any if self.to.is_ipv4() => "0.0.0.0".to_owned(),
            HostAddress::Any => "::".to_owned(),
        }
    }

    /// Whether one packet could be meant by both.
    fn meets(&self, other: &PortMapping) -> bool {
        let same = self.protocol == other.protocol
            && self.port == other.port
            && self.to.is_ipv4() == other.to.is_ipv4();
        let anywhere = self.at == HostAddress::Any || other.at == HostAddress::Any;
        same && (anywhere || self.at == other.at)
    }
}

/// All port mappings, by pod and by port.
#[derive(Debug, Default)]
pub(super) struct PortBook {
    owners: HashMap<String, Vec<PortMapping>>,
    taken: HashMap<(Protocol, u16), Vec<(PortMapping, String)>>,
    /// Whether the mappings of an earlier daemon were entered.
    filling: Filling,
}

/// Whether the book has been filled from the records of an earlier daemon's pods.
#[derive(Debug)]
enum Filling {
    /// Not yet: pods that are released until then must not be entered any more.
    Awaited(HashSet<String>),
    Done,
}

impl Default for Filling {
    fn default() -> Self {
        Filling::Awaited(HashSet::new())
    }
}

impl PortBook {
    /// Enters the ports of a pod, all of them or none, and gives the mappings to be made. Repeated for the same
    /// pod it gives the same.
    pub(super) fn enter(
        &mut self,
        owner: &str,
        ips: &[IpAddr],
        ports: &[HostPort],
    ) -> Result<Vec<PortMapping>, HostPortError> {
        let mut wanted: Vec<PortMapping> = Vec::new();
        for mapping in expand(ips, ports)? {
            let same_key = |other: &&PortMapping| other.meets(&mapping) && other.at == mapping.at;
            match wanted.iter().find(same_key) {
                Some(other) if *other == mapping => continue,
                Some(_) => {
                    return Err(HostPortError::Twice {
                        port: mapping.port,
                        protocol: mapping.protocol.as_str(),
                        address: mapping.address(),
                    });
                }
                None => {}
            }
            let others = self.taken.get(&(mapping.protocol, mapping.port));
            let mut others = others.into_iter().flatten();
            if let Some((_, owner)) =
                others.find(|(other, of)| of != owner && other.meets(&mapping))
            {
                return Err(HostPortError::Taken {
                    port: mapping.port,
                    protocol: mapping.protocol.as_str(),
                    address: mapping.address(),
                    owner: owner.clone(),
                });
            }
            wanted.push(mapping);
        }
        self.remove(owner);
        for mapping in &wanted {
            let entry = self
                .taken
                .entry((mapping.protocol, mapping.port))
                .or_default();
            entry.push((*mapping, owner.to_owned()));
        }
        self.owners.insert(owner.to_owned(), wanted.clone());
        Ok(wanted)
    }

    /// Removes the mappings of a pod and gives them.
    pub(super) fn remove(&mut self, owner: &str) -> Vec<PortMapping> {
        let ports = self.owners.remove(owner).unwrap_or_default();
        for mapping in &ports {
            let key = (mapping.protocol, mapping.port);
            if let Some(entry) = self.taken.get_mut(&key) {
                entry.retain(|(_, of)| of != owner);
                if entry.is_empty() {
                    self.taken.remove(&key);
                }
            }
        }
        ports
    }

    /// The port mappings of a pod.
    pub(super) fn mappings_of_owner(&self, owner: &str) -> &[PortMapping] {
        self.owners.get(owner).map_or(&[], Vec::as_slice)
    }

    /// The port mappings of all pods.
    pub(super) fn all_mappings(&self) -> Vec<PortMapping> {
        self.owners.values().flatten().copied().collect()
    }

    /// Notes that a pod was released, should the book be filled later.
    pub(super) fn note_release(&mut self, owner: &str) {
        if let Filling::Awaited(released) = &mut self.filling {
            released.insert(owner.to_owned());
        }
    }

    /// The book is being filled: gives the pods that were released before.
    pub(super) fn begin_filling(&mut self) -> HashSet<String> {
        match std::mem::replace(&mut self.filling, Filling::Done) {
            Filling::Awaited(released) => released,
            Filling::Done => HashSet::new(),
        }
    }
}

/// The port mappings of a pod, one for each address family.
fn expand(ips: &[IpAddr], ports: &[HostPort]) -> Result<Vec<PortMapping>, HostPortError> {
    let target = |v4: bool| ips.iter().copied().find(|ip| ip.is_ipv4() == v4);
    let mut all = Vec::new();
    for port in ports {
        let families: &[bool] = match port.host_ip {
            None => &[true, false],
            Some(ip) if ip.is_ipv4() => &[true],
            Some(_) => &[false],
        };
        let at = match port.host_ip {
            Some(ip) if !ip.is_unspecified() => HostAddress::Address(ip),
            _ => HostAddress::Any,
        };
        let before = all.len();
        let targets = families.iter().filter_map(|v4| target(*v4));
        all.extend(targets.map(|ip| PortMapping {
            protocol: port.protocol,
            at,
            port: port.host_port,
            to: SocketAddr::new(ip, port.pod_port),
        }));
        if all.len() == before {
            return Err(HostPortError::Family {
                port: port.host_port,
                protocol: port.protocol.as_str(),
                address: port.host_ip.map_or_else(String::new, |ip| ip.to_string()),
            });
        }
    }
    Ok(all)
}
