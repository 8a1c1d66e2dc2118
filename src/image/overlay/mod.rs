//! The merged view of layers that are not mounted, as overlay would show it.
//!
//! A merged directory is a stack of directories, the top layer's first. A name is looked up from the
//! top: a whiteout ends the search, a directory continues it unless it is opaque, everything else is
//! the answer. Links are followed by hand, beneath the image's root only.

mod copy;
mod error;
mod view;

pub(super) use copy::{copy_directory, copy_entry};
pub use error::ViewError;
pub use view::lower_layers;
pub(super) use view::{
    DIFF, Merged, MergedEntry, OPAQUE, is_directory, is_opaque, is_whiteout, look_up, open_layers,
    read_file, visible_layers, visible_roots,
};

#[cfg(test)]
mod tests;
