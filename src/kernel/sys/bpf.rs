//! The bpf(2) calls that a device filter of a v2 control group needs: load, attach, list.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::take_descriptor;

/// BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH, BPF_PROG_GET_FD_BY_ID and BPF_PROG_QUERY.
const LOAD: libc::c_int = 5;
const ATTACH: libc::c_int = 8;
const DETACH: libc::c_int = 9;
const GET_FD_BY_ID: libc::c_int = 13;
const QUERY: libc::c_int = 16;
/// The type of the program and of its attachment, BPF_PROG_TYPE_CGROUP_DEVICE and BPF_CGROUP_DEVICE.
const PROGRAM_TYPE: u32 = 15;
const ATTACH_TYPE: u32 = 6;
/// BPF_F_ALLOW_MULTI and BPF_F_REPLACE (Linux 5.6).
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;
/// Most programs the kernel attaches to one group (BPF_CGROUP_MAX_PROGS).
const PROGRAMS_MAX: usize = 64;

/// An instruction, as `struct bpf_insn` (instruction-set.rst in the kernel's documentation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Class, operation and source.
    pub code: u8,
    /// Destination register in the low nibble, source register in the high one, on a little-endian machine.
    pub registers: u8,
    /// Jump distance or memory offset.
    pub offset: i16,
    /// The constant operand of the instruction.
    pub immediate: i32,
}

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD.
#[derive(Debug)]
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The same for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[derive(Debug)]
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
}

/// The same for BPF_PROG_QUERY, up to its last field. Kernels 6.17 to 7.1 write `revision` whatever size the caller
/// gives, so a shorter structure would lose the memory behind it.
#[derive(Debug, Default)]
#[repr(C)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    program_count: u32,
    padding: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

// The kernel's own layout (linux/bpf.h): each field that it writes lies inside.
const _: () = assert!(size_of::<QueryAttributes>() == 64);
const _: () = assert!(std::mem::offset_of!(QueryAttributes, revision) == 56);

/// The same for BPF_PROG_GET_FD_BY_ID.
#[derive(Debug)]
#[repr(C)]
struct IdAttributes {
    id: u32,
    next_id: u32,
    flags: u32,
}

/// Loads a device filter: a program that returns 1 to allow an access and 0 to refuse it. The kernel verifies
/// it first, so that a wrong program is an error and never a danger.
///
/// # Errors
/// EPERM without CAP_BPF and CAP_NET_ADMIN or CAP_SYS_ADMIN; EINVAL for a refused program and on a kernel
/// without CONFIG_CGROUP_BPF; EAGAIN when a signal came while the kernel verified it (since Linux 4.20).
pub fn load_device_filter(program: &[Instruction]) -> nix::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..15].copy_from_slice(b"holdfast_device");
    let mut attributes = LoadAttributes {
        program_type: PROGRAM_TYPE,
        instruction_count: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        instructions: program.as_ptr().addr() as u64,
        license: c"Apache-2.0".as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
        name,
    };
    let descriptor = bpf(LOAD, &mut attributes)?;
    take_descriptor(descriptor)
}

/// Attaches a device filter to a group. All filters of a group and of the groups above it must allow an
/// access; `replaced` gives way in the same step.
///
/// # Errors
/// The kernel's; ENOENT when `replaced` is not attached.
pub fn attach_device_filter(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> nix::Result<()> {
    let mut attributes = AttachAttributes {
        target: number(group.as_raw_fd())?,
        program: number(program.as_raw_fd())?,
        attach_type: ATTACH_TYPE,
        flags: ALLOW_MULTI | if replaced.is_some() { REPLACE } else { 0 },
        replaced: replaced.map_or(Ok(0), |fd| number(fd.as_raw_fd()))?,
    };
    bpf(ATTACH, &mut attributes).map(drop)
}

/// Takes a device filter off a group.
///
/// # Errors
/// The kernel's; ENOENT when it is not attached.
pub fn detach_device_filter(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    let mut attributes = AttachAttributes {
        target: number(group.as_raw_fd())?,
        program: number(program.as_raw_fd())?,
        attach_type: ATTACH_TYPE,
        flags: 0,
        replaced: 0,
    };
    bpf(DETACH, &mut attributes).map(drop)
}

/// The device filters attached to a group itself, in order.
///
/// # Errors
/// The kernel's errors; EINVAL when the descriptor is not a v2 group.
pub fn device_filters(group: BorrowedFd<'_>) -> nix::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; PROGRAMS_MAX];
    let mut attributes = QueryAttributes {
        target: number(group.as_raw_fd())?,
        attach_type: ATTACH_TYPE,
        program_ids: ids.as_mut_ptr().expose_provenance() as u64,
        program_count: 64,
        ..QueryAttributes::default()
    };
    bpf(QUERY, &mut attributes)?;
    let count = usize::try_from(attributes.program_count).unwrap_or(0);
    ids.iter()
        .take(count)
        .map(|id| {
            let mut attributes = IdAttributes {
                id: *id,
                next_id: 0,
                flags: 0,
            };
            take_descriptor(bpf(GET_FD_BY_ID, &mut attributes)?)
        })
        .collect()
}

fn number(descriptor: RawFd) -> nix::Result<u32> {
    u32::try_from(descriptor).map_err(|_| Errno::EBADF)
}

/// Calls bpf(2) with one of the structures above.
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> nix::Result<libc::c_long> {
    // SAFETY: the structures are `repr(C)` prefixes of `union bpf_attr` for their command, fully initialized
    // and passed with their own size, beyond which the kernel assumes zeros. The addresses in them are of
    // the program, the licence and the id array of the calling function, which live across this call, and
    // their lengths are passed beside them; the kernel writes through the id array, which is mutable, and into the
    // structure itself, which is mutable and has every field that the kernel may write.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    Errno::result(result)
}
