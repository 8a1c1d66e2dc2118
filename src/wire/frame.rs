//! Bytes of one packet: the version as two little-endian bytes, then the postcard encoding.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PROTOCOL;

/// Largest packet in bytes. Everything larger travels in a memfd.
pub const MAX_PACKET: usize = 32 * 1024;

/// Most descriptors in one packet. The kernel's limit is 253 (`SCM_MAX_FD`, unix(7)).
pub const MAX_DESCRIPTORS: usize = 64;

/// Why a packet could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The packet is shorter than its version.
    #[error("packet of {0} bytes is shorter than the two bytes of its version")]
    Short(usize),
    /// The other side speaks another protocol.
    #[error("packet of protocol version {0}; this build speaks {PROTOCOL}")]
    Version(u16),
    /// The message is larger than [`MAX_PACKET`].
    #[error("message of {0} bytes exceeds the packet limit of {MAX_PACKET} bytes")]
    Large(usize),
    /// The bytes are no message.
    #[error("packet is no message of protocol {PROTOCOL}")]
    Encoding(#[source] postcard::Error),
}

/// Writes a message as one packet.
///
/// # Errors
/// [`FrameError::Large`] when it exceeds [`MAX_PACKET`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let packet = postcard::to_extend(message, PROTOCOL.to_le_bytes().to_vec())
        .map_err(FrameError::Encoding)?;
    if packet.len() > MAX_PACKET {
        return Err(FrameError::Large(packet.len()));
    }
    Ok(packet)
}

/// Reads a message from one packet.
///
/// # Errors
/// A packet of another version or with other bytes than one message.
pub fn decode<T: DeserializeOwned>(packet: &[u8]) -> Result<T, FrameError> {
    let Some((version, body)) = packet.split_first_chunk::<2>() else {
        return Err(FrameError::Short(packet.len()));
    };
    match u16::from_le_bytes(*version) {
        PROTOCOL => postcard::from_bytes(body).map_err(FrameError::Encoding),
        other => Err(FrameError::Version(other)),
    }
}
