use super::*;
use crate::platform::Machine;
use crate::testing::{Answer, MadeImage, Server, gzip, image, serve_images, small_image, tar};
use crate::{Digest, ImageSettings, ImageStore};
use std::path::Path;
use std::time::Duration;

fn open(dir: &Path) -> ImageStore {
    ImageStore::open(&dir.join("images"), ImageSettings::default()).unwrap()
}

fn request(reference: String) -> PullRequest {
    PullRequest {
        reference,
        credentials: None,
    }
}

#[tokio::test]
async fn an_image_is_known_by_all_its_names() {
    let made = small_image("one");
    let server = Server::registry(&[("team/app:v1", &made)]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let name = format!("{}/team/app", server.address);
    let pulled = store.pull(request(format!("{name}:v1"))).await.unwrap();
    let digest = Digest::of(&made.manifest);
    assert_eq!(pulled.id.digest(), Digest::of(&made.config));
    assert_eq!(pulled.repo_tags, [format!("{name}:v1")]);
    assert_eq!(pulled.repo_digests, [format!("{name}@{digest}")]);
    let hex = pulled.id.digest().hex();
    for any in [
        format!("{name}:v1"),
        format!("{name}@{digest}"),
        format!("{name}:other@{digest}"),
        hex.clone(),
        format!("sha256:{hex}"),
        hex[..12].to_owned(),
        format!("sha256:{}", &hex[..12]),
    ] {
        assert_eq!(store.resolve(&any).unwrap().id, pulled.id, "{any}");
    }
    for none in [
        name.as_str(),
        "",
        "zz",
        "sha256:",
        digest.to_string().as_str(),
        "../x",
    ] {
        assert!(store.resolve(none).is_none(), "{none}");
    }
    drop(store);
    let again = open(dir.path());
    let image = again.resolve(&hex).unwrap();
    assert_eq!(
        (&image.repo_tags, image.size, image.cmd()),
        (&pulled.repo_tags, pulled.size, pulled.cmd())
    );
}

#[tokio::test]
async fn by_digest_there_is_no_tag() {
    let made = small_image("one");
    let server = Server::registry(&[("app:v1", &made)]).await;
    let dir = tempfile::tempdir().unwrap();
    let digest = Digest::of(&made.manifest);
    let pulled = open(dir.path())
        .pull(request(format!("{}/app:v1@{digest}", server.address)))
        .await
        .unwrap();
    assert!(pulled.repo_tags.is_empty());
    assert_eq!(
        pulled.repo_digests,
        [format!("{}/app@{digest}", server.address)]
    );
}

#[tokio::test]
async fn concurrent_pulls_are_one_and_outlive_their_callers() {
    let made = small_image("one");
    let server = Server::registry(&[("app:v1", &made)]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let reference = format!("{}/app:v1", server.address);
    {
        // A caller that goes away at once.
        let abandoned = store.pull(request(reference.clone()));
        let _ = tokio::time::timeout(Duration::ZERO, abandoned).await;
    }
    let pulls = (0..20).map(|_| store.pull(request(reference.clone())));
    let pulled = futures_util::future::join_all(pulls).await;
    assert!(
        pulled
            .iter()
            .all(|image| image.as_ref().unwrap().id == pulled[0].as_ref().unwrap().id)
    );
    assert_eq!(server.count("/blobs/"), 2, "one configuration, one layer");
}

#[tokio::test]
async fn a_second_pull_asks_only_what_the_tag_means() {
    let made = small_image("one");
    let server = Server::registry(&[("app:v1", &made)]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let reference = format!("{}/app:v1", server.address);
    store.pull(request(reference.clone())).await.unwrap();
    let before = server.requests.lock().unwrap().len();
    store.pull(request(reference)).await.unwrap();
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len() - before, 1);
    assert_eq!(requests.last().unwrap().method, "HEAD");
}

#[tokio::test]
async fn a_moved_tag_leaves_the_old_image_untagged() {
    let (old, new) = (small_image("old"), small_image("new"));
    let first = Server::registry(&[("app:v1", &old)]).await;
    let second = Server::registry(&[("app:v1", &new)]).await;
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("certs.d/registry.test");
    std::fs::create_dir_all(&hosts).unwrap();
    let point_to = |server: &Server| {
        let mut file = std::fs::File::create(hosts.join("hosts.toml")).unwrap();
        std::io::Write::write_all(
            &mut file,
            format!("server = \"http://{}\"", server.address).as_bytes(),
        )
        .unwrap();
    };
    let settings = ImageSettings {
        hosts_dir: Some(dir.path().join("certs.d")),
        ..ImageSettings::default()
    };
    let store = ImageStore::open(&dir.path().join("images"), settings).unwrap();
    point_to(&first);
    let before = store
        .pull(request("registry.test/app:v1".to_owned()))
        .await
        .unwrap();
    point_to(&second);
    let after = store
        .pull(request("registry.test/app:v1".to_owned()))
        .await
        .unwrap();
    assert_ne!(before.id, after.id);
    let old = store.resolve(&before.id.to_string()).unwrap();
    assert!(old.repo_tags.is_empty());
    assert_eq!(old.repo_digests, before.repo_digests);
    assert_eq!(store.resolve("registry.test/app:v1").unwrap().id, after.id);
}

/// A base shared by images is fetched and stored once, and an image may repeat a layer.
#[tokio::test]
async fn layers_are_stored_once() {
    let layer = |text: &str| {
        let tar = tar(&[("file", text)]);
        (tar.clone(), gzip(&tar))
    };
    let base = layer("base");
    let one: MadeImage = image(&[base.clone(), layer("one"), base.clone()], "one");
    let two: MadeImage = image(&[base.clone(), layer("two")], "two");
    let server = Server::registry(&[("app:one", &one), ("app:two", &two)]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let one = store
        .pull(request(format!("{}/app:one", server.address)))
        .await
        .unwrap();
    let two = store
        .pull(request(format!("{}/app:two", server.address)))
        .await
        .unwrap();
    assert_eq!(one.layers[0], two.layers[0]);
    assert_eq!(one.layers[0], one.layers[2]);
    assert_eq!(std::fs::read_dir(store.layers_dir()).unwrap().count(), 3);
    assert_eq!(
        server.count(&Digest::of(&base.1).to_string()),
        1,
        "once, though it is there twice"
    );
    assert_eq!(
        store.read_file(&one.layers, "file", 10).unwrap().unwrap(),
        b"base"
    );
    assert_eq!(
        store.read_file(&two.layers, "file", 10).unwrap().unwrap(),
        b"two"
    );
}

fn layer(files: &[(&str, &str)]) -> (Vec<u8>, Vec<u8>) {
    let tar = tar(files);
    (tar.clone(), gzip(&tar))
}

/// The upper layer writes below `lib`, which is a link in one image and a directory in the other.
#[tokio::test]
async fn a_layer_that_depends_on_lower_ones_is_another_above_others() {
    let merged = layer(&[("usr/", ""), ("usr/lib/", ""), ("lib", "-> usr/lib")]);
    let plain = layer(&[("lib/", "")]);
    let upper = layer(&[("lib/file", "upper")]);
    let one = image(&[merged.clone(), upper.clone()], "one");
    let two = image(&[plain, upper.clone()], "two");
    let three = image(&[merged, upper.clone()], "three");
    let served = [("app:one", &one), ("app:two", &two), ("app:three", &three)];
    let server = Server::registry(&served).await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let pull = |tag: &str| store.pull(request(format!("{}/app:{tag}", server.address)));
    let (one, two) = futures_util::future::join(pull("one"), pull("two")).await;
    let (one, two) = (one.unwrap(), two.unwrap());
    let three = pull("three").await.unwrap();
    assert_ne!(one.layers[1], two.layers[1]);
    assert_eq!(one.layers, three.layers);
    let has = |image: &Image, path: &str| {
        let top = store.layers_dir().join(image.layers[1].as_str());
        top.join("diff").join(path).symlink_metadata().is_ok()
    };
    assert!(has(&one, "usr/lib/file") && !has(&one, "lib"));
    assert!(has(&two, "lib/file") && !has(&two, "usr"));
    drop(store);
    let again = open(dir.path());
    let image = again.resolve(&one.id.to_string()).unwrap();
    assert_eq!(image.layers, one.layers);
}

/// Two images that share their large layer, pulled at once: by one caller it comes once, by two callers
/// each proves for itself that it may have it.
#[tokio::test]
async fn a_layer_under_way_is_shared_by_pulls_of_one_caller() {
    let noise: String = (0..2_000_u32)
        .map(|i| Digest::of(&i.to_le_bytes()).hex())
        .collect();
    let shared = layer(&[("noise", &noise)]);
    let one = image(&[shared.clone(), layer(&[("one", "1")])], "one");
    let two = image(&[shared.clone(), layer(&[("two", "2")])], "two");
    let blob = Digest::of(&shared.1).to_string();
    for (callers, count) in [([None, None], 1), ([Some("a"), Some("b")], 2)] {
        let server = Server::registry(&[("app:one", &one), ("app:two", &two)]).await;
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let pull = |tag: &str, caller: Option<&str>| {
            store.pull(PullRequest {
                credentials: caller.map(|name| Credentials::password(name, "secret")),
                ..request(format!("{}/app:{tag}", server.address))
            })
        };
        let pulls = futures_util::future::join(pull("one", callers[0]), pull("two", callers[1]));
        let (one, two) = pulls.await;
        assert_eq!(one.unwrap().layers[0], two.unwrap().layers[0]);
        assert_eq!(server.count(&blob), count, "{callers:?}");
        assert_eq!(std::fs::read_dir(store.layers_dir()).unwrap().count(), 3);
        assert_eq!(
            std::fs::read_dir(dir.path().join("images/staging"))
                .unwrap()
                .count(),
            0
        );
    }
}

/// A pull that fails gives up its layers, but not one that another pull waits for.
#[tokio::test]
async fn a_failed_pull_takes_no_other_along() {
    let shared = layer(&[("shared", "x")]);
    let good = image(&[shared.clone(), layer(&[("one", "1")])], "good");
    let mut bad = image(&[shared.clone(), layer(&[("two", "2")])], "bad");
    let broken = layer(&[("two", "2")]).1;
    bad.blobs.remove(&Digest::of(&broken).to_string());
    let path = Digest::of(&shared.1).to_string();
    let served = vec![("app:good".to_owned(), good), ("app:bad".to_owned(), bad)];
    let server = Server::start(move |request| {
        if request.path.contains(&path) {
            // Long enough for the other pull to fail meanwhile.
            std::thread::sleep(Duration::from_millis(300));
        }
        serve_images(&served, request)
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let pull = |tag: &str| store.pull(request(format!("{}/app:{tag}", server.address)));
    let (bad, good) = futures_util::future::join(pull("bad"), pull("good")).await;
    assert_eq!(bad.unwrap_err().kind(), PullErrorKind::NotFound);
    let good = good.unwrap();
    assert_eq!(
        store.read_file(&good.layers, "shared", 9).unwrap().unwrap(),
        b"x"
    );
}

/// Who is told of a full disk and pulls something smaller met the space of the layers that were just given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_pull_has_nothing_on_disk_when_it_answers() {
    // All of it has come when it is given up, and writing it takes a while.
    let large = layer(&[("large", &"0".repeat(32 << 20))]);
    let missing = layer(&[("two", "2")]);
    let image = image(&[large.clone(), missing.clone()], "bad");
    let [large, missing] = [large.1, missing.1].map(|blob| Digest::of(&blob).to_string());
    let served = vec![("app:bad".to_owned(), image)];
    let server = Server::start(move |request| {
        let mut answer = serve_images(&served, request);
        if request.path.contains(&large) {
            answer.stall = Some(answer.body.len() - 1);
        }
        if request.path.contains(&missing) {
            // Time for the other layer to be begun.
            std::thread::sleep(Duration::from_millis(50));
            answer = Answer::status(404);
        }
        answer
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let pulled = store.pull(request(format!("{}/app:bad", server.address)));
    assert_eq!(pulled.await.unwrap_err().kind(), PullErrorKind::NotFound);
    for name in ["staging", "trash"] {
        let left = std::fs::read_dir(dir.path().join("images").join(name)).unwrap();
        assert_eq!(left.count(), 0, "{name}");
    }
}

/// A registry with `image` under the tag `v1`, and under `index` an index that names it with `platform`.
async fn with_index(image: &MadeImage, platform: serde_json::Value) -> Server {
    let entry = serde_json::json!({"digest": Digest::of(&image.manifest), "platform": platform});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let served = vec![("app:v1".to_owned(), image.clone())];
    Server::start(move |request| match request.path.as_str() {
        "/v2/app/manifests/index" => Answer::body(index.clone()),
        _ => serve_images(&served, request),
    })
    .await
}

/// `docker build` for another machine leaves a bare manifest: containerd 2.4.2 and moby 29 pull it wherever it is
/// asked for. Only an index that does not tell has its image's own word compared.
#[tokio::test]
async fn an_image_of_another_platform_is_pulled_where_it_was_asked_for() {
    use serde_json::{Value, json};
    let this = Machine::this().architecture();
    for (architecture, platform, by_index) in [
        (
            "s390x",
            json!({"os": "linux", "architecture": "s390x"}),
            false,
        ),
        ("s390x", Value::Null, false),
        ("s390x", json!({"os": "linux", "architecture": this}), true),
        (this, Value::Null, true),
        (
            &this.to_uppercase(),
            json!({"os": "", "architecture": this}),
            true,
        ),
        ("", Value::Null, true),
    ] {
        let image =
            small_image("one").with_config(|config| config["architecture"] = json!(architecture));
        let server = with_index(&image, platform.clone()).await;
        let pull = |tag: &str| {
            let dir = tempfile::tempdir().unwrap();
            let store = open(dir.path());
            let reference = format!("{}/app:{tag}", server.address);
            async move {
                let pulled = store.pull(request(reference)).await;
                // It is there after a restart of the daemon too.
                drop(store);
                assert_eq!(open(dir.path()).list().len(), usize::from(pulled.is_ok()));
                pulled
            }
        };
        assert!(pull("v1").await.is_ok(), "{architecture}");
        let indexed = pull("index").await;
        assert_eq!(
            indexed.is_ok(),
            by_index,
            "{architecture} {platform}: {indexed:?}"
        );
        if let Err(error) = indexed {
            assert_eq!(error.kind(), PullErrorKind::Unsupported);
        }
    }
}

/// Fields that writers leave in configurations, all the way through a pull and a restart.
#[tokio::test]
async fn configurations_as_writers_make_them_are_pulled() {
    use serde_json::{Value, json};
    type Change = fn(&mut Value);
    let cases: [(&str, Change, Option<PullErrorKind>); 6] = [
        (
            "a port that is null",
            |c| c["config"]["ExposedPorts"] = json!({"80/tcp": null}),
            None,
        ),
        (
            "a volume that is null",
            |c| c["config"]["Volumes"] = json!({"/d": null}),
            None,
        ),
        (
            "no configuration to run",
            |c| c["config"] = Value::Null,
            None,
        ),
        ("an empty os", |c| c["os"] = json!(""), None),
        (
            "an empty time",
            |c| c["created"] = json!(""),
            Some(PullErrorKind::Corrupt),
        ),
        (
            "no layers",
            |c| c["rootfs"]["diff_ids"] = Value::Null,
            Some(PullErrorKind::Corrupt),
        ),
    ];
    for (case, change, refused) in cases {
        let image = small_image("one").with_config(change);
        let server = Server::registry(&[("app:v1", &image)]).await;
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let pulled = store
            .pull(request(format!("{}/app:v1", server.address)))
            .await;
        let failed = pulled.as_ref().err().map(PullError::kind);
        assert_eq!(failed, refused, "{case}: {pulled:?}");
        drop(store);
        assert_eq!(
            open(dir.path()).list().len(),
            usize::from(refused.is_none()),
            "{case}"
        );
    }
}
