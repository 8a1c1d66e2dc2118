//! Exec and attach: connects the streams of a client with those of a process.
//!
//! ```text
//!   stdin ──▶ pipe or terminal ──▶ process ──▶ pipes or terminal ──▶ stdout, stderr
//!   resize ─▶ terminal                └── end ──▶ error: the outcome
//! ```

use holdfast_kernel::error_chain;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::channel::Stream;
use super::negotiate::Version;
use super::spdy::{Opened, value};
use crate::pod::{PodError, Pods, Session, SessionEnd, Streams, Terminal, TerminalSize};

/// How long a client may take to open its streams.
pub(super) const CREATION: Duration = Duration::from_secs(30);

/// Bytes moved at once.
const CHUNK: usize = 32 * 1024;

/// How long output is waited for after the process has ended: children in the background may keep it open.
const DRAIN: Duration = Duration::from_millis(200);

/// Bytes that may be waiting in a pipe or terminal when its process ends: pipe(7).
const LEFT_OVER: usize = 64 * 1024;

/// How long a client may take to send the size of its terminal before the command starts without a size. A client
/// with a terminal sends it at once; every other client loses this time.
const FIRST_SIZE: Duration = Duration::from_millis(100);

/// The wait of [`FIRST_SIZE`] for a client that is far away.
const FIRST_SIZE_FROM_AFAR: Duration = Duration::from_millis(300);

/// Largest message of a resize stream.
const MAX_RESIZE: usize = 1024;

/// Whether a client runs a command in a container or attaches to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Run this command in the container.
    Exec(Vec<String>),
    /// Attach to the container's first process.
    Attach,
}

/// The streams of a client.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// The stream on which the outcome is sent.
    pub error: Option<Stream>,
    pub stdin: Option<Stream>,
    pub stdout: Option<Stream>,
    pub stderr: Option<Stream>,
    /// Sizes of the terminal.
    pub resize: Option<Stream>,
}

impl Channels {
    fn place(&mut self, kind: &str) -> Option<&mut Option<Stream>> {
        Some(match kind {
            "error" => &mut self.error,
            "stdin" => &mut self.stdin,
            "stdout" => &mut self.stdout,
            "stderr" => &mut self.stderr,
            "resize" => &mut self.resize,
            _ => return None,
        })
    }

    fn count(&self) -> usize {
        let all = [
            &self.error,
            &self.stdin,
            &self.stdout,
            &self.stderr,
            &self.resize,
        ];
        all.iter().filter(|stream| stream.is_some()).count()
    }

    /// Waits for all streams that a client of SPDY opens. A client with a terminal opens `resize` last, and waits for
    /// the answer even when the connection is closed before.
    pub(super) async fn collect(
        opened: &mut mpsc::Receiver<Opened>,
        wanted: Streams,
        version: Version,
    ) -> Option<Self> {
        let resize = wanted.terminal && version >= Version::V3;
        let expected = [true, wanted.stdin, wanted.stdout, wanted.stderr, resize];
        let expected = expected.iter().filter(|expected| **expected).count();
        let deadline = Instant::now() + CREATION;
        let mut channels = Self::default();
        while channels.count() < expected {
            let Opened { headers, stream } = timeout_at(deadline, opened.recv()).await.ok()??;
            let kind = value(&headers, "streamtype").unwrap_or_default();
            match channels.place(kind) {
                Some(place) if place.is_none() => *place = Some(stream),
                // A stream of an unknown kind, or a second stream of a kind.
                _ => stream.reset().await.ok()?,
            }
        }
        Some(channels)
    }
}

/// The outcome of an exec or attach, as it is sent to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The process ended with this code; the container's output ended.
    Ended(i32),
    /// The command could not be started, or its outcome is not known.
    Failed(String),
}

/// The client's view of a container.
#[derive(Debug)]
pub(super) struct RemoteCommand<'a> {
    pub pods: &'a Pods,
    pub container: holdfast_kernel::id::ContainerId,
    /// Whether a command is run or the client attaches.
    pub target: &'a Target,
    /// The streams that the client asked for.
    pub streams: Streams,
    /// The version of the protocol, which decides the form of the outcome.
    pub version: Version,
}

/// How long to wait for the first size of a terminal. `opening` is the time in which the client opened its streams.
/// It waits for the answer to each of them, so that the time is some of its round trips.
pub(super) fn first_size_timeout(opening: Duration) -> Duration {
    opening.clamp(FIRST_SIZE, FIRST_SIZE_FROM_AFAR)
}

impl RemoteCommand<'_> {
    /// Runs to the end and sends the outcome. Dropping it closes the process' streams. It waits at most
    /// `size_timeout` for the first size of a terminal.
    pub(super) async fn run(&self, channels: Channels, size_timeout: Duration) {
        let Channels {
            error,
            stdin,
            stdout,
            stderr,
            resize,
        } = channels;
        let mut sizes = Sizes::new(resize);
        let size = timeout(size_timeout, sizes.next()).await.ok().flatten();
        let outcome = match self.start(size).await {
            Ok(session) => {
                if let (Some(terminal), Some(size)) = (&session.terminal, size) {
                    // The terminal of a container that is attached to has the size of an earlier client.
                    terminal.resize(size);
                }
                let inputs = (stdin, sizes);
                serve(session, inputs, (stdout.as_ref(), stderr.as_ref())).await
            }
            Err(error) => Outcome::Failed(error_chain(&error)),
        };
        for output in [&stdout, &stderr].into_iter().flatten() {
            let _ = output.finish().await;
        }
        if let Some(error) = error {
            let mut text = Bytes::from(outcome.text(self.version));
            // A client that has gone wants no outcome.
            let _ = error.write(&mut text).await;
            let _ = error.finish().await;
        }
    }

    async fn start(&self, size: Option<TerminalSize>) -> Result<Session, PodError> {
        match self.target {
            Target::Exec(command) => {
                let (container, streams) = (self.container, self.streams);
                self.pods.exec(container, command, streams, size).await
            }
            Target::Attach => self.pods.attach(self.container, self.streams).await,
        }
    }
}

async fn serve(
    session: Session,
    (stdin, sizes): (Option<Stream>, Sizes),
    (stdout, stderr): (Option<&Stream>, Option<&Stream>),
) -> Outcome {
    let Session {
        stdin: input,
        stdout: output,
        stderr: errors,
        terminal,
        end,
    } = session;
    let side = async {
        tokio::join!(write_input(stdin, input), follow_size(sizes, terminal));
        // Only the process ends the session, not its input.
        std::future::pending::<()>().await;
    };
    let mut outputs = (Output::new(output, stdout), Output::new(errors, stderr));
    tokio::select! {
        () = side => Outcome::Ended(0),
        outcome = until_end(&mut outputs, end) => outcome,
    }
}

async fn until_end((output, errors): &mut (Output<'_>, Output<'_>), end: SessionEnd) -> Outcome {
    let copy = async { tokio::join!(output.copy(), errors.copy()) };
    match end {
        SessionEnd::Output(mut end) => {
            copy.await;
            if end.was_dropped().await {
                let text = "the client did not keep up with the container's output and was detached; attach again";
                return Outcome::Failed(text.to_owned());
            }
            Outcome::Ended(0)
        }
        SessionEnd::Process(mut end) => {
            let code = {
                tokio::pin!(copy);
                tokio::select! {
                    code = end.wait() => code,
                    _ = &mut copy => end.wait().await,
                }
            };
            tokio::join!(output.drain(), errors.drain());
            code.map_or_else(
                || Outcome::Failed("the pod was ended with the command in it".to_owned()),
                Outcome::Ended,
            )
        }
    }
}

/// An output of the process on its way to the client.
struct Output<'a> {
    from: Option<Receiver>,
    to: Option<&'a Stream>,
    /// Read and not yet sent: a copy that is broken off loses nothing.
    chunk: Bytes,
    buffer: BytesMut,
}

impl<'a> Output<'a> {
    fn new(from: Option<Receiver>, to: Option<&'a Stream>) -> Self {
        Self {
            from,
            to,
            chunk: Bytes::new(),
            buffer: BytesMut::new(),
        }
    }

    /// Copies until the output ends or the client takes no more; its pipe is closed then.
    async fn copy(&mut self) {
        while self.send().await && self.read().await {}
    }

    async fn send(&mut self) -> bool {
        let sent = match self.to {
            Some(stream) => stream.write(&mut self.chunk).await.is_ok(),
            None => true,
        };
        if !sent {
            self.from = None;
        }
        sent
    }

    async fn read(&mut self) -> bool {
        let Some(from) = &mut self.from else {
            return false;
        };
        self.buffer.reserve(CHUNK);
        match from.read_buf(&mut self.buffer).await {
            // The end of a pipe; a terminal says EIO.
            Ok(0) | Err(_) => {
                self.from = None;
                false
            }
            Ok(_) => {
                self.chunk = self.buffer.split().freeze();
                true
            }
        }
    }

    /// Copies what the process had written when it ended.
    async fn drain(&mut self) {
        let mut left = LEFT_OVER;
        while left > 0 && self.send().await {
            match timeout(DRAIN, self.read()).await {
                Ok(true) => left = left.saturating_sub(self.chunk.len()),
                Ok(false) | Err(_) => return,
            }
        }
        self.send().await;
    }
}

/// Writes what the client sends to the process. The end of the stream ends the input. Bytes that the process does not
/// read are discarded, so that the client's other streams go on.
async fn write_input(stream: Option<Stream>, mut pipe: Option<Sender>) {
    let Some(stream) = stream else {
        return;
    };
    while let Some(bytes) = stream.read().await {
        let written = match &mut pipe {
            Some(pipe) => pipe.write_all(&bytes).await.is_ok(),
            None => true,
        };
        if !written {
            pipe = None;
        }
    }
}

/// A size of a terminal, read as Go reads it for the kubelet (`encoding/json` of Go 1.26): kubectl writes `Width`, the
/// client for JavaScript `width`; null changes nothing, and of a key that comes again the last one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    width: u16,
    height: u16,
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with Width and Height")
            }

            fn visit_unit<E>(self) -> Result<Size, E> {
                Ok(Size::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Size, A::Error> {
                let mut size = Size::default();
                while let Some(key) = object.next_key::<String>()? {
                    let field = match key.to_ascii_lowercase().as_str() {
                        "width" => &mut size.width,
                        "height" => &mut size.height,
                        _ => {
                            object.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *field = object.next_value::<Option<u16>>()?.unwrap_or(*field);
                }
                Ok(size)
            }
        }

        deserializer.deserialize_any(Fields)
    }
}

/// Sets the sizes that the client sends. Keeps the terminal open until the session ends.
async fn follow_size(mut sizes: Sizes, terminal: Option<Terminal>) {
    while let Some(size) = sizes.next().await {
        if let Some(terminal) = &terminal {
            terminal.resize(size);
        }
    }
    std::future::pending::<()>().await;
    drop(terminal);
}

/// The sizes of its terminal that a client sends.
#[derive(Debug)]
struct Sizes {
    stream: Option<Stream>,
    /// The beginning of a message.
    pending: BytesMut,
    /// Complete sizes that have not been taken yet.
    read: VecDeque<Size>,
}

impl Sizes {
    fn new(stream: Option<Stream>) -> Self {
        Self {
            stream,
            pending: BytesMut::new(),
            read: VecDeque::new(),
        }
    }

    /// The next size; `None` at the end of the stream. A size of 0 by 0 is passed over. Nothing is lost when this is
    /// cancelled.
    async fn next(&mut self) -> Option<TerminalSize> {
        loop {
            while let Some(size) = self.read.pop_front() {
                if size.width > 0 && size.height > 0 {
                    return Some(TerminalSize {
                        rows: size.height,
                        columns: size.width,
                    });
                }
            }
            let bytes = self.stream.as_ref()?.read().await?;
            self.pending.extend_from_slice(&bytes);
            self.read.extend(sizes(&mut self.pending));
        }
    }
}

/// Takes the complete sizes off a stream of JSON values. Other values are thrown away.
fn sizes(pending: &mut BytesMut) -> Vec<Size> {
    let mut found = Vec::new();
    let mut values = serde_json::Deserializer::from_slice(pending).into_iter::<Size>();
    let mut wrong = false;
    for value in values.by_ref() {
        match value {
            Ok(size) => found.push(size),
            Err(error) => {
                wrong = !error.is_eof();
                break;
            }
        }
    }
    let read = values.byte_offset();
    let _ = pending.split_to(read.min(pending.len()));
    if wrong || pending.len() > MAX_RESIZE {
        pending.clear();
    }
    found
}

/// metav1.Status of Kubernetes, as far as it is needed.
#[derive(Debug, Serialize)]
struct StatusText<'a> {
    metadata: Empty,
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
}

#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
struct Details {
    causes: [Cause; 1],
}

#[derive(Debug, Serialize)]
struct Cause {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    message: String,
}

impl Outcome {
    fn text(&self, version: Version) -> Vec<u8> {
        let message = match self {
            Self::Ended(0) => String::new(),
            Self::Ended(code) => format!("command terminated with exit code {code}"),
            Self::Failed(why) => why.clone(),
        };
        if version < Version::V4 {
            return message.into_bytes();
        }
        let (reason, cause, code) = match self {
            Self::Ended(0) => ("", None, None),
            Self::Ended(code) => {
                let cause = Cause {
                    reason: Some("ExitCode"),
                    message: code.to_string(),
                };
                ("NonZeroExitCode", Some(cause), None)
            }
            Self::Failed(why) => {
                let cause = Cause {
                    reason: None,
                    message: why.clone(),
                };
                ("InternalError", Some(cause), Some(500))
            }
        };
        let status = StatusText {
            metadata: Empty {},
            status: if cause.is_some() {
                "Failure"
            } else {
                "Success"
            },
            message: &message,
            reason,
            details: cause.map(|cause| Details { causes: [cause] }),
            code,
        };
        // Strings and numbers only: it cannot fail.
        serde_json::to_vec(&status).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_in_any_pieces() {
        let mut pending = BytesMut::from(&br#"{"Width":80,"Height":24}{"Width":8"#[..]);
        let (first, second) = (
            Size {
                width: 80,
                height: 24,
            },
            Size {
                width: 81,
                height: 25,
            },
        );
        assert_eq!(sizes(&mut pending), [first]);
        pending.extend_from_slice(b"1,\"Height\":25}\n");
        assert_eq!(sizes(&mut pending), [second]);
        assert!(sizes(&mut pending).is_empty());
    }

    /// As the kubelet's handler of resize events reads them: `json.Decoder` of Go 1.26 into TerminalSize, whose fields
    /// have no tags. The first is what the official client for JavaScript sends.
    #[test]
    fn sizes_are_read_as_go_reads_them() {
        for (text, wanted) in [
            (r#"{"height":50,"width":133}"#, Some((133, 50))),
            (r#"{"Width":133,"Height":50}"#, Some((133, 50))),
            (r#"{"WIDTH":133,"hEIGHT":50}"#, Some((133, 50))),
            (r#"{"Width":1,"width":133,"Height":50}"#, Some((133, 50))),
            (r#"{"width":1,"Width":133,"Height":50}"#, Some((133, 50))),
            (
                r#"{"Width":133,"Height":50,"Height":null}"#,
                Some((133, 50)),
            ),
            (r#"{"Width":133,"Height":null}"#, Some((133, 0))),
            (
                r#"{"Columns":7,"x":{"Width":7},"Height":50}"#,
                Some((0, 50)),
            ),
            ("null", Some((0, 0))),
            ("{}", Some((0, 0))),
            (r#"{"Width":"133","Height":50}"#, None),
            (r#"{"Width":133.0,"Height":50}"#, None),
            (r#"{"Width":-1,"Height":50}"#, None),
            ("[133,50]", None),
            ("133", None),
        ] {
            let wanted: Vec<Size> = wanted
                .map(|(width, height)| Size { width, height })
                .into_iter()
                .collect();
            let mut pending = BytesMut::from(format!("{text} ").as_bytes());
            assert_eq!(sizes(&mut pending), wanted, "{text}");
        }
    }

    /// kubectl waits for our answer to each of four streams before it tells the size.
    #[test]
    fn a_client_that_is_far_away_has_longer_to_tell_its_size() {
        for (opening, wanted) in [
            (0, 100),
            (3, 100),
            (50, 100),
            (160, 160),
            (300, 300),
            (30_000, 300),
        ] {
            let opening = Duration::from_millis(opening);
            assert_eq!(first_size_timeout(opening), Duration::from_millis(wanted));
        }
    }

    #[test]
    fn nonsense_on_the_resize_stream_is_thrown_away() {
        let mut pending = BytesMut::from(&b"nonsense"[..]);
        assert!(sizes(&mut pending).is_empty() && pending.is_empty());
        let mut pending = BytesMut::from(&vec![b'['; 2 * MAX_RESIZE][..]);
        assert!(sizes(&mut pending).is_empty() && pending.is_empty());
        let mut pending = BytesMut::from(&br#"{"Width":70000,"Height":1}"#[..]);
        assert!(sizes(&mut pending).is_empty());
    }

    #[test]
    fn outcomes_are_told_as_clients_of_each_version_read_them() {
        let text = |outcome: Outcome, version| String::from_utf8(outcome.text(version)).unwrap();
        assert_eq!(text(Outcome::Ended(0), Version::V1), "");
        assert_eq!(
            text(Outcome::Ended(0), Version::V4),
            r#"{"metadata":{},"status":"Success"}"#
        );
        assert_eq!(
            text(Outcome::Ended(7), Version::V3),
            "command terminated with exit code 7"
        );
        assert_eq!(
            text(Outcome::Ended(7), Version::V5),
            r#"{"metadata":{},"status":"Failure","message":"command terminated with exit code 7","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#
        );
        assert_eq!(
            text(Outcome::Failed("no".to_owned()), Version::V4),
            r#"{"metadata":{},"status":"Failure","message":"no","reason":"InternalError","details":{"causes":[{"message":"no"}]},"code":500}"#
        );
    }
}
