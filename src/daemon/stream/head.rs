//! The head of the one HTTP/1.1 request of a connection, and the answer to it. A request has no body.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Why the head of a request cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    /// The connection broke or ended.
    #[error("cannot read the request")]
    Read(#[from] io::Error),
    /// The request is not HTTP/1.1.
    #[error("the request is not HTTP/1.1")]
    Syntax,
    /// The head of the request is too large.
    #[error("the head of the request is larger than {MAX_HEAD} bytes")]
    Large,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub method: String,
    /// The path with its query.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The path without its query. A client that takes us for a proxy sends the whole address (RFC 9112, section
    /// 3.2.2), whose host is as unimportant as the header `Host`.
    pub(super) fn path(&self) -> &str {
        let target = match self.target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
            }
            _ => &self.target,
        };
        target.split('?').next().unwrap_or_default()
    }

    /// All words of a header, however many lines it has.
    pub(super) fn words<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        self.values(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|word| !word.is_empty())
    }

    /// The values of a header, line by line.
    pub(super) fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        let has_name = move |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(has_name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a header has a word, in upper or lower case.
    pub(super) fn has_word(&self, name: &str, word: &str) -> bool {
        self.words(name)
            .any(|found| found.eq_ignore_ascii_case(word))
    }
}

/// Reads the head of a request and the bytes that follow it.
///
/// # Errors
/// [`HeadError`] when the head is malformed, too large or incomplete.
pub(super) async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
) -> Result<(Head, BytesMut), HeadError> {
    let mut buffer = BytesMut::with_capacity(1024);
    loop {
        if let Some((head, length)) = parse(&buffer)? {
            let rest = buffer.split_off(length);
            return Ok((head, rest));
        }
        if buffer.len() >= MAX_HEAD {
            return Err(HeadError::Large);
        }
        buffer.reserve(1024);
        if reader.read_buf(&mut buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

/// The head and its length, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(HeadError::Syntax),
    };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version)
    else {
        return Err(HeadError::Syntax);
    };
    let text = |header: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(header.value).into_owned();
        (header.name.to_owned(), value)
    };
    let head = Head {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: request.headers.iter().map(text).collect(),
    };
    Ok(Some((head, length)))
}

/// An answer that ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status code with its reason phrase.
    pub status: &'static str,
    /// The body of the answer: what to do instead.
    pub text: String,
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal without further headers.
    pub(super) fn new(status: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            headers: Vec::new(),
        }
    }

    /// Encodes the answer as it is sent.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Self {
            status,
            text,
            headers,
        } = self;
        let length = text.len() + 1;
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
             Connection: close\r\n"
        );
        for (name, value) in headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str(&format!("\r\n{text}\n"));
        answer.into_bytes()
    }
}

/// The answer that changes the protocol.
pub(super) fn switching(protocol: &str, headers: &[(&str, String)]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"
    );
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    answer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_head_has_all_lines_of_a_header() {
        let bytes = b"POST /exec/abc HTTP/1.1\r\nHost: x\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\
            x-stream-protocol-version: v3.channel.k8s.io, v2.channel.k8s.io\r\nConnection: keep-alive, Upgrade\r\n\r\nrest";
        let (head, rest) = read(&mut &bytes[..]).await.unwrap();
        assert_eq!(
            (head.method.as_str(), head.target.as_str()),
            ("POST", "/exec/abc")
        );
        let versions: Vec<_> = head.words("X-Stream-Protocol-Version").collect();
        assert_eq!(
            versions,
            [
                "v4.channel.k8s.io",
                "v3.channel.k8s.io",
                "v2.channel.k8s.io"
            ]
        );
        assert!(head.has_word("connection", "upgrade"));
        assert_eq!(&rest[..], b"rest");
    }

    #[tokio::test]
    async fn whatever_a_client_names_as_the_host_it_is_served() {
        for host in [
            "",
            "/run/x.sock",
            "%2Frun%2Fx.sock",
            "my_node",
            "a b",
            "[::1]:1",
            "localhost",
        ] {
            let request = format!("POST /exec/abc?x=1 HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let (head, _) = read(&mut request.as_bytes()).await.unwrap();
            assert_eq!(head.path(), "/exec/abc", "{host}");
        }
        let targets = [
            ("/exec/abc", "/exec/abc"),
            ("http://127.0.0.1:10010/exec/abc", "/exec/abc"),
            ("https://my_node/exec/abc?command=a", "/exec/abc"),
            ("http://node", "/"),
            ("/exec/abc?next=http://x/y", "/exec/abc"),
            ("*", "*"),
        ];
        for (target, path) in targets {
            let request = format!("GET {target} HTTP/1.1\r\n\r\n");
            let (head, _) = read(&mut request.as_bytes()).await.unwrap();
            assert_eq!(head.path(), path, "{target}");
        }
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused() {
        let endless = vec![b'a'; 2 * MAX_HEAD];
        assert!(matches!(
            read(&mut &endless[..]).await,
            Err(HeadError::Large | HeadError::Syntax)
        ));
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(2 * MAX_HEAD));
        assert!(matches!(
            read(&mut long.as_bytes()).await,
            Err(HeadError::Large)
        ));
        assert!(matches!(
            read(&mut &b"\x16\x03\x01\x02\x00"[..]).await,
            Err(HeadError::Syntax)
        ));
        assert!(matches!(
            read(&mut &b"GET / HTTP/1.1\r\n"[..]).await,
            Err(HeadError::Read(_))
        ));
    }
}
