//! Transactions of nf_tables: a batch of requests that the kernel commits as a whole.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use nix::sys::socket::SockProtocol;

use crate::netlink::{Batch, Flags, NetlinkError, NetlinkSocket};

/// NFNL_SUBSYS_NFTABLES in the upper half of a message type; the kinds are those of `enum nf_tables_msg_types`.
const NFTABLES: u16 = 10 << 8;
pub(super) const NEW_TABLE: u16 = NFTABLES;
pub(super) const DELETE_TABLE: u16 = NFTABLES | 2;
pub(super) const NEW_CHAIN: u16 = NFTABLES | 3;
pub(super) const GET_CHAIN: u16 = NFTABLES | 4;
pub(super) const DELETE_CHAIN: u16 = NFTABLES | 5;
pub(super) const NEW_RULE: u16 = NFTABLES | 6;
pub(super) const GET_RULE: u16 = NFTABLES | 7;
pub(super) const DELETE_RULE: u16 = NFTABLES | 8;
pub(super) const NEW_SET: u16 = NFTABLES | 9;
pub(super) const NEW_ELEMENT: u16 = NFTABLES | 12;
pub(super) const DELETE_ELEMENT: u16 = NFTABLES | 14;
/// The marks around a transaction: NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// NFPROTO_INET: one table for both families (Linux 5.2 for nat chains).
pub(super) const INET: u8 = 1;

/// Begins a transaction that has no requests yet.
pub(super) fn start() -> Batch {
    let mut batch = Batch::new();
    push_mark(&mut batch, BEGIN);
    batch
}

/// A transaction on a table that is made when missing.
pub(super) fn begin(table: &str) -> Batch {
    let mut batch = start();
    push_table(&mut batch, NEW_TABLE, table);
    batch
}

/// Sockets that stay open, each with the inode of its network namespace. The kernel frees in the background what a
/// transaction has replaced, and closing a socket that has made one waits for that: 15 ms with Linux 6.18.
static OPEN: Mutex<Vec<(u64, NetlinkSocket<OwnedFd>)>> = Mutex::new(Vec::new());

/// How many sockets stay open.
const MAX_IDLE_SOCKETS: usize = 4;

/// Sends a transaction and waits until the kernel has taken all of it or refused all of it. Gives what was asked to be
/// told.
pub(super) fn commit(batch: Batch) -> Result<Vec<Vec<u8>>, NetlinkError> {
    // Nothing that can panic runs under the lock.
    let open = || OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = std::fs::metadata("/proc/thread-self/ns/net").map(|file| file.ino());
    let kept = namespace.as_ref().ok().and_then(|namespace| {
        let mut open = open();
        let at = open.iter().position(|(of, _)| of == namespace)?;
        Some(open.swap_remove(at).1)
    });
    let mut socket = match kept {
        Some(socket) => socket,
        None => NetlinkSocket::open(SockProtocol::NetlinkNetFilter)?,
    };
    let told = commit_by(&mut socket, batch)?;
    let mut open = open();
    if let Ok(namespace) = namespace
        && open.len() < MAX_IDLE_SOCKETS
    {
        open.push((namespace, socket));
    }
    Ok(told)
}

/// Commits as [`commit`] does, over a socket that is open.
pub(super) fn commit_by(
    socket: &mut NetlinkSocket<OwnedFd>,
    mut batch: Batch,
) -> Result<Vec<Vec<u8>>, NetlinkError> {
    // The last request of the transaction is acknowledged when all of it is committed; the end mark, which
    // the kernel does not answer, comes behind it.
    let last = batch.len() - 1;
    push_mark(&mut batch, END);
    socket.run_acknowledged(batch, &[last])
}

/// `struct nfgenmsg`: family, version, and a number in network byte order.
pub(super) fn nfgen(family: u8, number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [family, 0, high, low]
}

fn push_mark(batch: &mut Batch, kind: u16) {
    batch.push(
        (kind, Flags::Plain),
        ("begin or end", "an nf_tables transaction"),
        &nfgen(0, NFTABLES >> 8),
        |_| {},
    );
}

/// Adds a request that makes or deletes a table.
pub(super) fn push_table(batch: &mut Batch, kind: u16, table: &str) {
    let (operation, flags) = match kind {
        NEW_TABLE => ("create nf_tables table", Flags::Create),
        _ => ("delete nf_tables table", Flags::Plain),
    };
    batch.push(
        (kind, flags),
        (operation, table),
        &nfgen(INET, 0),
        |attrs| {
            attrs.string(1, table);
        },
    );
}
