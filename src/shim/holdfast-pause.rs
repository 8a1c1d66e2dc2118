//! The pause: holds a pod's namespaces open, and reaps orphans when it is process 1 of the pod's pid
//! namespace. It does nothing else, ever: no allocation, no file, no library, no configuration.
//!
//! All signals stay blocked, so stray ones do nothing. It waits for three: SIGCHLD (reap), SIGTERM and
//! SIGINT (exit with code 0).

#![no_std]
#![no_main]
#![allow(
    unsafe_code,
    reason = "a program without a library makes its system calls itself"
)]

use core::arch::{asm, global_asm};

// The stack pointer is aligned by the kernel; a call pushes what the ABI expects to find there.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "call {}", "ud2", sym hold);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "bl {}", "brk #0", sym hold);

/// Numbers of the system calls that the pause makes.
#[cfg(target_arch = "x86_64")]
mod number {
    pub(crate) const RT_SIGPROCMASK: usize = 14;
    pub(crate) const WAIT4: usize = 61;
    pub(crate) const RT_SIGTIMEDWAIT: usize = 128;
    pub(crate) const PRCTL: usize = 157;
    pub(crate) const EXIT_GROUP: usize = 231;
}

/// Numbers of the system calls that the pause makes.
#[cfg(target_arch = "aarch64")]
mod number {
    pub(crate) const EXIT_GROUP: usize = 94;
    pub(crate) const RT_SIGPROCMASK: usize = 135;
    pub(crate) const RT_SIGTIMEDWAIT: usize = 137;
    pub(crate) const PRCTL: usize = 167;
    pub(crate) const WAIT4: usize = 260;
}

/// Bytes of the kernel's signal set.
const SET_BYTES: usize = 8;
const SIGINT: isize = 2;
const SIGTERM: isize = 15;
const SIGCHLD: isize = 17;
const SIG_SETMASK: usize = 2;
const PR_SET_NAME: usize = 15;
const WNOHANG: usize = 1;
const ANY_CHILD: usize = usize::MAX;

#[cfg(target_arch = "x86_64")]
fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the calls of this file read or write no memory of this program but the statics and locals
    // whose addresses they are given, which outlive them.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number.cast_signed() => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the calls of this file read or write no memory of this program but the statics and locals
    // whose addresses they are given, which outlive them.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a.cast_signed() => result,
            in("x1") b, in("x2") c, in("x3") d,
            options(nostack),
        );
    }
    result
}

fn exit() -> ! {
    loop {
        call(number::EXIT_GROUP, 0, 0, 0, 0);
    }
}

extern "C" fn hold() -> ! {
    let all = u64::MAX;
    let awaited = [SIGINT, SIGTERM, SIGCHLD]
        .iter()
        .fold(0_u64, |set, signal| set | 1 << (signal - 1));
    call(
        number::PRCTL,
        PR_SET_NAME,
        c"holdfast-pause".as_ptr() as usize,
        0,
        0,
    );
    call(
        number::RT_SIGPROCMASK,
        SIG_SETMASK,
        &raw const all as usize,
        0,
        SET_BYTES,
    );
    loop {
        match call(
            number::RT_SIGTIMEDWAIT,
            &raw const awaited as usize,
            0,
            0,
            SET_BYTES,
        ) {
            SIGINT | SIGTERM => exit(),
            SIGCHLD => while call(number::WAIT4, ANY_CHILD, 0, WNOHANG, 0) > 0 {},
            _ => {}
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit()
}

/// The core library's tables of stack frames name this function. Nothing unwinds here: panics abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
