//! The built-in default profile.
//!
//! The default profile lists what is allowed; everything else fails with EPERM. It follows the profile of
//! containerd and Docker call by call, so that an image that works there works here.

use std::collections::HashSet;

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};

use super::table;

/// Flags of clone(2) that make a namespace: refused without `CAP_SYS_ADMIN`.
const NAMESPACE_FLAGS: u64 = 0x0002_0000 // CLONE_NEWNS
    | 0x0200_0000 // CLONE_NEWCGROUP
    | 0x0400_0000 // CLONE_NEWUTS
    | 0x0800_0000 // CLONE_NEWIPC
    | 0x1000_0000 // CLONE_NEWUSER
    | 0x2000_0000 // CLONE_NEWPID
    | 0x4000_0000; // CLONE_NEWNET

/// Values of personality(2): PER_LINUX, PER_LINUX32, both with UNAME26, and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `AF_ALG`, the cryptography of the kernel: the first family of socket(2) that is refused. All below are allowed.
const AF_ALG: u64 = 38;

/// Families above `AF_ALG` that are allowed: NFC, KCM, QIPCRTR, SMC, XDP and MCTP. `AF_VSOCK` (40), which reaches the
/// host of a virtual machine past the network namespace, is not, and neither is what later kernels may bring.
const LATER_FAMILIES: [u64; 6] = [39, 41, 42, 43, 44, 45];

/// Error number `ENOSYS` of Linux.
const ENOSYS: u32 = 38;

/// The default profile for a container with the bounding set `caps` on a kernel (major, minor).
pub(crate) fn default_profile(caps: &HashSet<Capability>, kernel: (u32, u32)) -> LinuxSeccomp {
    let mut rules = vec![allow(table::ALWAYS)];
    // Only socket(2) itself: socketcall(2) of 32-bit programs has its arguments in memory, where no filter can look.
    let below = argument(0, LinuxSeccompOperator::ScmpCmpLt, AF_ALG);
    rules.push(allow_if("socket", below));
    for family in LATER_FAMILIES {
        let equal = argument(0, LinuxSeccompOperator::ScmpCmpEq, family);
        rules.push(allow_if("socket", equal));
    }
    for value in PERSONALITIES {
        let equal = argument(0, LinuxSeccompOperator::ScmpCmpEq, value);
        rules.push(allow_if("personality", equal));
    }
    // Before Linux 4.8 a tracer could change a system call after the filter had seen it.
    if kernel >= (4, 8) {
        rules.push(allow(table::TRACING));
    }
    rules.push(allow(table::ARCHITECTURE));
    for (cap, names) in table::BY_CAPABILITY {
        if caps.contains(cap) {
            rules.push(allow(names));
        }
    }
    if !caps.contains(&Capability::SysAdmin) {
        rules.extend(without_admin());
    }

    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_architectures(Some(architectures()))
        .set_syscalls(Some(rules));
    profile
}

/// clone(2) without namespaces. clone3(2) passes its flags in memory, where a filter cannot look: it says
/// ENOSYS, so that C libraries fall back to clone.
fn without_admin() -> [LinuxSyscall; 2] {
    let masked = argument(0, LinuxSeccompOperator::ScmpCmpMaskedEq, NAMESPACE_FLAGS);
    let mut clone3 = LinuxSyscall::default();
    clone3
        .set_names(vec!["clone3".to_owned()])
        .set_action(LinuxSeccompAction::ScmpActErrno)
        .set_errno_ret(Some(ENOSYS));
    [allow_if("clone", masked), clone3]
}

fn architectures() -> Vec<Arch> {
    if cfg!(target_arch = "x86_64") {
        vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]
    } else if cfg!(target_arch = "aarch64") {
        vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm]
    } else {
        vec![Arch::ScmpArchNative]
    }
}

fn allow(names: &[&str]) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.iter().map(|name| (*name).to_owned()).collect())
        .set_action(LinuxSeccompAction::ScmpActAllow);
    rule
}

fn allow_if(name: &str, argument: LinuxSeccompArg) -> LinuxSyscall {
    let mut rule = allow(&[name]);
    rule.set_args(Some(vec![argument]));
    rule
}

/// For a masked comparison `value` is the mask, and the masked argument has to be zero.
fn argument(index: usize, op: LinuxSeccompOperator, value: u64) -> LinuxSeccompArg {
    let mut out = LinuxSeccompArgBuilder::default()
        .index(index)
        .op(op)
        .value(value);
    if op == LinuxSeccompOperator::ScmpCmpMaskedEq {
        out = out.value_two(0_u64);
    }
    // The builder fails only for fields without a default, and all fields have one.
    out.build().unwrap_or_default()
}
