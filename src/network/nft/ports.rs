//! The maps from ports of the host to ports of pods, and their elements.

use super::expression::{Family, Keys};
use super::transaction::{DELETE_ELEMENT, INET, NEW_ELEMENT, NEW_SET, begin, commit, nfgen};
use crate::hostport::{HostAddress, PortMapping};
use crate::link::octets;
use crate::names;
use crate::netlink::{Batch, Flags, NetlinkError};

/// The maps: a port of one address comes before the port of all.
pub(super) const MAPS: [(&str, Family, Keys); 4] = [
    ("host4", Family::V4, Keys::WithAddress),
    ("any4", Family::V4, Keys::AnyAddress),
    ("host6", Family::V6, Keys::WithAddress),
    ("any6", Family::V6, Keys::AnyAddress),
];

/// Elements in one request: an attribute has at most 64 KiB, an element about 100 bytes.
const ELEMENTS: usize = 256;
/// Elements in one transaction, which has to fit the socket's send buffer of some 200 KiB.
const TRANSACTION: usize = 1024;

/// Numbers that `nft` shows types by: `enum datatypes` of nftables.
const INET_PROTO: u32 = 12;
const INET_SERVICE: u32 = 13;

impl Family {
    /// The number of the type of an address.
    fn data_type(self) -> u32 {
        match self {
            Family::V4 => 7,
            Family::V6 => 8,
        }
    }
}

/// A concatenated type: six bits for each part.
fn concatenated(parts: &[u32]) -> u32 {
    parts.iter().fold(0, |all, part| all << 6 | part)
}

/// Makes a map unless it is there. The number tells the maps of one transaction apart.
pub(super) fn push_map(
    batch: &mut Batch,
    table: &str,
    (number, map): (usize, &(&str, Family, Keys)),
) {
    /// The flag of sets that are maps, NFT_SET_MAP.
    const MAP: u32 = 8;
    let (name, family, keys) = *map;
    let (key_type, key_length) = match keys {
        Keys::AnyAddress => (concatenated(&[INET_PROTO, INET_SERVICE]), 8),
        Keys::WithAddress => (
            concatenated(&[INET_PROTO, family.data_type(), INET_SERVICE]),
            8 + family.length(),
        ),
    };
    batch.push(
        (NEW_SET, Flags::Create),
        ("create nf_tables map", &format!("{table} {name}")),
        &nfgen(INET, 0),
        |set| {
            set.string(1, table);
            set.string(2, name);
            set.u32_be(3, MAP);
            set.u32_be(4, key_type);
            set.u32_be(5, key_length);
            set.u32_be(6, concatenated(&[family.data_type(), INET_SERVICE]));
            set.u32_be(7, family.length() + 4);
            set.u32_be(10, u32::try_from(number).unwrap_or(0) + 1);
        },
    );
}

/// Adds port mappings, all of them or none.
pub(crate) fn add_ports(bridge: &str, ports: &[PortMapping]) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    for part in ports.chunks(TRANSACTION) {
        let mut batch = begin(&table);
        push_elements(&mut batch, NEW_ELEMENT, &table, part);
        commit(batch)?;
    }
    Ok(())
}

/// Removes the port mappings of a pod. Where one of them does not exist, the kernel answers ENOENT and removes none.
pub(crate) fn remove_ports(bridge: &str, ports: &[PortMapping]) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    let mut batch = begin(&table);
    push_elements(&mut batch, DELETE_ELEMENT, &table, ports);
    commit(batch).map(drop)
}

/// Makes these the only port mappings. Up to [`TRANSACTION`] of them there is no moment without.
pub(crate) fn replace_ports(bridge: &str, ports: &[PortMapping]) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    let mut batch = begin(&table);
    for (name, ..) in MAPS {
        batch.push(
            (DELETE_ELEMENT, Flags::Plain),
            ("empty nf_tables map", &format!("{table} {name}")),
            &nfgen(INET, 0),
            |list| {
                list.string(1, &table);
                list.string(2, name);
            },
        );
    }
    let (first, rest) = ports.split_at(ports.len().min(TRANSACTION));
    push_elements(&mut batch, NEW_ELEMENT, &table, first);
    commit(batch)?;
    add_ports(bridge, rest)
}

fn push_elements(batch: &mut Batch, kind: u16, table: &str, ports: &[PortMapping]) {
    for (name, family, keys) in MAPS {
        let fits = |mapping: &&PortMapping| map_of(mapping) == (family, keys);
        let ours: Vec<&PortMapping> = ports.iter().filter(fits).collect();
        for part in ours.chunks(ELEMENTS) {
            let object = format!("{table} {name}: {}", part[0]);
            let (operation, flags) = match kind {
                NEW_ELEMENT => ("add a port to nf_tables map", Flags::Create),
                _ => ("remove a port from nf_tables map", Flags::Plain),
            };
            batch.push(
                (kind, flags),
                (operation, &object),
                &nfgen(INET, 0),
                |list| {
                    list.string(1, table);
                    list.string(2, name);
                    list.nest(3, &[], |elements| {
                        for mapping in part {
                            elements.nest(1, &[], |element| {
                                element.nest(1, &[], |value| value.bytes(1, &key(mapping)));
                                element.nest(2, &[], |value| value.bytes(1, &target(mapping)));
                            });
                        }
                    });
                },
            );
        }
    }
}

fn map_of(mapping: &PortMapping) -> (Family, Keys) {
    let family = if mapping.to.is_ipv6() {
        Family::V6
    } else {
        Family::V4
    };
    let keys = match mapping.at {
        HostAddress::Address(_) => Keys::WithAddress,
        HostAddress::Any => Keys::AnyAddress,
    };
    (family, keys)
}

/// A part of a concatenation: padded to words of four bytes.
fn part(all: &mut Vec<u8>, bytes: &[u8]) {
    all.extend_from_slice(bytes);
    all.resize(all.len().next_multiple_of(4), 0);
}

fn key(mapping: &PortMapping) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    part(&mut key, &[mapping.protocol.number()]);
    if let HostAddress::Address(address) = mapping.at {
        part(&mut key, &octets(address));
    }
    part(&mut key, &mapping.port.to_be_bytes());
    key
}

fn target(mapping: &PortMapping) -> Vec<u8> {
    let mut target = Vec::with_capacity(20);
    part(&mut target, &octets(mapping.to.ip()));
    part(&mut target, &mapping.to.port().to_be_bytes());
    target
}
