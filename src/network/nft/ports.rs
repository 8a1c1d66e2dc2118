//! The maps that lead ports of the host into pods, and their elements.

use super::expression::{Family, Keys};
use super::transaction::{DELETE_ELEMENT, INET, NEW_ELEMENT, NEW_SET, begin, commit, nfgen};
use crate::hostport::{Led, Place};
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

/// Leads ports into pods, all of them or none.
pub(crate) fn add_ports(bridge: &str, ports: &[Led]) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    for part in ports.chunks(TRANSACTION) {
        let mut batch = begin(&table);
        push_elements(&mut batch, NEW_ELEMENT, &table, part);
        commit(batch)?;
    }
    Ok(())
}

/// Leads ports no longer into pods. ENOENT, when one is not led, removes none.
pub(crate) fn remove_ports(bridge: &str, ports: &[Led]) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    let mut batch = begin(&table);
    push_elements(&mut batch, DELETE_ELEMENT, &table, ports);
    commit(batch)
}

/// Leads these ports into pods and no others. Up to [`TRANSACTION`] of them there is no moment without.
pub(crate) fn replace_ports(bridge: &str, ports: &[Led]) -> Result<(), NetlinkError> {
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

fn push_elements(batch: &mut Batch, kind: u16, table: &str, ports: &[Led]) {
    for (name, family, keys) in MAPS {
        let fits = |led: &&Led| map_of(led) == (family, keys);
        let ours: Vec<&Led> = ports.iter().filter(fits).collect();
        for part in ours.chunks(ELEMENTS) {
            let object = format!("{table} {name}: {}", part[0]);
            let (operation, flags) = match kind {
                NEW_ELEMENT => ("lead a port by nf_tables map", Flags::Create),
                _ => ("lead a port no longer by nf_tables map", Flags::Plain),
            };
            batch.push(
                (kind, flags),
                (operation, &object),
                &nfgen(INET, 0),
                |list| {
                    list.string(1, table);
                    list.string(2, name);
                    list.nest(3, &[], |elements| {
                        for led in part {
                            elements.nest(1, &[], |element| {
                                element.nest(1, &[], |value| value.bytes(1, &key(led)));
                                element.nest(2, &[], |value| value.bytes(1, &target(led)));
                            });
                        }
                    });
                },
            );
        }
    }
}

fn map_of(led: &Led) -> (Family, Keys) {
    let family = if led.to.is_ipv6() {
        Family::V6
    } else {
        Family::V4
    };
    let keys = match led.at {
        Place::Address(_) => Keys::WithAddress,
        Place::Any => Keys::AnyAddress,
    };
    (family, keys)
}

/// A part of a concatenation: padded to words of four bytes.
fn part(all: &mut Vec<u8>, bytes: &[u8]) {
    all.extend_from_slice(bytes);
    all.resize(all.len().next_multiple_of(4), 0);
}

fn key(led: &Led) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    part(&mut key, &[led.protocol.number()]);
    if let Place::Address(address) = led.at {
        part(&mut key, &octets(address));
    }
    part(&mut key, &led.port.to_be_bytes());
    key
}

fn target(led: &Led) -> Vec<u8> {
    let mut target = Vec::with_capacity(20);
    part(&mut target, &octets(led.to.ip()));
    part(&mut target, &led.to.port().to_be_bytes());
    target
}
