//! ExecSync: one message to the shim, two pipes, an end.
//!
//! The process writes straight into pipes of the daemon, so the shim relays nothing. On a timeout or too
//! much output the process is killed with everything that it started.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::container;
use super::entry::PodSnapshot;
use super::error::{LaunchError, PodError};
use super::launch_error::shim;
use super::link::ShimLink;
use super::node::Node;
use super::record::ContainerRecord;
use super::sandbox::seal;
use super::seccomp::{self, Suspect};
use crate::plan::{self, ExecRequest};
use crate::spec;
use holdfast_wire::{ExecStdio, Request};

/// Most bytes of both streams together that are returned; the rest is discarded. CRI allows 16 MiB for each, but
/// kubelets and crictl take no message of more than 16 MiB, so that a longer reply would be none at all.
pub(crate) const OUTPUT_LIMIT: usize = (16 << 20) - 1024;

/// How long output is still read after the process has ended: background children may keep the pipes open.
const DRAIN: Duration = Duration::from_millis(200);

/// The output and the exit code of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecOutput {
    /// Bytes that the command wrote to standard output.
    pub stdout: Vec<u8>,
    /// Bytes that the command wrote to standard error.
    pub stderr: Vec<u8>,
    /// Its exit code; 128 + signal when a signal killed it.
    pub exit_code: i32,
}

/// An output stream that is being read.
struct Stream {
    pipe: Receiver,
    bytes: Vec<u8>,
}

impl Stream {
    /// Both ends: ours, and the one for the process.
    fn open() -> Result<(Self, OwnedFd), PodError> {
        let failed = |source| PodError::System {
            doing: "make a pipe for the command's output",
            source,
        };
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let pipe = Receiver::from_owned_fd(ours).map_err(failed)?;
        Ok((
            Self {
                pipe,
                bytes: Vec::new(),
            },
            theirs,
        ))
    }

    /// Reads to the end. What exceeds the limit is discarded, and the process goes on undisturbed, as CRI
    /// wants it.
    async fn read(&mut self) -> Result<(), PodError> {
        let failed = |source| PodError::System {
            doing: "read the command's output",
            source,
        };
        while self.bytes.len() < OUTPUT_LIMIT {
            if self.pipe.read_buf(&mut self.bytes).await.map_err(failed)? == 0 {
                return Ok(());
            }
        }
        self.bytes.truncate(OUTPUT_LIMIT);
        let mut discarded = [0; 4096];
        while self.pipe.read(&mut discarded).await.map_err(failed)? > 0 {}
        Ok(())
    }
}

/// Runs a command in a container to its end.
pub(super) async fn run(
    node: &Node,
    pod: &PodSnapshot,
    record: &ContainerRecord,
    link: &ShimLink,
    request: (&[String], Option<Duration>),
) -> Result<ExecOutput, PodError> {
    let (command, timeout) = request;
    let (mut stdout, out) = Stream::open()?;
    let (mut stderr, err) = Stream::open()?;
    let exec = link.exec_number();
    let mut end = link.exec_end(exec);
    let started = start(node, pod, record, link, (exec, command, [out, err])).await;
    if let Err(error) = started {
        link.forget_exec(exec);
        return Err(error);
    }
    let all = async {
        let output = async { tokio::try_join!(stdout.read(), stderr.read()) };
        tokio::pin!(output);
        // Whichever comes first: the end of both pipes, or that of the process.
        let status = tokio::select! {
            status = &mut end => status,
            read = &mut output => { read?; end.await }
        };
        // A finished `output` must not be polled again; draining reads on until the pipes end or the time is up.
        status.map_err(|_| {
            PodError::Launch(LaunchError::Shim {
                doing: "wait for the command",
                source: super::link::LinkError::Closed,
            })
        })
    };
    let finished = match timeout {
        Some(limit) => tokio::time::timeout(limit, all)
            .await
            .unwrap_or(Err(PodError::ExecTimeout(limit))),
        None => all.await,
    };
    match finished {
        Ok(status) => {
            drain(&mut stdout, &mut stderr).await?;
            cut(&mut stdout.bytes, &mut stderr.bytes);
            Ok(ExecOutput {
                stdout: stdout.bytes,
                stderr: stderr.bytes,
                exit_code: status.code(),
            })
        }
        Err(error) => {
            link.forget_exec(exec);
            // It may have ended by itself in this moment.
            let _ = link.ask(Request::KillExec { exec }, &[]).await;
            Err(error)
        }
    }
}

/// Leaves no more than a reply has room for. Half of it is certain for each stream, and what one does not use is
/// the other's.
fn cut(stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) {
    let others = OUTPUT_LIMIT.saturating_sub(stdout.len());
    stderr.truncate(others.max(OUTPUT_LIMIT / 2));
    stdout.truncate(OUTPUT_LIMIT - stderr.len());
}

/// Reads what is left in the pipes.
async fn drain(stdout: &mut Stream, stderr: &mut Stream) -> Result<(), PodError> {
    let rest = async { tokio::try_join!(stdout.read(), stderr.read()).map(|_| ()) };
    tokio::time::timeout(DRAIN, rest).await.unwrap_or(Ok(()))
}

async fn start(
    node: &Node,
    pod: &PodSnapshot,
    record: &ContainerRecord,
    link: &ShimLink,
    process: (u64, &[String], [OwnedFd; 2]),
) -> Result<(), PodError> {
    let (exec, command, [out, err]) = process;
    let spec = container::runtime_spec(node, pod, record)?;
    let choice = &record.config.security.seccomp;
    let seccomp_base = spec::seccomp_base(choice, &spec, &node.facts);
    let request = ExecRequest {
        args: command,
        terminal: false,
        terminal_size: None,
        exact_env: &record.config.envs,
        seccomp_base: seccomp_base.as_ref(),
    };
    let plan = seal(
        "exec plan",
        &pod.pod,
        &plan::exec(&spec, &request, &node.filters).map_err(seccomp::of_plan(choice))?,
    )?;
    let null = File::open("/dev/null").map_err(|source| PodError::System {
        doing: "open /dev/null",
        source,
    })?;
    let request = Request::Exec {
        container: record.id,
        exec,
        stdio: ExecStdio::Descriptors,
    };
    let descriptors = [plan.as_fd(), null.as_fd(), out.as_fd(), err.as_fd()];
    let suspect = Suspect::from_profile(choice, &spec, seccomp_base.as_ref());
    let other = shim("run the command in the container");
    link.ask(request, &descriptors)
        .await
        .map_err(seccomp::of_start(suspect, other))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(stdout: usize, stderr: usize) -> (usize, usize) {
        let (mut stdout, mut stderr) = (vec![0; stdout], vec![0; stderr]);
        cut(&mut stdout, &mut stderr);
        (stdout.len(), stderr.len())
    }

    #[test]
    fn both_streams_together_fit_a_reply() {
        const HALF: usize = OUTPUT_LIMIT / 2;
        assert_eq!(kept(5, 7), (5, 7));
        assert_eq!(kept(HALF, HALF), (HALF, HALF));
        assert_eq!(
            kept(OUTPUT_LIMIT, OUTPUT_LIMIT),
            (OUTPUT_LIMIT - HALF, HALF)
        );
        assert_eq!(kept(OUTPUT_LIMIT, 10), (OUTPUT_LIMIT - 10, 10));
        assert_eq!(kept(10, OUTPUT_LIMIT), (10, OUTPUT_LIMIT - 10));
        assert_eq!(kept(0, OUTPUT_LIMIT), (0, OUTPUT_LIMIT));
    }
}
