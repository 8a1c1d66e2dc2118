//! Brings a file of a lower layer into this one, so that it can be linked.

use super::error::UnpackError;
use super::extraction::Extraction;
use super::path::Path;
use super::root::LayerDirectory;
use crate::overlay::{self, MergedEntry};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

impl Extraction<'_> {
    /// The directory of this layer that has `target`, which is copied from the layers below when it is
    /// only there. `entry` is the one that wants it.
    pub(super) fn bring_up(
        &mut self,
        target: &Path,
        entry: &Path,
    ) -> Result<Rc<OwnedFd>, UnpackError> {
        let place = self.root.make(target.parent())?;
        let name = OsStr::from_bytes(target.name().unwrap_or_default());
        match fstatat(&*place.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            // It stands there under the name that the layers below make of the target's.
            Ok(_) => return Ok(place.dir),
            Err(Errno::ENOENT) => {}
            Err(e) => return Err(target.error("inspect")(e)),
        }
        self.copy_up(&place, target, entry)?;
        Ok(place.dir)
    }

    fn copy_up(
        &mut self,
        place: &LayerDirectory,
        target: &Path,
        entry: &Path,
    ) -> Result<(), UnpackError> {
        let name = OsStr::from_bytes(target.name().unwrap_or_default());
        let operation = "copy up the link target";
        let found = overlay::look_up(&place.lower, name).map_err(target.error(operation))?;
        let stored = match &found {
            MergedEntry::File(file) => file.metadata().map_or(0, |facts| facts.blocks() * 512),
            MergedEntry::Link(..) | MergedEntry::Node(_) => 0,
            MergedEntry::Directory(_) => {
                return Err(
                    entry.broken(&format!("is a hard link to {target}, which is a directory"))
                );
            }
            MergedEntry::Nothing => {
                return Err(
                    entry.broken(&format!("is a hard link to {target}, which is not there"))
                );
            }
        };
        self.count(target, stored)?;
        overlay::copy_entry(found, place.dir.as_fd(), name).map_err(target.io_error(operation))
    }
}
