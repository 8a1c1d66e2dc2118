//! Against Debian's `docker-registry`, a real implementation of the specification.

use crate::image::testing::{MadeImage, gzip, image, tar};
use crate::image::{Digest, ImageSettings, ImageStore, PullErrorKind, PullRequest};
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
    #[expect(clippy::disallowed_methods, reason = "the test's own registry")]
    fn start() -> Option<Self> {
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
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
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
        let client = super::client::Client::new(Duration::from_secs(5));
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
