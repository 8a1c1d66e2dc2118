//! Durable files: everything the daemon keeps on a disk or a tmpfs goes through here.
//!
//! A directory is a descriptor ([`Dir`]), a file in it is a single validated component
//! ([`FileName`]), a change of a file is an atomic replacement ([`Dir::replace`]), and a file with
//! structure is a versioned record ([`Record`]).
//!
//! ```text
//!   write temporary ──► (fsync file) ──► rename over the name ──► (fsync directory)
//!        │                                     │
//!        └─ killed here: the old content stays, the temporary is invisible and swept later
//! ```
//!
//! What this module must never do: follow a symbolic link in the name it was given, resolve a path
//! of more than one component, or delete anything that was not named beneath a directory
//! descriptor of ours.

mod dir;
mod draft;
mod name;
mod record;
mod remove;
mod replace;
mod text;
mod usage;

pub use dir::{Dir, DirError, Entry, EntryKind, LockFile};
pub use draft::Draft;
pub use name::{FileName, FileNameError};
pub use record::{Record, RecordError};
pub use replace::Durability;
pub use text::json_text;
pub use usage::{FsSpace, TreeFingerprint, TreeUsage};

#[cfg(test)]
mod tests;
