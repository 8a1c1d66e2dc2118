//! Memory outside the heap: mmap(2), madvise(2), malloc_trim(3).
//!
//! The shim lives for as long as its pod and there is one for each, so large buffers come from the kernel
//! and go back to it, and only touched pages cost.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use nix::errno::Errno;

/// Maps new anonymous pages.
fn map(bytes: usize, kind: libc::c_int) -> nix::Result<NonNull<c_void>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_ANONYMOUS | kind;
    // SAFETY: a new anonymous mapping at an address that the kernel chooses overlaps nothing.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    NonNull::new(start).ok_or(Errno::ENOMEM)
}

/// Anonymous pages, all zero at first.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<c_void>,
    bytes: usize,
}

impl Buffer {
    /// Maps this many bytes; none is touched.
    ///
    /// # Errors
    /// The errors of mmap(2): EINVAL for none.
    pub fn new(bytes: usize) -> nix::Result<Self> {
        let start = map(bytes, libc::MAP_PRIVATE | libc::MAP_NORESERVE)?;
        Ok(Self { start, bytes })
    }

    /// The bytes of the mapping.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the mapping is readable, of this length, initialised by the kernel, and borrowed with self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes) }
    }

    /// The bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` excludes every other borrow.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes) }
    }

    /// Gives the pages back to the kernel; the bytes are zero again.
    pub fn release(&mut self) {
        // SAFETY: the range is this whole mapping, and `&mut self` excludes every borrow of its bytes.
        // A failure would only leave the pages where they are.
        unsafe { libc::madvise(self.start.as_ptr(), self.bytes, libc::MADV_DONTNEED) };
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.bytes) };
    }
}

/// Bytes of the page that [`Shared`] maps.
const PAGE: usize = 4096;

/// A number that parent and child both see, because its page is shared over the clone.
#[derive(Debug)]
pub struct Shared {
    start: NonNull<c_void>,
}

impl Shared {
    /// Maps the page; the number is 0.
    ///
    /// # Errors
    /// The errors of mmap(2).
    pub fn new() -> nix::Result<Self> {
        map(PAGE, libc::MAP_SHARED).map(|start| Self { start })
    }

    /// The number in the shared page.
    pub fn number(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped as long as self, aligned, zeroed, and only used as this atomic.
        unsafe { self.start.cast::<AtomicU32>().as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr(), PAGE) };
    }
}

/// Lets all threads take memory from a few arenas, instead of from eight for each processor: each keeps pages of its own.
/// To be called before there are threads.
pub fn limit_arenas(count: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: two integers; glibc takes its own locks, and refuses what it does not know.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, count);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = count;
}

/// Gives free heap pages back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: one integer; glibc takes its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Takes the program's code and constants, and those of its libraries, out of this process: the pages stay in the page
/// cache, and the next access maps them again, sixteen at a time. So a program that waits has only what it needs to wait.
pub fn forget_code() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the callback has the type that dl_iterate_phdr(3) wants and uses no data.
    unsafe {
        libc::dl_iterate_phdr(Some(forget_object), std::ptr::null_mut());
    }
}

/// Takes the read-only segments of one loaded object out of this process.
#[cfg(target_env = "gnu")]
unsafe extern "C" fn forget_object(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> libc::c_int {
    // SAFETY: the loader passes a description that is valid for the time of this call.
    let object = unsafe { &*object };
    let count = usize::from(object.dlpi_phnum);
    // SAFETY: as above; the description has this many program headers.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, count) };
    for header in headers {
        // A segment that may be written holds what the loader has put there, also when it is protected by now.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let (Ok(base), Ok(offset), Ok(length)) = (
            usize::try_from(object.dlpi_addr),
            usize::try_from(header.p_vaddr),
            usize::try_from(header.p_memsz),
        ) else {
            continue;
        };
        let start = (base + offset) & !(PAGE - 1);
        let length = base + offset + length - start;
        let start = std::ptr::without_provenance_mut::<c_void>(start);
        // SAFETY: the segment is mapped from a file for as long as the process lives, since no library is ever unloaded,
        // and was never written: its pages are read from the file again.
        unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) };
    }
    0
}

/// Gives the pages of the stack that only a deeper call has used back to the kernel. Does nothing in a thread that is
/// not the first of its process.
#[inline(never)]
pub fn trim_stack() {
    /// Bytes that a deep call may have used. The kernel keeps more room than this free below every stack.
    const DEEPEST: usize = 16 * PAGE;
    if nix::unistd::gettid() != nix::unistd::getpid() {
        return;
    }
    let local = 0_u8;
    let here = std::hint::black_box(&raw const local);
    // The frame of this function ends above the page before that of its variable.
    let end = (here.addr() & !(PAGE - 1)) - PAGE;
    let start = here.with_addr(end - DEEPEST).cast_mut();
    // SAFETY: the range is below the frame of the function that runs, where nothing is alive, and within the room
    // that the kernel reserves for the stack of the first thread. Pages that are not mapped are passed over.
    unsafe { libc::madvise(start.cast(), DEEPEST, libc::MADV_DONTNEED) };
}

/// The position of the first such byte: memchr(3), which the C library has in vector form.
pub fn find_byte(bytes: &[u8], wanted: u8) -> Option<usize> {
    let start = bytes.as_ptr();
    // SAFETY: the pointer and the length describe `bytes`.
    let found = unsafe { libc::memchr(start.cast(), wanted.into(), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - start.addr())
}
