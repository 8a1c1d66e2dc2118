//! Processes and containers with a client at their standard streams: exec, attach, and sockets into a pod.
//!
//! An exec process gets pipes of the daemon, or a terminal whose main side only the daemon holds. A client that
//! goes away closes them: the process then sees the end of its input and a broken pipe, or a hangup. It is not
//! killed. An attached client gets pipes of its own into which the shim copies.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::net::{TcpSocket, TcpStream as AsyncTcpStream};
use tokio::sync::oneshot;

use super::container;
use super::entry::PodSnapshot;
use super::error::{PodError, Refusal};
use super::launch_error::{shim, unexpected};
use super::link::ShimLink;
use super::node::Node;
use super::record::ContainerRecord;
use super::sandbox::seal;
use super::seccomp::{self, Suspect};
use crate::plan::{self, ExecRequest};
use crate::spec;
use holdfast_kernel::sys::tty;
use holdfast_wire::plan::TerminalSize;
use holdfast_wire::{AttachedInput, ExecStdio, ExitStatus, IpFamily, Reply, Request};

/// Bytes asked for the pipes of an attached client: the largest that the kernel gives without asking. The more,
/// the longer a burst may be that the client takes slowly.
const ATTACH_PIPE: i32 = 1 << 20;

/// How long one address of a pod may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which standard streams a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Streams {
    /// The client sends standard input.
    pub stdin: bool,
    /// The client receives standard output.
    pub stdout: bool,
    /// The client receives standard error.
    pub stderr: bool,
    /// The process of an exec gets a terminal. The client of an attach expects the container to have one.
    pub terminal: bool,
}

/// The terminal of a session.
#[derive(Debug)]
pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    /// Sets its size. One that has hung up has none.
    pub(crate) fn resize(&self, size: TerminalSize) {
        let _ = tty::set_size(self.0.as_fd(), size.rows, size.columns);
    }
}

/// A process or a container with its streams. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Session {
    /// Write standard input here; dropping it is the end of the input.
    pub stdin: Option<Sender>,
    /// Read standard output here. A terminal ends with an error.
    pub stdout: Option<Receiver>,
    /// Read standard error here.
    pub stderr: Option<Receiver>,
    /// The terminal, when there is one.
    pub terminal: Option<Terminal>,
    pub end: SessionEnd,
}

/// How a session ends.
#[derive(Debug)]
pub(crate) enum SessionEnd {
    Process(ProcessEnd),
    Output(ClientEnd),
}

/// The end of an exec process.
#[derive(Debug)]
pub(crate) struct ProcessEnd {
    link: ShimLink,
    exec: u64,
    status: oneshot::Receiver<ExitStatus>,
}

impl ProcessEnd {
    fn new(link: &ShimLink) -> Self {
        let exec = link.exec_number();
        Self {
            status: link.exec_end(exec),
            link: link.clone(),
            exec,
        }
    }

    /// Waits for the process. Its exit code; `None` when the pod's shim has ended and nobody knows.
    pub(crate) async fn wait(&mut self) -> Option<i32> {
        let status = (&mut self.status).await;
        status.ok().map(ExitStatus::code)
    }
}

impl Drop for ProcessEnd {
    fn drop(&mut self) {
        self.link.forget_exec(self.exec);
    }
}

/// An attached client's end.
#[derive(Debug)]
pub(crate) struct ClientEnd {
    link: ShimLink,
    client: u64,
    dropped: oneshot::Receiver<()>,
}

impl ClientEnd {
    fn new(link: &ShimLink) -> Self {
        let client = link.exec_number();
        Self {
            dropped: link.client_dropped(client),
            link: link.clone(),
            client,
        }
    }

    /// Whether the output ended because the client did not keep up with the container.
    pub(crate) async fn was_dropped(&mut self) -> bool {
        // The shim tells it before the output ends, and answers in order. This asks for nothing; an error means
        // that the shim has ended.
        let nothing = Request::Acknowledge { sequence: u64::MAX };
        let _ = self.link.ask(nothing, &[]).await;
        self.dropped.try_recv().is_ok()
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        self.link.forget_client(self.client);
    }
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> PodError {
    move |source| PodError::System { doing, source }
}

/// A pipe whose reading end is ours.
fn output(wanted: bool, bytes: Option<i32>) -> Result<(Option<Receiver>, OwnedFd), PodError> {
    const DOING: &str = "make a pipe for the output";
    if !wanted {
        return Ok((None, null()?));
    }
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(DOING)(errno.into()))?;
    if let Some(bytes) = bytes {
        // A smaller pipe makes a slow client slower to forgive, not wrong: pipe(7) on limits of a user.
        let _ = fcntl(&ours, FcntlArg::F_SETPIPE_SZ(bytes));
    }
    let ours = Receiver::from_owned_fd(ours).map_err(failed(DOING))?;
    Ok((Some(ours), theirs))
}

/// A pipe whose writing end is ours.
fn input(wanted: bool) -> Result<(Option<Sender>, OwnedFd), PodError> {
    const DOING: &str = "make a pipe for the input";
    if !wanted {
        return Ok((None, null()?));
    }
    let (theirs, ours) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(DOING)(errno.into()))?;
    let ours = Sender::from_owned_fd(ours).map_err(failed(DOING))?;
    Ok((Some(ours), theirs))
}

fn null() -> Result<OwnedFd, PodError> {
    let opened = File::options().read(true).write(true).open("/dev/null");
    opened.map(OwnedFd::from).map_err(failed("open /dev/null"))
}

/// Starts a command in a container with a client at its streams. A terminal has its size before the command runs.
pub(super) async fn exec(
    node: &Node,
    pod: &PodSnapshot,
    record: &ContainerRecord,
    link: &ShimLink,
    request: (&[String], Streams, Option<TerminalSize>),
) -> Result<Session, PodError> {
    const DOING: &str = "run the command in the container";
    let (command, streams, size) = request;
    let spec = container::runtime_spec(node, pod, record)?;
    let choice = &record.config.security.seccomp;
    let seccomp_base = spec::seccomp_base(choice, &spec, &node.facts);
    let request = ExecRequest {
        args: command,
        terminal: streams.terminal,
        terminal_size: size,
        exact_env: &record.config.envs,
        seccomp_base: seccomp_base.as_ref(),
    };
    let plan = seal(
        "exec plan",
        &pod.pod,
        &plan::exec(&spec, &request, &node.filters).map_err(seccomp::of_plan(choice))?,
    )?;
    let suspect = Suspect::from_profile(choice, &spec, seccomp_base.as_ref());
    let failed = seccomp::of_start(suspect, shim(DOING));
    let end = ProcessEnd::new(link);
    let request = |stdio| Request::Exec {
        container: record.id,
        exec: end.exec,
        stdio,
    };
    if streams.terminal {
        let request = request(ExecStdio::Terminal);
        let answer = link.ask(request, &[plan.as_fd()]).await;
        let mut answer = answer.map_err(failed)?;
        // The pidfd comes first.
        let Some(main) = answer.descriptors.drain(..).nth(1) else {
            return Err(unexpected(DOING, &answer).into());
        };
        return at_terminal(main, streams, SessionEnd::Process(end));
    }
    let (stdin, theirs_in) = input(streams.stdin)?;
    let (stdout, theirs_out) = output(streams.stdout, None)?;
    let (stderr, theirs_err) = output(streams.stderr, None)?;
    let descriptors = [&plan, &theirs_in, &theirs_out, &theirs_err].map(AsFd::as_fd);
    link.ask(request(ExecStdio::Descriptors), &descriptors)
        .await
        .map_err(failed)?;
    Ok(Session {
        stdin,
        stdout,
        stderr,
        terminal: None,
        end: SessionEnd::Process(end),
    })
}

/// A session at the main side of a terminal.
fn at_terminal(main: OwnedFd, streams: Streams, end: SessionEnd) -> Result<Session, PodError> {
    let copy = || {
        main.try_clone()
            .map_err(failed("copy the terminal's descriptor"))
    };
    let unready = failed("wait for a terminal");
    nonblocking(&main)?;
    let stdin = match streams.stdin {
        // A terminal is read, written and waited for like a pipe.
        true => Some(Sender::from_owned_fd_unchecked(copy()?).map_err(unready)?),
        false => None,
    };
    let unready = failed("wait for a terminal");
    let stdout = match &end {
        SessionEnd::Process(_) => {
            Some(Receiver::from_owned_fd_unchecked(copy()?).map_err(unready)?)
        }
        SessionEnd::Output(_) => None,
    };
    Ok(Session {
        stdin,
        stdout,
        stderr: None,
        terminal: Some(Terminal(main)),
        end,
    })
}

fn nonblocking(file: &OwnedFd) -> Result<(), PodError> {
    let change = |errno: Errno| failed("set up a stream")(errno.into());
    let flags = fcntl(file, FcntlArg::F_GETFL).map_err(change)?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(file, FcntlArg::F_SETFL(flags)).map_err(change)?;
    Ok(())
}

/// Puts a client at the streams of a running container, from now on.
pub(super) async fn attach(
    record: &ContainerRecord,
    link: &ShimLink,
    streams: Streams,
) -> Result<Session, PodError> {
    const DOING: &str = "attach to the container";
    let terminal = record.config.tty;
    // Somebody who only writes has to know when the container ends, and takes the output for that.
    let takes_output = streams.stdout || !streams.stderr || terminal;
    let takes_errors = streams.stderr && !terminal;
    let (stdout, theirs_out) = output(takes_output, Some(ATTACH_PIPE))?;
    let (stderr, theirs_err) = output(takes_errors, Some(ATTACH_PIPE))?;
    let end = ClientEnd::new(link);
    let request = Request::Attach {
        container: record.id,
        client: end.client,
        stdout: takes_output,
        stderr: takes_errors,
        stdin: streams.stdin,
    };
    let mut descriptors = Vec::new();
    descriptors.extend(takes_output.then(|| theirs_out.as_fd()));
    descriptors.extend(takes_errors.then(|| theirs_err.as_fd()));
    let answer = link.ask(request, &descriptors).await;
    let mut answer = answer.map_err(shim(DOING))?;
    let Reply::Attached { input } = answer.body else {
        return Err(unexpected(DOING, &answer).into());
    };
    let end = SessionEnd::Output(end);
    let mut session = match (input, answer.descriptors.pop()) {
        (AttachedInput::Terminal, Some(main)) => at_terminal(main, streams, end)?,
        (AttachedInput::Pipe, Some(pipe)) => Session {
            stdin: Some(Sender::from_owned_fd(pipe).map_err(failed(DOING))?),
            stdout: None,
            stderr: None,
            terminal: None,
            end,
        },
        _ => Session {
            stdin: None,
            stdout: None,
            stderr: None,
            terminal: None,
            end,
        },
    };
    session.stdout = stdout;
    session.stderr = stderr;
    Ok(session)
}

/// Waits until a pod's shim has ended, and so everything in the pod.
pub(super) async fn shim_end(link: &ShimLink) {
    // No process has this number; the wait ends when the connection closes.
    ProcessEnd::new(link).wait().await;
}

/// Connects to a port of localhost inside a pod's network namespace: IPv4, and then IPv6.
pub(super) async fn dial(link: &ShimLink, port: u16) -> Result<AsyncTcpStream, PodError> {
    let addresses = [
        (IpFamily::V4, IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (IpFamily::V6, IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    let mut first = None;
    for (family, address) in addresses {
        match dial_one(link, family, SocketAddr::new(address, port)).await {
            Ok(stream) => return Ok(stream),
            // What IPv4 said is what most people can use.
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(PodError::Refused(Refusal::Gone)))
}

async fn dial_one(
    link: &ShimLink,
    family: IpFamily,
    address: SocketAddr,
) -> Result<AsyncTcpStream, PodError> {
    const DOING: &str = "open a socket in the pod's network namespace";
    let answer = link.ask(Request::OpenTcp { family }, &[]).await;
    let mut answer = answer.map_err(shim(DOING))?;
    let Some(socket) = answer.descriptors.pop() else {
        return Err(unexpected(DOING, &answer).into());
    };
    let socket = TcpSocket::from_std_stream(TcpStream::from(socket));
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, socket.connect(address)).await;
    connected
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| PodError::Port { address, source })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::pod::error::ErrorKind;
    use crate::pod::testing::{self, Shim};
    use crate::spec::{ContainerConfig, PodConfig};
    use holdfast_kernel::error_chain;
    use holdfast_kernel::id::PodId;
    use holdfast_kernel::sys::pid::Pid;
    use holdfast_wire::Event;
    use holdfast_wire::plan::ExecPlan;

    const NONE: Streams = Streams {
        stdin: false,
        stdout: false,
        stderr: false,
        terminal: false,
    };
    const OUT: Streams = Streams {
        stdout: true,
        ..NONE
    };
    const ERR: Streams = Streams {
        stderr: true,
        ..NONE
    };
    const IN: Streams = Streams {
        stdin: true,
        ..NONE
    };
    const ALL: Streams = Streams {
        stdin: true,
        stdout: true,
        stderr: true,
        terminal: false,
    };

    fn container(tty: bool) -> ContainerRecord {
        let config = ContainerConfig {
            tty,
            args: vec!["sh".to_owned()],
            ..ContainerConfig::default()
        };
        testing::container(PodId::random().unwrap(), config)
    }

    fn attached(input: AttachedInput) -> Reply {
        Reply::Attached { input }
    }

    /// Somebody who only writes learns from the end of the output that the container has ended. A terminal has one
    /// stream for both.
    #[tokio::test]
    async fn a_client_is_attached_to_what_it_wants_and_always_to_something_that_ends() {
        // The container's terminal, the client's wishes, and whether it gets (output, errors).
        let cases = [
            (false, ALL, (true, true)),
            (false, OUT, (true, false)),
            (false, ERR, (false, true)),
            (false, IN, (true, false)),
            (false, NONE, (true, false)),
            (true, ALL, (true, false)),
            (true, ERR, (true, false)),
            (true, IN, (true, false)),
        ];
        for (tty, streams, (out, err)) in cases {
            let (shim, link, _events) = Shim::pair();
            let record = container(tty);
            let answer = shim.answer(attached(AttachedInput::None), &[]);
            let (session, asked) = tokio::join!(attach(&record, &link, streams), answer);
            let (session, case) = (session.unwrap(), format!("tty {tty}, {streams:?}"));
            let Request::Attach {
                stdout,
                stderr,
                stdin,
                ..
            } = asked.body
            else {
                panic!("{:?}", asked.body);
            };
            assert_eq!((stdout, stderr, stdin), (out, err, streams.stdin), "{case}");
            assert_eq!(
                asked.descriptors.len(),
                usize::from(out) + usize::from(err),
                "{case}"
            );
            let ours = (session.stdout.is_some(), session.stderr.is_some());
            assert_eq!(ours, (out, err), "{case}");
            assert!(
                session.stdin.is_none() && session.terminal.is_none(),
                "{case}"
            );
        }
    }

    #[tokio::test]
    async fn the_streams_of_a_client_are_not_mixed_up() {
        let (shim, link, _events) = Shim::pair();
        let (_reader, theirs) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let record = container(false);
        let given = [theirs.as_fd()];
        let answer = shim.answer(attached(AttachedInput::Pipe), &given);
        let (session, asked) = tokio::join!(attach(&record, &link, ALL), answer);
        let descriptors = asked.descriptors.into_iter().map(File::from);
        for (mut file, text) in descriptors.zip([b"out", b"err"]) {
            file.write_all(text).unwrap();
        }
        let mut session = session.unwrap();
        assert!(session.stdin.is_some());
        let mut text = String::new();
        session
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .await
            .unwrap();
        session
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .await
            .unwrap();
        assert_eq!(text, "outerr");
    }

    #[tokio::test]
    async fn an_answer_without_what_it_promises_is_told_or_is_no_input() {
        let record = container(true);
        for (reply, is_session) in [
            (attached(AttachedInput::Terminal), true),
            (attached(AttachedInput::Pipe), true),
            (Reply::Done, false),
        ] {
            let (shim, link, _events) = Shim::pair();
            let shown = format!("{reply:?}");
            let (session, _) = tokio::join!(attach(&record, &link, ALL), shim.answer(reply, &[]));
            match session {
                Ok(session) => {
                    assert!(is_session, "{shown}");
                    assert!(
                        session.stdin.is_none() && session.terminal.is_none(),
                        "{shown}"
                    );
                }
                Err(error) => {
                    assert!(!is_session, "{shown}");
                    let text = error_chain(&error);
                    assert!(
                        text.starts_with("cannot attach to the container: "),
                        "{text}"
                    );
                    assert!(text.contains("Done with 0 descriptors"), "{text}");
                }
            }
        }
    }

    /// What a client reads after the word that it was too slow is not all that the container wrote.
    #[tokio::test]
    async fn a_client_that_was_too_slow_is_told_from_a_container_that_ended() {
        for (word, shim_ends) in [(true, false), (false, false), (false, true)] {
            let (shim, link, _events) = Shim::pair();
            let mut end = ClientEnd::new(&link);
            if word {
                shim.tell(Event::ClientDropped { client: end.client });
            }
            let answer = async {
                match shim_ends {
                    false => drop(shim.answer(Reply::Done, &[]).await),
                    true => drop(shim),
                }
            };
            let (dropped, ()) = tokio::join!(end.was_dropped(), answer);
            assert_eq!(dropped, word);
        }
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_its_code_or_unknown() {
        let (shim, link, _events) = Shim::pair();
        let (mut first, mut second) = (ProcessEnd::new(&link), ProcessEnd::new(&link));
        for (end, status) in [
            (&second, ExitStatus::Signal(9)),
            (&first, ExitStatus::Code(3)),
        ] {
            let exec = end.exec;
            shim.tell(Event::ExecExited { exec, status });
        }
        assert_eq!(first.wait().await, Some(3));
        assert_eq!(second.wait().await, Some(137));
        let mut third = ProcessEnd::new(&link);
        drop(shim);
        assert_eq!(third.wait().await, None);
        shim_end(&link).await;
    }

    /// A command's three streams are the second, third and fourth descriptor; the plan is the first.
    #[tokio::test]
    async fn a_command_gets_its_plan_and_the_streams_that_are_wanted() {
        let (_guard, node) = testing::node();
        let pod = testing::snapshot(&testing::pod_of(&node, PodConfig::default()), &[]);
        let (shim, link, _events) = Shim::pair();
        let (record, command) = (container(false), ["id".to_owned()]);
        let request = (&command[..], Streams { stdin: true, ..ERR }, None);
        let answer = shim.answer(Reply::Done, &[]);
        let started = exec(&node, &pod, &record, &link, request);
        let (session, asked) = tokio::join!(started, answer);
        let mut session = session.unwrap();
        let Request::Exec {
            container,
            stdio: ExecStdio::Descriptors,
            ..
        } = asked.body
        else {
            panic!("{:?}", asked.body);
        };
        assert_eq!(container, record.id);
        assert!(session.stdout.is_none() && session.terminal.is_none());
        let files: Vec<File> = asked.descriptors.into_iter().map(File::from).collect();
        let [mut plan, mut input, mut output, mut errors] = <[File; 4]>::try_from(files).unwrap();
        let mut bytes = Vec::new();
        plan.rewind().unwrap();
        plan.read_to_end(&mut bytes).unwrap();
        let plan: ExecPlan = holdfast_wire::decode_plan(&bytes).unwrap();
        assert!(format!("{plan:?}").contains("\"id\""), "{plan:?}");
        // Nobody reads the output, and no command fails for that.
        output.write_all(b"lost").unwrap();
        errors.write_all(b"e").unwrap();
        let mut buffer = [0];
        session
            .stderr
            .as_mut()
            .unwrap()
            .read_exact(&mut buffer)
            .await
            .unwrap();
        session
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"i")
            .await
            .unwrap();
        input.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"i");
    }

    /// The descriptors of the reply are the pidfd and the terminal: the first one alone is no session.
    #[tokio::test]
    async fn a_command_at_a_terminal_needs_its_main_side() {
        let (_guard, node) = testing::node();
        let pod = testing::snapshot(&testing::pod_of(&node, PodConfig::default()), &[]);
        let (record, command) = (container(false), ["id".to_owned()]);
        let (main, _other) = UnixStream::pair().unwrap();
        let both = [main.as_fd(), main.as_fd()];
        let terminal = Streams {
            terminal: true,
            ..ALL
        };
        for (descriptors, is_session) in [(&both[..], true), (&both[..1], false)] {
            let (shim, link, _events) = Shim::pair();
            let started = Reply::Started {
                pid: Pid::from_raw(1),
                start_ticks: 1,
                degraded: Vec::new(),
            };
            let request = (&command[..], terminal, None);
            let answer = shim.answer(started, descriptors);
            let (session, asked) = tokio::join!(exec(&node, &pod, &record, &link, request), answer);
            assert_eq!(asked.descriptors.len(), 1, "the plan alone");
            let Ok(session) = session else {
                assert!(!is_session);
                continue;
            };
            assert!(is_session && session.terminal.is_some());
            assert!(session.stdin.is_some() && session.stdout.is_some());
            assert!(session.stderr.is_none(), "a terminal has one stream");
        }
    }

    /// A bound socket: nobody else gets its port. It refuses connections until it listens.
    fn bound() -> (OwnedFd, u16) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let bound = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
        bind(bound.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let address: SockaddrIn = getsockname(bound.as_raw_fd()).unwrap();
        (bound, address.port())
    }

    fn tcp_socket() -> OwnedFd {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap()
    }

    #[tokio::test]
    async fn a_port_is_tried_at_ipv4_first_and_its_refusal_is_what_is_told() {
        let (listener, port) = bound();
        let (shim, link, _events) = Shim::pair();
        let refused = Reply::Failed(testing::failure());
        let shim_side = async {
            let first = shim.answer(Reply::Netlink, &[tcp_socket().as_fd()]).await;
            let second = shim.answer(refused, &[]).await;
            [first.body, second.body]
        };
        let (error, asked) = tokio::join!(dial(&link, port), shim_side);
        let families = [IpFamily::V4, IpFamily::V6];
        assert_eq!(asked, families.map(|family| Request::OpenTcp { family }));
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        let wanted = format!(
            "cannot connect to 127.0.0.1:{port} in the pod's network namespace: Connection refused"
        );
        assert!(
            error_chain(&error).starts_with(&wanted),
            "{}",
            error_chain(&error)
        );
        listen(&listener, nix::sys::socket::Backlog::new(1).unwrap()).unwrap();
        let another = tcp_socket();
        let given = [another.as_fd()];
        let shim_side = shim.answer(Reply::Netlink, &given);
        let (stream, _) = tokio::join!(dial(&link, port), shim_side);
        assert_eq!(stream.unwrap().peer_addr().unwrap().port(), port);
        assert!(
            shim.was_left_alone(),
            "IPv6 was asked for though IPv4 answered"
        );
    }
}
