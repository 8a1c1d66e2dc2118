//! The pod that a plugin is called for.

use std::net::IpAddr;
use std::path::PathBuf;

/// The pod of a call.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    /// The id of the pod sandbox, the call's CNI_CONTAINERID.
    pub(super) id: String,
    /// The path of the pod's namespace; empty when it is gone.
    pub(super) netns: PathBuf,
    /// Whether no plugin was ever called for the pod, so that nothing of it has to be looked for.
    pub(super) is_new: bool,
    /// The addresses that the pod got, as far as that is known.
    pub(super) ips: Vec<IpAddr>,
}

impl Pod {
    /// Whether the pod has no namespace any more.
    pub(super) fn is_gone(&self) -> bool {
        self.netns.as_os_str().is_empty()
    }
}
