//! One write to a file of a group.

use super::group::Member;

/// The text that a file of a group is to get.
#[derive(Debug)]
pub(super) struct Setting<'g> {
    pub(super) member: &'g Member,
    pub(super) file: String,
    pub(super) value: String,
    /// Whether the request named the file itself, in `unified`.
    pub(super) unified: bool,
}
