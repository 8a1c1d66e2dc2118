//! Anonymous files that cannot change any more: memfd_create(2), fcntl(2) `F_ADD_SEALS`.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;

/// Makes an anonymous file with this content whose bytes and size nobody can change: all seals are set.
/// It is close-on-exec. `name` is only for people (/proc/PID/maps).
///
/// # Errors
/// The errors of memfd_create(2), write(2) and fcntl(2).
pub fn create_sealed(name: &CStr, content: &[u8]) -> io::Result<OwnedFd> {
    seal(memfd_create(name, CREATE)?, content)
}

/// The same for a program: the file may be executed even where `vm.memfd_noexec` says otherwise.
///
/// # Errors
/// The errors of [`create_sealed`]; EACCES when `vm.memfd_noexec` is 2.
pub fn create_sealed_executable(name: &CStr, content: &[u8]) -> io::Result<OwnedFd> {
    let descriptor = match memfd_create(name, CREATE | MFdFlags::from_bits_retain(libc::MFD_EXEC)) {
        // Before Linux 6.3 the flag does not exist and every memfd is executable.
        Err(Errno::EINVAL) => memfd_create(name, CREATE)?,
        other => other?,
    };
    seal(descriptor, content)
}

const CREATE: MFdFlags = MFdFlags::MFD_CLOEXEC.union(MFdFlags::MFD_ALLOW_SEALING);

fn seal(descriptor: OwnedFd, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(descriptor);
    file.write_all(content)?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Reads a whole memfd, whatever its file offset (the offset is shared with the sender).
///
/// # Errors
/// `FileTooLarge` when it has more than `limit` bytes; those of fstat(2) and pread(2).
pub fn read(descriptor: BorrowedFd<'_>, limit: usize) -> io::Result<Vec<u8>> {
    let size = usize::try_from(fstat(descriptor)?.st_size).unwrap_or(usize::MAX);
    if size > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let file = File::from(descriptor.as_fd().try_clone_to_owned()?);
    let mut content = vec![0; size];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_reads_back_and_refuses_writes() {
        let sealed = create_sealed(c"test", b"content").unwrap();
        assert_eq!(read(sealed.as_fd(), 7).unwrap(), b"content");
        assert_eq!(read(sealed.as_fd(), 7).unwrap(), b"content");
        let error = File::from(sealed).write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let sealed = create_sealed(c"test", b"content").unwrap();
        let error = read(sealed.as_fd(), 6).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
