//! The form of a rule: what it says, however it is written. The kernel sends rules with other flags and another order
//! of attributes than it got them with, and with what they have counted.

use std::collections::BTreeMap;

use super::rule::RULE_EXPRESSIONS;
use crate::netlink::{attributes, string_of};

/// NFTA_BITWISE_OP; 0 is what those are who do not name it.
const BITWISE_OPERATION: u16 = 6;
/// NFTA_IMMEDIATE_DATA, and NFTA_DATA_VERDICT of it.
const IMMEDIATE_DATA: u16 = 2;
const VERDICT: u16 = 2;

/// Expressions by name, each with its attributes.
pub(super) type Form = Vec<(String, BTreeMap<u16, Vec<u8>>)>;

/// The form of the rule in a message with its netlink header.
pub(super) fn form(message: &[u8]) -> Form {
    let all = attributes(message.get(20..).unwrap_or_default());
    let mut lists = all.filter(|(kind, _)| *kind == RULE_EXPRESSIONS);
    let list = lists.next().map_or(&[][..], |(_, list)| list);
    attributes(list).map(|(_, part)| expression(part)).collect()
}

fn expression(part: &[u8]) -> (String, BTreeMap<u16, Vec<u8>>) {
    let of = |wanted: u16| {
        let found = attributes(part).find(|(kind, _)| *kind == wanted);
        found.map_or(&[][..], |(_, value)| value)
    };
    let (name, data) = (string_of(of(1)), of(2));
    let says = |(kind, value): &(u16, &[u8])| match name.as_str() {
        "counter" => false,
        "bitwise" => *kind != BITWISE_OPERATION || *value != [0; 4],
        _ => true,
    };
    let mut found = BTreeMap::new();
    for (kind, value) in attributes(data).filter(says) {
        if name == "immediate" && kind == IMMEDIATE_DATA {
            found.extend(verdict(value));
        } else {
            found.insert(kind, value.to_vec());
        }
    }
    (name, found)
}

/// The code and the chain of a verdict, under numbers that no attribute of an expression has.
fn verdict(data: &[u8]) -> impl Iterator<Item = (u16, Vec<u8>)> {
    const ABOVE_ALL: u16 = 0x1000;
    let verdicts = attributes(data).filter(|(kind, _)| *kind == VERDICT);
    let parts = verdicts.flat_map(|(_, parts)| attributes(parts));
    parts.map(|(kind, value)| (ABOVE_ALL | kind, value.to_vec()))
}
