//! Running a program: execve(2), execveat(2).

use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// The array of pointers, ended by null, that execve(2) wants. Made before the clone, because it allocates.
pub struct Strings<'a> {
    pointers: Vec<*const c_char>,
    texts: PhantomData<&'a CStr>,
}

impl fmt::Debug for Strings<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Strings({})", self.pointers.len().saturating_sub(1))
    }
}

impl<'a> Strings<'a> {
    /// Points to these texts.
    pub fn new(texts: &'a [CString]) -> Self {
        let pointers = texts.iter().map(|text| text.as_ptr());
        Self {
            pointers: pointers.chain([std::ptr::null()]).collect(),
            texts: PhantomData,
        }
    }
}

/// Runs a program in place of this one. Returns only when that fails.
pub fn execute(path: &CStr, arguments: &Strings<'_>, environment: &Strings<'_>) -> Errno {
    // SAFETY: the path is a C string, and both arrays end in null and point to C strings that they borrow.
    unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    Errno::last()
}

/// Runs the program that an open file is. Returns only when that fails.
pub fn execute_file(
    file: BorrowedFd<'_>,
    arguments: &Strings<'_>,
    environment: &Strings<'_>,
) -> Errno {
    // SAFETY: the path is a static C string, and both arrays end in null and point to C strings that they
    // borrow.
    unsafe {
        libc::execveat(
            file.as_raw_fd(),
            c"".as_ptr(),
            arguments.pointers.as_ptr().cast(),
            environment.pointers.as_ptr().cast(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}
