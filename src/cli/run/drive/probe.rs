//! Probes over the pod's network.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of an answer that are read: its first line.
const STATUS_LINE: u64 = 256;

/// Whether a connection is taken.
pub(super) async fn tcp(host: String, port: u16) -> bool {
    TcpStream::connect((host, port)).await.is_ok()
}

/// Whether a page is answered with a status from 200 to 399, as on a node; a redirection counts by itself.
pub(super) async fn http(
    (host, port): (String, u16),
    path: &str,
    headers: &[(String, String)],
) -> bool {
    let request = request(&host, port, path, headers);
    let Ok(mut stream) = TcpStream::connect((host, port)).await else {
        return false;
    };
    if stream.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let mut stream = stream.take(STATUS_LINE);
    while !answer.contains(&b'\n') {
        match stream.read_buf(&mut answer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    status(&answer).is_some_and(|status| (200..400).contains(&status))
}

fn request(host: &str, port: u16, path: &str, headers: &[(String, String)]) -> String {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut request = format!("GET {slash}{path} HTTP/1.1\r\n");
    let named = |name: &str| {
        headers
            .iter()
            .any(|(own, _)| own.eq_ignore_ascii_case(name))
    };
    if !named("host") {
        request += &format!("Host: {host}:{port}\r\n");
    }
    if !named("user-agent") {
        request += concat!("User-Agent: holdfast/", env!("CARGO_PKG_VERSION"), "\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request + "Accept: */*\r\nConnection: close\r\n\r\n"
}

/// The status of an answer: RFC 9112, section 4.
fn status(answer: &[u8]) -> Option<u16> {
    let answer = answer.strip_prefix(b"HTTP/1.")?;
    let code = answer.get(2..5)?;
    std::str::from_utf8(code).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{request, status};

    #[test]
    fn an_answer_is_its_status() {
        assert_eq!(status(b"HTTP/1.0 404 Not Found\r\n"), Some(404));
        assert_eq!(status(b"HTTP/1.1 200 OK"), Some(200));
        for bad in [&b""[..], b"HTTP/1.1", b"HTTP/1.1 2x0 ", b"SSH-2.0-x\r\n"] {
            assert_eq!(status(bad), None);
        }
    }

    #[test]
    fn headers_of_the_manifest_win() {
        let headers = [("host".to_owned(), "web".to_owned())];
        let text = request("10.0.0.1", 80, "x?y", &headers);
        assert!(
            text.starts_with("GET /x?y HTTP/1.1\r\nUser-Agent: "),
            "{text}"
        );
        assert!(
            text.contains("\r\nhost: web\r\n") && !text.contains("10.0.0.1"),
            "{text}"
        );
        assert!(request("a", 1, "/", &[]).contains("\r\nHost: a:1\r\n"));
    }
}
