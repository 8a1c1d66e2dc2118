//! The connection to a client, before its protocol is known.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::head::Refusal;

/// A byte stream of a client.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for T {}

/// Answers a request that is not served.
pub(super) async fn refuse(socket: &mut (impl AsyncWrite + Unpin), refusal: &Refusal) {
    // A client that is gone needs no answer.
    let _ = socket.write_all(&refusal.to_bytes()).await;
    let _ = socket.shutdown().await;
}
