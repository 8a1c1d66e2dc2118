//! Clients that name the socket's path as the authority of their requests.
//!
//! A unix socket has no host name, and clients fill `:authority` with something else: the path with its slashes or
//! with percent signs for them, nothing at all, a name with an underscore (grpc-go with a dialer of its own,
//! grpc-java, older Python). The servers of containerd and CRI-O ignore it. h2 parses it as a host and answers such
//! requests with PROTOCOL_ERROR (hyperium/h2#487), without a setting for it. So this module reads the head of each
//! request and replaces every authority other than `localhost`, which kubelet and crictl send. Requests of one
//! connection may have different authorities, because a proxy can carry several clients.
//!
//! ```text
//!   client ──▶ Client ── HTTP/2 ──▶ Filter, rewrite ──┐
//!                    └── anything else ──▶ as it is ──┴──▶ tonic
//! ```

mod block;
mod filter;

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::{Connected, UdsConnectInfo};

use filter::Filter;

/// Bytes read at once: most requests are one.
const CHUNK: usize = 16 * 1024;

/// The connection of a client, as the server is to see it.
#[derive(Debug)]
pub(super) struct Client {
    socket: UnixStream,
    /// None once it is known that the client does not speak HTTP/2.
    filter: Option<Box<Filter>>,
}

impl Client {
    /// A client that has just connected.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            filter: Some(Box::new(Filter::new())),
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, filter } = self.get_mut();
        while let Some(current) = filter {
            let output = current.output();
            if !output.is_empty() {
                let length = output.len().min(buffer.remaining());
                buffer.put_slice(output.get(..length).unwrap_or_default());
                current.take(length);
                return Poll::Ready(Ok(()));
            }
            if current.is_done() {
                *filter = None;
                break;
            }
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            ready!(pin!(&mut *socket).poll_read(context, &mut chunk))?;
            match chunk.filled() {
                [] => current.end(),
                bytes => current.feed(bytes),
            }
        }
        Pin::new(socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

impl Connected for Client {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.socket.connect_info()
    }
}
