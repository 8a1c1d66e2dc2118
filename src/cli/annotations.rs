//! Annotations that `holdfast run` gives its pods, for the verbs that come later.

use holdfast_kernel::domain;

/// Marks pods that were made from a manifest: only the directories of these are deleted with them.
pub(crate) const MANIFEST_ANNOTATION: &str = concat!(domain!(), "/manifest");
/// SHA-256 of the manifest's content: `holdfast run` learns from it whether a pod runs from the same manifest.
pub(crate) const DIGEST_ANNOTATION: &str = concat!(domain!(), "/manifest-digest");
/// Restart policy of the manifest: `holdfast logs --follow` learns from it whether a log goes on.
pub(crate) const RESTART_ANNOTATION: &str = concat!(domain!(), "/restart-policy");
/// Grace period of the manifest in seconds.
pub(crate) const GRACE_ANNOTATION: &str = concat!(domain!(), "/grace-seconds");
/// Absolute paths of the pod's directories, one a line: they may be below other roots than those of the command that
/// removes the pod.
pub(crate) const DIRECTORIES_ANNOTATION: &str = concat!(domain!(), "/directories");
