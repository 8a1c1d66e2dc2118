//! Port-forward: connections of a client to ports of localhost in a pod.

use holdfast_kernel::error_chain;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::channel::Stream;
use super::remote_command::CREATION;
use super::spdy::{Opened, value};
use crate::pod::Pods;
use holdfast_kernel::id::PodId;

/// Bytes moved at once.
const CHUNK: usize = 32 * 1024;

/// How long what the client still sends is passed on after the pod has closed the connection.
const LINGER: Duration = Duration::from_secs(1);

/// Streams that wait for their other half.
const MOST_HALVES: usize = 64;

/// A connection of a client: what goes through it, and what went wrong.
#[derive(Debug)]
pub(super) struct Pair {
    /// The port of the pod.
    pub port: u16,
    /// The stream of the forwarded bytes.
    pub data: Stream,
    /// Gets the reason when it fails.
    pub error: Stream,
}

/// Half of a pair.
#[derive(Debug)]
struct Half {
    since: Instant,
    data: Option<Stream>,
    error: Option<Stream>,
    port: u16,
}

/// Serves the connections of one client. Ends with the client or with the pod.
pub(super) async fn serve_spdy(pods: &Pods, pod: PodId, mut opened: mpsc::Receiver<Opened>) {
    let mut halves = Halves::default();
    let mut running = FuturesUnordered::new();
    let ended = pods.pod_end(pod);
    tokio::pin!(ended);
    loop {
        let stale = halves.first_stale();
        tokio::select! {
            () = &mut ended => return,
            opened = opened.recv() => match opened {
                Some(opened) => {
                    if let Some(pair) = halves.join(opened).await {
                        running.push(forward(pods, pod, pair));
                    }
                }
                None => return,
            },
            Some(()) = running.next(), if !running.is_empty() => {}
            () = until(stale) => halves.drop_stale().await,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Halves by the number of their request.
#[derive(Debug, Default)]
struct Halves(BTreeMap<String, Half>);

impl Halves {
    /// Keeps a stream, or gives the pair that it completes. One without meaning is broken off.
    async fn join(&mut self, opened: Opened) -> Option<Pair> {
        let Opened { headers, stream } = opened;
        let kind = value(&headers, "streamtype").unwrap_or_default();
        let port = value(&headers, "port").and_then(|port| port.parse().ok());
        let (Some(port), true) = (
            port.filter(|port| *port > 0),
            matches!(kind, "data" | "error"),
        ) else {
            let _ = stream.reset().await;
            return None;
        };
        let request = match value(&headers, "requestid") {
            Some(request) => request.to_owned(),
            // Old clients open the error stream first, and the data stream directly after it.
            None if kind == "error" => stream.id().to_string(),
            None => stream.id().wrapping_sub(2).to_string(),
        };
        if self.0.len() >= MOST_HALVES && !self.0.contains_key(&request) {
            let _ = stream.reset().await;
            return None;
        }
        let half = self.0.entry(request.clone()).or_insert_with(|| Half {
            since: Instant::now(),
            data: None,
            error: None,
            port,
        });
        let place = if kind == "data" {
            &mut half.data
        } else {
            &mut half.error
        };
        if let Some(twice) = place.replace(stream) {
            let _ = twice.reset().await;
        }
        if half.data.is_none() || half.error.is_none() {
            return None;
        }
        let whole = self.0.remove(&request)?;
        Some(Pair {
            port: whole.port,
            data: whole.data?,
            error: whole.error?,
        })
    }

    fn first_stale(&self) -> Option<Instant> {
        self.0.values().map(|half| half.since + CREATION).min()
    }

    async fn drop_stale(&mut self) {
        let now = Instant::now();
        let stale: Vec<_> = self
            .0
            .extract_if(.., |_, half| half.since + CREATION <= now)
            .collect();
        for (_, half) in stale {
            for stream in [half.data, half.error].into_iter().flatten() {
                let _ = stream.reset().await;
            }
        }
    }
}

/// Forwards one connection from its beginning to its end.
pub(super) async fn forward(pods: &Pods, pod: PodId, pair: Pair) {
    let Pair { port, data, error } = pair;
    match pods.dial(pod, port).await {
        Ok(socket) => copy(socket, &data).await,
        Err(reason) => {
            let mut text = Bytes::from(error_chain(&reason));
            let _ = error.write(&mut text).await;
            let _ = data.finish().await;
        }
    }
    // The end of the error stream is what clients take for the end of the whole.
    let _ = error.finish().await;
}

/// Copies both ways until the pod closes the connection or the client breaks it off.
async fn copy(socket: impl AsyncRead + AsyncWrite, data: &Stream) {
    let (from, to) = tokio::io::split(socket);
    let (out, into) = (to_client(from, data), to_pod(to, data));
    tokio::pin!(out, into);
    let mut sending = true;
    loop {
        tokio::select! {
            () = &mut out => break,
            end = &mut into, if sending => match end {
                ClientEnd::Finished => sending = false,
                ClientEnd::Reset => return,
            },
        }
    }
    let _ = data.finish().await;
    if sending {
        let _ = timeout(LINGER, into).await;
    }
}

async fn to_client(mut from: impl AsyncRead + Unpin, data: &Stream) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if data.write(&mut buffer.split().freeze()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// How the client's side ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientEnd {
    /// The client has sent everything, or the pod takes no more.
    Finished,
    /// The client has reset the connection.
    Reset,
}

async fn to_pod(mut to: impl AsyncWrite + Unpin, data: &Stream) -> ClientEnd {
    let mut open = true;
    while let Some(bytes) = data.read().await {
        // A pod that takes no more may still have something to say: the rest is discarded.
        open = open && to.write_all(&bytes).await.is_ok();
    }
    if data.is_reset() {
        return ClientEnd::Reset;
    }
    let _ = to.shutdown().await;
    ClientEnd::Finished
}
