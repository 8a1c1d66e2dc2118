//! A small WebSocket client, so that tests speak subprotocols that crictl does not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A message, with its opcode of RFC 6455, 5.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// 1 text, 2 binary, 8 close.
    pub opcode: u8,
    /// Content of the message, without its mask.
    pub content: Vec<u8>,
}

/// A connection that has changed to WebSocket.
#[derive(Debug)]
pub struct WebSocket(TcpStream);

impl WebSocket {
    /// Connects to a `http://` address and asks for a subprotocol, if it has a name.
    ///
    /// # Errors
    /// The answer, when it is no change of protocols.
    pub fn connect(url: &str, protocol: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let (address, path) = rest.split_once('/').ok_or("no path")?;
        let text = |error: std::io::Error| error.to_string();
        let mut socket = TcpStream::connect(address).map_err(text)?;
        let patience = Some(Duration::from_secs(20));
        socket.set_read_timeout(patience).map_err(text)?;
        let wanted = match protocol {
            "" => String::new(),
            name => format!("Sec-WebSocket-Protocol: {name}\r\n"),
        };
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{wanted}\r\n"
        );
        socket.write_all(request.as_bytes()).map_err(text)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).map_err(text)?;
            answer.push(byte[0]);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // The key and its answer are the example of RFC 6455, 1.3.
        let accepted = answer.starts_with("HTTP/1.1 101 ")
            && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            && answer.contains(&wanted);
        if accepted {
            Ok(Self(socket))
        } else {
            Err(answer)
        }
    }

    /// Sends a message of less than 64 KiB, masked with zeros.
    #[track_caller]
    pub fn send(&mut self, opcode: u8, content: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match u16::try_from(content.len()) {
            Ok(length @ ..=125) => frame.push(0x80 | length.to_be_bytes()[1]),
            Ok(length) => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => panic!("{} bytes are too many", content.len()),
        }
        frame.extend([0; 4]);
        frame.extend(content);
        let sent = self.0.write_all(&frame);
        sent.unwrap_or_else(|error| panic!("send a message: {error}"));
    }

    /// The next message; None at the end of the connection.
    pub fn receive(&mut self) -> Option<Message> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            short => u64::from(short),
        };
        let mut content = vec![0; usize::try_from(length).ok()?];
        self.0.read_exact(&mut content).ok()?;
        Some(Message {
            opcode: head[0] & 0x0f,
            content,
        })
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}
