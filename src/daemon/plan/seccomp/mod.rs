//! Compiles OCI seccomp profiles to BPF and keeps the last ones.
//!
//! ```text
//!   LinuxSeccomp ─▶ libseccomp ─▶ program ─▶ guard in front ─▶ SeccompFilter (bytes, flags)
//! ```
//!
//! Compiling takes milliseconds and most containers have one of two or three profiles, so compiled filters are
//! kept. Names of system calls that libseccomp does not know are skipped; the [`guard`] lets newer calls fail
//! in the way that C libraries have a fallback for.

mod allowance;
mod filter_error;
mod guard;
mod intersect;
mod program;

pub(super) use allowance::with_allowed;
pub(crate) use filter_error::{FilterError, FilterPart};
#[cfg(test)]
pub(super) use intersect::intersect;

use std::collections::VecDeque;
use std::io::{Read, Seek};
use std::sync::{Mutex, PoisonError};

use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};

use holdfast_wire::plan::SeccompFilter;
use program::{FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_TSYNC, INSTRUCTION, MAX_INSTRUCTIONS};

/// How many compiled filters are kept.
pub(crate) const MAX_FILTERS: usize = 32;

/// `EPERM`: what a refused call returns unless the profile says otherwise.
const EPERM: u32 = 1;

/// Highest number that a refused call can return: libseccomp takes no more, and what is above would be an address.
const MAX_ERRNO: u16 = 4094;

/// Compiled filters by profile: the last [`MAX_FILTERS`] that were used.
#[derive(Debug, Default)]
pub(crate) struct FilterCache {
    /// The latest is last.
    filters: Mutex<VecDeque<(LinuxSeccomp, SeccompFilter)>>,
}

impl FilterCache {
    /// The filter of a profile, compiled when it is new. Meanwhile others wait: they mostly want the same.
    ///
    /// # Errors
    /// [`FilterError`] when the profile cannot be compiled.
    pub(crate) fn get(&self, profile: &LinuxSeccomp) -> Result<SeccompFilter, FilterError> {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        let found = filters.iter().position(|(known, _)| known == profile);
        let entry = match found.and_then(|at| filters.remove(at)) {
            Some(entry) => entry,
            None => (profile.clone(), compile(profile)?),
        };
        let filter = entry.1.clone();
        if filters.len() >= MAX_FILTERS {
            filters.pop_front();
        }
        filters.push_back(entry);
        Ok(filter)
    }

    /// The filter of a profile; with a base it allows what the base allows as well.
    ///
    /// # Errors
    /// As [`FilterCache::get`] of one of them, and the two together may be too long.
    pub(crate) fn get_within(
        &self,
        profile: &LinuxSeccomp,
        base: Option<&LinuxSeccomp>,
    ) -> Result<SeccompFilter, (FilterPart, FilterError)> {
        let with_part = |part| move |error| (part, error);
        let filter = self.get(profile).map_err(with_part(FilterPart::Profile))?;
        let Some(base) = base else {
            return Ok(filter);
        };
        let base = self.get(base).map_err(with_part(FilterPart::Base))?;
        intersect::intersect(&filter, &base).map_err(with_part(FilterPart::Both))
    }

    /// Returns the number of filters that are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.filters.lock().unwrap().len()
    }
}

/// Compiles a profile.
///
/// # Errors
/// [`FilterError`]
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<SeccompFilter, FilterError> {
    if profile.listener_path().is_some() {
        let listener = "a listener for notifications".to_owned();
        return Err(FilterError::Unsupported(listener).at("$.listenerPath"));
    }
    let default = action(profile.default_action(), profile.default_errno_ret())
        .map_err(|error| error.at("$.defaultAction"))?;
    let mut context = ScmpFilterContext::new(default).map_err(library("start a filter"))?;
    for arch in profile.architectures().iter().flatten() {
        let arch = architecture(*arch).map_err(|error| error.at("$.architectures"))?;
        context
            .add_arch(arch)
            .map_err(library(format!("add architecture {arch:?}")))?;
    }
    // A binary search instead of a chain of comparisons; the library may be too old for it.
    let _ = context.set_ctl_optimize(2);
    for (index, syscall) in profile.syscalls().iter().flatten().enumerate() {
        add(&mut context, syscall, default)
            .map_err(|error| error.at(format!("$.syscalls[{index}]")))?;
    }
    let mut program = guard::program(profile, default);
    program.extend(export(&context)?);
    let instructions = program.len() / INSTRUCTION;
    if instructions > MAX_INSTRUCTIONS {
        return Err(FilterError::TooLong(instructions));
    }
    Ok(SeccompFilter {
        program,
        flags: flags(profile).map_err(|error| error.at("$.flags"))?,
    })
}

fn library(step: impl Into<String>) -> impl FnOnce(SeccompError) -> FilterError {
    let step = step.into();
    |source| FilterError::Library { step, source }
}

fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, FilterError> {
    let descriptor = memfd_create(c"seccomp", MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| FilterError::Memory("make", errno.into()))?;
    let mut file = std::fs::File::from(descriptor);
    context
        .export_bpf(&file)
        .map_err(library("export the filter"))?;
    file.rewind()
        .map_err(|error| FilterError::Memory("rewind", error))?;
    let mut program = Vec::new();
    file.read_to_end(&mut program)
        .map_err(|error| FilterError::Memory("read", error))?;
    Ok(program)
}

/// Adds the rules of one entry. Names that the library does not know are skipped, as in runc.
fn add(
    context: &mut ScmpFilterContext,
    syscall: &LinuxSyscall,
    default: ScmpAction,
) -> Result<(), FilterError> {
    let action = action(syscall.action(), syscall.errno_ret())?;
    // The library refuses rules that repeat the default.
    if action == default {
        return Ok(());
    }
    let args = syscall.args().as_deref().unwrap_or_default();
    let conditions = args.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    // A rule may look at an argument once; an entry that does it twice means either.
    let twice = |arg: &LinuxSeccompArg| {
        args.iter()
            .filter(|other| other.index() == arg.index())
            .count()
            > 1
    };
    let either = args.iter().any(twice);
    for name in syscall.names() {
        let Ok(number) = ScmpSyscall::from_name(name) else {
            continue;
        };
        let step = || format!("add a rule for {name}");
        if either {
            for one in &conditions {
                let one = std::slice::from_ref(one);
                context
                    .add_rule_conditional(action, number, one)
                    .map_err(library(step()))?;
            }
        } else {
            context
                .add_rule_conditional(action, number, &conditions)
                .map_err(library(step()))?;
        }
    }
    Ok(())
}

fn condition(arg: &LinuxSeccompArg) -> Result<ScmpArgCompare, FilterError> {
    let index = u32::try_from(arg.index())
        .ok()
        .filter(|index| *index < 6)
        .ok_or_else(|| {
            FilterError::Number(format!(
                "args: index {} is no argument of a system call; give 0 to 5",
                arg.index()
            ))
        })?;
    let (op, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        LinuxSeccompOperator::ScmpCmpMaskedEq => (
            ScmpCompareOp::MaskedEqual(arg.value()),
            arg.value_two().unwrap_or(0),
        ),
    };
    Ok(ScmpArgCompare::new(index, op, value))
}

fn action(action: LinuxSeccompAction, value: Option<u32>) -> Result<ScmpAction, FilterError> {
    let value = value.unwrap_or(EPERM);
    let small = |most: u16| {
        let known = u16::try_from(value).ok().filter(|value| *value <= most);
        known.ok_or_else(|| {
            FilterError::Number(format!("errnoRet {value} is too high; give {most} at most"))
        })
    };
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            ScmpAction::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(i32::from(small(MAX_ERRNO)?)),
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(small(u16::MAX)?),
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActNotify => {
            return Err(FilterError::Unsupported(
                "action SCMP_ACT_NOTIFY".to_owned(),
            ));
        }
    })
}

/// Without flags, speculative store bypass stays as it is: the mitigation slows every process with a filter
/// and is meant for those who ask for it (runc does the same).
fn flags(profile: &LinuxSeccomp) -> Result<u32, FilterError> {
    let Some(flags) = profile.flags() else {
        return Ok(FLAG_SPEC_ALLOW);
    };
    let mut out = 0;
    for flag in flags {
        out |= match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => FLAG_TSYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                return Err(FilterError::Unsupported(format!("flag {flag}")));
            }
        };
    }
    Ok(out)
}

fn architecture(arch: Arch) -> Result<ScmpArch, FilterError> {
    Ok(match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        other => return Err(FilterError::Unsupported(format!("architecture {other}"))),
    })
}
