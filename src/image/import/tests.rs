use super::contents::{CONTAINERD_NAME, REF_NAME};
use super::*;
use crate::testing::{MadeImage, gzip, image, small_image, tar};
use crate::{ImageSettings, ImageStore, PullErrorKind};
use holdfast_kernel::error_chain;
use serde_json::Value;
use std::io::Cursor;

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

/// An archive of files in that order; content `-> x` is a symbolic link to x, `=> x` another name of it, `! x` a
/// node of the kind x.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let text = String::from_utf8_lossy(content);
        if let Some(kind) = text.strip_prefix("! ") {
            // The null device by its number, whatever the kind: nothing happens to who opens it all the same.
            header.set_entry_type(tar::EntryType::new(kind.as_bytes()[0]));
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
            header.set_size(0);
            builder.append_data(&mut header, name, &b""[..]).unwrap();
            continue;
        }
        let (link, target) = match (text.strip_prefix("-> "), text.strip_prefix("=> ")) {
            (Some(target), _) => (tar::EntryType::Symlink, target),
            (None, Some(target)) => (tar::EntryType::Link, target),
            (None, None) if name.ends_with('/') => {
                header.set_mode(0o755);
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                builder.append_data(&mut header, name, &b""[..]).unwrap();
                continue;
            }
            (None, None) => {
                header.set_size(content.len() as u64);
                builder
                    .append_data(&mut header, name, content.as_slice())
                    .unwrap();
                continue;
            }
        };
        header.set_entry_type(link);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
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
    let outside = json!([entry("app:v4", "../../no/such.json")]);
    assert!(imported(&store, "app:v4", saved(outside)).await.is_err());
}

/// The files of an archive: names with their content.
type Files = Vec<(String, Vec<u8>)>;

/// An image of two layers, the second compressed, and what archives of it consist of.
struct Sample {
    made: MadeImage,
    layers: [Vec<u8>; 2],
}

impl Sample {
    fn new() -> Self {
        let one = tar(&[("etc/", ""), ("etc/hostname", "box")]);
        let two = tar(&[("opt/", ""), ("opt/program", "x")]);
        let packed = gzip(&two);
        Self {
            made: image(&[(one.clone(), one.clone()), (two, packed.clone())], "one"),
            layers: [one, packed],
        }
    }

    fn hex(&self, layer: usize) -> String {
        Digest::of(&self.layers[layer]).hex()
    }

    fn config_hex(&self) -> String {
        Digest::of(&self.made.config).hex()
    }

    /// The archive of a tool that calls its parts so.
    fn saved(&self, config: &str, layers: [&str; 2]) -> Files {
        let list = json!([{"Config": config, "RepoTags": ["app:v1"], "Layers": layers}]);
        let mut files = vec![
            (config.to_owned(), self.made.config.to_vec()),
            ("manifest.json".to_owned(), list.to_string().into_bytes()),
        ];
        for (name, content) in layers.iter().zip(&self.layers) {
            files.push(((*name).to_owned(), content.clone()));
        }
        files
    }

    fn blobs(&self) -> Files {
        let blobs = self.made.blobs.iter();
        let mut files: Files = blobs
            .map(|(digest, blob)| (digest.replace("sha256:", "blobs/sha256/"), blob.to_vec()))
            .collect();
        let manifest = self.made.manifest.to_vec();
        files.push((
            format!("blobs/sha256/{}", Digest::of(&manifest).hex()),
            manifest,
        ));
        files
    }

    fn index(&self, annotations: &[Value]) -> (String, Vec<u8>) {
        let entries: Vec<Value> = annotations
            .iter()
            .map(|annotations| json!({"digest": Digest::of(&self.made.manifest), "annotations": annotations}))
            .collect();
        let index = json!({"schemaVersion": 2, "manifests": entries});
        ("index.json".to_owned(), index.to_string().into_bytes())
    }
}

fn file(name: &str, content: &str) -> (String, Vec<u8>) {
    (name.to_owned(), content.as_bytes().to_vec())
}

/// Archives in the form of `docker save`, by the tools that write them so.
fn saved_forms(parts: &Sample) -> Vec<(&'static str, Files)> {
    let config = parts.config_hex();
    let (one, two) = (parts.hex(0), parts.hex(1));
    let both = |end: &str| [format!("{one}{end}"), format!("{two}{end}")];
    let saved = |config: &str, layers: [String; 2]| {
        parts.saved(config, layers.each_ref().map(String::as_str))
    };
    let mut old_docker = saved(&format!("{config}.json"), both("/layer.tar"));
    old_docker.insert(0, (format!("{one}/"), Vec::new()));
    old_docker.insert(1, file(&format!("{one}/VERSION"), "1.0"));
    old_docker.insert(2, file(&format!("{one}/json"), "{}"));
    old_docker.push(file("repositories", "{\"app\":{\"v1\":\"x\"}}"));
    let nix = old_docker.iter();
    let nix = nix.map(|(name, content)| (format!("./{name}"), content.clone()));
    let mut linked = parts.saved("c.json", ["a/layer.tar", "b/layer.tar"]);
    linked.retain(|(name, _)| !name.ends_with("layer.tar"));
    linked.insert(0, file("a/layer.tar", "-> ../first.tar"));
    linked.insert(0, ("first.tar".to_owned(), parts.layers[0].clone()));
    linked.push(("second.tar".to_owned(), parts.layers[1].clone()));
    linked.push(file("b/layer.tar", "=> second.tar"));
    let crane = saved(&format!("sha256:{config}"), both(".tar.gz"));
    let rules_oci = [&one, &two].map(|hex| format!("blobs/sha256/{hex}.tar.gz"));
    vec![
        ("crane, ko and kaniko", crane.clone()),
        ("manifest.json last", crane.into_iter().rev().collect()),
        ("jib", saved("config.json", both(".tar.gz"))),
        ("podman", saved(&format!("{config}.json"), both(".tar"))),
        ("nix, with a leading ./", nix.collect()),
        ("docker before 25", old_docker),
        ("linked layers", linked),
        (
            "rules_oci",
            saved(&format!("blobs/sha256/{config}"), rules_oci),
        ),
        (
            "names of any kind",
            parts.saved("deep/er/config", ["some layer", "ANOTHER"]),
        ),
    ]
}

/// Archives of OCI layouts, and what Docker writes since version 25, which is both.
fn layout_forms(parts: &Sample) -> Vec<(&'static str, Files)> {
    let named = json!({CONTAINERD_NAME: "docker.io/library/app:v1", REF_NAME: "v1"});
    let oci_layout = || file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    let layout = |annotations: &[Value]| {
        let mut files = parts.blobs();
        files.extend([oci_layout(), parts.index(annotations)]);
        files
    };
    let blob = |hex: String| format!("blobs/sha256/{hex}");
    let mut docker = parts.saved(
        &blob(parts.config_hex()),
        [&blob(parts.hex(0)), &blob(parts.hex(1))],
    );
    docker.extend(layout(std::slice::from_ref(&named)));
    let mut partial = parts.saved("c.json", ["1.tar", "2.tar"]);
    partial.extend([oci_layout(), parts.index(std::slice::from_ref(&named))]);
    let other = |name: &str| json!({ REF_NAME: name });
    vec![
        ("docker since 25", docker),
        ("docker since 25, without the platform's blobs", partial),
        ("a layout without names", layout(&[json!({})])),
        ("an image with two tags", layout(&[named, other("v2")])),
        (
            "one image of other names",
            layout(&[other("v7"), other("v8")]),
        ),
        ("a layout without annotations", layout(&[Value::Null])),
    ]
}

/// The files that `skopeo copy` writes to `dir:`, and `podman save --format docker-dir`: go.podman.io/image, directory.
fn directory_forms(parts: &Sample) -> Vec<(&'static str, Files)> {
    let manifest = || ("manifest.json".to_owned(), parts.made.manifest.to_vec());
    let with = |manifest: (String, Vec<u8>)| {
        let bare = |(name, blob): (String, Vec<u8>)| (name.replace("blobs/sha256/", ""), blob);
        let mut files: Files = parts.blobs().into_iter().map(bare).collect();
        files.pop();
        files.push(manifest);
        files.push(file("version", "Directory Transport Version: 1.1\n"));
        files
    };
    let mut signed = with(manifest());
    signed.push(file("signature-1", "a signature"));
    let (_, index) = parts.index(&[Value::Null]);
    let mut all = with(("manifest.json".to_owned(), index));
    let of_one = format!("{}.manifest.json", Digest::of(&manifest().1).hex());
    all.insert(0, (of_one, manifest().1));
    let dotted = with(manifest()).into_iter();
    let dotted = dotted.map(|(name, content)| (format!("./{name}"), content));
    vec![
        ("dir:", with(manifest())),
        ("dir: with signatures", signed),
        ("dir: of skopeo copy --all", all),
        ("dir: as a directory is sent", dotted.collect()),
    ]
}

/// `crane append` writes `sha256:HEX` first: such an archive became a root file system of its own files. The forms
/// are those that the tools' sources write: go-containerregistry v0.22.1 (pkg/v1/tarball: crane, ko, kaniko), jib,
/// bazel's rules, nixpkgs' dockerTools, podman and buildah (go.podman.io/image, docker/internal/tarfile), and
/// Docker's `image save` before and after version 25.
#[tokio::test]
async fn archives_of_images_are_told_by_their_documents() {
    let parts = Sample::new();
    let forms = [
        saved_forms(&parts),
        layout_forms(&parts),
        directory_forms(&parts),
    ];
    let forms = forms.concat();
    for (case, mut files) in forms {
        for beside in ["", "README.md"] {
            if !beside.is_empty() {
                files.insert(0, file(beside, "unrelated"));
            }
            let plain = archive(&files);
            let packed = zstd::encode_all(plain.as_slice(), 1).unwrap();
            for bytes in [gzip(&plain), packed, plain] {
                let (_dir, store) = store();
                let image = imported(&store, "app:v1", bytes).await;
                let image = image.unwrap_or_else(|e| panic!("{case}: {}", error_chain(&e)));
                assert_eq!(image.id.digest(), Digest::of(&parts.made.config), "{case}");
                assert_eq!(image.layers.len(), 2, "{case}");
            }
        }
    }
}

/// A layout of two images, whose index can be chosen.
struct Several {
    parts: Sample,
    other: MadeImage,
}

impl Several {
    fn new() -> Self {
        Self {
            parts: Sample::new(),
            other: image(&[], "other"),
        }
    }

    /// An entry for the other image, with more fields.
    fn other(&self, extra: Value) -> Value {
        Self::entry(&self.other.manifest, extra)
    }

    /// An entry for the image that is wanted.
    fn wanted(&self, extra: Value) -> Value {
        Self::entry(&self.parts.made.manifest, extra)
    }

    fn entry(document: &[u8], mut entry: Value) -> Value {
        entry["digest"] = json!(Digest::of(document));
        entry
    }

    fn nested(&self) -> Vec<u8> {
        let this = Machine::this().architecture();
        let manifests = [self.other(on("mips")), self.wanted(on(this))];
        json!({"schemaVersion": 2, "manifests": manifests})
            .to_string()
            .into_bytes()
    }

    fn layout(&self, manifests: &Value) -> Vec<u8> {
        let mut files = self.parts.blobs();
        for document in [self.nested(), self.other.manifest.to_vec()] {
            let name = format!("blobs/sha256/{}", Digest::of(&document).hex());
            files.push((name, document));
        }
        let index = json!({"manifests": manifests}).to_string();
        files.extend([file("oci-layout", "{}"), file("index.json", &index)]);
        archive(&files)
    }
}

fn on(architecture: &str) -> Value {
    json!({"platform": {"os": "linux", "architecture": architecture}})
}

fn named(name: &str) -> Value {
    json!({"annotations": {REF_NAME: name}})
}

#[tokio::test]
async fn of_several_images_name_and_platform_decide() {
    let all = Several::new();
    let this = on(Machine::this().architecture());
    let plain = || json!({});
    let signature = json!({"artifactType": "application/x"});
    for (case, other, wanted) in [
        (
            "by the whole name",
            named("app:v2"),
            named("docker.io/library/app:v1"),
        ),
        ("by the tag", named("v2"), named("v1")),
        (
            "the whole name before the tag",
            named("v1"),
            named("app:v1"),
        ),
        ("by the platform", on("mips"), this),
        ("a signature beside it", signature, plain()),
    ] {
        let archive = all.layout(&json!([all.other(other), all.wanted(wanted)]));
        let (_dir, store) = store();
        let image = imported(&store, "app:v1", archive).await;
        let image = image.unwrap_or_else(|e| panic!("{case}: {}", error_chain(&e)));
        let expected = Digest::of(&all.parts.made.config);
        assert_eq!(image.id.digest(), expected, "{case}");
    }
    let nested = Several::entry(&all.nested(), named("v1"));
    let (_dir, store) = store();
    let image = imported(&store, "app:v1", all.layout(&json!([nested]))).await;
    assert_eq!(
        image.unwrap().id.digest(),
        Digest::of(&all.parts.made.config)
    );
    for (other, wanted, word) in [
        (named("a:v2"), named("b:v3"), "one of them: a:v2, b:v3"),
        (named("a:v2"), plain(), "one of them: a:v2"),
        (plain(), plain(), "save each in an archive of its own"),
    ] {
        let archive = all.layout(&json!([all.other(other), all.wanted(wanted)]));
        let error = imported(&store, "app:v2", archive).await.unwrap_err();
        let text = error.to_string();
        let fits = text.contains("several images") && text.contains(word);
        assert!(fits, "{text}");
        assert_eq!(error.kind(), PullErrorKind::InvalidReference);
    }
}

/// Files that only have the names of documents make a root file system, as before.
#[tokio::test]
async fn root_file_systems_stay_what_they_are() {
    let (_dir, store) = store();
    for (case, files) in [
        (
            "a web application's manifest",
            vec![
                file("manifest.json", "{\"name\":\"app\"}"),
                file("usr/share/x", ""),
            ],
        ),
        (
            "a list that does not name images",
            vec![
                file("etc/x", ""),
                file("manifest.json", "[{\"name\":\"app\"},5]"),
            ],
        ),
        (
            "an index of something",
            vec![file("srv/x", ""), file("index.json", "{\"manifests\":[]}")],
        ),
        (
            "a document that is no JSON",
            vec![file("index.json", "<html>"), file("var/x", "")],
        ),
        (
            "files below a directory of any name",
            vec![file("data/x", "")],
        ),
        (
            "a directory that has repositories as well",
            vec![file("app/repositories", "x"), file("app/lib/x", "")],
        ),
        ("a link", vec![file("bin", "-> usr/bin")]),
        ("nothing", vec![]),
    ] {
        let image = imported(&store, "tree:v1", archive(&files)).await;
        let image = image.unwrap_or_else(|e| panic!("{case}: {}", error_chain(&e)));
        assert_eq!(image.layers.len(), 1, "{case}");
    }
}

/// Imports an archive that is refused, and gives the texts of the error; nothing of it stays.
async fn refused(files: &Files) -> String {
    let (dir, store) = store();
    let error = imported(&store, "app:v1", archive(files)).await;
    assert!(store.list().is_empty());
    for place in ["staging", "layers", "blobs"] {
        let left = std::fs::read_dir(dir.path().join("images").join(place)).unwrap();
        assert_eq!(left.count(), 0, "{place}");
    }
    error_chain(&error.unwrap_err())
}

#[tokio::test]
async fn what_is_neither_is_refused() {
    let parts = Sample::new();
    let hex = parts.hex(0);
    for names in [
        vec!["README".to_owned(), "a.txt".to_owned()],
        // Layers without a document, as a copy cut off leaves them.
        vec![format!("sha256:{hex}"), format!("{hex}.tar.gz")],
        vec![format!("{hex}/layer.tar"), format!("{hex}/VERSION")],
        vec![format!("blobs/sha256/{hex}")],
        vec![format!("{hex}.json"), "repositories".to_owned()],
        // As Docker before 1.10 saved an image, and the same packed with its directory.
        vec![format!("{hex}/layer.tar"), "repositories".to_owned()],
        vec![
            format!("app/{hex}/layer.tar"),
            format!("app/{hex}/json"),
            "app/repositories".to_owned(),
        ],
        // A layout that was packed with its directory.
        vec!["app/oci-layout".to_owned(), "app/index.json".to_owned()],
    ] {
        let files = names.iter().map(|name| file(name, "x")).collect();
        let text = refused(&files).await;
        let said = text.contains("neither an archive of images") && text.contains("save the image");
        assert!(said, "{names:?}: {text}");
    }
}

#[tokio::test]
async fn broken_archives_of_images_are_refused_with_what_is_wrong() {
    let parts = Sample::new();
    let without = |name: &str| {
        let mut files = parts.saved("c.json", ["1.tar", "2.tar"]);
        files.retain(|(file, _)| file != name);
        files
    };
    let list = |text: &str| vec![file("manifest.json", text), file("c.json", "{}")];
    let index = |text: &str| vec![file("oci-layout", "{}"), file("index.json", text)];
    let absent = String::from_utf8(parts.index(&[json!({})]).1).unwrap();
    let mut directory = directory_forms(&parts).remove(0).1;
    let blob = directory
        .iter_mut()
        .find(|(name, _)| *name == parts.config_hex());
    blob.unwrap().1 = b"{}".to_vec();
    let version = || file("version", "Directory Transport Version: 1.1\n");
    let old = "{\"schemaVersion\":1,\"fsLayers\":[]}";
    let wrong = "[{\"Config\":\"c.json\",\"Layers\":\"x\"}]";
    for (files, word) in [
        (without("c.json"), "lacks c.json"),
        (without("2.tar"), "lacks the layer 2.tar"),
        (list("[{\"Config\":"), "manifest.json is malformed"),
        (
            list(wrong),
            "[0].Layers: invalid value \"x\": a list is expected",
        ),
        (index("<html>"), "index.json is malformed"),
        (index("{\"manifests\":[]}"), "the index names no manifest"),
        (index("{\"manifests\":null}"), "the index names no manifest"),
        (
            index("{\"schemaVersion\":2}"),
            "the index names no manifest",
        ),
        (index(&absent), "lacks blobs/sha256/"),
        (vec![version()], "lacks manifest.json"),
        (directory, "has other content than sha256:"),
        (vec![version(), file("manifest.json", old)], "manifest"),
    ] {
        let text = refused(&files).await;
        assert!(text.contains(word), "{text}");
    }
}

/// go-containerregistry's empty image has `diff_ids: null`, other writers leave it out.
#[tokio::test]
async fn images_without_layers_are_images() {
    for root_fs in [
        json!({"rootfs": {"type": "layers", "diff_ids": null}}),
        json!({"rootfs": {"type": "layers", "diff_ids": []}}),
        json!({"rootfs": {"type": "layers"}}),
        json!({"rootfs": {}}),
        json!({"rootfs": null}),
        json!({}),
    ] {
        let mut config = root_fs.clone();
        config["config"] = json!({"Cmd": ["/x"]});
        for layers in [json!([]), Value::Null] {
            let list = json!([{"Config": "c", "Layers": layers}]).to_string();
            let files = vec![file("manifest.json", &list), file("c", &config.to_string())];
            let (_dir, store) = store();
            let image = imported(&store, "app:v1", archive(&files)).await;
            let image = image.unwrap_or_else(|e| panic!("{config}: {}", error_chain(&e)));
            assert_eq!(
                (image.layers.len(), image.cmd()),
                (0, &["/x".to_owned()][..])
            );
        }
    }
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
    // As the same compression of a layer.
    for packed in [&b"BZh91AY&SY"[..], b"\xfd7zXZ\0\0\x04"] {
        let error = imported(&store, "a", packed.to_vec()).await.unwrap_err();
        assert_eq!(error.kind(), PullErrorKind::Unsupported, "{error:?}");
    }
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

/// A layer that was a device or a fifo was opened before anything was asked about it. What an archive names has to be
/// a regular file, as containerd's import takes nothing else from a tar stream but links to them.
#[tokio::test]
async fn what_an_archive_names_has_to_be_a_regular_file() {
    let parts = Sample::new();
    let long = "x/".repeat(2500);
    let replaced = |name: &str, with: &[(String, Vec<u8>)]| {
        let mut files = parts.saved("c.json", ["1.tar", "2.tar"]);
        files.retain(|(file, _)| file != name);
        files.extend_from_slice(with);
        files
    };
    let of_layer = |layer: &str| parts.saved("c.json", [layer, "2.tar"]);
    let listing = |layer: &str| {
        let mut files = of_layer("1.tar");
        let list = json!([{"Config": "c.json", "Layers": [layer, "2.tar"]}]).to_string();
        files.retain(|(file, _)| file != "manifest.json");
        files.push(file("manifest.json", &list));
        files
    };
    let fifo = |name: &str| replaced(name, &[file(name, "! 6")]);
    let linked = [file("null", "! 3"), file("1.tar", "-> null")];
    let again = [file("null", "! 3"), file("1.tar", "=> null")];
    let below = [file("1.tar/", ""), file("1.tar/x", "x")];
    for (files, text) in [
        (
            fifo("1.tar"),
            "has a fifo under the name 1.tar, which is not a regular file",
        ),
        (
            fifo("c.json"),
            "has a fifo under the name c.json, which is not a regular file",
        ),
        (
            replaced("1.tar", &[file("1.tar", "! 3")]),
            "a character device under the name 1.tar",
        ),
        (
            replaced("2.tar", &[file("2.tar", "! 4")]),
            "a block device under the name 2.tar",
        ),
        (
            replaced("1.tar", &linked),
            "a character device under the name 1.tar",
        ),
        (
            replaced("1.tar", &again),
            "a character device under the name 1.tar",
        ),
        (
            replaced("1.tar", &below),
            "a directory under the name 1.tar",
        ),
        (
            replaced("1.tar", &[file("1.tar", "-> 1.tar")]),
            "names 1.tar, which leads through too many",
        ),
        (listing("a\0b"), "names \"a\\0b\", which holds a zero byte"),
        (listing(&long), "which is longer than a path can be"),
        (listing(&long), "names x/x/x/"),
        (listing(""), "lacks the layer \"\""),
        (listing("c.json/x"), "lacks the layer c.json/x"),
    ] {
        let found = refused(&files).await;
        assert!(found.contains(text), "{text}: {found}");
    }
    let (_dir, store) = store();
    let error = imported(&store, "app:v1", archive(&fifo("2.tar"))).await;
    assert_eq!(error.unwrap_err().kind(), PullErrorKind::Corrupt);
}

/// Archives that were packed with the directories they stood in became root file systems of their own files.
#[tokio::test]
async fn archives_of_images_that_stand_deeper_are_no_root_file_systems() {
    let parts = Sample::new();
    let below = |directory: &str, files: &[(String, Vec<u8>)]| -> Files {
        let moved = files.iter();
        moved
            .map(|(name, content)| (format!("{directory}/{name}"), content.clone()))
            .collect()
    };
    let saved = parts.saved("c.json", ["1.tar", "2.tar"]);
    let (directory, layout) = (
        directory_forms(&parts).remove(0).1,
        layout_forms(&parts).remove(2).1,
    );
    let with = |mut files: Files, more: (String, Vec<u8>)| {
        files.push(more);
        files
    };
    for files in [
        below("img", &saved),
        below("./img", &saved),
        below("one/two/img", &saved),
        below("img", &directory),
        below("a/b", &directory),
        below("a/b", &layout),
        below("a/b/c/d", &layout),
        with(below("img", &saved), file("README.md", "x")),
        with(below("a/img", &layout), file("a/README.md", "x")),
    ] {
        let text = refused(&files).await;
        assert!(text.contains("neither an archive of images"), "{text}");
    }
    let (_dir, store) = store();
    for files in [
        below("usr/share/x", &saved),
        below("srv/images", &layout),
        with(below("img", &saved), file("etc/passwd", "x")),
        with(below("a/img", &saved), file("a/data/x", "x")),
        vec![file("app/manifest.json", "{\"name\":\"app\"}")],
        vec![
            file("app/manifest.json", "[{\"name\":\"app\"}]"),
            file("app/1.tar", "x"),
        ],
        vec![file("app/index.json", "{\"manifests\":[]}")],
        vec![file("app/version", "1.0"), file("app/manifest.json", "{}")],
        vec![file("a/b/c/d/e", "x")],
    ] {
        let image = imported(&store, "tree:v1", archive(&files)).await;
        let image = image.unwrap_or_else(|e| panic!("{files:?}: {}", error_chain(&e)));
        assert_eq!(image.layers.len(), 1);
    }
}
