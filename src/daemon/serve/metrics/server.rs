//! The HTTP server of the metrics.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::text::{self, Subject};

/// Most connections at once; the others wait.
const MOST_CONNECTIONS: usize = 16;
/// How long a connection may take in all.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server rests when the machine is out of descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Most bytes of a request's head.
const MOST_HEAD: usize = 8 << 10;

/// A server that listens.
#[derive(Debug)]
pub(in crate::serve) struct MetricsServer(Option<TcpListener>);

impl MetricsServer {
    /// Listens, if there is an address.
    pub(in crate::serve) async fn bind(address: Option<SocketAddr>) -> io::Result<Self> {
        let Some(address) = address else {
            return Ok(Self(None));
        };
        let listener = TcpListener::bind(address).await?;
        info!(address = %listener.local_addr()?, "serving metrics");
        Ok(Self(Some(listener)))
    }

    /// Serves for as long as the daemon lives.
    pub(in crate::serve) async fn serve(self, subject: Subject) {
        let Some(listener) = self.0 else {
            return std::future::pending().await;
        };
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let subject = subject.clone();
                    tokio::spawn(async move {
                        // A client that breaks off or is slow has its own reasons.
                        let _ = timeout(CONNECTION_TIMEOUT, answer(stream, &subject)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a metrics client");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }
}

async fn answer(mut stream: TcpStream, subject: &Subject) -> io::Result<()> {
    let mut head = Vec::with_capacity(1 << 10);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= MOST_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = match check_request_line(line) {
        Ok(()) => ("200 OK", text::render(subject)),
        Err(status) => (status, format!("{status}: GET /metrics is served here\n")),
    };
    let reply = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

/// Checks that the first line of a request asks for the metrics. The error is the status of the answer.
fn check_request_line(line: &[u8]) -> Result<(), &'static str> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split('?').next();
    match (method, path) {
        (Some("GET"), Some("/metrics")) => Ok(()),
        (Some("GET"), _) => Err("404 Not Found"),
        _ => Err("405 Method Not Allowed"),
    }
}

#[cfg(test)]
mod tests {
    use super::check_request_line;

    #[test]
    fn only_the_metrics_are_served() {
        assert_eq!(check_request_line(b"GET /metrics HTTP/1.1"), Ok(()));
        assert_eq!(check_request_line(b"GET /metrics?x=y HTTP/1.1"), Ok(()));
        assert_eq!(check_request_line(b"GET / HTTP/1.1"), Err("404 Not Found"));
        assert_eq!(
            check_request_line(b"GET /metrics/../x HTTP/1.1"),
            Err("404 Not Found")
        );
        for line in [&b"POST /metrics HTTP/1.1"[..], b"", b"\xff\xfe", b"GET"] {
            assert!(check_request_line(line).is_err());
        }
    }
}
