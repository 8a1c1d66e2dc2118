//! Helpers that the tests of this module share: images made in memory and a registry of our own.

use super::digest::Digest;
use super::platform::Machine;
use bytes::Bytes;
use serde_json::json;
use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A layer of files, as a tar stream.
pub(crate) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        if let Some(target) = content.strip_prefix("-> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
        } else if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            builder.append_data(&mut header, name, &b""[..]).unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder
                .append_data(&mut header, name, content.as_bytes())
                .unwrap();
        }
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The parts of an image: its blobs by digest, and its manifest.
#[derive(Debug, Clone)]
pub(crate) struct MadeImage {
    pub blobs: HashMap<String, Bytes>,
    pub manifest: Bytes,
    pub config: Bytes,
}

/// An image of tar streams, each with the blob to serve it as.
pub(crate) fn image(layers: &[(Vec<u8>, Vec<u8>)], label: &str) -> MadeImage {
    let diff_ids: Vec<_> = layers.iter().map(|(tar, _)| Digest::of(tar)).collect();
    let config = json!({
        "architecture": Machine::this().architecture(),
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Labels": {"label": label}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = Bytes::from(config.to_string());
    let mut blobs = HashMap::from([(Digest::of(&config).to_string(), config.clone())]);
    let mut descriptors = Vec::new();
    for (_, blob) in layers {
        let digest = Digest::of(blob);
        blobs.insert(digest.to_string(), Bytes::from(blob.clone()));
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        descriptors.push(json!({"mediaType": media_type, "digest": digest, "size": blob.len()}));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(&config),
            "size": config.len(),
        },
        "layers": descriptors,
    });
    MadeImage {
        blobs,
        manifest: Bytes::from(manifest.to_string()),
        config,
    }
}

impl MadeImage {
    /// The image with another configuration, and a manifest that names it.
    pub(crate) fn with_config(&self, change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let mut config = serde_json::from_slice(&self.config).unwrap();
        change(&mut config);
        let config = Bytes::from(config.to_string());
        let mut manifest: serde_json::Value = serde_json::from_slice(&self.manifest).unwrap();
        manifest["config"]["digest"] = json!(Digest::of(&config));
        manifest["config"]["size"] = json!(config.len());
        let mut blobs = self.blobs.clone();
        blobs.insert(Digest::of(&config).to_string(), config.clone());
        Self {
            blobs,
            manifest: Bytes::from(manifest.to_string()),
            config,
        }
    }
}

/// A small image of one gzipped layer.
pub(crate) fn small_image(label: &str) -> MadeImage {
    let tar = tar(&[
        ("etc/", ""),
        ("etc/label", label),
        ("bin/", ""),
        ("bin/sh", "x"),
    ]);
    image(&[(tar.clone(), gzip(&tar))], label)
}

/// A request as the server of the tests sees it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// An answer of the tests' server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Close the connection after so much of the body.
    pub cut: Option<usize>,
    /// Send nothing more for ever after so much of the body.
    pub stall: Option<usize>,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn body(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            body: body.into(),
            ..Self::default()
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// An HTTP server on a free port of the loopback; it ends with the test's runtime.
pub(crate) struct Server {
    pub address: SocketAddr,
    pub requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) async fn start(
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (handler, seen): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&handler), Arc::clone(&seen)));
            }
        });
        Self { address, requests }
    }

    /// Serves images by name, with ranges, and HEAD.
    pub(crate) async fn registry(images: &[(&str, &MadeImage)]) -> Self {
        let images: Vec<(String, MadeImage)> = images
            .iter()
            .map(|(name, image)| ((*name).to_owned(), (*image).clone()))
            .collect();
        Self::start(move |request| serve_images(&images, request)).await
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|request| request.path.contains(part))
            .count()
    }
}

/// The answer of a registry that has `images` (`repository:tag`).
pub(crate) fn serve_images(images: &[(String, MadeImage)], request: &Request) -> Answer {
    let path = request.path.split('?').next().unwrap();
    for (name, image) in images {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let Some(rest) = path.strip_prefix(&format!("/v2/{repository}/")) else {
            continue;
        };
        let digest = Digest::of(&image.manifest).to_string();
        if rest == format!("manifests/{tag}") || rest == format!("manifests/{digest}") {
            return Answer::body(image.manifest.clone()).header("Docker-Content-Digest", &digest);
        }
        if let Some(blob) = rest
            .strip_prefix("blobs/")
            .and_then(|digest| image.blobs.get(digest))
        {
            return ranged(request, blob);
        }
    }
    Answer::status(404)
}

/// A body, or the part of it that was asked for.
pub(crate) fn ranged(request: &Request, body: &Bytes) -> Answer {
    match request
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes="))
    {
        None => Answer::body(body.clone()),
        Some(range) => {
            let start: usize = range.trim_end_matches('-').parse().unwrap();
            let told = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
            Answer {
                status: 206,
                ..Answer::body(body.slice(start..))
            }
            .header("Content-Range", &told)
        }
    }
}

async fn serve(
    stream: TcpStream,
    handler: Arc<Handler>,
    seen: Arc<Mutex<Vec<Request>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let request = read_request(&mut stream).await?;
        let answer = handler(&request);
        let head = request.method == "HEAD";
        seen.lock().unwrap().push(request);
        let mut text = format!(
            "HTTP/1.1 {} X\r\nContent-Length: {}\r\n",
            answer.status,
            answer.body.len()
        );
        for (name, value) in &answer.headers {
            text += &format!("{name}: {value}\r\n");
        }
        stream
            .get_mut()
            .write_all(format!("{text}\r\n").as_bytes())
            .await
            .ok()?;
        let sent = answer.cut.or(answer.stall).unwrap_or(answer.body.len());
        if !head {
            stream
                .get_mut()
                .write_all(&answer.body[..sent])
                .await
                .ok()?;
        }
        if answer.stall.is_some() {
            std::future::pending::<()>().await;
        }
        if answer.cut.is_some() {
            return None;
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    tokio::io::AsyncReadExt::read_exact(stream, &mut body)
        .await
        .ok()?;
    Some(Request {
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}
