//! The process of a Spec: arguments, what PATH makes of them, credentials, limits.

use std::ffi::CString;

use oci_spec::runtime::{
    Capabilities as CapabilitySet, Capability, LinuxSeccomp, PosixRlimitType, Process as OciProcess,
};

use super::plan_error::{PlanError, refuse_any};
use super::seccomp::FilterCache;
use super::text::{absolute, c_string};
use holdfast_wire::plan::{Capabilities, Process};

/// The search path of a process whose environment has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Parts of a Spec that concern the process and stand outside its `process`.
pub(super) struct Surroundings<'a> {
    /// The profile in `linux.seccomp`.
    pub(super) seccomp: Option<&'a LinuxSeccomp>,
    /// A second profile, which also has to allow each call.
    pub(super) seccomp_base: Option<&'a LinuxSeccomp>,
    /// Values of variables that are not UTF-8.
    pub(super) exact_env: &'a [(String, Vec<u8>)],
    /// The cache of compiled filters.
    pub(super) filters: &'a FilterCache,
}

/// The process as the launcher starts it.
pub(super) fn compile(
    process: &OciProcess,
    surroundings: &Surroundings<'_>,
) -> Result<Process, PlanError> {
    refuse(process)?;
    let args = process.args().as_deref().unwrap_or_default();
    let env = process.env().as_deref().unwrap_or_default();
    let user = process.user();
    let seccomp = surroundings
        .seccomp
        .map(|profile| {
            let base = surroundings.seccomp_base;
            surroundings.filters.get_within(profile, base)
        })
        .transpose()?;
    let sets = process.capabilities().as_ref();
    let mask = |set: Option<&Option<CapabilitySet>>| {
        set.and_then(Option::as_ref)
            .map_or(0, |set| set.iter().map(bit).sum())
    };
    let optional = |field, text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(|text| c_string(field, text)).transpose()
    };
    Ok(Process {
        candidates: candidates(args, env)?,
        args: strings("process.args", args)?,
        env: environment(env, surroundings.exact_env)?,
        cwd: absolute("process.cwd", process.cwd())?,
        terminal: process.terminal().unwrap_or(false),
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask(),
        capabilities: Capabilities {
            bounding: mask(sets.map(|sets| sets.bounding())),
            effective: mask(sets.map(|sets| sets.effective())),
            permitted: mask(sets.map(|sets| sets.permitted())),
            inheritable: mask(sets.map(|sets| sets.inheritable())),
            ambient: mask(sets.map(|sets| sets.ambient())),
        },
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        seccomp,
        apparmor: optional("process.apparmorProfile", process.apparmor_profile())?,
        selinux: optional("process.selinuxLabel", process.selinux_label())?,
        rlimits: rlimits(process),
        oom_score_adj: process.oom_score_adj(),
    })
}

fn refuse(process: &OciProcess) -> Result<(), PlanError> {
    let wishes = [
        ("process.consoleSize", process.console_size().is_some()),
        ("process.ioPriority", process.io_priority().is_some()),
        ("process.scheduler", process.scheduler().is_some()),
        (
            "process.execCPUAffinity",
            process.exec_cpu_affinity().is_some(),
        ),
        ("process.commandLine", process.command_line().is_some()),
    ];
    refuse_any(&wishes)
}

/// The paths that execvp(3) would try, in order. Directories of PATH that are not absolute are left out: what they mean
/// depends on the working directory, which an image chooses.
fn candidates(args: &[String], env: &[String]) -> Result<Vec<CString>, PlanError> {
    let field = "process.args[0]";
    let Some(program) = args.first().filter(|program| !program.is_empty()) else {
        return Err(PlanError::unsupported(field, "there is no program to run"));
    };
    if program.contains('/') {
        return Ok(vec![c_string(field, program.as_str())?]);
    }
    let path = env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut out: Vec<CString> = Vec::new();
    for directory in path
        .split(':')
        .filter(|directory| directory.starts_with('/'))
    {
        let candidate = c_string(
            field,
            format!("{}/{program}", directory.trim_end_matches('/')),
        )?;
        if !out.contains(&candidate) {
            out.push(candidate);
        }
    }
    if out.is_empty() {
        let reason =
            format!("{program:?} cannot be found: PATH={path:?} has no absolute directory");
        return Err(PlanError::unsupported(field, reason));
    }
    Ok(out)
}

fn strings(field: &str, texts: &[String]) -> Result<Vec<CString>, PlanError> {
    let one =
        |(index, text): (usize, &String)| c_string(&format!("{field}[{index}]"), text.as_str());
    texts.iter().enumerate().map(one).collect()
}

/// The variables, with the exact bytes where the Spec has nothing but their readable form.
fn environment(env: &[String], exact: &[(String, Vec<u8>)]) -> Result<Vec<CString>, PlanError> {
    let mut out = Vec::with_capacity(env.len());
    for (index, entry) in env.iter().enumerate() {
        let field = format!("process.env[{index}]");
        let Some((name, value)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let reason = format!("{entry:?} is not like NAME=value");
            return Err(PlanError::unsupported(field, reason));
        };
        // A Spec that was changed on the way, by a device's description for instance, counts as it is.
        let bytes = exact
            .iter()
            .rev()
            .find(|(known, bytes)| known == name && String::from_utf8_lossy(bytes) == value);
        out.push(match bytes {
            Some((_, bytes)) => c_string(&field, [name.as_bytes(), b"=", bytes].concat())?,
            None => c_string(&field, entry.as_str())?,
        });
    }
    Ok(out)
}

fn rlimits(process: &OciProcess) -> Vec<(u32, u64, u64)> {
    let limits = process.rlimits().as_deref().unwrap_or_default();
    limits
        .iter()
        .map(|limit| (resource(limit.typ()), limit.soft(), limit.hard()))
        .collect()
}

/// Numbers of resources: asm-generic/resource.h, the same on x86-64 and aarch64.
fn resource(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    }
}

/// The bit of a capability: linux/capability.h.
fn bit(cap: &Capability) -> u64 {
    let number = match cap {
        Capability::Chown => 0,
        Capability::DacOverride => 1,
        Capability::DacReadSearch => 2,
        Capability::Fowner => 3,
        Capability::Fsetid => 4,
        Capability::Kill => 5,
        Capability::Setgid => 6,
        Capability::Setuid => 7,
        Capability::Setpcap => 8,
        Capability::LinuxImmutable => 9,
        Capability::NetBindService => 10,
        Capability::NetBroadcast => 11,
        Capability::NetAdmin => 12,
        Capability::NetRaw => 13,
        Capability::IpcLock => 14,
        Capability::IpcOwner => 15,
        Capability::SysModule => 16,
        Capability::SysRawio => 17,
        Capability::SysChroot => 18,
        Capability::SysPtrace => 19,
        Capability::SysPacct => 20,
        Capability::SysAdmin => 21,
        Capability::SysBoot => 22,
        Capability::SysNice => 23,
        Capability::SysResource => 24,
        Capability::SysTime => 25,
        Capability::SysTtyConfig => 26,
        Capability::Mknod => 27,
        Capability::Lease => 28,
        Capability::AuditWrite => 29,
        Capability::AuditControl => 30,
        Capability::Setfcap => 31,
        Capability::MacOverride => 32,
        Capability::MacAdmin => 33,
        Capability::Syslog => 34,
        Capability::WakeAlarm => 35,
        Capability::BlockSuspend => 36,
        Capability::AuditRead => 37,
        Capability::Perfmon => 38,
        Capability::Bpf => 39,
        Capability::CheckpointRestore => 40,
    };
    1 << number
}

/// The same process with another command: what exec makes of a container's own process.
pub(super) fn with_command(
    process: &OciProcess,
    args: &[String],
    terminal: Terminal,
) -> OciProcess {
    let mut out = process.clone();
    out.set_args(Some(args.to_vec()))
        .set_terminal(Some(terminal == Terminal::Own));
    if terminal == Terminal::Own {
        let env = out.env_mut().get_or_insert_default();
        if !env.iter().any(|entry| entry.starts_with("TERM=")) {
            env.push("TERM=xterm".to_owned());
        }
    }
    out
}

/// Whether a process gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminal {
    /// The process has a terminal of its own.
    Own,
    /// The process has pipes or files.
    None,
}
