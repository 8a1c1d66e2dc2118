//! Clients that watch a container's output and write to its standard input.
//!
//! Each client has pipes of its own. What does not fit is not waited for: the client is let go, and neither the
//! container nor its log nor another client notices.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::clients::{Client, SourceIndex, Stdin};
use super::shim::{Shim, Token, failed};
use super::state::State;
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::descriptor;
use holdfast_wire::{AttachedInput, Event, Failure, FromShim, Reply, Step};

/// Most clients of one container at once: each costs a copy of the output.
const MOST_CLIENTS: usize = 16;

/// The contents of an attach request.
pub(super) struct AttachRequest {
    pub(super) container: ContainerId,
    pub(super) client: u64,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) stdin: bool,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Shim {
    /// Copies a container's output to a client from now on.
    pub(super) fn attach(
        &mut self,
        asked: AttachRequest,
    ) -> Result<(Reply, Vec<OwnedFd>), Failure> {
        let slot = self.next_slot();
        let mut descriptors = asked.descriptors.into_iter();
        let mut pipe = |wanted: bool| -> Result<Option<OwnedFd>, Failure> {
            if !wanted {
                return Ok(None);
            }
            let missing = || failed(Step::Control, Errno::EBADF, "no pipe came");
            let pipe = descriptors.next().ok_or_else(missing)?;
            descriptor::set_nonblocking(pipe.as_fd())
                .map_err(|errno| failed(Step::Control, errno, "pipe of the client"))?;
            Ok(Some(pipe))
        };
        let pipes = [pipe(asked.stdout)?, pipe(asked.stderr)?];
        let container = self.known_container(asked.container)?;
        if container.process.state != State::Running {
            return Err(failed(
                Step::Admit,
                Errno::ESRCH,
                "the container does not run",
            ));
        }
        if container.output.clients.all.len() >= MOST_CLIENTS {
            return Err(failed(
                Step::Admit,
                Errno::EUSERS,
                "too many clients are attached to the container",
            ));
        }
        let answer = input(
            &mut container.stdin,
            container.process.terminal.as_ref(),
            asked.stdin,
        )
        .map_err(|errno| failed(Step::Control, errno, "standard input"))?;
        // A source that has ended already sends nothing more.
        let mut client = Client {
            id: asked.client,
            epoll_token: slot,
            pipes,
        };
        for index in [SourceIndex::First, SourceIndex::Second] {
            if container.output.descriptor(index).is_none() {
                client.pipes[index as usize] = None;
            }
        }
        self.watch_client(asked.container, client);
        Ok(answer)
    }

    /// Wants to know when the readers have gone: a silent container would never find out.
    fn watch_client(&mut self, container: ContainerId, client: Client) {
        let token = Token::Client(client.epoll_token).pack();
        for pipe in client.pipes.iter().flatten() {
            // Errors are always told. Without the watch the next output finds out.
            let _ = self
                .poll
                .add(pipe.as_fd(), EpollEvent::new(EpollFlags::empty(), token));
        }
        if let Ok(container) = self.known_container(container) {
            container.output.clients.all.push(client);
            container
                .output
                .clients
                .all
                .retain(|client| client.pipes.iter().any(Option::is_some));
        }
    }

    /// The reader of one of a client's pipes is gone. The other pipe goes on.
    pub(super) fn drop_client(&mut self, slot: u32) {
        for container in self.containers.values_mut() {
            let clients = &mut container.output.clients.all;
            for client in clients
                .iter_mut()
                .filter(|client| client.epoll_token == slot)
            {
                for pipe in &mut client.pipes {
                    if pipe
                        .as_ref()
                        .is_some_and(|pipe| descriptor::has_no_reader(pipe.as_fd()))
                    {
                        *pipe = None;
                    }
                }
            }
            clients.retain(|client| client.pipes.iter().any(Option::is_some));
        }
    }

    /// Tells the daemon whom a container was faster than, and lets them go.
    pub(super) fn tell_dropped(&mut self, container: u32) {
        let Some(container) = self.containers.get_mut(&container) else {
            return;
        };
        for Client { id, pipes, .. } in std::mem::take(&mut container.output.clients.dropped) {
            // One that has gone by itself has nobody to be told.
            self.send(
                &FromShim::Event(Event::ClientDropped { client: id }),
                Vec::new(),
            );
            drop(pipes);
        }
    }
}

/// The descriptor that a client gets for its input.
fn input(
    stdin: &mut Option<Stdin>,
    terminal: Option<&OwnedFd>,
    wanted: bool,
) -> nix::Result<(Reply, Vec<OwnedFd>)> {
    let attached = |input, descriptors| Ok((Reply::Attached { input }, descriptors));
    if let Some(main) = terminal {
        // Also one that only watches sets the size.
        let main = descriptor::duplicate(main.as_fd())?;
        return attached(AttachedInput::Terminal, vec![main]);
    }
    let once = stdin
        .as_ref()
        .is_some_and(|stdin| stdin.ends_with_first_client);
    match stdin {
        Some(_) if wanted && once => {
            let last = stdin.take().map(|stdin| stdin.writer);
            attached(AttachedInput::Pipe, last.into_iter().collect())
        }
        Some(stdin) if wanted => {
            let writer = descriptor::duplicate(stdin.writer.as_fd())?;
            attached(AttachedInput::Pipe, vec![writer])
        }
        _ => attached(AttachedInput::None, Vec::new()),
    }
}
