//! The rtnetlink requests of the reference plugins, as far as the built-in bridge has none like them.

use std::net::IpAddr;
use std::os::fd::AsFd;

use crate::link::{UP, ifinfo};
use crate::netlink::{Batch, Flags, NetlinkError, NetlinkSocket, attributes};

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
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
