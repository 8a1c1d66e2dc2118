//! The bytes of an exit on disk.

use super::frame::{FrameError, exact};
use super::message::Event;

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
