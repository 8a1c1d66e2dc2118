//! Passes on the frames of a client (RFC 9113), with the authority in their header blocks replaced.

use super::block::{Table, rewrite};

/// The connection preface of a client (section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head (section 4.1).
const HEAD: usize = 9;

/// The largest frame that our server allows: what the protocol begins with.
const LARGEST_FRAME: usize = 16 * 1024;

/// The most bytes of frames that one header block may take here. Our server refuses less than that.
const LARGEST_BLOCK: usize = 64 * 1024;

/// Types of frames, and their flags (sections 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The part of the protocol to which the next byte of the input belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameState {
    Preface,
    Head,
    /// This many bytes are left of a frame that passes unchanged.
    Payload(usize),
    /// Whatever comes is the server's alone.
    Aside,
}

/// Reads what a client sends and gives what the server is to read.
#[derive(Debug)]
pub(super) struct Filter {
    state: FrameState,
    table: Table,
    /// Whether a replaced authority has been logged for this client.
    logged_replacement: bool,
    /// Bytes of the client that are not examined yet.
    input: Vec<u8>,
    /// Bytes that the server reads next.
    output: Vec<u8>,
    /// How much of the output the server has.
    taken: usize,
}

impl Filter {
    /// Makes a filter for a new connection.
    pub(super) fn new() -> Self {
        Self {
            state: FrameState::Preface,
            table: Table::default(),
            logged_replacement: false,
            input: Vec::new(),
            output: Vec::new(),
            taken: 0,
        }
    }

    /// The next bytes of the client.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let mut read = 0;
        while self.state != FrameState::Aside {
            match self.step(read) {
                Some(0) => break,
                Some(length) => read += length,
                None => self.state = FrameState::Aside,
            }
        }
        let rest = match self.state {
            FrameState::Aside => self.input.len(),
            _ => read,
        };
        self.output
            .extend_from_slice(self.input.get(read..rest).unwrap_or_default());
        self.input.drain(..rest);
    }

    /// The client sends no more.
    pub(super) fn end(&mut self) {
        self.state = FrameState::Aside;
        self.feed(&[]);
    }

    /// The bytes that the server reads next.
    pub(super) fn output(&self) -> &[u8] {
        self.output.get(self.taken..).unwrap_or_default()
    }

    /// Removes bytes of the output that the server has read.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= self.output.len() {
            self.output.clear();
            self.taken = 0;
        }
    }

    /// Whether all further input passes unchanged and all output has been read.
    pub(super) fn is_done(&self) -> bool {
        self.state == FrameState::Aside && self.output.is_empty()
    }

    /// Goes on at a place of the input. How many bytes of it are done with: 0 when more are needed, None when the
    /// server is to judge what comes.
    fn step(&mut self, at: usize) -> Option<usize> {
        let input = self.input.get(at..)?;
        let (length, next) = match self.state {
            FrameState::Preface => {
                let seen = input.len().min(PREFACE.len());
                if input.get(..seen)? != PREFACE.get(..seen)? {
                    return None;
                }
                match seen == PREFACE.len() {
                    true => (seen, FrameState::Head),
                    false => return Some(0),
                }
            }
            FrameState::Payload(left) if left > input.len() => {
                (input.len(), FrameState::Payload(left - input.len()))
            }
            FrameState::Payload(left) => (left, FrameState::Head),
            FrameState::Head => match Head::read(input) {
                None => return Some(0),
                Some(head) if head.kind == HEADERS => return self.headers(at),
                Some(Head { length: 0, .. }) => (HEAD, FrameState::Head),
                Some(head) => (HEAD, FrameState::Payload(head.length)),
            },
            FrameState::Aside => return None,
        };
        self.output.extend_from_slice(input.get(..length)?);
        self.state = next;
        Some(length)
    }

    /// Goes on at a frame of headers.
    fn headers(&mut self, at: usize) -> Option<usize> {
        let input = self.input.get(at..)?;
        let length = match extent(input)? {
            Extent::Whole(length) => length,
            Extent::Cut => return Some(0),
        };
        let fields = Fields::read(input.get(..length)?)?;
        let rewritten = rewrite(&fields.block, &mut self.table)?;
        if rewritten.other_authority && !self.logged_replacement {
            tracing::debug!("a client sends an authority other than localhost");
            self.logged_replacement = true;
        }
        fields.write(&rewritten.bytes, &mut self.output)?;
        Some(length)
    }
}

/// How much of the input one header block is.
enum Extent {
    /// Complete frames of this many bytes.
    Whole(usize),
    /// More than what there is.
    Cut,
}

/// How far the frames go that begin with HEADERS; None when the protocol does not allow them.
fn extent(input: &[u8]) -> Option<Extent> {
    let mut first: Option<Head> = None;
    let mut length = 0;
    loop {
        let Some(head) = input.get(length..).and_then(Head::read) else {
            return Some(Extent::Cut);
        };
        let expected =
            first.is_none_or(|first| head.kind == CONTINUATION && head.stream == first.stream);
        length += HEAD + head.length;
        if !expected || head.length > LARGEST_FRAME || length > LARGEST_BLOCK {
            return None;
        }
        if length > input.len() {
            return Some(Extent::Cut);
        }
        if head.flags & END_HEADERS != 0 {
            return Some(Extent::Whole(length));
        }
        first.get_or_insert(head);
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl Head {
    fn read(input: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = input.first_chunk()?;
        let [high, middle, low, kind, flags, stream @ ..] = *head;
        Some(Self {
            length: usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low),
            kind,
            flags,
            stream,
        })
    }

    /// The head and the payload of the frame at the beginning of the input, and what follows it.
    fn frame(input: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let head = Self::read(input)?;
        let (payload, rest) = input.get(HEAD..)?.split_at_checked(head.length)?;
        Some((head, payload, rest))
    }
}

/// The frames of one header block: HEADERS and what continues them.
#[derive(Debug)]
struct Fields {
    head: Head,
    /// The priority fields of the HEADERS frame.
    priority: Vec<u8>,
    block: Vec<u8>,
}

impl Fields {
    /// Reads whole frames; None when the first is shorter than its flags say.
    fn read(frames: &[u8]) -> Option<Self> {
        let (head, mut payload, mut rest) = Head::frame(frames)?;
        if head.flags & PADDED != 0 {
            let (padding, padded) = payload.split_first()?;
            let end = padded.len().checked_sub(usize::from(*padding))?;
            payload = padded.get(..end)?;
        }
        let priority = if head.flags & PRIORITY != 0 { 5 } else { 0 };
        let (priority, block) = payload.split_at_checked(priority)?;
        let mut fields = Self {
            head,
            priority: priority.to_vec(),
            block: block.to_vec(),
        };
        while let Some((_, payload, after)) = Head::frame(rest) {
            fields.block.extend_from_slice(payload);
            rest = after;
        }
        Some(fields)
    }

    /// Writes the frames with another block and without padding.
    fn write(&self, block: &[u8], output: &mut Vec<u8>) -> Option<()> {
        let first = block.len().min(LARGEST_FRAME - self.priority.len());
        let (mut part, mut rest) = block.split_at_checked(first)?;
        let mut kind = HEADERS;
        let mut flags = self.head.flags & (END_STREAM | PRIORITY);
        let mut priority = self.priority.as_slice();
        loop {
            if rest.is_empty() {
                flags |= END_HEADERS;
            }
            // The length has three bytes, and no frame is larger than LARGEST_FRAME.
            let length = u32::try_from(priority.len() + part.len()).ok()?;
            output.extend_from_slice(length.to_be_bytes().get(1..)?);
            output.extend([kind, flags]);
            output.extend(self.head.stream);
            output.extend_from_slice(priority);
            output.extend_from_slice(part);
            if rest.is_empty() {
                return Some(());
            }
            (part, rest) = rest.split_at_checked(rest.len().min(LARGEST_FRAME))?;
            (kind, flags, priority) = (CONTINUATION, 0, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// What the server reads of what the client sends in pieces of one size.
    fn through(sent: &[u8], piece: usize) -> (Vec<u8>, bool) {
        let mut filter = Filter::new();
        let mut read = Vec::new();
        for piece in sent.chunks(piece) {
            filter.feed(piece);
            // The server may take less than there is.
            while !filter.output().is_empty() {
                let some = filter.output().len().div_ceil(2);
                read.extend_from_slice(&filter.output()[..some]);
                filter.take(some);
            }
        }
        let aside = filter.is_done();
        filter.end();
        read.extend_from_slice(filter.output());
        (read, aside)
    }

    #[track_caller]
    fn check(what: &str, sent: &[Vec<u8>], wanted: &[Vec<u8>], aside: bool) {
        let (sent, wanted) = (sent.concat(), wanted.concat());
        // Large frames would take too long one byte at a time.
        let pieces = [1, 2, 7, 10, 100, 5000, sent.len()];
        for piece in pieces.into_iter().filter(|piece| sent.len() / piece < 4000) {
            let (read, stepped) = through(&sent, piece);
            assert!(read == wanted, "{what} in pieces of {piece}: {read:?}");
            assert_eq!(stepped, aside, "{what} in pieces of {piece}");
        }
    }

    const SETTINGS: u8 = 4;
    const DATA: u8 = 0;
    const ODD: &[u8] = b"\x83\x41\x06/run/x";
    const ODD_AFTER: &[u8] = b"\x83\x01\x01h";
    const PLAIN: &[u8] = b"\x83\x41\x09localhost";
    /// Refers to the authority of the block before.
    const AGAIN: &[u8] = b"\x83\xbe";
    const AGAIN_AFTER: &[u8] = b"\x83\x01\x01h";

    fn preface() -> Vec<u8> {
        [PREFACE, &frame(SETTINGS, 0, &[0, 1, 0, 0, 0x10, 0])].concat()
    }

    #[test]
    fn what_is_no_request_of_http2_is_left_alone() {
        let http1 = [b"GET / HTTP/1.1\r\nHost: /run/x\r\n\r\n".to_vec()];
        check("HTTP/1.1", &http1, &http1, true);
        let cut = [b"PRI * HT".to_vec()];
        check("a preface that ends early", &cut, &cut, false);
        check("only a preface", &[preface()], &[preface()], false);
    }

    /// Requests of several clients come over one connection when a proxy stands between, and a client of grpc-go may
    /// name another authority for each call (`grpc.CallAuthority`).
    #[test]
    fn every_request_of_a_connection_may_name_another_authority() {
        let request = |block: &[u8]| frame(HEADERS, END_HEADERS, block);
        let nothing: &[u8] = b"\x83\x86";
        for (what, blocks) in [
            ("only localhost", &[(PLAIN, PLAIN), (AGAIN, AGAIN)][..]),
            ("a path second", &[(PLAIN, PLAIN), (ODD, ODD_AFTER)]),
            ("a path after none", &[(nothing, nothing), (ODD, ODD_AFTER)]),
            (
                "localhost second, and again",
                &[(ODD, ODD_AFTER), (PLAIN, PLAIN), (AGAIN, AGAIN)],
            ),
            (
                "each of two again",
                &[
                    (PLAIN, PLAIN),
                    (ODD, ODD_AFTER),
                    (AGAIN, AGAIN_AFTER),
                    (b"\x83\xbf", AGAIN),
                ],
            ),
            (
                "trailers",
                &[(PLAIN, PLAIN), (b"\x00\x01a\x01b", b"\x00\x01a\x01b")],
            ),
        ] {
            let body = || frame(DATA, 1, b"body");
            let sent = blocks.iter().flat_map(|(sent, _)| [request(sent), body()]);
            let wanted = blocks
                .iter()
                .flat_map(|(_, wanted)| [request(wanted), body()]);
            let sent: Vec<_> = std::iter::once(preface()).chain(sent).collect();
            let wanted: Vec<_> = std::iter::once(preface()).chain(wanted).collect();
            check(what, &sent, &wanted, false);
        }
    }

    #[test]
    fn headers_of_every_form_get_another_authority() {
        let data = frame(DATA, 1, b"body of a request");
        let after = |flags, block: &[u8]| frame(HEADERS, flags | END_HEADERS, block);
        let padded = [b"\x03".as_slice(), ODD, b"\0\0\0"].concat();
        let priority = [b"\0\0\0\0\x10".as_slice(), ODD].concat();
        let priority_after = [b"\0\0\0\0\x10".as_slice(), ODD_AFTER].concat();
        let both = [b"\x02".as_slice(), &priority, b"\0\0"].concat();
        let cases: [(&str, Vec<u8>, Vec<u8>); 6] = [
            ("one frame", after(0, ODD), after(0, ODD_AFTER)),
            ("the end of the stream", after(1, ODD), after(1, ODD_AFTER)),
            ("padding", after(PADDED, &padded), after(0, ODD_AFTER)),
            (
                "priority",
                after(PRIORITY, &priority),
                after(PRIORITY, &priority_after),
            ),
            (
                "both",
                after(PADDED | PRIORITY, &both),
                after(PRIORITY, &priority_after),
            ),
            (
                "continued within the value, with an empty frame",
                [
                    frame(HEADERS, 0, &ODD[..6]),
                    frame(CONTINUATION, 0, b""),
                    frame(CONTINUATION, END_HEADERS, &ODD[6..]),
                ]
                .concat(),
                after(0, ODD_AFTER),
            ),
        ];
        for (what, sent, wanted) in cases {
            let sent = [preface(), sent, data.clone(), after(1, AGAIN)];
            let again = after(1, AGAIN_AFTER);
            check(
                what,
                &sent,
                &[preface(), wanted, data.clone(), again],
                false,
            );
        }
    }

    #[test]
    fn a_block_that_grows_beyond_a_frame_is_continued() {
        // The empty authority is one byte here and three afterwards. 16,377 bytes follow, and fill the frame.
        let mut block = b"\x81\x00\x01a\x7f\xfa\x7e".to_vec();
        block.resize(LARGEST_FRAME, b'b');
        let mut wanted = b"\x01\x01h".to_vec();
        wanted.extend_from_slice(&block[1..]);
        let (first, second) = wanted.split_at(LARGEST_FRAME);
        check(
            "a full frame",
            &[preface(), frame(HEADERS, 5, &block)],
            &[
                preface(),
                frame(HEADERS, 1, first),
                frame(CONTINUATION, 4, second),
            ],
            false,
        );
    }

    #[test]
    fn what_the_protocol_forbids_is_left_to_the_server() {
        let continued = frame(HEADERS, 0, ODD);
        let mut other = frame(CONTINUATION, END_HEADERS, b"");
        other[8] = 3;
        let flood = [
            continued.clone(),
            vec![frame(CONTINUATION, 0, &[0x83; 8000]); 9].concat(),
        ];
        let cases: [(&str, Vec<u8>); 6] = [
            (
                "more padding than payload",
                frame(HEADERS, 4 | PADDED, b"\x09\x83"),
            ),
            (
                "priority without its bytes",
                frame(HEADERS, 4 | PRIORITY, b"\0\0"),
            ),
            (
                "another frame between",
                [continued.clone(), frame(DATA, 0, b"x")].concat(),
            ),
            (
                "another stream's frame between",
                [continued.clone(), other].concat(),
            ),
            ("a block without an end", flood.concat()),
            ("no header block", frame(HEADERS, 4, b"\x41\x7f")),
        ];
        for (what, frames) in cases {
            let sent = [preface(), frames, frame(HEADERS, 4, ODD)];
            check(what, &sent, &sent, true);
        }
        let mut large = frame(HEADERS, 4, &vec![0x83; LARGEST_FRAME + 1]);
        large.truncate(100);
        check(
            "a frame that is too large",
            &[preface(), large.clone()],
            &[preface(), large],
            true,
        );
    }
}
