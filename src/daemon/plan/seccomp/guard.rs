//! Instructions in front of a filter: calls that are newer than the profile fail with ENOSYS.
//!
//! A profile cannot name calls that did not exist when it was written. Were they refused with the profile's
//! EPERM, C libraries would take that for the call's own answer; at ENOSYS they fall back to older calls
//! (moby issue 42680: fchmodat2, clone3, faccessat2 in newer images). runc does the same.

use libseccomp::{ScmpAction, ScmpArch, ScmpSyscall};
use oci_spec::runtime::{Arch, LinuxSeccomp};

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// Codes of linux/bpf_common.h: load a word; jump when equal, greater or equal, greater; return.
const LOAD: u16 = 0x20;
pub(super) const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
pub(super) const RETURN: u16 = 0x06;

/// The answer `SECCOMP_RET_ERRNO` with ENOSYS.
const RETURN_ENOSYS: u32 = 0x0005_0000 | 38;

/// The architecture of this build, where the numbering is known.
const NATIVE: Option<Arch> = if cfg!(target_arch = "x86_64") {
    Some(Arch::ScmpArchX86_64)
} else if cfg!(target_arch = "aarch64") {
    Some(Arch::ScmpArchAarch64)
} else {
    None
};

/// The guard for a profile: nothing where unnamed calls are allowed anyway.
pub(super) fn program(profile: &LinuxSeccomp, default: ScmpAction) -> Vec<u8> {
    let mut out = Vec::new();
    if matches!(default, ScmpAction::Allow | ScmpAction::Log) {
        return out;
    }
    for numbering in numberings(profile) {
        let Some(newest) = newest(profile, &numbering) else {
            continue;
        };
        // The filter proper and the next block load what they need, so falling through is always right.
        emit(&mut out, LOAD, (0, 0), ARCHITECTURE);
        emit(&mut out, JUMP_EQUAL, (0, 4), numbering.audit);
        emit(&mut out, LOAD, (0, 0), NUMBER);
        emit(&mut out, JUMP_GREATER_EQUAL, (2, 0), numbering.end);
        emit(&mut out, JUMP_GREATER, (0, 1), newest);
        emit(&mut out, RETURN, (0, 0), RETURN_ENOSYS);
    }
    out
}

/// How an architecture numbers its calls.
struct Numbering {
    arch: ScmpArch,
    /// The number `AUDIT_ARCH_*` of the architecture.
    audit: u32,
    /// Numbers from here on belong to something else: x32 on x86-64, private calls on Arm.
    end: u32,
}

fn numberings(profile: &LinuxSeccomp) -> Vec<Numbering> {
    let mut listed = profile.architectures().clone().unwrap_or_default();
    // libseccomp always adds the machine's own.
    let native = NATIVE.filter(|native| !listed.contains(native));
    listed.extend(native);
    let one = |arch: Arch| {
        let (scmp, end) = match arch {
            Arch::ScmpArchX86_64 => (ScmpArch::X8664, 0x4000_0000),
            Arch::ScmpArchX86 => (ScmpArch::X86, u32::MAX),
            Arch::ScmpArchArm => (ScmpArch::Arm, 0x000f_0000),
            Arch::ScmpArchAarch64 => (ScmpArch::Aarch64, u32::MAX),
            _ => return None,
        };
        // The values of OCI's architectures are those of linux/audit.h.
        Some(Numbering {
            arch: scmp,
            audit: arch as u32,
            end,
        })
    };
    listed.into_iter().filter_map(one).collect()
}

/// The highest number that the profile names.
fn newest(profile: &LinuxSeccomp, numbering: &Numbering) -> Option<u32> {
    let names = profile
        .syscalls()
        .iter()
        .flatten()
        .flat_map(|syscall| syscall.names());
    names
        .filter_map(|name| ScmpSyscall::from_name_by_arch(name, numbering.arch).ok())
        .filter_map(|syscall| u32::try_from(syscall.as_raw_syscall()).ok())
        .filter(|number| *number < numbering.end)
        .max()
}

/// Appends a `struct sock_filter` in the byte order of the machine.
pub(super) fn emit(out: &mut Vec<u8>, code: u16, (if_true, if_false): (u8, u8), operand: u32) {
    out.extend(code.to_ne_bytes());
    out.extend([if_true, if_false]);
    out.extend(operand.to_ne_bytes());
}
