//! Users, groups, capabilities, profiles.

use serde::Deserialize;

use super::name_value::NameValue;

/// `PodSecurityContext`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct PodSecurityContext {
    /// User of all containers that say nothing else.
    pub run_as_user: Option<i64>,
    /// Group, likewise.
    pub run_as_group: Option<i64>,
    /// Refuse to run as root, likewise.
    pub run_as_non_root: Option<bool>,
    /// Supplementary groups of all containers.
    #[serde(default)]
    pub supplemental_groups: Vec<i64>,
    /// `Merge` or `Strict`.
    pub supplemental_groups_policy: Option<String>,
    /// Kernel parameters of the pod's namespaces.
    #[serde(default)]
    pub sysctls: Vec<NameValue>,
    /// Seccomp profile of all containers that say nothing else.
    pub seccomp_profile: Option<Profile>,
    /// AppArmor profile, likewise.
    pub app_armor_profile: Option<Profile>,
    /// SELinux label, likewise.
    pub se_linux_options: Option<SeLinuxOptions>,
    /// Group that owns the pod's emptyDir volumes, and that all containers are in.
    pub fs_group: Option<i64>,
    /// Only `Always`, which it also is when missing.
    pub fs_group_change_policy: Option<String>,
}

/// `SecurityContext` of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SecurityContext {
    /// User.
    pub run_as_user: Option<i64>,
    /// Group.
    pub run_as_group: Option<i64>,
    /// Refuse to run as root.
    pub run_as_non_root: Option<bool>,
    /// All of the host's devices and capabilities.
    #[serde(default)]
    pub privileged: bool,
    /// Read-only root.
    #[serde(default)]
    pub read_only_root_filesystem: bool,
    /// `false` sets no_new_privs.
    pub allow_privilege_escalation: Option<bool>,
    /// Capabilities.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Seccomp profile.
    pub seccomp_profile: Option<Profile>,
    /// AppArmor profile.
    pub app_armor_profile: Option<Profile>,
    /// SELinux label.
    pub se_linux_options: Option<SeLinuxOptions>,
    /// `Default` (masked) or `Unmasked`.
    pub proc_mount: Option<String>,
}

/// `Capabilities`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capabilities {
    /// To add.
    #[serde(default)]
    pub add: Vec<String>,
    /// To drop.
    #[serde(default)]
    pub drop: Vec<String>,
}

/// `SeccompProfile` and `AppArmorProfile`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Profile {
    /// `RuntimeDefault`, `Unconfined` or `Localhost`.
    pub r#type: String,
    /// For `Localhost`: absolute path of a seccomp profile, or name of a loaded AppArmor profile.
    pub localhost_profile: Option<String>,
}

/// `SELinuxOptions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeLinuxOptions {
    /// User.
    #[serde(default)]
    pub user: String,
    /// Role.
    #[serde(default)]
    pub role: String,
    /// Type.
    #[serde(default)]
    pub r#type: String,
    /// Level.
    #[serde(default)]
    pub level: String,
}
