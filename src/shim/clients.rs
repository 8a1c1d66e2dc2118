//! The clients that watch a container's output, and the pipe of its standard input.

use std::os::fd::{AsFd, OwnedFd};

use super::cri_log::LogStream;
use holdfast_kernel::sys::descriptor;

/// Which source of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceIndex {
    First = 0,
    Second = 1,
}

impl SourceIndex {
    /// The other source of the container.
    pub(super) fn sibling(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// A container's standard input, as long as somebody may still write to it.
#[derive(Debug)]
pub(super) struct Stdin {
    pub(super) writer: OwnedFd,
    pub(super) ends_with_first_client: bool,
}

impl Stdin {
    /// Takes the write end of the pipe. With `ends_with_first_client` the input ends when the first client goes.
    pub(super) fn new(writer: OwnedFd, ends_with_first_client: bool) -> Self {
        Self {
            writer,
            ends_with_first_client,
        }
    }
}

/// A client with its pipes.
#[derive(Debug)]
pub(super) struct Client {
    /// The daemon's number for it.
    pub(super) id: u64,
    /// Its number in the epoll set.
    pub(super) epoll_token: u32,
    /// Where standard output and standard error go.
    pub(super) pipes: [Option<OwnedFd>; 2],
}

/// The clients of a container.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub(super) all: Vec<Client>,
    /// Clients that were too slow. Their pipes stay open until the daemon is told, so that the daemon knows why they
    /// end.
    pub(super) dropped: Vec<Client>,
}

impl Clients {
    /// Gives every client what was read. Those whose pipe is full or closed are let go.
    pub(super) fn copy(&mut self, stream: LogStream, bytes: &[u8]) {
        if self.all.is_empty() {
            return;
        }
        let index = match stream {
            LogStream::Output => SourceIndex::First,
            LogStream::Error => SourceIndex::Second,
        };
        let kept = |client: &Client| {
            let pipe = client.pipes[index as usize].as_ref()?;
            Some(descriptor::write(pipe.as_fd(), bytes) == Ok(bytes.len()))
        };
        let slow = self
            .all
            .extract_if(.., |client| kept(client) == Some(false));
        self.dropped.extend(slow);
    }

    /// A source has ended: so have the pipes that it was copied to.
    pub(super) fn end(&mut self, index: SourceIndex) {
        for client in &mut self.all {
            client.pipes[index as usize] = None;
        }
        self.all
            .retain(|client| client.pipes.iter().any(Option::is_some));
    }
}
