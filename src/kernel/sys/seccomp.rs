//! System call filters: seccomp(2).

use nix::errno::Errno;

/// Bytes of one `struct sock_filter`.
const INSTRUCTION_BYTES: usize = size_of::<libc::sock_filter>();

/// Loads a filter: an array of `struct sock_filter` as bytes, with `SECCOMP_FILTER_FLAG_*`. The process
/// must have no_new_privs set or CAP_SYS_ADMIN.
///
/// # Errors
/// The errors of seccomp(2). EINVAL for bytes that are not a program.
pub fn load(program: &[u8], flags: u32) -> nix::Result<()> {
    let count = program.len() / INSTRUCTION_BYTES;
    let length = u16::try_from(count).map_err(|_| Errno::EINVAL)?;
    if length == 0 || !program.len().is_multiple_of(INSTRUCTION_BYTES) {
        return Err(Errno::EINVAL);
    }
    let description = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `description` names `length` instructions inside `program`, which the kernel copies (from any
    // alignment) and checks; it never writes to them.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const description,
        )
    })
    .map(drop)
}
