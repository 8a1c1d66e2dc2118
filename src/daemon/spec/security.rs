//! The security choices that pods and containers share.

use oci_spec::runtime::LinuxSeccomp;
use serde::{Deserialize, Serialize};

use super::HostPath;

/// Which seccomp profile applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SeccompChoice {
    /// The built-in default profile.
    RuntimeDefault,
    /// No filter. A request without a profile means this, as in containerd.
    #[default]
    Unconfined,
    /// An OCI profile (JSON) in this file of the host.
    Localhost(HostPath),
    /// A profile that was pulled from a registry.
    Oci(Box<PulledProfile>),
}

/// A profile from a registry, and the profile that has to allow a call as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PulledProfile {
    /// Reference with a digest.
    pub reference: String,
    /// A profile in this file of the host; without it the built-in default profile.
    pub base: Option<HostPath>,
    /// The content of both when they were resolved. What was checked is applied, even if the store or the file
    /// changes later.
    pub pinned: Option<Box<PinnedProfile>>,
}

/// The content of a [`PulledProfile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PinnedProfile {
    pub profile: LinuxSeccomp,
    /// The base, where it is a file.
    pub base: Option<LinuxSeccomp>,
}

/// Which AppArmor profile applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AppArmorChoice {
    /// The built-in default profile, when the kernel has AppArmor.
    RuntimeDefault,
    /// No AppArmor profile is applied.
    #[default]
    Unconfined,
    /// A profile that is loaded in the kernel, by name.
    Localhost(String),
}

/// Parts of an SELinux label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SelinuxOptions {
    pub user: String,
    pub role: String,
    /// The type, which is a keyword in Rust.
    pub kind: String,
    pub level: String,
}

/// Whether group memberships of the image are added: CRI's `SupplementalGroupsPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GroupsPolicy {
    /// Memberships of the user in the image's /etc/group are added to the list.
    #[default]
    Merge,
    /// The groups of the request alone are used.
    Strict,
}
