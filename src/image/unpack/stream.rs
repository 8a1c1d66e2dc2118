//! Bounds what the tar reader may take between two entries.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// The most bytes of headers, long names and attributes before one entry. The tar crate keeps them in
/// memory whatever size they claim. Attributes are at most 64 KiB each on Linux, names 4 KiB.
const HEADERS_MAX: u64 = 1 << 20;

/// A reader that ends with an error once its allowance is used up.
pub(super) struct Metered<R> {
    inner: R,
    allowance: Allowance,
}

/// How much may still be read; shared with the loop over the entries.
#[derive(Clone)]
pub(super) struct Allowance(Rc<Cell<u64>>);

impl Allowance {
    /// From here on only the headers of one entry may be read.
    pub fn headers_only(&self) {
        self.0.set(HEADERS_MAX);
    }

    /// From here on the content of an entry is read, which is counted elsewhere.
    pub fn unlimited(&self) {
        self.0.set(u64::MAX);
    }
}

impl<R> Metered<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            allowance: Allowance(Rc::new(Cell::new(HEADERS_MAX))),
        }
    }

    pub fn allowance(&self) -> Allowance {
        self.allowance.clone()
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.0.get();
        if left == 0 {
            let text = "the headers of one entry are larger than 1 MiB";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let length = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.inner.read(&mut buffer[..length])?;
        self.allowance.0.set(left - read as u64);
        Ok(read)
    }
}
