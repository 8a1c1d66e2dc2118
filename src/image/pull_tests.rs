use super::*;
use crate::image::ImageSettings;
use crate::image::testing::{MadeImage, Server, gzip, image, small_image, tar};
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
        2,
        "twice within one image, not again"
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
