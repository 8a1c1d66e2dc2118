//! Brings a file of a lower layer into this one, so that it can be linked.

use super::metadata::{Metadata, Unopened};
use super::root::Place;
use super::{Extraction, Path, UnpackError};
use crate::image::overlay::{self, Found};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, mknodat};
use nix::unistd::symlinkat;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
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

    fn copy_up(&mut self, place: &Place, target: &Path, entry: &Path) -> Result<(), UnpackError> {
        let name = OsStr::from_bytes(target.name().unwrap_or_default());
        let operation = "copy up the link target";
        let failed = target.error(operation);
        let found = overlay::look_up(&place.lower, name).map_err(&failed)?;
        match found {
            Found::File(mut from) => {
                let io_failed = target.io_error(operation);
                let size = from.metadata().map_err(&io_failed)?.len();
                self.count(target, size)?;
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
                let to = openat(&*place.dir, name, flags, Mode::S_IRUSR).map_err(&failed)?;
                let mut to = File::from(to);
                std::io::copy(&mut from, &mut to).map_err(&io_failed)?;
                let like = Metadata::of_existing(&from).map_err(&io_failed)?;
                like.copy_to(&to).map_err(&io_failed)
            }
            Found::Link(text, stat) => {
                symlinkat(text.as_os_str(), &*place.dir, name).map_err(&failed)?;
                self.count(target, 0)?;
                let like = Metadata::of_stat(&stat);
                like.apply_at(place.dir.as_fd(), name, target, Unopened::Symlink)
            }
            Found::Node(stat) => {
                let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
                mknodat(&*place.dir, name, kind, Mode::empty(), stat.st_rdev).map_err(&failed)?;
                self.count(target, 0)?;
                let like = Metadata::of_stat(&stat);
                like.apply_at(place.dir.as_fd(), name, target, Unopened::Node)
            }
            Found::Directory(_) => Err(entry.error("create the hard link")(Errno::EPERM)),
            Found::Nothing => Err(entry.error("create the hard link")(Errno::ENOENT)),
        }
    }
}
