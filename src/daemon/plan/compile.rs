//! From a container's Spec to the plan of its first process and of further ones.

use std::ffi::CString;
use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxSeccomp, Process as OciProcess, Spec};

use super::context::{PlanContext, Stdin};
use super::plan_error::{PlanError, refuse_any};
use super::process::{Surroundings, Terminal};
use super::seccomp::FilterCache;
use super::text::{absolute, layer};
use super::{devices, mounts, process};
use holdfast_wire::plan::{ContainerPlan, ExecPlan, PidNamespace, Propagation, TerminalSize};

/// A further process in a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecRequest<'a> {
    /// The command and its arguments.
    pub args: &'a [String],
    /// A terminal is its standard streams.
    pub terminal: bool,
    /// The size that the terminal begins with.
    pub terminal_size: Option<TerminalSize>,
    /// Exact values, as in [`PlanContext`].
    pub exact_env: &'a [(String, Vec<u8>)],
    /// The further profile, as in [`PlanContext`].
    pub seccomp_base: Option<&'a LinuxSeccomp>,
}

/// The launch plan of a container, without its hooks.
///
/// # Errors
/// [`PlanError`] names the field of the Spec.
pub(crate) fn compile(spec: &Spec, context: &PlanContext<'_>) -> Result<ContainerPlan, PlanError> {
    let linux = linux(spec)?;
    let own = NewNamespaces::from_linux(linux, context.joined_pid)?;
    refuse(spec)?;
    refuse_any(&[
        ("hostname", spec.hostname().is_some()),
        (
            "linux.sysctl",
            linux
                .sysctl()
                .as_ref()
                .is_some_and(|sysctls| !sysctls.is_empty()),
        ),
        (
            "linux.timeOffsets",
            linux
                .time_offsets()
                .as_ref()
                .is_some_and(|map| !map.is_empty()),
        ),
    ])?;
    let surroundings = Surroundings {
        seccomp: linux.seccomp().as_ref(),
        seccomp_base: context.seccomp_base,
        exact_env: context.exact_env,
        filters: context.filters,
    };
    let oci_mounts = spec.mounts().as_deref().unwrap_or_default();
    let (mounts, sealed) = mounts::compile(oci_mounts, context)?;
    let mut symlinks = mounts::cgroup_links(oci_mounts, context.cgroups)?;
    let mut nodes = Vec::new();
    // A /dev of the host has its nodes and links already.
    if !mounts::host_dev(&mounts) {
        nodes = devices::nodes(linux.devices().as_deref().unwrap_or_default())?;
        symlinks.extend(devices::links()?);
    }
    let mut readonly_paths = paths("linux.readonlyPaths", linux.readonly_paths())?;
    readonly_paths.extend(sealed);
    Ok(ContainerPlan {
        user: mounts::user_mappings(linux)?,
        pid: own.pid,
        new_cgroup: own.cgroup,
        lower: context
            .lower
            .iter()
            .map(|path| layer("lower", path))
            .collect::<Result<_, _>>()?,
        upper: layer("upper", context.upper)?,
        work: layer("work", context.work)?,
        readonly_rootfs: spec
            .root()
            .as_ref()
            .and_then(|root| root.readonly())
            .unwrap_or(false),
        rootfs_propagation: rootfs_propagation(linux)?,
        mounts,
        devices: nodes,
        symlinks,
        masked_paths: paths("linux.maskedPaths", linux.masked_paths())?,
        readonly_paths,
        process: process::compile(process_of(spec)?, &surroundings)?,
        stdin: context.stdin != Stdin::Null,
        stdin_once: context.stdin == Stdin::Once,
        new_uts: own.uts,
        new_ipc: own.ipc,
        join_cgroup: own.joins_cgroup,
        hooks: None,
    })
}

/// The launch plan of a further process: the container's own process with another command.
///
/// # Errors
/// [`PlanError`] names the field of the Spec.
pub(crate) fn exec(
    spec: &Spec,
    request: &ExecRequest<'_>,
    filters: &FilterCache,
) -> Result<ExecPlan, PlanError> {
    let linux = linux(spec)?;
    let terminal = if request.terminal {
        Terminal::Own
    } else {
        Terminal::None
    };
    let process = process::with_command(process_of(spec)?, request.args, terminal);
    let surroundings = Surroundings {
        seccomp: linux.seccomp().as_ref(),
        seccomp_base: request.seccomp_base,
        exact_env: request.exact_env,
        filters,
    };
    Ok(ExecPlan {
        user: mounts::user_mappings(linux)?,
        process: process::compile(&process, &surroundings)?,
        terminal_size: request.terminal_size,
    })
}

fn linux(spec: &Spec) -> Result<&Linux, PlanError> {
    spec.linux()
        .as_ref()
        .ok_or_else(|| PlanError::unsupported("linux", "it is missing"))
}

/// Returns the process of a Spec, or an error that names the field.
pub(super) fn process_of(spec: &Spec) -> Result<&OciProcess, PlanError> {
    spec.process()
        .as_ref()
        .ok_or_else(|| PlanError::unsupported("process", "it is missing"))
}

fn paths(field: &str, list: &Option<Vec<String>>) -> Result<Vec<CString>, PlanError> {
    list.iter()
        .flatten()
        .map(|path| absolute(field, Path::new(path)))
        .collect()
}

fn rootfs_propagation(linux: &Linux) -> Result<Propagation, PlanError> {
    match linux.rootfs_propagation().as_deref().unwrap_or_default() {
        "" | "private" | "rprivate" => Ok(Propagation::Private),
        "slave" | "rslave" => Ok(Propagation::Slave),
        "shared" | "rshared" => Ok(Propagation::Shared),
        other => {
            let reason = format!("{other:?} cannot be done");
            Err(PlanError::unsupported("linux.rootfsPropagation", reason))
        }
    }
}

/// The namespaces that a container makes itself; it joins all others of the pause.
struct NewNamespaces {
    pid: PidNamespace,
    cgroup: bool,
    joins_cgroup: bool,
    uts: bool,
    ipc: bool,
}

impl NewNamespaces {
    fn from_linux(linux: &Linux, joined_pid: Option<PidNamespace>) -> Result<Self, PlanError> {
        let mut own = Self {
            pid: PidNamespace::Host,
            cgroup: false,
            joins_cgroup: false,
            uts: false,
            ipc: false,
        };
        let mut mount = false;
        for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
            let kind = namespace.typ();
            let joined = namespace.path().is_some();
            let refused = |reason: String| {
                Err(PlanError::unsupported(
                    format!("linux.namespaces[{index}]"),
                    reason,
                ))
            };
            match (kind, joined) {
                (LinuxNamespaceType::Pid, false) => own.pid = PidNamespace::Own,
                (LinuxNamespaceType::Pid, true) => match joined_pid {
                    Some(pid @ (PidNamespace::Pod | PidNamespace::Container(_))) => own.pid = pid,
                    _ => return refused("it is not known whose pid namespace this is".to_owned()),
                },
                (LinuxNamespaceType::Cgroup, false) => own.cgroup = true,
                (LinuxNamespaceType::Cgroup, true) => own.joins_cgroup = true,
                (LinuxNamespaceType::Uts, false) => own.uts = true,
                (LinuxNamespaceType::Ipc, false) => own.ipc = true,
                (LinuxNamespaceType::Mount, false) => mount = true,
                (
                    LinuxNamespaceType::Network
                    | LinuxNamespaceType::Ipc
                    | LinuxNamespaceType::Uts
                    | LinuxNamespaceType::User
                    | LinuxNamespaceType::Time,
                    true,
                ) => {}
                (kind, true) => return refused(format!("a {kind} namespace cannot be joined")),
                (kind, false) => {
                    return refused(format!("a container has no own {kind} namespace"));
                }
            }
        }
        if !mount {
            let reason = "a container needs its own mount namespace";
            return Err(PlanError::unsupported("linux.namespaces", reason));
        }
        Ok(own)
    }
}

/// Parts of a Spec that neither a container nor a pause can have.
pub(super) fn refuse(spec: &Spec) -> Result<(), PlanError> {
    let linux = linux(spec)?;
    refuse_any(&[
        ("domainname", spec.domainname().is_some()),
        ("solaris", spec.solaris().is_some()),
        ("windows", spec.windows().is_some()),
        ("vm", spec.vm().is_some()),
        ("zos", spec.zos().is_some()),
        (
            "linux.netDevices",
            linux
                .net_devices()
                .as_ref()
                .is_some_and(|map| !map.is_empty()),
        ),
        (
            "linux.mountLabel",
            linux
                .mount_label()
                .as_ref()
                .is_some_and(|label| !label.is_empty()),
        ),
        ("linux.intelRdt", linux.intel_rdt().is_some()),
        ("linux.memoryPolicy", linux.memory_policy().is_some()),
        ("linux.personality", linux.personality().is_some()),
    ])
}
