//! The images of this node: one directory, one index, one owner.
//!
//! ```text
//!   ROOT/lock                 held while the daemon runs
//!   ROOT/index.json           the truth, replaced in one step
//!   ROOT/verified.json        layers that were looked at in this boot
//!   ROOT/blobs/<hex>          manifests and configurations
//!   ROOT/profiles/…           security profiles, which are not images
//!   ROOT/layers/<name>/diff   unpacked layers, ready for overlay
//!   ROOT/staging/<n>/…        of pulls under way
//!   ROOT/trash/<n>            being deleted
//!
//!   staging ──(digests verified)──► layers + blobs ──(syncfs)──► index ──► snapshot
//! ```
//!
//! Killed anywhere before the index is replaced, the image is absent and the next start sweeps what
//! is in no index. Readers use an immutable snapshot and never wait. Writers hold one mutex, outside
//! of asynchronous code.

mod collect;
mod commit;
mod error;
mod hold;
mod holds;
mod open;
mod root;
mod settings;
mod staged;
mod verified;
mod verify;

#[cfg(test)]
mod tests;

pub(super) use commit::{Candidate, CandidateLayer};
pub use error::StoreError;
pub use hold::ImageHold;
pub use root::FsUsage;
pub(super) use root::Store;
pub use settings::ImageSettings;
pub(super) use staged::{StagedLayer, Staging};
