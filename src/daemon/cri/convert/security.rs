//! Security contexts of pods and containers, with the deprecated string fields as the fallback.

use cri_api::runtime::v1::security_profile::ProfileType;
use cri_api::runtime::v1::security_profile_base::BaseType;
use cri_api::runtime::v1::{
    self as cri, CgroupMountMode, SecurityProfileKind, SupplementalGroupsPolicy,
};

use super::FieldError;
use super::field::{id, ids, no_nul};
use super::namespace::{container_cgroup, container_pid};
use crate::spec::{
    AppArmorChoice, CgroupAccess, ContainerSecurity, GroupsPolicy, HostPath, NamespaceOptions,
    PodSecurity, PulledProfile, RequestedUser, RunAs, SeccompChoice, SelinuxOptions,
};

/// Checks that a kind of security profile can be pulled.
///
/// # Errors
/// [`FieldError`] for every other one.
pub(crate) fn profile_kind(number: i32) -> Result<(), FieldError> {
    match SecurityProfileKind::try_from(number) {
        Ok(SecurityProfileKind::Seccomp) => Ok(()),
        Ok(SecurityProfileKind::Unspecified) | Err(_) => {
            let remedy = "only seccomp profiles are pulled; give Seccomp (1)";
            Err(FieldError::invalid("profile_kind", number, remedy))
        }
    }
}

/// The prefix of a profile's file or name in the deprecated fields.
const LOCALHOST: &str = "localhost/";

/// The security context of a pod.
#[allow(deprecated, reason = "clients still send seccomp_profile_path")]
pub(super) fn pod_security(
    field: &str,
    context: Option<&cri::LinuxSandboxSecurityContext>,
) -> Result<PodSecurity, FieldError> {
    let Some(context) = context else {
        return Ok(PodSecurity::default());
    };
    let at = |name: &str| format!("{field}.{name}");
    let user = context
        .run_as_user
        .map(|user| id(&at("run_as_user"), user.value))
        .transpose()?;
    let group = context
        .run_as_group
        .map(|group| id(&at("run_as_group"), group.value))
        .transpose()?;
    if group.is_some() && user.is_none() {
        return Err(FieldError::missing(
            at("run_as_user"),
            "run_as_group needs it",
        ));
    }
    Ok(PodSecurity {
        run_as_user: user,
        run_as_group: group,
        supplemental_groups: ids(&at("supplemental_groups"), &context.supplemental_groups)?,
        supplemental_groups_policy: policy(
            &at("supplemental_groups_policy"),
            context.supplemental_groups_policy,
        )?,
        privileged: context.privileged,
        readonly_rootfs: context.readonly_rootfs,
        seccomp: seccomp(
            field,
            context.seccomp.as_ref(),
            &context.seccomp_profile_path,
        )?,
        apparmor: apparmor(field, context.apparmor.as_ref(), "")?,
        selinux: selinux(context.selinux_options.as_ref()),
    })
}

/// The security context of a container in a pod with these namespaces.
#[allow(
    deprecated,
    reason = "clients still send seccomp_profile_path and apparmor_profile"
)]
pub(super) fn container_security(
    field: &str,
    context: Option<&cri::LinuxContainerSecurityContext>,
    pod: &NamespaceOptions,
) -> Result<ContainerSecurity, FieldError> {
    let Some(context) = context else {
        return Ok(ContainerSecurity::default());
    };
    let at = |name: &str| format!("{field}.{name}");
    let none = cri::Capability::default();
    let capabilities = context.capabilities.as_ref().unwrap_or(&none);
    let list =
        |name: &str, list: &[String]| capability_list(&at(&format!("capabilities.{name}")), list);
    Ok(ContainerSecurity {
        add_capabilities: list("add_capabilities", &capabilities.add_capabilities)?,
        drop_capabilities: list("drop_capabilities", &capabilities.drop_capabilities)?,
        add_ambient_capabilities: list(
            "add_ambient_capabilities",
            &capabilities.add_ambient_capabilities,
        )?,
        privileged: context.privileged,
        pid: container_pid(
            &at("namespace_options"),
            context.namespace_options.as_ref(),
            pod,
        )?,
        run_as: run_as(field, context)?,
        readonly_rootfs: context.readonly_rootfs,
        no_new_privs: context.no_new_privs,
        masked_paths: no_nul(&at("masked_paths"), &context.masked_paths)?,
        readonly_paths: no_nul(&at("readonly_paths"), &context.readonly_paths)?,
        seccomp: seccomp(
            field,
            context.seccomp.as_ref(),
            &context.seccomp_profile_path,
        )?,
        apparmor: apparmor(field, context.apparmor.as_ref(), &context.apparmor_profile)?,
        selinux: selinux(context.selinux_options.as_ref()),
        cgroup_namespace: container_cgroup(
            &at("namespace_options"),
            context.namespace_options.as_ref(),
        )?,
        cgroup_access: cgroup_access(&at("cgroup_mount_mode"), context.cgroup_mount_mode)?,
    })
}

fn cgroup_access(field: &str, number: i32) -> Result<CgroupAccess, FieldError> {
    match CgroupMountMode::try_from(number) {
        Ok(CgroupMountMode::Unspecified) => Ok(CgroupAccess::Usual),
        Ok(CgroupMountMode::ReadOnly) => Ok(CgroupAccess::ReadOnly),
        Ok(CgroupMountMode::ReadWrite) => Ok(CgroupAccess::ReadWrite),
        Err(_) => {
            let remedy = "give CGROUP_MOUNT_MODE_UNSPECIFIED (0), READ_ONLY (1) or READ_WRITE (2)";
            Err(FieldError::invalid(field, number, remedy))
        }
    }
}

/// Which names exist is the kernel's to say; here only what can be no name is refused.
fn capability_list(field: &str, names: &[String]) -> Result<Vec<String>, FieldError> {
    let plain = |name: &String| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    match names.iter().position(|name| !plain(name)) {
        None => Ok(names.to_vec()),
        Some(index) => Err(FieldError::invalid(
            format!("{field}[{index}]"),
            &names[index],
            "give a name such as NET_ADMIN, CAP_NET_ADMIN or ALL",
        )),
    }
}

fn run_as(field: &str, context: &cri::LinuxContainerSecurityContext) -> Result<RunAs, FieldError> {
    let at = |name: &str| format!("{field}.{name}");
    let user = user(field, context)?;
    let group = context
        .run_as_group
        .map(|group| id(&at("run_as_group"), group.value))
        .transpose()?;
    if group.is_some() && user == RequestedUser::Image {
        let remedy = "run_as_group needs it or run_as_username";
        return Err(FieldError::missing(at("run_as_user"), remedy));
    }
    Ok(RunAs {
        user,
        group,
        supplemental_groups: ids(&at("supplemental_groups"), &context.supplemental_groups)?,
        policy: policy(
            &at("supplemental_groups_policy"),
            context.supplemental_groups_policy,
        )?,
    })
}

/// A name of digits alone is a number and never looked up: otherwise a number too large to be an id
/// could be found as a name in the image's files.
fn user(
    field: &str,
    context: &cri::LinuxContainerSecurityContext,
) -> Result<RequestedUser, FieldError> {
    let at = |name: &str| format!("{field}.{name}");
    let name = context.run_as_username.as_str();
    match context.run_as_user {
        Some(_) if !name.is_empty() => {
            let remedy = "run_as_user is set as well; give only one of them";
            Err(FieldError::invalid(at("run_as_username"), name, remedy))
        }
        Some(user) => id(&at("run_as_user"), user.value).map(RequestedUser::Id),
        None if name.is_empty() => Ok(RequestedUser::Image),
        None if name.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = name.parse().unwrap_or(i64::MAX);
            id(&at("run_as_username"), number).map(RequestedUser::Id)
        }
        None if name.contains(['\0', '\n', ':']) => {
            let remedy = "give a name as in /etc/passwd, without a colon";
            Err(FieldError::invalid(at("run_as_username"), name, remedy))
        }
        None => Ok(RequestedUser::Name(name.to_owned())),
    }
}

fn policy(field: &str, number: i32) -> Result<GroupsPolicy, FieldError> {
    match SupplementalGroupsPolicy::try_from(number) {
        Ok(SupplementalGroupsPolicy::Merge) => Ok(GroupsPolicy::Merge),
        Ok(SupplementalGroupsPolicy::Strict) => Ok(GroupsPolicy::Strict),
        Err(_) => Err(FieldError::invalid(
            field,
            number,
            "give Merge (0) or Strict (1)",
        )),
    }
}

/// A missing message means no filter; one with only zero values means the default profile.
fn seccomp(
    field: &str,
    profile: Option<&cri::SecurityProfile>,
    deprecated: &str,
) -> Result<SeccompChoice, FieldError> {
    let Some(profile) = profile else {
        return deprecated_seccomp(&format!("{field}.seccomp_profile_path"), deprecated);
    };
    let file = format!("{field}.seccomp.localhost_ref");
    let kind = ProfileType::try_from(profile.profile_type);
    if kind != Ok(ProfileType::Oci) {
        no_pulled_profile(&format!("{field}.seccomp"), profile)?;
    }
    match kind {
        Ok(ProfileType::RuntimeDefault) => Ok(SeccompChoice::RuntimeDefault),
        Ok(ProfileType::Unconfined) => Ok(SeccompChoice::Unconfined),
        Ok(ProfileType::Localhost) => Ok(SeccompChoice::Localhost(HostPath::new(
            &file,
            profile
                .localhost_ref
                .strip_prefix(LOCALHOST)
                .unwrap_or(&profile.localhost_ref),
        )?)),
        Ok(ProfileType::Oci) => {
            let pulled = pulled_profile(&format!("{field}.seccomp"), profile)?;
            Ok(SeccompChoice::Oci(Box::new(pulled)))
        }
        Err(_) => Err(FieldError::invalid(
            format!("{field}.seccomp.profile_type"),
            profile.profile_type,
            "give RuntimeDefault (0), Unconfined (1), Localhost (2) or OCI (3)",
        )),
    }
}

/// Fields that only a profile of type OCI has.
fn no_pulled_profile(field: &str, profile: &cri::SecurityProfile) -> Result<(), FieldError> {
    let remedy = "the field is only for profile_type OCI (3); leave it out";
    if !profile.oci_ref.is_empty() {
        let field = format!("{field}.oci_ref");
        return Err(FieldError::invalid(field, &profile.oci_ref, remedy));
    }
    if profile.base_profile.is_some() {
        let field = format!("{field}.base_profile");
        return Err(FieldError::invalid(field, "a base profile", remedy));
    }
    Ok(())
}

/// A profile of type OCI. Whether its reference can be one is the store's to say.
fn pulled_profile(
    field: &str,
    profile: &cri::SecurityProfile,
) -> Result<PulledProfile, FieldError> {
    if profile.oci_ref.is_empty() {
        let remedy = "give the reference of a profile that was pulled, NAME@sha256:…";
        return Err(FieldError::missing(format!("{field}.oci_ref"), remedy));
    }
    if !profile.localhost_ref.is_empty() {
        let remedy = "the field is only for profile_type Localhost (2); leave it out";
        let field = format!("{field}.localhost_ref");
        return Err(FieldError::invalid(field, &profile.localhost_ref, remedy));
    }
    Ok(PulledProfile {
        reference: profile.oci_ref.clone(),
        base: base_profile(field, profile.base_profile.as_ref())?,
        pinned: None,
    })
}

fn base_profile(
    field: &str,
    base: Option<&cri::SecurityProfileBase>,
) -> Result<Option<HostPath>, FieldError> {
    let Some(base) = base else {
        return Ok(None);
    };
    let file = format!("{field}.base_profile.localhost_ref");
    match BaseType::try_from(base.r#type) {
        Ok(BaseType::RuntimeDefault) if base.localhost_ref.is_empty() => Ok(None),
        Ok(BaseType::RuntimeDefault) => {
            let remedy = "the field is only for a base of type Localhost (1); leave it out";
            Err(FieldError::invalid(file, &base.localhost_ref, remedy))
        }
        Ok(BaseType::Localhost) => {
            let path = &base.localhost_ref;
            let path = path.strip_prefix(LOCALHOST).unwrap_or(path);
            Ok(Some(HostPath::new(&file, path)?))
        }
        Err(_) => Err(FieldError::invalid(
            format!("{field}.base_profile.type"),
            base.r#type,
            "give RuntimeDefault (0) or Localhost (1)",
        )),
    }
}

fn deprecated_seccomp(field: &str, text: &str) -> Result<SeccompChoice, FieldError> {
    match text {
        "" | "unconfined" => Ok(SeccompChoice::Unconfined),
        "runtime/default" | "docker/default" => Ok(SeccompChoice::RuntimeDefault),
        _ => match text.strip_prefix(LOCALHOST) {
            Some(file) => Ok(SeccompChoice::Localhost(HostPath::new(field, file)?)),
            None => Err(deprecated_profile(field, text)),
        },
    }
}

fn apparmor(
    field: &str,
    profile: Option<&cri::SecurityProfile>,
    deprecated: &str,
) -> Result<AppArmorChoice, FieldError> {
    let Some(profile) = profile else {
        let field = format!("{field}.apparmor_profile");
        return match deprecated {
            // Unlike with seccomp, a request that says nothing gets the default, as with containerd.
            "" | "runtime/default" => Ok(AppArmorChoice::RuntimeDefault),
            "unconfined" => Ok(AppArmorChoice::Unconfined),
            text if text.starts_with(LOCALHOST) => loaded_profile(&field, text),
            text => Err(deprecated_profile(&field, text)),
        };
    };
    let kind = ProfileType::try_from(profile.profile_type);
    if kind == Ok(ProfileType::Oci) {
        let remedy = "only seccomp profiles are pulled; give RuntimeDefault (0), Unconfined (1) or Localhost (2)";
        let field = format!("{field}.apparmor.profile_type");
        return Err(FieldError::invalid(field, "OCI", remedy));
    }
    no_pulled_profile(&format!("{field}.apparmor"), profile)?;
    match kind {
        Ok(ProfileType::RuntimeDefault) => Ok(AppArmorChoice::RuntimeDefault),
        Ok(ProfileType::Unconfined) => Ok(AppArmorChoice::Unconfined),
        Ok(ProfileType::Localhost) => loaded_profile(
            &format!("{field}.apparmor.localhost_ref"),
            &profile.localhost_ref,
        ),
        Ok(ProfileType::Oci) | Err(_) => Err(FieldError::invalid(
            format!("{field}.apparmor.profile_type"),
            profile.profile_type,
            "give RuntimeDefault (0), Unconfined (1) or Localhost (2)",
        )),
    }
}

/// The name of a loaded profile; clients put `localhost/` in front of it in old and new fields.
fn loaded_profile(field: &str, text: &str) -> Result<AppArmorChoice, FieldError> {
    let name = text.strip_prefix(LOCALHOST).unwrap_or(text);
    if name.is_empty() {
        return Err(FieldError::missing(
            field,
            "give the name of a loaded AppArmor profile",
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(FieldError::invalid(
            field,
            name,
            "give a name without control characters",
        ));
    }
    Ok(AppArmorChoice::Localhost(name.to_owned()))
}

fn deprecated_profile(field: &str, text: &str) -> FieldError {
    FieldError::invalid(
        field,
        text,
        "give runtime/default, unconfined or localhost/PROFILE",
    )
}

fn selinux(options: Option<&cri::SeLinuxOption>) -> Option<SelinuxOptions> {
    let options = options?;
    let selinux = SelinuxOptions {
        user: options.user.clone(),
        role: options.role.clone(),
        kind: options.r#type.clone(),
        level: options.level.clone(),
    };
    (selinux != SelinuxOptions::default()).then_some(selinux)
}
