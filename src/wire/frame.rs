//! Bytes: of one packet, of a plan, of an exit on disk.
//!
//! A packet is the version as two little-endian bytes, then the postcard encoding. Nothing may follow: what
//! another version has appended is not read as if it were not there.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::Event;
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
    /// A plan is of another version than its request.
    #[error("a plan of protocol {plan} came with a request of protocol {request}")]
    Mixed {
        /// The plan's version.
        plan: u16,
        /// The request's.
        request: Protocol,
    },
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
}

/// Writes a message as one packet of a version.
///
/// # Errors
/// [`FrameError::Large`] when it exceeds [`MAX_PACKET`].
pub fn encode<T: Serialize>(protocol: Protocol, message: &T) -> Result<Vec<u8>, FrameError> {
    let packet = marked(protocol, message)?;
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
    let (number, body) = split(packet)?;
    let protocol = Protocol::spoken(number)?;
    Ok((protocol, exact(body)?))
}

/// Writes a launch plan for a shim of a version.
///
/// # Errors
/// [`FrameError::Encoding`], for want of memory only.
pub fn encode_plan<T: Serialize>(protocol: Protocol, plan: &T) -> Result<Vec<u8>, FrameError> {
    if protocol.marks_plans() {
        return marked(protocol, plan);
    }
    postcard::to_stdvec(plan).map_err(FrameError::Encoding)
}

/// Reads a launch plan that came with a request of a version.
///
/// # Errors
/// It is of another version, or other bytes than one plan.
pub fn decode_plan<T: DeserializeOwned>(request: Protocol, bytes: &[u8]) -> Result<T, FrameError> {
    if !request.marks_plans() {
        return exact(bytes);
    }
    let (plan, body) = split(bytes)?;
    if plan != request.number() {
        return Err(FrameError::Mixed { plan, request });
    }
    exact(body)
}

/// Writes an event as the file of an exit. It has no version: the daemon that reads it may be of any.
///
/// # Errors
/// [`FrameError::Encoding`], for want of memory only.
pub fn encode_exit(event: &Event) -> Result<Vec<u8>, FrameError> {
    postcard::to_stdvec(event).map_err(FrameError::Encoding)
}

/// Reads the file of an exit.
///
/// # Errors
/// It has other bytes than one event.
pub fn decode_exit(bytes: &[u8]) -> Result<Event, FrameError> {
    exact(bytes)
}

fn marked<T: Serialize>(protocol: Protocol, value: &T) -> Result<Vec<u8>, FrameError> {
    postcard::to_extend(value, protocol.number().to_le_bytes().to_vec())
        .map_err(FrameError::Encoding)
}

fn split(bytes: &[u8]) -> Result<(u16, &[u8]), FrameError> {
    let (version, body) = bytes
        .split_first_chunk::<2>()
        .ok_or(FrameError::Short(bytes.len()))?;
    Ok((u16::from_le_bytes(*version), body))
}

fn exact<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(FrameError::Encoding)?;
    match rest.len() {
        0 => Ok(value),
        more => Err(FrameError::Trailing(more)),
    }
}
