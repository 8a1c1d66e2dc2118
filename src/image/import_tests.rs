use super::*;
use crate::image::ImageSettings;
use crate::image::testing::{MadeImage, gzip, image, small_image, tar};
use serde_json::Value;

fn store() -> (tempfile::TempDir, ImageStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(&dir.path().join("images"), ImageSettings::default()).unwrap();
    (dir, store)
}

async fn imported(
    store: &ImageStore,
    name: &str,
    archive: Vec<u8>,
) -> Result<Arc<Image>, ImportError> {
    store.import(name, Cursor::new(archive)).await
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder
            .append_data(&mut header, name, content.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn oci_layout(made: &MadeImage, ref_name: Option<&str>) -> Vec<u8> {
    let mut entry = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(&made.manifest),
        "size": made.manifest.len(),
    });
    if let Some(name) = ref_name {
        entry["annotations"] = json!({ REF_NAME: name });
    }
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    let mut files = vec![
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        ("index.json".to_owned(), index.to_string().into_bytes()),
        (
            format!("blobs/sha256/{}", Digest::of(&made.manifest).hex()),
            made.manifest.to_vec(),
        ),
    ];
    files.extend(
        made.blobs
            .iter()
            .map(|(digest, blob)| (digest.replace("sha256:", "blobs/sha256/"), blob.to_vec())),
    );
    archive(&files)
}

#[tokio::test]
async fn a_root_file_system_becomes_an_image() {
    let (_dir, store) = store();
    let tree = tar(&[
        ("./", ""),
        ("./bin/", ""),
        ("./bin/busybox", "x"),
        ("./bin/sh", "-> busybox"),
        ("./etc/passwd", "root:x:0:0"),
    ]);
    let zstd = zstd::encode_all(tree.as_slice(), 1).unwrap();
    let plain = imported(&store, "demo/busybox", tree.clone())
        .await
        .unwrap();
    assert_eq!(plain.cmd(), ["/bin/sh"]);
    assert_eq!(plain.env(), [DEFAULT_PATH]);
    assert_eq!(plain.repo_tags, ["docker.io/demo/busybox:latest"]);
    assert_eq!(plain.repo_digests.len(), 1);
    assert_eq!(plain.layers.len(), 1);
    assert!(plain.size >= tree.len() as u64);
    let read = store.read_file(&plain.layers, "/etc/passwd", 100).unwrap();
    assert_eq!(read.as_deref(), Some(&b"root:x:0:0"[..]));
    for compressed in [gzip(&tree), zstd] {
        let same = imported(&store, "demo/busybox", compressed).await.unwrap();
        assert_eq!(same.id, plain.id, "the same tree is the same image");
    }
    assert_eq!(store.list().len(), 1);
}

#[tokio::test]
async fn a_tree_without_shell_has_no_command() {
    let (_dir, store) = store();
    let image = imported(&store, "a:b", tar(&[("app", "x")])).await.unwrap();
    assert!(image.cmd().is_empty() && image.entrypoint().is_empty());
}

#[tokio::test]
async fn an_oci_layout_keeps_its_digests() {
    let (_dir, store) = store();
    let made = small_image("one");
    for ref_name in [None, Some("v1"), Some("example.com/app:v1"), Some("other")] {
        let image = imported(&store, "example.com/app:v1", oci_layout(&made, ref_name))
            .await
            .unwrap();
        assert_eq!(image.id.digest(), Digest::of(&made.config));
        assert_eq!(
            image.repo_digests,
            [format!("example.com/app@{}", Digest::of(&made.manifest))]
        );
    }
    let mut damaged = made.clone();
    for blob in damaged.blobs.values_mut() {
        if blob[0] == 0x1f {
            *blob = gzip(&tar(&[("other", "")])).into();
        }
    }
    let error = imported(&store, "example.com/bad:v1", oci_layout(&damaged, None))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::Corrupt, "{error:?}");
    damaged.blobs.clear();
    let error = imported(&store, "example.com/bad:v1", oci_layout(&damaged, None))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("lacks blobs/sha256/"), "{error}");
}

#[tokio::test]
async fn what_docker_saved_is_recognised() {
    let (_dir, store) = store();
    let layer = tar(&[("etc/", ""), ("etc/hostname", "box")]);
    let made = image(&[(layer.clone(), layer.clone())], "one");
    let name = format!("{}.json", Digest::of(&made.config).hex());
    let entry = |tag: &str, config: &str| json!({"Config": config, "RepoTags": [tag], "Layers": ["0/layer.tar"]});
    let saved = |list: Value| {
        archive(&[
            (name.clone(), made.config.to_vec()),
            ("0/layer.tar".to_owned(), layer.clone()),
            ("manifest.json".to_owned(), list.to_string().into_bytes()),
        ])
    };
    let image = imported(&store, "app:v1", saved(json!([entry("other:v1", &name)])))
        .await
        .unwrap();
    assert_eq!(image.id.digest(), Digest::of(&made.config));
    let two = json!([entry("x:v1", "absent.json"), entry("app:v2", &name)]);
    assert_eq!(
        imported(&store, "app:v2", saved(two.clone()))
            .await
            .unwrap()
            .id,
        image.id
    );
    assert_eq!(image.repo_digests.len(), 1);
    let error = imported(&store, "app:v3", saved(two)).await.unwrap_err();
    assert!(error.to_string().contains("several images"), "{error}");
    let hostile = json!([entry("app:v4", "../../../../etc/passwd")]);
    assert!(imported(&store, "app:v4", saved(hostile)).await.is_err());
}

#[tokio::test]
async fn unusable_names_and_archives_leave_nothing() {
    let (dir, store) = store();
    let error = imported(&store, "Bad", Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::InvalidReference);
    let error = imported(&store, &format!("a@{}", Digest::of(b"")), Vec::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::InvalidReference);
    for bad in [
        b"no tar at all, but long enough to be read as a header".repeat(20),
        gzip(b"x")[..10].to_vec(),
    ] {
        let error = imported(&store, "a", bad).await.unwrap_err();
        assert_eq!(error.kind(), PullErrorKind::Corrupt, "{error:?}");
    }
    assert!(store.list().is_empty());
    assert_eq!(
        std::fs::read_dir(dir.path().join("images/staging"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        std::fs::read_dir(dir.path().join("images/layers"))
            .unwrap()
            .count(),
        0
    );
}
