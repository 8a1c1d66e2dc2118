use super::*;
use crate::testing::tar;
use crate::{Image, ImageStore, ImportError};
use holdfast_disk::DirError;
use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Fixture {
    dir: tempfile::TempDir,
    store: Option<ImageStore>,
}

impl Fixture {
    fn new() -> Self {
        let mut fixture = Self {
            dir: tempfile::tempdir().unwrap(),
            store: None,
        };
        fixture.reopen();
        fixture
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("images")
    }

    fn reopen(&mut self) {
        self.store = None;
        let settings = ImageSettings {
            pinned: vec!["pinned".to_owned()],
            ..ImageSettings::default()
        };
        // The collecting threads of the store that was dropped may need an instant to end.
        let begun = Instant::now();
        self.store = loop {
            match ImageStore::open(&self.root(), settings.clone()) {
                Ok(store) => break Some(store),
                Err(e) if begun.elapsed() > Duration::from_secs(5) => panic!("{e:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
    }

    fn store(&self) -> &ImageStore {
        self.store.as_ref().unwrap()
    }

    async fn add(&self, name: &str, files: &[(&str, &str)]) -> Arc<Image> {
        self.store()
            .import(name, Cursor::new(tar(files)))
            .await
            .unwrap()
    }

    fn names_in(&self, place: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.root().join(place)).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Waits for the background.
    fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < Duration::from_secs(5), "never {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[tokio::test]
async fn removal_takes_all_names_and_is_repeatable() {
    let fixture = Fixture::new();
    let image = fixture.add("app:one", &[("a", "1")]).await;
    let same = fixture.add("app:two", &[("a", "1")]).await;
    assert_eq!(image.id, same.id);
    assert_eq!(
        same.repo_tags,
        ["docker.io/library/app:one", "docker.io/library/app:two"]
    );
    fixture.store().collect();
    fixture.store().remove("app:one").await.unwrap();
    assert!(fixture.store().resolve("app:two").is_none());
    fixture.store().remove("app:one").await.unwrap();
    fixture.store().remove("never/was").await.unwrap();
    fixture.eventually("collected", |f| {
        f.names_in("layers").is_empty() && f.names_in("blobs").is_empty()
    });
    fixture.eventually("emptied", |f| f.names_in("trash").is_empty());
    assert_eq!(fixture.store().fs_usage().used_bytes, 0);
}

#[tokio::test]
async fn held_layers_survive_their_image() {
    let fixture = Fixture::new();
    let image = fixture
        .add("app", &[("etc/", ""), ("etc/passwd", "root")])
        .await;
    fixture.store().collect();
    let hold = fixture.store().hold(&image).unwrap();
    let second = fixture.store().hold_layers(&image.layers).unwrap();
    fixture.store().remove("app").await.unwrap();
    fixture.store().store.collect_now().unwrap();
    assert_eq!(
        fixture
            .store()
            .read_file(hold.layers(), "etc/passwd", 10)
            .unwrap()
            .unwrap(),
        b"root"
    );
    drop(second);
    fixture.store().store.collect_now().unwrap();
    assert_eq!(fixture.names_in("layers").len(), 1);
    let again = fixture
        .add("app", &[("etc/", ""), ("etc/passwd", "root")])
        .await;
    assert_eq!(again.layers, image.layers, "a held layer is used again");
    fixture.store().remove("app").await.unwrap();
    drop(hold);
    fixture.eventually("collected", |f| f.names_in("layers").is_empty());
    let error = fixture.store().hold(&image).unwrap_err();
    assert!(matches!(error, StoreError::LayerGone(_)));
}

/// After a restart nothing is collected before the containers that live on have said what they use.
#[tokio::test]
async fn a_restart_waits_for_holds() {
    let mut fixture = Fixture::new();
    let image = fixture.add("app", &[("a", "1")]).await;
    let other = fixture.add("other", &[("a", "2")]).await;
    let hold = fixture.store().hold(&image).unwrap();
    fixture.store().remove("app").await.unwrap();
    fixture.store().remove("other").await.unwrap();
    std::mem::forget(hold);
    fixture.reopen();
    let hold = fixture.store().hold_layers(&image.layers).unwrap();
    fixture.store().collect();
    fixture.eventually("collected", |f| f.names_in("layers").len() == 1);
    assert!(fixture.store().hold_layers(&other.layers).is_err());
    assert_eq!(
        fixture
            .store()
            .read_file(hold.layers(), "a", 10)
            .unwrap()
            .unwrap(),
        b"1"
    );
    // The number of a layer that is gone is not given to another one.
    let third = fixture.add("third", &[("a", "3")]).await;
    assert!(third.layers[0] != image.layers[0] && third.layers[0] != other.layers[0]);
}

#[tokio::test]
async fn one_daemon_per_store() {
    let fixture = Fixture::new();
    let error = ImageStore::open(&fixture.root(), ImageSettings::default()).unwrap_err();
    let StoreError::Directory {
        source: DirError::Locked { path },
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(path, fixture.root().join("lock"));
}

/// Killed while it unpacked, or after the layers were moved but before the index was replaced.
#[tokio::test]
async fn an_interrupted_pull_is_absent() {
    let mut fixture = Fixture::new();
    let image = fixture.add("app", &[("a", "1")]).await;
    let root = fixture.root();
    fs::create_dir_all(root.join("staging/7/0/diff/deep")).unwrap();
    fs::create_dir_all(root.join("layers/zz/diff")).unwrap();
    fs::create_dir_all(root.join("trash/0/x")).unwrap();
    fs::File::create(root.join("blobs").join("0".repeat(64))).unwrap();
    fs::File::create(root.join(".holdfast-tmp.1.1")).unwrap();
    fixture.reopen();
    assert_eq!(
        fixture.names_in("layers"),
        BTreeSet::from([image.layers[0].to_string()])
    );
    assert!(fixture.names_in("staging").is_empty());
    fixture.eventually("emptied", |f| f.names_in("trash").is_empty());
    fixture.store().collect();
    fixture.eventually("collected", |f| f.names_in("blobs").len() == 2);
    assert_eq!(fixture.store().list().len(), 1);
    assert!(!root.join(".holdfast-tmp.1.1").exists());
}

/// A commit that cannot replace the index takes back what it moved, and the next one succeeds.
#[tokio::test]
async fn a_commit_without_index_leaves_nothing() {
    let fixture = Fixture::new();
    // A directory in the place of the index cannot be replaced by a file.
    fs::create_dir(fixture.root().join("index.json")).unwrap();
    let archive = || Cursor::new(tar(&[("a", "1")]));
    let error = fixture.store().import("app", archive()).await.unwrap_err();
    assert!(matches!(error, ImportError::Store { .. }), "{error:?}");
    assert!(fixture.names_in("layers").is_empty() && fixture.names_in("staging").is_empty());
    assert!(fixture.store().list().is_empty());
    fs::remove_dir(fixture.root().join("index.json")).unwrap();
    fixture.store().import("app", archive()).await.unwrap();
    assert_eq!(fixture.names_in("layers").len(), 1);
}

#[tokio::test]
async fn images_with_missing_parts_are_absent() {
    let mut fixture = Fixture::new();
    let one = fixture.add("one", &[("a", "1")]).await;
    let two = fixture.add("two", &[("a", "2")]).await;
    let three = fixture.add("three", &[("a", "3")]).await;
    fs::remove_dir_all(fixture.root().join("layers").join(one.layers[0].as_str())).unwrap();
    fs::File::create(fixture.root().join("blobs").join(two.id.digest().hex())).unwrap();
    fixture.reopen();
    let left: Vec<_> = fixture
        .store()
        .list()
        .iter()
        .map(|image| image.id)
        .collect();
    assert_eq!(left, [three.id]);
    let again = fixture.add("two", &[("a", "2")]).await;
    assert_eq!(again.id, two.id, "pulling again repairs it");
}

#[tokio::test]
async fn images_of_the_settings_are_pinned() {
    let fixture = Fixture::new();
    assert!(fixture.add("pinned", &[("a", "1")]).await.pinned);
    assert!(!fixture.add("other", &[("a", "2")]).await.pinned);
}

#[test]
fn patterns_pin_whole_names() {
    let name = "registry.k8s.io/kube-proxy:v1.36.0";
    for (pattern, fits) in [
        (name, true),
        ("registry.k8s.io/*", true),
        ("*/kube-proxy:*", true),
        ("*proxy*v1.3*.0", true),
        ("*", true),
        ("registry.k8s.io/kube-proxy", false),
        ("*/kube", false),
        ("k8s.io/*", false),
        ("*v1.36.0*v1.36.0", false),
    ] {
        assert_eq!(crate::index::matches(pattern, name), fits, "{pattern}");
    }
}

#[tokio::test]
async fn usage_is_counted() {
    let fixture = Fixture::new();
    fixture.add("app", &[("d/", ""), ("d/a", "1")]).await;
    let usage = fixture.store().fs_usage();
    assert_eq!((usage.used_bytes, usage.inodes_used), (3 * 4096, 3));
    assert_eq!(usage.path, fixture.store().layers_dir());
}

/// Of many pods that start at once one looks at a layer, and the others take what it found.
#[tokio::test]
async fn who_waits_for_a_look_at_a_layer_takes_its_result() {
    let mut fixture = Fixture::new();
    let image = fixture.add("app", &[("a", "1")]).await;
    fixture.store = None;
    fs::remove_file(fixture.root().join("verified.json")).unwrap();
    fixture.reopen();
    let (store, layers) = (fixture.store().clone(), image.layers.clone());
    // Somebody looks, and the layer is torn afterwards: whoever looked now would find it so.
    let looking = Arc::clone(&store.store.verified.looking);
    let permit = looking.acquire_owned().await.unwrap();
    let diff = fixture.root().join("layers").join(layers[0].as_str());
    fs::remove_file(diff.join("diff/a")).unwrap();
    let waiting = tokio::spawn({
        let (store, layers) = (store.clone(), layers.clone());
        async move { store.sound(&layers).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    store.store.verified(&layers);
    drop(permit);
    assert!(waiting.await.unwrap().unwrap());
}
