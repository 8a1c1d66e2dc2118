//! Which seccomp filter, AppArmor profile and SELinux label confine a process.

use oci_spec::runtime::{Capabilities, LinuxSeccomp, Spec};

use super::seccomp::default_profile;
use super::{
    AppArmorChoice, HostFacts, PodSpecRequest, SeccompChoice, SpecError, SpecRequest, capabilities,
};

/// The filter of a container; a privileged one has none.
pub(super) fn seccomp(
    request: &SpecRequest<'_>,
    bounding: &Capabilities,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    let security = &request.container.security;
    if security.privileged {
        return Ok(None);
    }
    profile(&security.seccomp, request.localhost_seccomp, || {
        default_profile(bounding, request.host.kernel)
    })
}

/// The filters of a pause and of a container that ask for nothing special: worth compiling ahead.
pub(crate) fn usual_filters(host: &HostFacts) -> [LinuxSeccomp; 2] {
    [Capabilities::new(), capabilities::usual()]
        .map(|bounding| default_profile(&bounding, host.kernel))
}

/// The filter of the pause.
pub(super) fn pause_seccomp(
    request: &PodSpecRequest<'_>,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    let security = &request.pod.security;
    if security.privileged {
        return Ok(None);
    }
    profile(&security.seccomp, request.localhost_seccomp, || {
        default_profile(&Capabilities::new(), request.host.kernel)
    })
}

fn profile(
    choice: &SeccompChoice,
    localhost: Option<&LinuxSeccomp>,
    default: impl FnOnce() -> LinuxSeccomp,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    match choice {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::RuntimeDefault => Ok(Some(default())),
        SeccompChoice::Localhost(path) => localhost.cloned().map(Some).ok_or_else(|| {
            let reason = format!("the profile {:?} was not loaded", path.as_str());
            SpecError::invalid("linux.security_context.seccomp.localhost_ref", reason)
        }),
        SeccompChoice::Oci(pulled) => match &pulled.pinned {
            Some(pinned) => Ok(Some(pinned.profile.clone())),
            None => {
                let reason = format!("the profile {:?} was not looked for", pulled.reference);
                let field = "linux.security_context.seccomp.oci_ref";
                Err(SpecError::invalid(field, reason))
            }
        },
    }
}

/// The profile that must allow a system call besides the filter of the Spec. OCI has no field for it.
pub(crate) fn seccomp_base(
    choice: &SeccompChoice,
    spec: &Spec,
    host: &HostFacts,
) -> Option<LinuxSeccomp> {
    let SeccompChoice::Oci(pulled) = choice else {
        return None;
    };
    // A privileged container has no filter at all.
    spec.linux().as_ref()?.seccomp().as_ref()?;
    let file = pulled
        .pinned
        .as_ref()
        .and_then(|pinned| pinned.base.clone());
    let capabilities = || spec.process().as_ref()?.capabilities().as_ref();
    let default = || {
        let bounding = capabilities().and_then(|sets| sets.bounding().clone());
        default_profile(&bounding.unwrap_or_default(), host.kernel)
    };
    Some(file.unwrap_or_else(default))
}

/// The default profile applies where the daemon has loaded one; a profile by name has to be enforceable.
pub(super) fn apparmor(request: &SpecRequest<'_>) -> Result<Option<String>, SpecError> {
    let security = &request.container.security;
    match &security.apparmor {
        _ if security.privileged => Ok(None),
        AppArmorChoice::Unconfined => Ok(None),
        AppArmorChoice::RuntimeDefault => Ok(request.host.apparmor_default.clone()),
        AppArmorChoice::Localhost(name) if request.host.apparmor => Ok(Some(name.clone())),
        AppArmorChoice::Localhost(name) => Err(SpecError::unsupported(
            "linux.security_context.apparmor",
            format!("the AppArmor profile {name:?}, as its kernel has no AppArmor"),
        )),
    }
}

/// The container's own label, else the pod's. Nodes without SELinux ignore labels, as containerd does.
pub(super) fn selinux(request: &SpecRequest<'_>) -> Result<Option<String>, SpecError> {
    let security = &request.container.security;
    let options = security
        .selinux
        .as_ref()
        .or(request.pod.security.selinux.as_ref());
    let Some(options) = options.filter(|_| request.host.selinux && !security.privileged) else {
        return Ok(None);
    };
    let parts = [&options.user, &options.role, &options.kind];
    if parts
        .iter()
        .any(|part| part.is_empty() || part.contains(':'))
    {
        let reason = "give user, role and type, none of them with a colon";
        return Err(SpecError::invalid(
            "linux.security_context.selinux_options",
            reason,
        ));
    }
    let level = if options.level.is_empty() {
        "s0"
    } else {
        &options.level
    };
    Ok(Some(format!(
        "{}:{}:{}:{level}",
        options.user, options.role, options.kind
    )))
}
