//! Packets with descriptors over a unix `SOCK_SEQPACKET` socket: unix(7), `SCM_RIGHTS`.
//!
//! Used between the daemon and the shim, and between the shim and a child that has not executed yet:
//! [`send_packet`] allocates nothing.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check;

/// Most descriptors in one packet. The kernel's own limit is 253 (`SCM_MAX_FD`).
pub const MAX_PASSED: usize = 64;

const NUMBER_BYTES: usize = size_of::<RawFd>();

/// Bytes of a control message with [`MAX_PASSED`] descriptors, rounded up to its alignment.
const CONTROL_BYTES: usize = size_of::<libc::cmsghdr>() + MAX_PASSED * NUMBER_BYTES;

/// Room for one control message; the header demands the alignment.
#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; CONTROL_BYTES]);

impl Control {
    fn new() -> Self {
        Self([MaybeUninit::zeroed(); CONTROL_BYTES])
    }
}

fn message(bytes: &mut libc::iovec, control: &mut Control, control_bytes: usize) -> libc::msghdr {
    // SAFETY: msghdr is a C structure of integers and pointers for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = bytes;
    message.msg_iovlen = 1;
    if control_bytes > 0 {
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control_bytes as _;
    }
    message
}

/// Sends one packet with descriptors. Never waits on a socket that is non-blocking.
///
/// # Errors
/// The errors of sendmsg(2): `WouldBlock` when the peer's queue is full, `BrokenPipe` when it is gone;
/// `InvalidInput` for more than [`MAX_PASSED`] descriptors.
pub fn send_packet(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if descriptors.len() > MAX_PASSED {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut control = Control::new();
    let payload = descriptors.len() * NUMBER_BYTES;
    let control_bytes = if payload == 0 {
        0
    } else {
        write_control(&mut control, descriptors);
        size_of::<libc::cmsghdr>() + payload
    };
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let message = message(&mut vector, &mut control, control_bytes);
    loop {
        // SAFETY: the message points to `bytes` and to `control`, which live until the call returns; the
        // kernel only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
        match check(sent as libc::c_long) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn write_control(control: &mut Control, descriptors: &[BorrowedFd<'_>]) {
    let header = libc::cmsghdr {
        cmsg_len: (size_of::<libc::cmsghdr>() + descriptors.len() * NUMBER_BYTES) as _,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    let start = control.0.as_mut_ptr();
    // SAFETY: `Control` is aligned to 8 bytes, as cmsghdr demands, and larger than one.
    unsafe { start.cast::<libc::cmsghdr>().write(header) };
    for (index, descriptor) in descriptors.iter().enumerate() {
        let offset = size_of::<libc::cmsghdr>() + index * NUMBER_BYTES;
        let bytes = descriptor.as_raw_fd().to_ne_bytes();
        for (slot, byte) in control.0[offset..offset + NUMBER_BYTES]
            .iter_mut()
            .zip(bytes)
        {
            slot.write(byte);
        }
    }
}

/// Receives one packet and the descriptors that came with it, all close-on-exec. A length of 0 without
/// descriptors means that the peer has closed.
///
/// # Errors
/// The errors of recvmsg(2): `WouldBlock` when nothing is there; `InvalidData` when the packet is larger than
/// `buffer` or has more than [`MAX_PASSED`] descriptors (they are closed).
pub fn recv_packet(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = Control::new();
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut message = message(&mut vector, &mut control, CONTROL_BYTES);
    let length = loop {
        // SAFETY: the message points to `buffer` and to `control`, both exclusively borrowed and alive
        // until the call returns, with their true lengths.
        let got =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        match check(got as libc::c_long) {
            Ok(length) => break usize::try_from(length).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    #[allow(
        clippy::unnecessary_cast,
        reason = "the field's type differs between C libraries"
    )]
    let descriptors = read_control(&control, message.msg_controllen as usize);
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((length, descriptors))
}

/// Takes the descriptors of all control messages in the first `filled` bytes.
fn read_control(control: &Control, filled: usize) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    let header_bytes = size_of::<libc::cmsghdr>();
    let mut offset = 0;
    while offset + header_bytes <= filled.min(CONTROL_BYTES) {
        let start = control.0[offset..].as_ptr().cast::<libc::cmsghdr>();
        // SAFETY: all bytes of `Control` were initialised (zeroed, then perhaps written by the kernel) and
        // the header lies inside, as the loop's condition says.
        let header = unsafe { start.read_unaligned() };
        #[allow(
            clippy::unnecessary_cast,
            reason = "the field's type differs between C libraries"
        )]
        let length = (header.cmsg_len as usize).min(filled.min(CONTROL_BYTES) - offset);
        if length < header_bytes {
            break;
        }
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
            take_rights(
                &control.0[offset + header_bytes..offset + length],
                &mut descriptors,
            );
        }
        offset += length.next_multiple_of(size_of::<usize>());
    }
    descriptors
}

fn take_rights(payload: &[MaybeUninit<u8>], descriptors: &mut Vec<OwnedFd>) {
    for bytes in payload.chunks_exact(NUMBER_BYTES) {
        // SAFETY: the kernel filled these bytes with a descriptor number; any four bytes are a number.
        let number = unsafe { bytes.as_ptr().cast::<RawFd>().read_unaligned() };
        // SAFETY: the kernel has just installed this descriptor for us; nothing else owns it.
        descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
    }

    #[test]
    fn bytes_and_descriptors_arrive_together() {
        let (left, right) = pair();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send_packet(left.as_fd(), b"plan", &[writer.as_fd(), left.as_fd()]).unwrap();
        drop(writer);
        let mut buffer = [0; 16];
        let (length, mut descriptors) = recv_packet(right.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"plan");
        assert_eq!(descriptors.len(), 2);
        let mut writer = std::io::PipeWriter::from(descriptors.remove(0));
        writer.write_all(b"x").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn the_full_number_of_descriptors_passes_and_one_more_does_not() {
        let (left, right) = pair();
        let many = vec![left.as_fd(); MAX_PASSED];
        send_packet(left.as_fd(), b"x", &many).unwrap();
        let (_, descriptors) = recv_packet(right.as_fd(), &mut [0; 4]).unwrap();
        assert_eq!(descriptors.len(), MAX_PASSED);
        let many = vec![left.as_fd(); MAX_PASSED + 1];
        let error = send_packet(left.as_fd(), b"x", &many).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn nothing_there_and_a_closed_peer_differ() {
        let (left, right) = pair();
        let error = recv_packet(right.as_fd(), &mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(left);
        assert_eq!(recv_packet(right.as_fd(), &mut [0; 4]).unwrap().0, 0);
        let error = send_packet(right.as_fd(), b"x", &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_packet_larger_than_the_buffer_is_refused() {
        let (left, right) = pair();
        send_packet(left.as_fd(), b"too long", &[]).unwrap();
        let error = recv_packet(right.as_fd(), &mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
