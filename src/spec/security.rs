//! The security choices that pods and containers share.

use serde::{Deserialize, Serialize};

use super::HostPath;

/// Which seccomp profile applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompChoice {
    /// The built-in default profile.
    RuntimeDefault,
    /// No filter. A request without a profile means this, as in containerd.
    #[default]
    Unconfined,
    /// An OCI profile (JSON) in this file of the host.
    Localhost(HostPath),
}

/// Which AppArmor profile applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppArmorChoice {
    /// The built-in default profile, when the kernel has AppArmor.
    RuntimeDefault,
    /// No profile.
    #[default]
    Unconfined,
    /// A profile that is loaded in the kernel, by name.
    Localhost(String),
}

/// Parts of an SELinux label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelinuxOptions {
    /// SELinux user.
    pub user: String,
    /// Role.
    pub role: String,
    /// Type.
    pub kind: String,
    /// Level with categories.
    pub level: String,
}

/// How the image's group memberships count: CRI `SupplementalGroupsPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupsPolicy {
    /// Memberships of the user in the image's /etc/group are added to the list.
    #[default]
    Merge,
    /// The list alone counts.
    Strict,
}
