//! Header blocks: names and values, compressed with zlib and a dictionary that both sides know.
//!
//! One zlib stream runs through all blocks of a direction. Blocks are small, so ours are sent as stored blocks of
//! deflate: every decoder reads them, and no state is kept.

use std::sync::LazyLock;

use flate2::{Decompress, FlushDecompress, Status};

/// Most bytes of one header block when it is inflated.
const MAX_BLOCK: usize = 16 * 1024;

/// Most headers of one block.
const MAX_HEADERS: u32 = 64;

/// The words with which the dictionary begins, each behind its length: SPDY/3, 2.6.10.1.
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// The rest of the dictionary.
const TAIL: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request",
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented",
    "503 Service Unavailable",
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT",
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,",
    "text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8",
    "charset=iso-8859-1,utf-,*,enq=0.",
);

/// The dictionary of SPDY/3, with which both sides compress.
pub(super) static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    for word in WORDS {
        // The longest word has 19 bytes.
        bytes.extend([0, 0, 0, u8::try_from(word.len()).unwrap_or(0)]);
        bytes.extend(word.as_bytes());
    }
    bytes.extend(TAIL.as_bytes());
    bytes
});

/// Why a header block is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// The block cannot be inflated, or its names and values cannot be read.
    #[error("cannot read the header block of a stream")]
    Unreadable,
    /// The block is larger than any client sends.
    #[error("cannot read the header block of a stream: it has more than {MAX_BLOCK} bytes")]
    TooLarge,
}

/// Names in lower case, and values.
pub(super) type Headers = Vec<(String, String)>;

/// The value of a header.
pub(crate) fn value<'h>(headers: &'h Headers, name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(of, _)| of == name);
    found.map(|(_, value)| value.as_str())
}

/// Reads the header blocks of one direction, in their order.
#[derive(Debug)]
pub(super) struct Inflater(Decompress);

impl Inflater {
    /// At the begin of a connection.
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Inflates and parses one block.
    ///
    /// # Errors
    /// [`HeaderError`] when the block cannot be read or is larger than any client sends.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Headers, HeaderError> {
        let plain = self.inflate(block)?;
        parse(&plain).ok_or(HeaderError::Unreadable)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, HeaderError> {
        let mut plain = Vec::with_capacity(1024);
        while !block.is_empty() {
            if plain.len() == plain.capacity() {
                if plain.len() >= MAX_BLOCK {
                    return Err(HeaderError::TooLarge);
                }
                plain.reserve(plain.len());
            }
            let before = (self.0.total_in(), plain.len());
            let status = self
                .0
                .decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let read = usize::try_from(self.0.total_in() - before.0).unwrap_or(block.len());
            block = block.get(read..).unwrap_or_default();
            match status {
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.0.set_dictionary(&DICTIONARY);
                    set.map_err(|_| HeaderError::Unreadable)?;
                }
                Err(_) | Ok(Status::StreamEnd) => return Err(HeaderError::Unreadable),
                Ok(_) if (read, plain.len()) == (0, before.1) && plain.len() < plain.capacity() => {
                    return Err(HeaderError::Unreadable);
                }
                Ok(_) => {}
            }
        }
        self.flush(plain)
    }

    /// Takes the inflated bytes that did not fit before.
    fn flush(&mut self, mut plain: Vec<u8>) -> Result<Vec<u8>, HeaderError> {
        while plain.len() == plain.capacity() {
            if plain.len() >= MAX_BLOCK {
                return Err(HeaderError::TooLarge);
            }
            plain.reserve(plain.len());
            let before = plain.len();
            // Without input the decoder says that it can do no more, which is no error here.
            let _ = self
                .0
                .decompress_vec(&[], &mut plain, FlushDecompress::Sync);
            if plain.len() == before {
                break;
            }
        }
        Ok(plain)
    }
}

/// A block: a count, then names and values, each behind its length.
fn parse(mut plain: &[u8]) -> Option<Headers> {
    let count = number(&mut plain)?;
    if count > MAX_HEADERS {
        return None;
    }
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = text(&mut plain)?.to_ascii_lowercase();
        headers.push((name, text(&mut plain)?));
    }
    Some(headers)
}

fn number(plain: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = plain.split_first_chunk::<4>()?;
    *plain = rest;
    Some(u32::from_be_bytes(*bytes))
}

fn text(plain: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(number(plain)?).ok()?;
    let (bytes, rest) = plain.split_at_checked(length)?;
    *plain = rest;
    String::from_utf8(bytes.to_vec()).ok()
}

/// A block without headers, as ours are: the first one opens the zlib stream.
pub(super) fn empty_block(first: bool) -> Vec<u8> {
    /// CMF and FLG of a zlib stream with a dictionary, RFC 1950.
    const OPENING: [u8; 2] = [0x78, 0xbb];
    /// A stored block of four bytes, RFC 1951, 3.2.4: the count of headers, which is 0.
    const NO_HEADERS: [u8; 9] = [0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0];
    /// An empty block. Go's decoder gives the bytes before it only when it sees this.
    const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];
    let mut block = Vec::new();
    if first {
        block.extend(OPENING);
        block.extend(adler32(&DICTIONARY).to_be_bytes());
    }
    block.extend(NO_HEADERS);
    block.extend(FLUSH);
    block
}

/// The checksum of RFC 1950, by which a zlib stream names its dictionary.
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % MODULUS;
        (low, (high + low) % MODULUS)
    });
    high << 16 | low
}
