//! A netlink socket: sends a batch, collects what comes back, and names the request that failed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::message::{Batch, HEADER, attributes, string_of};
use holdfast_kernel::fault;
use holdfast_kernel::sys;

/// How long the kernel may take to answer; it answers within the call that asks, unless a lock is stuck.
const DEADLINE_SECONDS: i64 = 5;
/// Room for one datagram; the kernel sends dumps in pieces of at most 32 KiB.
const BUFFER: usize = 64 << 10;
/// How often an interrupted dump is asked for again.
const DUMP_ATTEMPTS: usize = 10;
/// Most objects taken from one dump.
const DUMP_LIMIT: usize = 1 << 20;
/// Room asked for the answers of one batch.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A failed netlink exchange.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused one request.
    #[error("cannot {operation} {object}{reason}")]
    Refused {
        /// The operation that was asked for, as a verb.
        operation: &'static str,
        /// The object of that operation.
        object: String,
        /// The kernel's own words, with a leading colon; empty when it gave none.
        reason: String,
        /// The kernel's error number.
        #[source]
        source: Errno,
    },
    /// The socket itself failed.
    #[error("cannot {operation} a netlink socket")]
    Socket {
        /// The operation that failed, as a verb.
        operation: &'static str,
        /// The cause of the failure.
        #[source]
        source: io::Error,
    },
    /// No answer came in time.
    #[error("cannot {operation} {object}: the kernel has not answered for {DEADLINE_SECONDS} s")]
    Deadline {
        /// The operation that was asked for, as a verb.
        operation: &'static str,
        /// The object of that operation.
        object: String,
    },
    /// The objects changed during every attempt to list them.
    #[error(
        "cannot {operation} {object}: interrupted by changes {DUMP_ATTEMPTS} times in a row; try again"
    )]
    Interrupted {
        /// The operation that was asked for, as a verb.
        operation: &'static str,
        /// The object of that operation.
        object: String,
    },
}

impl NetlinkError {
    /// The kernel's error number, when it refused a request.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            NetlinkError::Refused { source, .. } => Some(*source),
            NetlinkError::Socket { .. }
            | NetlinkError::Deadline { .. }
            | NetlinkError::Interrupted { .. } => None,
        }
    }
}

/// A netlink socket, owned or borrowed (`F` is `OwnedFd` or `BorrowedFd`). It works in the network namespace
/// in which it was opened, whoever uses it.
#[derive(Debug)]
pub struct NetlinkSocket<F> {
    fd: F,
    sequence: u32,
    buffer: Vec<u8>,
}

/// The meaning of one message of an answer.
enum Answer {
    /// Belongs to an earlier exchange that was given up.
    Foreign,
    /// An object of a dump.
    Object,
    /// The acknowledgement of a request, or a dump's end.
    End,
    /// The end of a dump that is inconsistent.
    Inconsistent,
}

impl NetlinkSocket<OwnedFd> {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open(protocol: SockProtocol) -> Result<NetlinkSocket<OwnedFd>, NetlinkError> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )
        .map_err(|errno| NetlinkError::Socket {
            operation: "open",
            source: errno.into(),
        })?;
        NetlinkSocket::new(fd)
    }
}

impl<F: AsFd> NetlinkSocket<F> {
    /// Uses a socket that someone else opened, perhaps in another network namespace. Nobody else may use it
    /// meanwhile.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`] when it is not a netlink socket.
    pub fn new(fd: F) -> Result<NetlinkSocket<F>, NetlinkError> {
        let failed = |operation, source| NetlinkError::Socket { operation, source };
        sys::netlink::explain_errors(fd.as_fd()).map_err(|error| failed("configure", error))?;
        setsockopt(
            &fd,
            sockopt::ReceiveTimeout,
            &TimeVal::seconds(DEADLINE_SECONDS),
        )
        .map_err(|errno| failed("set the deadline of", errno.into()))?;
        // The kernel caps this at net.core.rmem_max; smaller is enough for any single pod.
        let _ = setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER);
        // A socket that was used before may hold late answers; numbers that start elsewhere pass them over.
        let sequence = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |now| now.subsec_nanos());
        Ok(NetlinkSocket {
            fd,
            sequence,
            buffer: vec![0; BUFFER],
        })
    }

    /// Has the kernel filter dumps by the header of the request.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub(crate) fn filter_dumps(&self) -> Result<(), NetlinkError> {
        let filtered = sys::netlink::filter_dumps(self.fd.as_fd());
        filtered.map_err(|source| NetlinkError::Socket {
            operation: "configure",
            source,
        })
    }

    /// Sends a batch and waits until the kernel has worked through it.
    ///
    /// # Errors
    /// The first refusal, after all requests were tried.
    pub(crate) fn run(&mut self, batch: Batch) -> Result<(), NetlinkError> {
        let last = batch.requests.len().saturating_sub(1);
        self.run_acknowledged(batch, &[last]).map(drop)
    }

    /// Sends a batch whose acknowledgements are asked for from the given requests, and waits for the last of
    /// these. Returns the objects that the kernel sent back.
    pub(crate) fn run_acknowledged(
        &mut self,
        mut batch: Batch,
        acknowledge: &[usize],
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        let Some(&awaited) = acknowledge.last().filter(|_| !batch.is_empty()) else {
            return Ok(Vec::new());
        };
        let _step = fault::step("netlink.change").map_err(|errno| NetlinkError::Socket {
            operation: "send to",
            source: errno.into(),
        })?;
        let first = self.next(batch.requests.len());
        batch.seal(first, acknowledge);
        self.send(&batch)?;
        let mut objects = Vec::new();
        let mut refusal = None;
        loop {
            let mut ended = false;
            self.receive(&batch, awaited, |number, message, answer| {
                let index = usize::try_from(number.wrapping_sub(first)).unwrap_or(usize::MAX);
                let request = batch.requests.get(index);
                match (request, answer) {
                    (None, _) | (_, Answer::Foreign) => {}
                    (Some(_), Answer::Object) => objects.push(message.to_vec()),
                    (Some(request), Answer::End | Answer::Inconsistent) => {
                        if let Some(error) = refused(message, request.operation, &request.object) {
                            refusal.get_or_insert(error);
                            // nf_tables answers a refused transaction as a whole at its first request.
                            ended |= index == 0;
                        }
                        ended |= index == awaited;
                    }
                }
            })?;
            if ended {
                return refusal.map_or(Ok(objects), Err);
            }
        }
    }

    /// Sends one dump request and returns the payloads of all objects; a dump that the kernel marks as
    /// interrupted is asked for again.
    pub(crate) fn dump(&mut self, mut batch: Batch) -> Result<Vec<Vec<u8>>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let number = self.next(1);
            batch.seal(number, &[]);
            self.send(&batch)?;
            let mut objects = Vec::new();
            let mut inconsistent = false;
            let mut outcome = None;
            while outcome.is_none() {
                self.receive(&batch, 0, |answered, message, answer| {
                    if answered != number {
                        return;
                    }
                    match answer {
                        Answer::Foreign => {}
                        Answer::Object => {
                            inconsistent |= is_interrupted(message);
                            if objects.len() < DUMP_LIMIT {
                                objects.push(message.to_vec());
                            }
                        }
                        Answer::End | Answer::Inconsistent => {
                            inconsistent |= matches!(answer, Answer::Inconsistent);
                            let request = &batch.requests[0];
                            outcome = Some(refused(message, request.operation, &request.object));
                        }
                    }
                })?;
            }
            match outcome.flatten() {
                Some(error) => return Err(error),
                None if inconsistent => {}
                None => return Ok(objects),
            }
        }
        let request = &batch.requests[0];
        Err(NetlinkError::Interrupted {
            operation: request.operation,
            object: request.object.clone(),
        })
    }

    fn next(&mut self, count: usize) -> u32 {
        let first = self.sequence;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    fn send(&self, batch: &Batch) -> Result<(), NetlinkError> {
        match send(
            self.fd.as_fd().as_raw_fd(),
            &batch.bytes,
            MsgFlags::MSG_NOSIGNAL,
        ) {
            Ok(_) => Ok(()),
            Err(errno) => Err(NetlinkError::Socket {
                operation: "send through",
                source: errno.into(),
            }),
        }
    }

    /// Receives one datagram and hands over its messages. `awaited` names the request in an error.
    fn receive(
        &mut self,
        batch: &Batch,
        awaited: usize,
        mut take: impl FnMut(u32, &[u8], Answer),
    ) -> Result<(), NetlinkError> {
        let (length, from) = loop {
            match recvfrom::<NetlinkAddr>(self.fd.as_fd().as_raw_fd(), &mut self.buffer) {
                Ok(received) => break received,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let request = &batch.requests[awaited];
                    return Err(NetlinkError::Deadline {
                        operation: request.operation,
                        object: request.object.clone(),
                    });
                }
                Err(errno) => {
                    return Err(NetlinkError::Socket {
                        operation: "receive from",
                        source: errno.into(),
                    });
                }
            }
        };
        // Only the kernel has port 0; any process may send to ours.
        if from.is_none_or(|from| from.pid() != 0) {
            return Ok(());
        }
        for message in messages(&self.buffer[..length]) {
            take(sequence_of(message), message, classify(message));
        }
        Ok(())
    }
}

impl<F: AsFd> AsFd for NetlinkSocket<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Splits a datagram into its messages, headers included.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        let message = bytes.get(..length).filter(|_| length >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn u16_at(message: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([message[at], message[at + 1]])
}

fn sequence_of(message: &[u8]) -> u32 {
    u32::from_ne_bytes([message[8], message[9], message[10], message[11]])
}

fn is_interrupted(message: &[u8]) -> bool {
    i32::from(u16_at(message, 6)) & libc::NLM_F_DUMP_INTR != 0
}

fn classify(message: &[u8]) -> Answer {
    match i32::from(u16_at(message, 4)) {
        libc::NLMSG_ERROR | libc::NLMSG_DONE if is_interrupted(message) => Answer::Inconsistent,
        libc::NLMSG_ERROR | libc::NLMSG_DONE => Answer::End,
        libc::NLMSG_NOOP | libc::NLMSG_OVERRUN => Answer::Foreign,
        _ => Answer::Object,
    }
}

/// The error in an NLMSG_ERROR or NLMSG_DONE message; None for an acknowledgement. With NETLINK_CAP_ACK the
/// number is followed by the refused request's header and the kernel's attributes.
fn refused(message: &[u8], operation: &'static str, object: &str) -> Option<NetlinkError> {
    /// NLMSGERR_ATTR_MSG: the reason in words.
    const REASON: u16 = 1;
    let code = message
        .get(HEADER..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code == 0 {
        return None;
    }
    let reason = message
        .get(HEADER + 4 + HEADER..)
        .and_then(|rest| attributes(rest).find(|(kind, _)| *kind == REASON))
        .map(|(_, text)| format!(": {}", string_of(text)))
        .unwrap_or_default();
    Some(NetlinkError::Refused {
        operation,
        object: object.to_owned(),
        reason,
        source: Errno::from_raw(code.wrapping_neg()),
    })
}
