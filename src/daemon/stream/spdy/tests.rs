//! Frames in any pieces and any disorder, and connections with clients that keep count of windows or do not.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::connection::{ConnectionError, Opened, serve};
use super::frame::{Decoder, Encoder, Frame, FrameError};
use super::header::{DICTIONARY, HeaderError, Headers, Inflater, empty_block, value};
use crate::stream::channel::{ResetReason, WINDOW};
use crate::stream::drive::Activity;

/// Long enough for anything that happens at all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The client's side of header blocks.
struct Deflater(Compress);

impl Deflater {
    fn new() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&DICTIONARY).unwrap();
        Self(compress)
    }

    fn deflate(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut block = Vec::with_capacity(plain.len() + 1024);
        self.0
            .compress_vec(plain, &mut block, FlushCompress::Sync)
            .unwrap();
        block
    }

    fn block(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut plain = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            plain.extend(text.as_bytes());
        }
        self.deflate(&plain)
    }

    fn open(&mut self, stream: u32, fin: bool, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend([0; 6]);
        payload.extend(self.block(headers));
        control(1, fin, &payload)
    }
}

fn control(kind: u16, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3];
    frame.extend(kind.to_be_bytes());
    let length = u32::try_from(payload.len()).unwrap() | u32::from(fin) << 24;
    frame.extend(length.to_be_bytes());
    frame.extend(payload);
    frame
}

fn data(stream: u32, fin: bool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    let length = u32::try_from(bytes.len()).unwrap() | u32::from(fin) << 24;
    frame.extend(length.to_be_bytes());
    frame.extend(bytes);
    frame
}

fn numbers(kind: u16, values: &[u32]) -> Vec<u8> {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    control(kind, false, &payload)
}

/// Everything that bytes say, when they come in pieces of this size.
fn frames(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        decoder.buffer().extend_from_slice(piece);
        while let Some(frame) = decoder.next()? {
            frames.push(frame);
        }
        // What stays is at most one control frame with what was read at once.
        assert!(decoder.buffer().len() <= 16 * 1024 + 8 + piece.len());
    }
    Ok(frames)
}

/// Pieces of data joined to what was sent.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut joined: Vec<Frame> = Vec::new();
    for frame in frames {
        match (joined.last_mut(), frame) {
            (
                Some(Frame::Data {
                    stream: of,
                    bytes: before,
                    fin: fin @ false,
                }),
                Frame::Data {
                    stream,
                    bytes,
                    fin: last,
                },
            ) if *of == stream => {
                *before = [&before[..], &bytes[..]].concat().into();
                *fin = last;
            }
            (_, frame) => joined.push(frame),
        }
    }
    joined
}

/// A conversation with a frame of each kind.
fn conversation() -> Vec<u8> {
    let mut deflater = Deflater::new();
    [
        deflater.open(1, false, &[("streamtype", "error"), ("port", "80")]),
        deflater.open(3, true, &[("streamtype", "stdin")]),
        data(1, false, b"hello"),
        numbers(6, &[1]),
        numbers(9, &[1, 5]),
        numbers(4, &[1, 7, 1000]),
        numbers(3, &[3, 5]),
        control(99, false, b"unknown"),
        data(1, true, &[7; 300]),
        numbers(7, &[1, 0]),
    ]
    .concat()
}

fn expected() -> Vec<Frame> {
    let headers = |pairs: &[(&str, &str)]| -> Headers {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    };
    vec![
        Frame::Open {
            stream: 1,
            headers: headers(&[("streamtype", "error"), ("port", "80")]),
            fin: false,
        },
        Frame::Open {
            stream: 3,
            headers: headers(&[("streamtype", "stdin")]),
            fin: true,
        },
        Frame::Data {
            stream: 1,
            bytes: Bytes::from_static(b"hello"),
            fin: false,
        },
        Frame::Ping(1),
        Frame::WindowUpdate { stream: 1, more: 5 },
        Frame::InitialWindow(1000),
        Frame::Reset { stream: 3 },
        Frame::Other { ends: None },
        Frame::Data {
            stream: 1,
            bytes: vec![7; 300].into(),
            fin: true,
        },
        Frame::GoAway,
    ]
}

#[test]
fn the_dictionary_is_that_of_the_specification() {
    // Its checksum is what zlib streams of SPDY/3 name.
    assert_eq!(DICTIONARY.len(), 1423);
    assert_eq!(
        &empty_block(true)[..6],
        [0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]
    );
}

#[test]
fn our_blocks_are_read_by_any_decoder() {
    let mut inflater = Inflater::new();
    assert_eq!(inflater.read(&empty_block(true)).unwrap(), []);
    assert_eq!(inflater.read(&empty_block(false)).unwrap(), []);
}

#[test]
fn frames_are_the_same_in_any_pieces() {
    let bytes = conversation();
    for piece in [1, 2, 7, 8, 9, 100, bytes.len()] {
        assert_eq!(
            joined(frames(&bytes, piece).unwrap()),
            expected(),
            "{piece}"
        );
    }
}

#[test]
fn what_is_no_spdy_is_an_error() {
    let error = |bytes: &[u8]| frames(bytes, 4096).unwrap_err();
    assert_eq!(error(b"\x80\x02\0\x01\0\0\0\0"), FrameError::Version(2));
    assert_eq!(
        error(&control(4, false, &vec![0; 16_385])),
        FrameError::TooLarge(16_385)
    );
    assert_eq!(
        error(b"\x80\x03\0\x01\0\xff\xff\xff"),
        FrameError::TooLarge(0xff_ffff)
    );
    assert_eq!(error(&numbers(3, &[])), FrameError::Short(3));
    assert_eq!(error(&numbers(4, &[1000, 7])), FrameError::Short(4));
    assert_eq!(error(&data(0, false, b"x")), FrameError::Stream(0));
    assert_eq!(error(&numbers(3, &[0, 5])), FrameError::Stream(0));
    let mut payload = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    payload.extend(b"no zlib at all");
    assert_eq!(
        error(&control(1, false, &payload)),
        HeaderError::Unreadable.into()
    );
}

#[test]
fn headers_have_a_limit_when_they_are_inflated() {
    let mut plain = vec![0, 0, 0, 1, 0, 0, 0, 1, b'n'];
    plain.extend((4_u32 << 20).to_be_bytes());
    plain.extend(vec![b'x'; 4 << 20]);
    let block = Deflater::new().deflate(&plain);
    assert!(block.len() < 16_000, "{}", block.len());
    let refused = Inflater::new().read(&block).unwrap_err();
    assert_eq!(refused, HeaderError::TooLarge);
    // More headers than bytes, and lengths beyond the end.
    for plain in [&[0xff; 4][..], &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]] {
        let block = Deflater::new().deflate(plain);
        assert_eq!(Inflater::new().read(&block), Err(HeaderError::Unreadable));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..4096), piece in 1..600_usize) {
        let _ = frames(&bytes, piece);
    }

    #[test]
    fn control_frames_with_any_payload_are_read_or_refused(
        kind in 0..12_u16, fin in any::<bool>(), payload in prop::collection::vec(any::<u8>(), 0..256),
    ) {
        let _ = frames(&control(kind, fin, &payload), 64);
    }

    #[test]
    fn a_conversation_with_changed_bytes_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), piece in 1..600_usize,
    ) {
        let mut bytes = conversation();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let _ = frames(&bytes, piece);
    }

    #[test]
    fn headers_of_any_content_come_back(
        pairs in prop::collection::vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,40}"), 0..8),
    ) {
        let given: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut deflater = Deflater::new();
        let mut inflater = Inflater::new();
        for _ in 0..2 {
            prop_assert_eq!(&inflater.read(&deflater.block(&given)).unwrap(), &pairs);
        }
    }
}

/// A client at the other end of a connection that is served.
struct Client {
    socket: DuplexStream,
    deflater: Deflater,
    received: Decoder,
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(TIMEOUT, self.socket.write_all(bytes)).await;
        sent.unwrap().unwrap();
    }

    async fn open(&mut self, stream: u32) {
        let open = self.deflater.open(stream, false, &[("streamtype", "data")]);
        self.send(&open).await;
    }

    /// The next frame of the server, which sends those that a client may send too.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.received.next().unwrap() {
                return Some(frame);
            }
            let read = self.socket.read_buf(self.received.buffer());
            if timeout(TIMEOUT, read).await.unwrap().unwrap() == 0 {
                return None;
            }
        }
    }

    /// Bytes of data that come until nothing more does for a while.
    async fn count(&mut self) -> usize {
        let mut count = 0;
        while let Ok(Some(frame)) = timeout(Duration::from_millis(300), self.next()).await {
            if let Frame::Data { bytes, .. } = frame {
                count += bytes.len();
            }
        }
        count
    }
}

/// Serves a session, and runs the client's side of the test. What the client returns is the result.
async fn converse<S: Future<Output = ()>, T>(
    session: impl FnOnce(mpsc::Receiver<Opened>) -> S,
    client: impl AsyncFnOnce(&mut Client) -> T,
) -> (T, Result<(), ConnectionError>) {
    let (near, far) = tokio::io::duplex(1024);
    let activity = Activity::new();
    let mut other = Client {
        socket: near,
        deflater: Deflater::new(),
        received: Decoder::new(),
    };
    let client = async {
        let result = client(&mut other).await;
        drop(other);
        result
    };
    tokio::join!(client, serve(far, &activity, session))
}

/// Reads all of one stream after another, and sends it back.
async fn echo(mut opened: mpsc::Receiver<Opened>) {
    while let Some(Opened { headers, stream }) = opened.recv().await {
        assert_eq!(value(&headers, "streamtype"), Some("data"));
        while let Some(mut bytes) = stream.read().await {
            if stream.write(&mut bytes).await.is_err() {
                break;
            }
        }
        let _ = stream.finish().await;
    }
}

#[tokio::test]
async fn streams_are_accepted_read_and_written() {
    let (received, served) = converse(echo, async |client| {
        client.open(1).await;
        assert_eq!(client.next().await, Some(Frame::Other { ends: None }));
        client.send(&numbers(6, &[9])).await;
        assert_eq!(client.next().await, Some(Frame::Ping(9)));
        client.send(&data(1, true, b"ping")).await;
        let mut received = Vec::new();
        loop {
            match client.next().await {
                Some(Frame::Data { bytes, fin, .. }) => {
                    received.extend(bytes);
                    if fin {
                        return received;
                    }
                }
                Some(Frame::WindowUpdate { more, .. }) => assert_eq!(more, 4),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert_eq!(received, b"ping");
    assert!(served.is_ok(), "{served:?}");
}

#[tokio::test]
async fn a_client_that_keeps_count_is_not_overrun() {
    let flood = async |mut opened: mpsc::Receiver<Opened>| {
        let stream = opened.recv().await.unwrap().stream;
        let mut bytes = Bytes::from(vec![0; 4 * WINDOW]);
        let _ = stream.write(&mut bytes).await;
    };
    let ((), _) = converse(flood, async |client| {
        // SETTINGS show that it does.
        client.send(&numbers(4, &[1, 7, 1000])).await;
        client.open(1).await;
        assert_eq!(client.count().await, 1000);
        client.send(&numbers(9, &[1, 500])).await;
        assert_eq!(client.count().await, 500);
        // The connection has a window of its own.
        client.send(&numbers(9, &[1, 1 << 20])).await;
        assert_eq!(client.count().await, WINDOW - 1500);
        client.send(&numbers(9, &[0, 1 << 20])).await;
        assert_eq!(client.count().await, 3 * WINDOW);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_keeps_no_count_gets_everything() {
    let flood = async |mut opened: mpsc::Receiver<Opened>| {
        let stream = opened.recv().await.unwrap().stream;
        let mut bytes = Bytes::from(vec![0; 10 * WINDOW]);
        stream.write(&mut bytes).await.unwrap();
    };
    let (count, served) = converse(flood, async |client| {
        client.open(1).await;
        client.count().await
    })
    .await;
    assert_eq!(count, 10 * WINDOW);
    assert!(served.is_ok(), "{served:?}");
}

#[tokio::test]
async fn what_nobody_reads_stops_the_client_and_not_the_memory() {
    let release = Notify::new();
    let idle = async |mut opened: mpsc::Receiver<Opened>| {
        let _kept = opened.recv().await;
        release.notified().await;
    };
    let (sent, _) = converse(idle, async |client| {
        client.open(1).await;
        let mut sent = 0;
        let piece = data(1, false, &[0; 1016]);
        let pause = Duration::from_millis(300);
        while let Ok(done) = timeout(pause, client.socket.write_all(&piece)).await {
            done.unwrap();
            sent += piece.len();
            assert!(sent < 1 << 20);
        }
        release.notify_one();
        sent
    })
    .await;
    assert!((WINDOW..2 * WINDOW).contains(&sent), "{sent}");
}

#[tokio::test]
async fn numbers_of_streams_only_rise() {
    for wrong in [2, 1] {
        let ((), served) = converse(echo, async |client| {
            client.open(1).await;
            client.open(wrong).await;
            while client.next().await.is_some() {}
        })
        .await;
        let refused = matches!(served, Err(ConnectionError::Frame(FrameError::Stream(number))) if number == wrong);
        assert!(refused, "{served:?}");
    }
}

#[tokio::test]
async fn a_window_does_not_overflow() {
    let ((), served) = converse(echo, async |client| {
        client.open(1).await;
        client.send(&numbers(9, &[1, 0x7fff_ffff])).await;
        while client.next().await.is_some() {}
    })
    .await;
    let refused = matches!(served, Err(ConnectionError::Frame(FrameError::Window(1))));
    assert!(refused, "{served:?}");
}

#[tokio::test]
async fn too_many_streams_are_refused_one_by_one() {
    let hoard = async |mut opened: mpsc::Receiver<Opened>| {
        let mut all = Vec::new();
        while let Some(opened) = opened.recv().await {
            all.push(opened);
        }
    };
    let (refused, _) = converse(hoard, async |client| {
        let mut refused = 0;
        for number in 0..515 {
            client.open(2 * number + 1).await;
            match client.next().await {
                Some(Frame::Other { .. }) => {}
                Some(Frame::Reset { stream }) => refused = refused.max(stream),
                other => panic!("{other:?}"),
            }
        }
        refused
    })
    .await;
    assert_eq!(refused, 2 * 514 + 1);
}

#[tokio::test]
async fn a_reset_ends_reading_and_writing() {
    let (told, mut results) = mpsc::channel(4);
    let session = async |mut opened: mpsc::Receiver<Opened>| {
        let stream = opened.recv().await.unwrap().stream;
        let read = stream.read().await;
        let written = stream.write(&mut Bytes::from_static(b"x")).await;
        told.send((read, stream.is_reset(), written.is_err()))
            .await
            .unwrap();
    };
    let ((), served) = converse(session, async |client| {
        client.open(1).await;
        client.send(&numbers(3, &[1, 5])).await;
        while client.next().await.is_some() {}
    })
    .await;
    assert_eq!(results.recv().await, Some((None, true, true)));
    assert!(served.is_ok(), "{served:?}");
}

#[tokio::test]
async fn a_client_that_goes_takes_the_session_with_it() {
    let (told, mut ended) = mpsc::channel::<()>(1);
    let session = async |mut opened: mpsc::Receiver<Opened>| {
        let _guard = told;
        let _kept = opened.recv().await;
        std::future::pending::<()>().await;
    };
    let ((), served) = converse(session, async |client| client.open(1).await).await;
    assert_eq!(ended.recv().await, None);
    assert!(served.is_ok(), "{served:?}");
}

#[test]
fn the_writers_frames_are_those_of_the_specification() {
    let mut out = BytesMut::new();
    Encoder::data(&mut out, 5, 3);
    assert_eq!(&out[..], [0, 0, 0, 5, 0, 0, 0, 3]);
    out.clear();
    Encoder::end(&mut out, 5);
    assert_eq!(&out[..], [0, 0, 0, 5, 1, 0, 0, 0]);
    out.clear();
    Encoder::reset(&mut out, 7, ResetReason::Cancel);
    assert_eq!(
        &out[..],
        [0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 5]
    );
    out.clear();
    Encoder::go_away(&mut out, 7);
    assert_eq!(
        &out[..],
        [0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 0]
    );
}
