//! Users, groups and capabilities of this process: credentials(7), capabilities(7), prctl(2).
//!
//! The raw calls, not those of the C library: it makes every thread follow, and there is one.

use nix::errno::Errno;

/// Highest number that a 64-bit capability mask can name.
const MASK_BITS: u32 = 64;

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit words a set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// The mask of CAP_SYS_ADMIN, which loading a filter takes: linux/capability.h.
pub const SYS_ADMIN: u64 = 1 << 21;

/// The three sets that capset(2) knows, as bit masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sets {
    /// The capabilities that the kernel checks.
    pub effective: u64,
    /// Capabilities that can be made effective.
    pub permitted: u64,
    /// Capabilities that execve(2) may hand on.
    pub inheritable: u64,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the mask is split into its two halves"
)]
fn words(sets: Sets) -> [Words; 2] {
    let half = |shift: u32| Words {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    [half(0), half(32)]
}

/// Sets the capability sets of this process.
///
/// # Errors
/// EPERM when a set would grow beyond what is permitted.
pub fn set_capabilities(sets: Sets) -> nix::Result<()> {
    let header = Header {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let words = words(sets);
    // SAFETY: version 3 makes the kernel read one header and two elements, which live until it returns.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) })
        .map(drop)
}

/// The capability sets of this process.
///
/// # Errors
/// The errors of capget(2).
pub fn capabilities() -> nix::Result<Sets> {
    let mut header = Header {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let mut words = [Words::default(), Words::default()];
    // SAFETY: version 3 makes the kernel write two elements, for which there is room.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) })?;
    let [low, high] = words;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(low.effective, high.effective),
        permitted: join(low.permitted, high.permitted),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

fn control(option: i32, first: u64, second: u64) -> nix::Result<i32> {
    // SAFETY: the options used in this file take integers only.
    Errno::result(unsafe { libc::prctl(option, first, second, 0_u64, 0_u64) })
}

/// Removes every capability that is not in `keep` from the bounding set. Needs CAP_SETPCAP when there is
/// one to remove.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn limit_bounding(keep: u64) -> nix::Result<()> {
    for number in 0..MASK_BITS {
        if keep >> number & 1 == 1 {
            continue;
        }
        match control(libc::PR_CAPBSET_READ, number.into(), 0) {
            // The kernel's last capability is behind us.
            Err(Errno::EINVAL) => return Ok(()),
            Ok(0) => {}
            _ => drop(control(libc::PR_CAPBSET_DROP, number.into(), 0)?),
        }
    }
    Ok(())
}

/// Makes the ambient set exactly this one. All must be permitted and inheritable.
///
/// # Errors
/// EPERM when one is not.
pub fn set_ambient(ambient: u64) -> nix::Result<()> {
    control(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as u64,
        0,
    )?;
    for number in (0..MASK_BITS).filter(|number| ambient >> number & 1 == 1) {
        control(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as u64,
            number.into(),
        )?;
    }
    Ok(())
}

/// Keeps the permitted set over the next change of user.
///
/// # Errors
/// The errors of prctl(2) `PR_SET_KEEPCAPS`.
pub fn keep_capabilities() -> nix::Result<()> {
    control(libc::PR_SET_KEEPCAPS, 1, 0).map(drop)
}

/// Lets no execve(2) of this process or its children grant privileges.
///
/// # Errors
/// The errors of prctl(2) `PR_SET_NO_NEW_PRIVS`.
pub fn set_no_new_privileges() -> nix::Result<()> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Makes this process the one to which orphans below it fall.
///
/// # Errors
/// The errors of prctl(2) `PR_SET_CHILD_SUBREAPER`.
pub fn become_subreaper() -> nix::Result<()> {
    control(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(drop)
}

/// Lets no other user's process look into this one.
///
/// # Errors
/// The errors of prctl(2) `PR_SET_DUMPABLE`.
pub fn set_undumpable() -> nix::Result<()> {
    control(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// Sets the supplementary groups.
///
/// # Errors
/// EPERM without CAP_SETGID; EINVAL for too many groups or one that has no mapping.
pub fn set_groups(groups: &[u32]) -> nix::Result<()> {
    // SAFETY: the pointer and the count describe `groups`, which the kernel only reads.
    Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
        .map(drop)
}

/// Sets the real, effective and saved group.
///
/// # Errors
/// EPERM without CAP_SETGID; EINVAL for a group that has no mapping.
pub fn set_group(group: u32) -> nix::Result<()> {
    // SAFETY: three integers, no memory.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresgid, group, group, group) }).map(drop)
}

/// Sets the real, effective and saved user.
///
/// # Errors
/// EPERM without CAP_SETUID; EINVAL for a user that has no mapping.
pub fn set_user(user: u32) -> nix::Result<()> {
    // SAFETY: three integers, no memory.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) }).map(drop)
}

/// Becomes user and group 0 of the present user namespace, without further groups.
///
/// # Errors
/// EINVAL when the namespace maps no 0.
pub fn become_root() -> nix::Result<()> {
    set_groups(&[])?;
    set_group(0)?;
    set_user(0)
}

/// Sets the mask of permission bits that new files do not get.
pub fn set_file_mode_mask(mask: u32) {
    // SAFETY: one integer; the call cannot fail.
    unsafe { libc::umask(mask) };
}
