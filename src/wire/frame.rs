//! The bytes of a packet.
//!
//! A packet is the version as two little-endian bytes, then the postcard encoding. Nothing may follow: what
//! another version has appended is not read as if it were not there.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::{Protocol, UnspokenProtocol};

/// Largest packet in bytes. Everything larger travels in a memfd.
pub const MAX_PACKET: usize = 32 * 1024;

/// Most descriptors in one packet. The kernel's limit is 253 (`SCM_MAX_FD`, unix(7)).
pub const MAX_DESCRIPTORS: usize = 64;

/// Why something could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// There are fewer bytes than a version has.
    #[error("{0} bytes are less than the two of a version")]
    Short(usize),
    /// The other side speaks another protocol.
    #[error("the other side speaks another protocol")]
    Version(#[from] UnspokenProtocol),
    /// The message is larger than [`MAX_PACKET`].
    #[error("message of {0} bytes exceeds the packet limit of {MAX_PACKET} bytes")]
    Large(usize),
    /// The bytes are no message.
    #[error("the bytes are no message of the protocol")]
    Encoding(#[source] postcard::Error),
    /// The other side could not read what it was sent.
    #[error("the other side did not understand a request")]
    Refused,
    /// There are bytes after the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    /// A length in a plan is larger than what follows it.
    #[error("the launch plan is cut off")]
    Cut,
    /// A plan has a field of a later release.
    #[error("field {number} of the {part} is not known to this release")]
    UnknownField {
        /// The part of the plan.
        part: &'static str,
        /// The number of the field.
        number: u8,
    },
    /// A plan lacks a field that has no default.
    #[error("the {part} has no {name}")]
    MissingField {
        /// The part of the plan.
        part: &'static str,
        /// The name of the field.
        name: &'static str,
    },
    /// A plan has a field that the receiver's version lacks.
    #[error("{name} of the {part} needs protocol {since}, and the other side speaks {protocol}")]
    LaterField {
        /// The part of the plan.
        part: &'static str,
        /// The name of the field.
        name: &'static str,
        /// The first version that has the field.
        since: u16,
        /// The version that the receiver speaks.
        protocol: u16,
    },
}

/// Writes a message as one packet of a version.
///
/// # Errors
/// [`FrameError::Large`] when it exceeds [`MAX_PACKET`].
pub fn encode<T: Serialize>(protocol: Protocol, message: &T) -> Result<Vec<u8>, FrameError> {
    let version = protocol.number().to_le_bytes().to_vec();
    let packet = postcard::to_extend(message, version).map_err(FrameError::Encoding)?;
    if packet.len() > MAX_PACKET {
        return Err(FrameError::Large(packet.len()));
    }
    Ok(packet)
}

/// Reads a message from one packet, and tells in which version it was written.
///
/// # Errors
/// A packet of a version that is not spoken, or with other bytes than one message.
pub fn decode<T: DeserializeOwned>(packet: &[u8]) -> Result<(Protocol, T), FrameError> {
    let (version, body) = packet
        .split_first_chunk::<2>()
        .ok_or(FrameError::Short(packet.len()))?;
    let protocol = Protocol::spoken(u16::from_le_bytes(*version))?;
    Ok((protocol, exact(body)?))
}

/// Reads a value that is all the bytes.
pub(super) fn exact<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(FrameError::Encoding)?;
    match rest.len() {
        0 => Ok(value),
        more => Err(FrameError::Trailing(more)),
    }
}
