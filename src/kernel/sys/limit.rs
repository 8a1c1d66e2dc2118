//! Resource limits and scheduling: setrlimit(2), sched_setaffinity(2).

use nix::errno::Errno;

/// Sets a resource limit.
///
/// # Errors
/// EPERM when the hard limit would rise and the process has no CAP_SYS_RESOURCE; EINVAL for a number that
/// is not a resource or a soft limit above the hard one.
pub fn set(resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: the new limit lives until the call returns; null means that the old one is not wanted.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, none)
    })
    .map(drop)
}

/// The present hard limit.
///
/// # Errors
/// EINVAL for a number that is not a resource.
pub fn hard(resource: u32) -> nix::Result<u64> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: null means that nothing is set; the kernel writes the present limit into `limit`.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, none, &raw mut limit)
    })?;
    Ok(limit.rlim_max)
}

/// Lets this process run on every processor that its cpuset allows, whatever its parent was bound to.
///
/// # Errors
/// The errors of sched_setaffinity(2).
pub fn clear_affinity() -> nix::Result<()> {
    let everywhere = [u8::MAX; 1024];
    // SAFETY: the kernel reads the mask's bytes, whose true length is given; surplus bits are ignored.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            everywhere.len(),
            everywhere.as_ptr(),
        )
    })
    .map(drop)
}
