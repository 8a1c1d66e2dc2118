//! Extracts a layer's tar stream into a directory, in overlay's form.
//!
//! A layer is hostile input. Every entry is created relative to a descriptor of its parent, which is
//! resolved beneath the layer's own root (`RESOLVE_IN_ROOT`: an absolute link or `..` in a link ends
//! at that root); a name that leads out, an oversized header, too many entries or too many bytes end the
//! extraction. Nothing here follows a final symbolic link, or sets `trusted.*` attributes that a layer asks
//! for; what is left out is said.
//!
//! Nearly every layer stands alone: it lists the directories its entries lie in, and its hard links lead
//! to its own files. One that does not depends on the layers below, and only then they are asked for:
//! what it lacks is copied up into it, as overlay would have done when the layer was made.
//!
//! OCI whiteouts (image specification, "Representing Changes") become overlay's: `.wh.NAME` a
//! character device 0:0, `.wh..wh..opq` the attribute `trusted.overlay.opaque=y`.

mod archive;
mod copy_up;
mod create;
mod error;
mod extraction;
mod member;
mod metadata;
mod path;
mod pax;
mod root;
mod sparse;
mod usage;

#[cfg(test)]
mod tests;

use archive::Archive;
pub use error::UnpackError;
use extraction::Extraction;
use holdfast_disk::Dir;
pub(super) use root::Below;
use root::Root;
use std::io::Read;
pub(super) use usage::{Limits, Standing, Unpacked};

/// Extracts `tar` into `dir`, which is empty and reachable by nobody else.
///
/// The stream is read to the end of the archive, not to its own end.
///
/// # Errors
/// [`UnpackError::NeedsLower`] when `below` is needed and has no answer.
pub(super) fn unpack(
    tar: impl Read,
    dir: &Dir,
    limits: Limits,
    below: Below<'_>,
) -> Result<Unpacked, UnpackError> {
    let mut archive = Archive::new(tar);
    let mut extraction = Extraction::new(Root::new(dir, below)?, limits);
    while let Some(member) = archive.next()? {
        extraction.take(&mut archive, &member)?;
    }
    extraction.finish()
}
