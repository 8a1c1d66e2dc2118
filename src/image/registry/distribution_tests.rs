//! Against Debian's `docker-registry`, a real implementation of the specification.

use crate::testing::{MadeImage, gzip, image, tar};
use crate::{Digest, ImageSettings, ImageStore, PullErrorKind, PullRequest};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = "/usr/bin/docker-registry";

struct Distribution {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Distribution {
    fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// A registry behind TLS, with the path of its certificate.
    #[expect(clippy::disallowed_methods, reason = "the test's own certificate")]
    fn start_tls(dir: &std::path::Path) -> Option<(Self, std::path::PathBuf)> {
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ])
            .args([
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .stderr(Stdio::null())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            println!("skipped: no openssl to make a certificate with");
            return None;
        }
        let tls = format!(
            ", tls: {{certificate: {}, key: {}}}",
            cert.display(),
            key.display()
        );
        Some((Self::start_with(&tls)?, cert))
    }

    #[expect(clippy::disallowed_methods, reason = "the test's own registry")]
    fn start_with(tls: &str) -> Option<Self> {
        if !std::path::Path::new(PROGRAM).exists() {
            println!("skipped: {PROGRAM} is not installed (Debian package docker-registry)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"{tls}}}\n",
            dir.path().display()
        );
        let file = dir.path().join("config.yml");
        std::fs::File::create(&file)
            .unwrap()
            .write_all(config.as_bytes())
            .unwrap();
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self {
            child,
            address,
            _dir: dir,
        };
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("docker-registry does not listen");
    }

    async fn push(&self, repository: &str, tag: &str, made: &MadeImage) {
        let client = super::client::Client::new(super::Timers {
            stall: Duration::from_secs(5),
            rate: 0,
            window: Duration::from_secs(5),
        });
        let endpoint = super::hosts::endpoints(None, &self.address.to_string())
            .unwrap()
            .remove(0);
        let http = client.for_endpoint(&endpoint).unwrap();
        let base = format!("http://{}/v2/{repository}", self.address);
        for (digest, blob) in &made.blobs {
            let begun = http
                .post(format!("{base}/blobs/uploads/"))
                .send()
                .await
                .unwrap();
            let mut location: reqwest::Url = begun.headers()["location"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            location.query_pairs_mut().append_pair("digest", digest);
            let done = http.put(location).body(blob.clone()).send().await.unwrap();
            assert!(done.status().is_success(), "{done:?}");
        }
        let manifest = http
            .put(format!("{base}/manifests/{tag}"))
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .body(made.manifest.clone());
        let done = manifest.send().await.unwrap();
        assert!(done.status().is_success(), "{done:?}");
    }
}

#[tokio::test]
async fn images_come_from_a_real_registry() {
    let Some(registry) = Distribution::start() else {
        return;
    };
    let etc = tar(&[
        ("etc/", ""),
        ("etc/passwd", "root:x:0:0"),
        ("tmp/gone", "x"),
    ]);
    let bin = tar(&[("bin/", ""), ("bin/sh", "x"), ("tmp/.wh.gone", "")]);
    let zstd = zstd::encode_all(bin.as_slice(), 3).unwrap();
    let made = image(&[(etc.clone(), gzip(&etc)), (bin, zstd)], "one");
    registry.push("team/app", "v1", &made).await;
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path(), ImageSettings::default()).unwrap();
    let name = format!("{}/team/app", registry.address);
    let pull = |reference: String| {
        store.pull(PullRequest {
            reference,
            credentials: None,
        })
    };
    let by_tag = pull(format!("{name}:v1")).await.unwrap();
    assert_eq!(by_tag.layers.len(), 2);
    let read = store.read_file(&by_tag.layers, "/etc/passwd", 100).unwrap();
    assert_eq!(read.as_deref(), Some(&b"root:x:0:0"[..]));
    assert_eq!(
        store.read_file(&by_tag.layers, "/tmp/gone", 100).unwrap(),
        None
    );
    let by_digest = pull(format!("{name}@{}", Digest::of(&made.manifest)))
        .await
        .unwrap();
    assert_eq!(by_digest.id, by_tag.id);
    let absent = pull(format!("{name}:v2")).await.unwrap_err();
    assert_eq!(absent.kind(), PullErrorKind::NotFound);
    let absent = pull(format!("{}/nobody/nothing", registry.address))
        .await
        .unwrap_err();
    assert_eq!(absent.kind(), PullErrorKind::NotFound);
}

/// Over TLS nothing works by accident: the authority must be the system's or the administrator's.
#[tokio::test]
async fn certificates_are_checked_as_configured() {
    let dir = tempfile::tempdir().unwrap();
    let Some((registry, cert)) = Distribution::start_tls(dir.path()) else {
        return;
    };
    let certs = dir.path().join("certs.d/registry.test");
    std::fs::create_dir_all(&certs).unwrap();
    let settings = ImageSettings {
        hosts_dir: Some(dir.path().join("certs.d")),
        ..ImageSettings::default()
    };
    let store = ImageStore::open(&dir.path().join("images"), settings).unwrap();
    for (extra, kind) in [
        (String::new(), PullErrorKind::Unavailable),
        (format!("ca = {cert:?}"), PullErrorKind::NotFound),
        ("skip_verify = true".to_owned(), PullErrorKind::NotFound),
    ] {
        let hosts = format!("server = \"https://{}\"\n{extra}\n", registry.address);
        let mut file = std::fs::File::create(certs.join("hosts.toml")).unwrap();
        file.write_all(hosts.as_bytes()).unwrap();
        let request = PullRequest {
            reference: "registry.test/absent:v1".to_owned(),
            credentials: None,
        };
        let error = store.pull(request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{extra}: {error:?}");
    }
}
