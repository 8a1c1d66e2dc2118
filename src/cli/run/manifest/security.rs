//! Who a container's processes are and what they may do.

use cri_api::runtime::v1::security_profile::ProfileType;
use cri_api::runtime::v1::{self as cri, SupplementalGroupsPolicy};

use super::manifest_error::ManifestError;
use super::pod::Pod;
use super::schema::{self, Container, Profile};

/// Paths below /proc and /sys that the kubelet hides unless procMount is Unmasked.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// Paths that the kubelet makes read-only.
const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The security context of a container, with what it takes over from the pod.
pub(super) fn security(
    field: &str,
    container: &Container,
    pod: &Pod<'_>,
) -> Result<cri::LinuxContainerSecurityContext, ManifestError> {
    let own = &container.security_context;
    let spec = pod.spec;
    let pod_context = &spec.security_context;
    let field = format!("{field}.securityContext");
    let number =
        |own: Option<i64>, pod: Option<i64>| own.or(pod).map(|value| cri::Int64Value { value });
    let seccomp_profile = own.seccomp_profile.as_ref();
    let seccomp_profile = seccomp_profile.or(pod_context.seccomp_profile.as_ref());
    let app_armor_profile = own.app_armor_profile.as_ref();
    let app_armor_profile = app_armor_profile.or(pod_context.app_armor_profile.as_ref());
    let label = own.se_linux_options.as_ref();
    let label = label.or(pod_context.se_linux_options.as_ref());
    let masked = masked(&field, own)?;
    let paths = |paths: &[&str]| {
        if masked {
            paths.iter().map(|path| (*path).to_owned()).collect()
        } else {
            Vec::new()
        }
    };
    Ok(cri::LinuxContainerSecurityContext {
        capabilities: Some(cri::Capability {
            add_capabilities: own.capabilities.add.clone(),
            drop_capabilities: own.capabilities.drop.clone(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged: own.privileged,
        namespace_options: Some(pod.namespaces.clone()),
        run_as_user: number(own.run_as_user, pod_context.run_as_user),
        run_as_group: number(own.run_as_group, pod_context.run_as_group),
        readonly_rootfs: own.read_only_root_filesystem,
        supplemental_groups: groups(pod_context),
        supplemental_groups_policy: groups_policy(pod_context)?.into(),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READONLY),
        seccomp: Some(seccomp(&field, seccomp_profile)?),
        apparmor: app_armor(&field, app_armor_profile)?,
        selinux_options: label.map(se_linux),
        ..Default::default()
    })
}

/// The supplementary groups of every container: the listed ones, and the one that owns the volumes.
fn groups(pod: &schema::PodSecurityContext) -> Vec<i64> {
    let mut groups = pod.supplemental_groups.clone();
    groups.extend(pod.fs_group.filter(|group| !groups.contains(group)));
    groups
}

/// A label as the CRI has it.
pub(super) fn se_linux(label: &schema::SeLinuxOptions) -> cri::SeLinuxOption {
    cri::SeLinuxOption {
        user: label.user.clone(),
        role: label.role.clone(),
        r#type: label.r#type.clone(),
        level: label.level.clone(),
    }
}

fn masked(field: &str, context: &schema::SecurityContext) -> Result<bool, ManifestError> {
    match context.proc_mount.as_deref() {
        None | Some("Default") => Ok(!context.privileged),
        Some("Unmasked") => Ok(false),
        Some(other) => Err(ManifestError::field(
            format!("{field}.procMount"),
            other,
            "give Default or Unmasked",
        )),
    }
}

fn groups_policy(
    pod: &schema::PodSecurityContext,
) -> Result<SupplementalGroupsPolicy, ManifestError> {
    match pod.supplemental_groups_policy.as_deref() {
        None | Some("Merge") => Ok(SupplementalGroupsPolicy::Merge),
        Some("Strict") => Ok(SupplementalGroupsPolicy::Strict),
        Some(other) => {
            let field = "spec.securityContext.supplementalGroupsPolicy";
            Err(ManifestError::field(field, other, "give Merge or Strict"))
        }
    }
}

/// Without a profile it is the runtime's default, the safer one of the two that kubelets are set up with.
fn seccomp(field: &str, profile: Option<&Profile>) -> Result<cri::SecurityProfile, ManifestError> {
    let Some(profile) = profile else {
        return Ok(cri::SecurityProfile::default());
    };
    let field = format!("{field}.seccompProfile");
    let kind = kind(&field, profile)?;
    let file = profile.localhost_profile.clone().unwrap_or_default();
    if (kind == ProfileType::Localhost) != file.starts_with('/') {
        let remedy = "give the absolute path of a profile with type Localhost, and only then";
        let field = format!("{field}.localhostProfile");
        return Err(ManifestError::field(field, file, remedy));
    }
    Ok(security_profile(kind, file))
}

/// Without a profile it is the daemon's choice, which depends on whether the kernel has AppArmor.
fn app_armor(
    field: &str,
    profile: Option<&Profile>,
) -> Result<Option<cri::SecurityProfile>, ManifestError> {
    let Some(profile) = profile else {
        return Ok(None);
    };
    let field = format!("{field}.appArmorProfile");
    let kind = kind(&field, profile)?;
    let name = profile.localhost_profile.clone().unwrap_or_default();
    if (kind == ProfileType::Localhost) == name.is_empty() {
        let remedy = "give the name of a loaded profile with type Localhost, and only then";
        let field = format!("{field}.localhostProfile");
        return Err(ManifestError::field(field, name, remedy));
    }
    Ok(Some(security_profile(kind, name)))
}

fn kind(field: &str, profile: &Profile) -> Result<ProfileType, ManifestError> {
    match profile.r#type.as_str() {
        "RuntimeDefault" => Ok(ProfileType::RuntimeDefault),
        "Unconfined" => Ok(ProfileType::Unconfined),
        "Localhost" => Ok(ProfileType::Localhost),
        other => {
            let remedy = "give RuntimeDefault, Unconfined or Localhost";
            Err(ManifestError::field(format!("{field}.type"), other, remedy))
        }
    }
}

fn security_profile(kind: ProfileType, localhost_ref: String) -> cri::SecurityProfile {
    cri::SecurityProfile {
        profile_type: kind.into(),
        localhost_ref,
        ..Default::default()
    }
}
