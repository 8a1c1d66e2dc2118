//! Encoding of requests and decoding of attributes (netlink(7)).

/// Length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// NLA_F_NESTED, and the mask that removes it and the byte-order flag.
const NESTED: u16 = 0x8000;
const KIND_MASK: u16 = 0x3fff;

/// The NLM_F_* flags of a request; NLM_F_REQUEST is always set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flags {
    /// Asks for something, or changes what exists.
    Plain,
    /// Creates, and fails with EEXIST when it is there.
    CreateNew,
    /// Creates, or replaces what is there.
    Replace,
    /// Creates, or leaves what is there.
    Create,
    /// Adds at the end of a list.
    Append,
    /// Does what `Append` does, and the kernel reports the object that it has added.
    AppendTold,
    /// Asks for all objects.
    Dump,
}

impl Flags {
    fn bits(self) -> u16 {
        let more = match self {
            Flags::Plain => 0,
            Flags::CreateNew => libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            Flags::Replace => libc::NLM_F_CREATE | libc::NLM_F_REPLACE,
            Flags::Create => libc::NLM_F_CREATE,
            Flags::Append => libc::NLM_F_CREATE | libc::NLM_F_APPEND,
            Flags::AppendTold => libc::NLM_F_CREATE | libc::NLM_F_APPEND | libc::NLM_F_ECHO,
            Flags::Dump => libc::NLM_F_DUMP,
        };
        u16::try_from(libc::NLM_F_REQUEST | more).unwrap_or(0)
    }
}

/// A request of a batch, as it is named in errors.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The offset of the request in the bytes of the batch.
    pub(super) start: usize,
    /// The operation of the request, as a verb.
    pub(super) operation: &'static str,
    /// The object of the operation.
    pub(super) object: String,
}

/// Requests to be sent in one call, which the kernel works through in order.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) requests: Vec<Request>,
}

impl Batch {
    /// Makes a batch without requests.
    pub(crate) fn new() -> Batch {
        Batch {
            bytes: Vec::with_capacity(512),
            requests: Vec::with_capacity(4),
        }
    }

    /// Adds a request: its type and flags, the fixed header of its family, and its attributes.
    /// `operation` and `object` name it when the kernel refuses it.
    pub(crate) fn push(
        &mut self,
        (kind, flags): (u16, Flags),
        (operation, object): (&'static str, &str),
        fixed: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        fill(&mut Attributes {
            bytes: &mut self.bytes,
        });
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 4..start + 6].copy_from_slice(&kind.to_ne_bytes());
        self.bytes[start + 6..start + 8].copy_from_slice(&flags.bits().to_ne_bytes());
        self.requests.push(Request {
            start,
            operation,
            object: object.to_owned(),
        });
    }

    /// How many requests were added.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The bytes of one request.
    pub(crate) fn bytes_of(&self, index: usize) -> &[u8] {
        let end = self.requests.get(index + 1);
        let end = end.map_or(self.bytes.len(), |next| next.start);
        &self.bytes[self.requests[index].start..end]
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Numbers the requests from `first` on and asks for an acknowledgement of the last one: the kernel
    /// answers in order and reports every failure unasked.
    pub(super) fn seal(&mut self, first: u32, acknowledge: &[usize]) {
        let ack = u16::try_from(libc::NLM_F_ACK).unwrap_or(0);
        for (number, request) in (first..).zip(&self.requests) {
            let at = request.start;
            self.bytes[at + 8..at + 12].copy_from_slice(&number.to_ne_bytes());
        }
        for index in acknowledge {
            let at = self.requests[*index].start + 6;
            let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | ack;
            self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
        }
    }
}

/// The attributes of a request being built.
#[derive(Debug)]
pub(crate) struct Attributes<'b> {
    bytes: &'b mut Vec<u8>,
}

impl Attributes<'_> {
    /// Adds an attribute of raw bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
    }

    /// Adds an attribute that is a NUL-terminated string.
    pub(crate) fn string(&mut self, kind: u16, value: &str) {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// A number in the machine's byte order, as rtnetlink has them.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number in network byte order, as nf_tables has them.
    pub(crate) fn u32_be(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds a fixed header and attributes.
    pub(crate) fn nest(&mut self, kind: u16, fixed: &[u8], fill: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        pad(self.bytes);
        fill(&mut Attributes { bytes: self.bytes });
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Walks attributes as (kind, value); stops at the first malformed one.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk::<2>()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..4)?.first_chunk::<2>()?) & KIND_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The number in an attribute.
pub(crate) fn u32_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The string in an attribute, without its NUL.
pub(crate) fn string_of(value: &[u8]) -> String {
    let text = value.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
