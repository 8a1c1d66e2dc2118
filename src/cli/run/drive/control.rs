//! The socket on which a keeper is asked to stop the pod in order, or to leave it to another keeper.
//!
//! It is a socket in the abstract namespace with the pod's id in its name: it is gone with its process, and there
//! is one of a name at a time, so it is also the lock. Anybody may connect to such a socket, so both ends ask the
//! kernel who the other one is.
//!
//! The one who asks sends a line, `stop SECONDS` or `yield`, and waits for the end of the connection.

use std::future::pending;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use nix::unistd::geteuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Most bytes in the line of a request.
const LINE: usize = 32;
/// How long somebody who connects may take to say what he wants.
const LINE_DEADLINE: Duration = Duration::from_secs(2);
/// How much longer than the grace period an orderly stop may take.
const SLACK: Duration = Duration::from_secs(10);

/// A request to a keeper.
#[derive(Debug)]
pub(super) enum ControlRequest {
    /// To stop the containers with this grace period in seconds; the connection ends when it is done.
    Stop(u32, UnixStream),
    /// To leave the pod alone. The connection ends when the socket is closed, because the caller wants to open the next one.
    Yield(UnixStream),
}

/// The socket of a keeper.
#[derive(Debug)]
pub(super) struct ControlSocket {
    listener: UnixListener,
    callers: FuturesUnordered<BoxFuture<'static, Option<ControlRequest>>>,
}

fn address(pod: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("holdfast-keeper/{pod}"))
}

/// Whether the other end is root or the same user.
fn is_trusted(stream: &UnixStream) -> bool {
    let trusted = |uid: u32| uid == 0 || uid == geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| trusted(peer.uid()))
}

impl ControlSocket {
    /// Opens the socket of a pod's keeper; None when another keeper has it.
    pub(super) fn open(pod: &str) -> io::Result<Option<Self>> {
        let listener = match StdListener::bind_addr(&address(pod)?) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
            listener => listener?,
        };
        listener.set_nonblocking(true)?;
        Ok(Some(Self {
            listener: UnixListener::from_std(listener)?,
            callers: FuturesUnordered::new(),
        }))
    }

    /// The next one who asks. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> ControlRequest {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if is_trusted(&stream) => {
                        self.callers.push(hear(stream).boxed());
                    }
                    Ok(_) => {}
                    // Without descriptors nobody can be heard; the next event of the pod wakes the keeper anyway.
                    Err(_) => return pending().await,
                },
                Some(heard) = self.callers.next(), if !self.callers.is_empty() => {
                    if let Some(ask) = heard {
                        return ask;
                    }
                }
            }
        }
    }
}

async fn hear(mut stream: UnixStream) -> Option<ControlRequest> {
    let mut line = Vec::new();
    let whole = async {
        while line.last() != Some(&b'\n') && line.len() < LINE {
            match stream.read_u8().await {
                Ok(byte) => line.push(byte),
                Err(_) => break,
            }
        }
    };
    tokio::time::timeout(LINE_DEADLINE, whole).await.ok()?;
    let line = String::from_utf8(line).ok()?;
    match line.trim_end().split_once(' ') {
        Some(("stop", seconds)) => Some(ControlRequest::Stop(seconds.parse().ok()?, stream)),
        None if line == "yield\n" => Some(ControlRequest::Yield(stream)),
        _ => None,
    }
}

/// Has a pod's keeper, if there is one, stop the containers in order and run their preStop hooks. It restarts
/// nothing any more. What could not be stopped so is left to the caller.
pub(crate) async fn ask_to_stop(pod: &str, grace: u32) {
    let limit = Duration::from_secs(grace.into()) + SLACK;
    ask(pod, &format!("stop {grace}\n"), limit).await;
}

/// Has a pod's keeper, if there is one, end. Its socket is closed when this returns.
pub(crate) async fn ask_to_yield(pod: &str) {
    ask(pod, "yield\n", SLACK).await;
}

async fn ask(pod: &str, line: &str, limit: Duration) {
    let done = async {
        let stream = StdStream::connect_addr(&address(pod)?)?;
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream)?;
        if is_trusted(&stream) {
            stream.write_all(line.as_bytes()).await?;
            stream.read_to_end(&mut Vec::new()).await?;
        }
        io::Result::Ok(())
    };
    // Without a keeper, or with one that does not answer, the pod is stopped all the same.
    let _ = tokio::time::timeout(limit, done).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ControlRequest, ControlSocket, ask_to_stop, ask_to_yield};

    #[tokio::test]
    async fn a_pod_has_one_control_socket_and_its_keeper_hears_through_it() {
        let pod = format!("test-{}", std::process::id());
        // Nobody is there.
        ask_to_stop(&pod, 1).await;
        let mut control = ControlSocket::open(&pod).unwrap().unwrap();
        assert!(ControlSocket::open(&pod).unwrap().is_none());
        let name = pod.clone();
        let caller = tokio::spawn(async move { ask_to_stop(&name, 7).await });
        let ControlRequest::Stop(7, stream) = control.next().await else {
            panic!("another question");
        };
        assert!(!caller.is_finished());
        drop(stream);
        caller.await.unwrap();
        let name = pod.clone();
        let caller = tokio::spawn(async move { ask_to_yield(&name).await });
        let ControlRequest::Yield(stream) = control.next().await else {
            panic!("another question");
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!caller.is_finished());
        drop(control);
        drop(stream);
        caller.await.unwrap();
        assert!(ControlSocket::open(&pod).unwrap().is_some());
    }
}
