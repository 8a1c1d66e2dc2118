//! The chains of iptables' table `nat`: those of all, and one of a pod with the rules that lead to it.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use crate::netlink::{Batch, Flags, NetlinkError, NetlinkSocket, attributes};
use crate::nft::expression::Family;
use crate::nft::transaction::{
    DELETE_CHAIN, DELETE_RULE, GET_CHAIN, GET_RULE, NEW_CHAIN, NEW_TABLE, commit_by, nfgen, start,
};

pub(super) const TABLE: &str = "nat";
/// NF_ACCEPT, the policy of chains that packets come to by themselves.
const ACCEPT: u32 = 1;
/// NFTA_RULE_TABLE, NFTA_RULE_CHAIN and NFTA_RULE_HANDLE.
pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_HANDLE: u16 = 3;
/// How often a removal is tried again that others have overtaken.
const ATTEMPTS: usize = 5;
/// Both families, in the order in which they are worked on.
pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A socket for rules. It is kept open: when one is closed that has changed rules, the kernel first waits until what
/// they were before is freed, which takes 15 ms.
pub(crate) type Socket = NetlinkSocket<OwnedFd>;

/// An address with the length of its network's prefix.
pub(crate) type Masked = (IpAddr, u8);

/// Opens a socket for rules of the calling thread's network namespace.
///
/// # Errors
/// [`NetlinkError::Socket`].
pub(crate) fn open() -> Result<Socket, NetlinkError> {
    NetlinkSocket::open(SockProtocol::NetlinkNetFilter)
}

/// The family of a table in nf_tables' numbers.
pub(super) fn table_family(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

pub(super) fn family_of(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// The chains that packets come to by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Base {
    Prerouting,
    Output,
    Postrouting,
}

impl Base {
    pub(super) fn name(self) -> &'static str {
        match self {
            Base::Prerouting => "PREROUTING",
            Base::Output => "OUTPUT",
            Base::Postrouting => "POSTROUTING",
        }
    }

    /// NF_INET_PRE_ROUTING, NF_INET_LOCAL_OUT or NF_INET_POST_ROUTING; with NF_IP_PRI_NAT_DST or NF_IP_PRI_NAT_SRC.
    fn place(self) -> (u32, i32) {
        match self {
            Base::Prerouting => (0, -100),
            Base::Output => (3, -100),
            Base::Postrouting => (4, 100),
        }
    }
}

/// Makes the table, unless it is there.
pub(super) fn push_table(batch: &mut Batch, family: Family) {
    batch.push(
        (NEW_TABLE, Flags::Create),
        ("create nf_tables table", TABLE),
        &nfgen(table_family(family), 0),
        |table| table.string(1, TABLE),
    );
}

/// Makes a chain that rules lead to, unless it is there.
pub(super) fn push_chain(batch: &mut Batch, family: Family, name: &str) {
    batch.push(
        (NEW_CHAIN, Flags::Create),
        ("create nf_tables chain", name),
        &nfgen(table_family(family), 0),
        |chain| {
            chain.string(1, TABLE);
            chain.string(3, name);
        },
    );
}

/// Makes a chain that packets come to by themselves, unless it is there.
pub(super) fn push_base(batch: &mut Batch, family: Family, base: Base) {
    let (hook, priority) = base.place();
    batch.push(
        (NEW_CHAIN, Flags::Create),
        ("create nf_tables chain", base.name()),
        &nfgen(table_family(family), 0),
        |chain| {
            chain.string(1, TABLE);
            chain.string(3, base.name());
            chain.nest(4, &[], |place| {
                place.u32_be(1, hook);
                place.u32_be(2, priority.cast_unsigned());
            });
            chain.u32_be(5, ACCEPT);
            chain.string(7, "nat");
        },
    );
}

/// Whether there is a chain of a name.
///
/// # Errors
/// [`NetlinkError`].
pub(super) fn exists(
    socket: &mut Socket,
    family: Family,
    name: &str,
) -> Result<bool, NetlinkError> {
    let mut batch = Batch::new();
    batch.push(
        (GET_CHAIN, Flags::Plain),
        ("look up nf_tables chain", name),
        &nfgen(table_family(family), 0),
        |chain| {
            chain.string(1, TABLE);
            chain.string(3, name);
        },
    );
    match socket.run_acknowledged(batch, &[0]) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(false),
        found => found.map(|_| true),
    }
}

/// Whether there is a chain of a name in the table for the family of an address.
///
/// # Errors
/// [`NetlinkError`].
pub(crate) fn has_chain(socket: &mut Socket, of: IpAddr, name: &str) -> Result<bool, NetlinkError> {
    exists(socket, family_of(of), name)
}

/// The rule of a number in a chain, as the kernel sends it; nothing where there is none.
///
/// # Errors
/// [`NetlinkError`].
pub(super) fn numbered(
    socket: &mut Socket,
    family: Family,
    (chain, number): (&str, u64),
) -> Result<Vec<Vec<u8>>, NetlinkError> {
    match socket.run_acknowledged(asking(family, chain, Some(number)), &[0]) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(Vec::new()),
        found => found,
    }
}

/// All rules of a chain, as the kernel sends them.
///
/// # Errors
/// [`NetlinkError`].
pub(super) fn rules(
    socket: &mut Socket,
    family: Family,
    chain: &str,
) -> Result<Vec<Vec<u8>>, NetlinkError> {
    socket.dump(asking(family, chain, None))
}

/// Asks for one rule of a chain, or all of them.
fn asking(family: Family, chain: &str, number: Option<u64>) -> Batch {
    let mut batch = Batch::new();
    let flags = if number.is_some() {
        Flags::Plain
    } else {
        Flags::Dump
    };
    batch.push(
        (GET_RULE, flags),
        ("list the rules of nf_tables chain", chain),
        &nfgen(table_family(family), 0),
        |rule| {
            rule.string(RULE_TABLE, TABLE);
            rule.string(RULE_CHAIN, chain);
            if let Some(number) = number {
                rule.bytes(RULE_HANDLE, &number.to_be_bytes());
            }
        },
    );
    batch
}

/// The number of a rule, in a message about it with its netlink header.
pub(super) fn handle(message: &[u8]) -> Option<u64> {
    let mut all = attributes(message.get(20..)?);
    let (_, value) = all.find(|(kind, _)| *kind == RULE_HANDLE)?;
    value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

pub(super) fn contains(message: &[u8], text: &[u8]) -> bool {
    message.windows(text.len()).any(|window| window == text)
}

/// The chain of one pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnChain<'a> {
    pub(crate) name: &'a str,
    /// The chain from which rules lead to it.
    pub(crate) parent: &'a str,
}

impl OwnChain<'_> {
    /// Removes the chain of both families with the rules that lead to it, as far as there are any. `known` are numbers
    /// that these rules probably have.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(crate) fn remove(&self, socket: &mut Socket, known: &[u64]) -> Result<(), NetlinkError> {
        for family in FAMILIES {
            for attempt in 1.. {
                if !exists(socket, family, self.name)? {
                    break;
                }
                let known = if attempt == 1 { known } else { &[] };
                let jumps = self.jumps(socket, family, known)?;
                match commit_by(socket, self.removal(family, &jumps)) {
                    Ok(_) => break,
                    // Others may have removed one of them, or added one.
                    Err(error)
                        if attempt < ATTEMPTS
                            && matches!(error.errno(), Some(Errno::ENOENT | Errno::EBUSY)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn removal(&self, family: Family, jumps: &[u64]) -> Batch {
        let header = nfgen(table_family(family), 0);
        let mut batch = start();
        for jump in jumps {
            batch.push(
                (DELETE_RULE, Flags::Plain),
                ("remove a rule of nf_tables chain", self.parent),
                &header,
                |rule| {
                    rule.string(RULE_TABLE, TABLE);
                    rule.string(RULE_CHAIN, self.parent);
                    rule.bytes(RULE_HANDLE, &jump.to_be_bytes());
                },
            );
        }
        batch.push(
            (DELETE_RULE, Flags::Plain),
            ("empty nf_tables chain", self.name),
            &header,
            |rules| {
                rules.string(RULE_TABLE, TABLE);
                rules.string(RULE_CHAIN, self.name);
            },
        );
        batch.push(
            (DELETE_CHAIN, Flags::Plain),
            ("delete nf_tables chain", self.name),
            &header,
            |chain| {
                chain.string(1, TABLE);
                chain.string(3, self.name);
            },
        );
        batch
    }

    /// The numbers of the rules that lead to the chain.
    fn jumps(
        &self,
        socket: &mut Socket,
        family: Family,
        known: &[u64],
    ) -> Result<Vec<u64>, NetlinkError> {
        let to_us = |message: &&Vec<u8>| contains(message, self.name.as_bytes());
        let mut found = Vec::new();
        for jump in known {
            let rules = numbered(socket, family, (self.parent, *jump))?;
            found.extend(rules.iter().filter(to_us).filter_map(|of| handle(of)));
        }
        if found.is_empty() {
            let all = rules(socket, family, self.parent)?;
            found.extend(all.iter().filter(to_us).filter_map(|of| handle(of)));
        }
        Ok(found)
    }
}
