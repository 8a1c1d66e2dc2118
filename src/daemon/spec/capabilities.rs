//! Capability sets of a container: the default fourteen, what the request adds and drops.

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

use super::{ContainerSecurity, SpecError};

/// All capabilities; the index is the number in capabilities(7).
const ALL: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// The capabilities of a container that asks for nothing else: the set of Docker and containerd.
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// The bounding set of a container that asks for nothing else. Every supported kernel has these capabilities.
pub(super) fn usual() -> Capabilities {
    DEFAULT.into_iter().collect()
}

/// The sets of a container on a kernel whose highest capability is `last_cap`.
///
/// Adding `ALL` comes first, dropping `ALL` second, single additions third and single drops last, as in
/// containerd. Capabilities that the kernel does not know are left out. The inheritable set holds nothing but
/// the ambient ones.
pub(super) fn sets(
    security: &ContainerSecurity,
    last_cap: u8,
) -> Result<LinuxCapabilities, SpecError> {
    let known = |cap: &Capability| {
        ALL.iter()
            .position(|known| known == cap)
            .is_some_and(|number| number <= usize::from(last_cap))
    };
    let all = || ALL.into_iter().filter(known).collect::<Capabilities>();
    let add = parse("capabilities.add_capabilities", &security.add_capabilities)?;
    let drop = parse(
        "capabilities.drop_capabilities",
        &security.drop_capabilities,
    )?;
    let ambient = parse(
        "capabilities.add_ambient_capabilities",
        &security.add_ambient_capabilities,
    )?;

    let mut base = if add.all || security.privileged {
        all()
    } else {
        DEFAULT.into_iter().filter(known).collect()
    };
    let mut ambient_set: Capabilities = ambient.single.into_iter().filter(known).collect();
    if ambient.all {
        ambient_set = all();
    }
    if !security.privileged {
        if drop.all {
            base.clear();
        }
        base.extend(add.single.into_iter().filter(known));
        base.retain(|cap| !drop.single.contains(cap));
        base.extend(ambient_set.iter().copied());
    }

    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(base.clone()))
        .set_effective(Some(base.clone()))
        .set_permitted(Some(base))
        .set_inheritable(Some(ambient_set.clone()))
        .set_ambient(Some(ambient_set));
    Ok(sets)
}

struct Names {
    all: bool,
    single: Vec<Capability>,
}

fn parse(field: &str, names: &[String]) -> Result<Names, SpecError> {
    let mut out = Names {
        all: false,
        single: Vec::new(),
    };
    for name in names {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if short == "ALL" {
            out.all = true;
            continue;
        }
        let cap = short.parse().map_err(|_| {
            let value = format!("{name:?}");
            SpecError::value(field, value, "give a name of capabilities(7), or ALL")
        })?;
        out.single.push(cap);
    }
    Ok(out)
}
