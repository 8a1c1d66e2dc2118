//! Users, groups, capabilities, profiles.

use serde::Deserialize;

use super::name_value::NameValue;

/// `PodSecurityContext` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct PodSecurityContext {
    /// User of all containers that say nothing else.
    pub run_as_user: Option<i64>,
    /// Group of all containers that name no other.
    pub run_as_group: Option<i64>,
    /// Refuse to run as root, likewise.
    pub run_as_non_root: Option<bool>,
    /// Supplementary groups of all containers.
    #[serde(default)]
    pub supplemental_groups: Vec<i64>,
    /// `Merge`, which is the default, or `Strict`.
    pub supplemental_groups_policy: Option<String>,
    /// Kernel parameters of the pod's namespaces.
    #[serde(default)]
    pub sysctls: Vec<NameValue>,
    /// Seccomp profile of all containers that say nothing else.
    pub seccomp_profile: Option<Profile>,
    /// AppArmor profile of all containers that name no other.
    pub app_armor_profile: Option<Profile>,
    /// SELinux label of all containers that name no other.
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
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    /// Refuse to run as root.
    pub run_as_non_root: Option<bool>,
    /// All of the host's devices and capabilities.
    #[serde(default)]
    pub privileged: bool,
    /// Whether the root file system is read-only.
    #[serde(default)]
    pub read_only_root_filesystem: bool,
    /// With `false` the container gets no_new_privs.
    pub allow_privilege_escalation: Option<bool>,
    #[serde(default)]
    pub capabilities: Capabilities,
    pub seccomp_profile: Option<Profile>,
    pub app_armor_profile: Option<Profile>,
    pub se_linux_options: Option<SeLinuxOptions>,
    /// `Default` (masked) or `Unmasked`.
    pub proc_mount: Option<String>,
}

/// `Capabilities` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capabilities {
    #[serde(default)]
    pub add: Vec<String>,
    #[serde(default)]
    pub drop: Vec<String>,
}

/// `SeccompProfile` and `AppArmorProfile` of the Kubernetes API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Profile {
    /// `RuntimeDefault`, `Unconfined` or `Localhost`.
    pub r#type: String,
    /// For `Localhost`: absolute path of a seccomp profile, or name of a loaded AppArmor profile.
    pub localhost_profile: Option<String>,
}

/// `SELinuxOptions` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeLinuxOptions {
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub role: String,
    #[serde(default)]
    pub r#type: String,
    #[serde(default)]
    pub level: String,
}
