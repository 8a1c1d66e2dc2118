//! Frames of SPDY/3.1, read from and written to bytes. Pure.
//!
//! Control frames are read whole and are small; the payload of a data frame is given in pieces as it comes, so
//! that its length, which may be 16 MiB, allocates nothing.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::header::{self, HeaderError, Headers, Inflater};
use crate::stream::channel::ResetReason;

/// Version in control frames, also of SPDY/3.1.
const VERSION: u16 = 3;

/// Bytes in front of every frame's payload.
const PREFIX: usize = 8;

/// Largest payload of a control frame that is read. Those of real clients have some hundred bytes.
const MAX_CONTROL: usize = 16 * 1024;

/// Nothing more comes on the stream: `FLAG_FIN`.
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// Number of the setting `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u32 = 7;

/// Why bytes are not frames of SPDY.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The frame is of another version of SPDY.
    #[error("control frame of SPDY version {0}; only version 3 is supported")]
    Version(u16),
    /// A control frame is larger than any client sends.
    #[error("control frame of {0} bytes; at most {MAX_CONTROL} are allowed")]
    TooLarge(usize),
    /// A control frame is shorter than its fields.
    #[error("control frame of type {0} is too short")]
    Short(u16),
    /// The headers of a stream are refused.
    #[error(transparent)]
    Headers(#[from] HeaderError),
    /// The number of a stream is not allowed.
    #[error("invalid stream number {0}")]
    Stream(u32),
    /// A window is larger than 2^31 - 1.
    #[error("the window of stream {0} overflows")]
    Window(u32),
}

/// A frame of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// The client opens a stream.
    Open {
        stream: u32,
        /// Headers that say what the stream is for.
        headers: Headers,
        /// Whether the client sends nothing on the stream.
        fin: bool,
    },
    /// A piece of a stream's content.
    Data {
        stream: u32,
        /// The piece; may be empty.
        bytes: Bytes,
        /// Whether this is the last piece.
        fin: bool,
    },
    /// The client resets a stream.
    Reset { stream: u32 },
    /// A sign of life, to be sent back as it is when the number is odd.
    Ping(u32),
    /// The client ends the connection.
    GoAway,
    /// More may be sent.
    WindowUpdate {
        /// The stream; 0 for the connection.
        stream: u32,
        /// How many more bytes the client takes.
        more: u32,
    },
    /// The window with which streams begin.
    InitialWindow(u32),
    /// The client ends a stream with headers, or sends a frame that does not matter here.
    Other {
        /// The stream that ends with it, if one does.
        ends: Option<u32>,
    },
}

/// A data frame under way.
#[derive(Debug)]
struct Piece {
    stream: u32,
    left: usize,
    fin: bool,
}

/// Reads frames from bytes as they come.
#[derive(Debug)]
pub(super) struct Decoder {
    buffer: BytesMut,
    piece: Option<Piece>,
    headers: Inflater,
}

impl Decoder {
    /// At the begin of a connection.
    pub(super) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            piece: None,
            headers: Inflater::new(),
        }
    }

    /// The buffer for further bytes. It keeps a control frame and the bytes of one read at most.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame, or piece of one; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The bytes are no SPDY/3.1; the connection is of no use any more.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(piece) = &mut self.piece {
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let length = piece.left.min(self.buffer.len());
            piece.left -= length;
            let frame = Frame::Data {
                stream: piece.stream,
                bytes: self.buffer.split_to(length).freeze(),
                fin: piece.fin && piece.left == 0,
            };
            if piece.left == 0 {
                self.piece = None;
            }
            return Ok(Some(frame));
        }
        let Some(mut prefix) = self.buffer.get(..PREFIX) else {
            return Ok(None);
        };
        let (first, second) = (prefix.get_u32(), prefix.get_u32());
        let length = usize::try_from(second & 0x00ff_ffff).unwrap_or(usize::MAX);
        let flags = (second >> 24).to_be_bytes()[3];
        if first & 0x8000_0000 == 0 {
            return self.begin_data(first, length, flags & FIN != 0);
        }
        self.control(first, length, flags & FIN != 0)
    }

    fn begin_data(
        &mut self,
        stream: u32,
        length: usize,
        fin: bool,
    ) -> Result<Option<Frame>, FrameError> {
        if stream == 0 {
            return Err(FrameError::Stream(stream));
        }
        self.buffer.advance(PREFIX);
        if length == 0 {
            let bytes = Bytes::new();
            return Ok(Some(Frame::Data { stream, bytes, fin }));
        }
        self.piece = Some(Piece {
            stream,
            left: length,
            fin,
        });
        self.next()
    }

    fn control(
        &mut self,
        first: u32,
        length: usize,
        fin: bool,
    ) -> Result<Option<Frame>, FrameError> {
        let [version_high, version_low, kind_high, kind_low] = (first & 0x7fff_ffff).to_be_bytes();
        let version = u16::from_be_bytes([version_high, version_low]);
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if length > MAX_CONTROL {
            return Err(FrameError::TooLarge(length));
        }
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let payload = self.buffer.split_to(length).freeze();
        self.parse(kind, payload, fin).map(Some)
    }

    fn parse(&mut self, kind: u16, mut payload: Bytes, fin: bool) -> Result<Frame, FrameError> {
        let short = |_| FrameError::Short(kind);
        let mut number = || payload.try_get_u32().map_err(short);
        let frame = match kind {
            SYN_STREAM => {
                let (stream, _associated) = (number()?, number()?);
                let _priority_and_slot = payload.try_get_u16().map_err(short)?;
                Frame::Open {
                    stream: stream_number(stream)?,
                    headers: self.headers.read(&payload)?,
                    fin,
                }
            }
            SYN_REPLY | HEADERS => {
                let stream = stream_number(number()?)?;
                // All blocks are read: they share one zlib stream.
                self.headers.read(&payload)?;
                Frame::Other {
                    ends: fin.then_some(stream),
                }
            }
            RST_STREAM => Frame::Reset {
                stream: stream_number(number()?)?,
            },
            SETTINGS => settings(payload).ok_or(FrameError::Short(kind))?,
            PING => Frame::Ping(number()?),
            GOAWAY => Frame::GoAway,
            WINDOW_UPDATE => Frame::WindowUpdate {
                stream: number()? & 0x7fff_ffff,
                more: number()? & 0x7fff_ffff,
            },
            _ => Frame::Other { ends: None },
        };
        Ok(frame)
    }
}

fn stream_number(number: u32) -> Result<u32, FrameError> {
    match number & 0x7fff_ffff {
        0 => Err(FrameError::Stream(0)),
        stream => Ok(stream),
    }
}

/// Of all settings only the initial window matters here.
fn settings(mut payload: Bytes) -> Option<Frame> {
    let count = payload.try_get_u32().ok()?;
    let mut window = None;
    for _ in 0..count {
        let key = payload.try_get_u32().ok()? & 0x00ff_ffff;
        let value = payload.try_get_u32().ok()?;
        if key == INITIAL_WINDOW {
            window = Some(value & 0x7fff_ffff);
        }
    }
    Some(window.map_or(Frame::Other { ends: None }, Frame::InitialWindow))
}

fn control(out: &mut BytesMut, kind: u16, payload: &[u8]) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    // Ours have some bytes.
    out.put_u32(u32::try_from(payload.len()).unwrap_or(0));
    out.put_slice(payload);
}

fn numbers(out: &mut BytesMut, kind: u16, values: [u32; 2]) {
    let mut payload = [0; 8];
    let (first, second) = payload.split_at_mut(4);
    first.copy_from_slice(&values[0].to_be_bytes());
    second.copy_from_slice(&values[1].to_be_bytes());
    control(out, kind, &payload);
}

/// Writes frames. Keeps whether the zlib stream of our headers is open.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    headers_sent: bool,
}

impl Encoder {
    /// Accepts a stream: SYN_REPLY without headers.
    pub(super) fn accept(&mut self, out: &mut BytesMut, stream: u32) {
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend(header::empty_block(!self.headers_sent));
        self.headers_sent = true;
        control(out, SYN_REPLY, &payload);
    }

    /// A data frame with nothing in it, which ends a stream.
    pub(super) fn end(out: &mut BytesMut, stream: u32) {
        out.put_u32(stream);
        out.put_u32(u32::from(FIN) << 24);
    }

    /// Writes the header of a data frame.
    pub(super) fn data(out: &mut BytesMut, stream: u32, length: usize) {
        out.put_u32(stream);
        // Pieces have 32 KiB at most.
        out.put_u32(u32::try_from(length).unwrap_or(0) & 0x00ff_ffff);
    }

    /// Breaks a stream off.
    pub(super) fn reset(out: &mut BytesMut, stream: u32, reason: ResetReason) {
        numbers(out, RST_STREAM, [stream, reason as u32]);
    }

    /// More may be sent.
    pub(super) fn window_update(out: &mut BytesMut, stream: u32, more: usize) {
        let more = u32::try_from(more).unwrap_or(u32::MAX) & 0x7fff_ffff;
        numbers(out, WINDOW_UPDATE, [stream, more]);
    }

    /// The answer to a ping.
    pub(super) fn ping(out: &mut BytesMut, payload: &[u8]) {
        control(out, PING, payload);
    }

    /// Nothing more is accepted; `last` is the last stream that was.
    pub(super) fn go_away(out: &mut BytesMut, last: u32) {
        numbers(out, GOAWAY, [last, 0]);
    }
}
