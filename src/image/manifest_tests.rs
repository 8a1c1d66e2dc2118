use super::*;
use serde_json::{Value, json};

const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn machine() -> Machine {
    Machine::from_architecture("arm")
}

fn parsed(value: &Value) -> Result<Parsed, ManifestError> {
    parse(value.to_string().as_bytes(), &machine())
}

fn entry(number: u8, platform: Value) -> Value {
    let digest = format!("sha256:{}", hex::encode([number; 32]));
    json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1, "platform": platform})
}

fn chosen(entries: Vec<Value>) -> Result<u8, ManifestError> {
    match parsed(&json!({"schemaVersion": 2, "manifests": entries}))? {
        Parsed::Index(choice) => Ok(hex::decode(choice.digest.hex()).unwrap()[0]),
        Parsed::Manifest(_) => panic!("an index was given"),
    }
}

fn manifest(config_type: &str, layer_type: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "config": {"mediaType": config_type, "digest": D, "size": 3},
        "layers": [{"mediaType": layer_type, "digest": D, "size": 40}],
        "annotations": {"b": "2", "a": "1"},
    })
}

/// An index whose one entry for this machine says `x86_64` was refused: "only for linux/x86_64". The right choice
/// is that of `platforms.Only` and `images.Manifest` in containerd 2.4.2 (containerd/platforms v1.0.0-rc.5).
#[test]
fn the_best_platform_is_chosen() {
    let of = |os: &str, architecture: &str, variant: Value| json!({"os": os, "architecture": architecture, "variant": variant});
    let arm = |variant: &str| of("linux", "arm", json!(variant));
    let plain = || json!({"os": "linux", "architecture": "arm"});
    let other = || json!({"os": "linux", "architecture": "amd64"});
    let unknown = || json!({"os": "unknown", "architecture": "unknown"});
    let needy = || json!({"os": "linux", "architecture": "arm", "os.features": ["x"]});
    for (entries, number) in [
        (vec![other(), arm("v6"), arm("v7")], 3),
        // No variant means v7, and the first of equals is taken.
        (vec![arm("v6"), plain(), arm("v7")], 2),
        (vec![arm("v8"), arm("6")], 2),
        (vec![arm("v8"), of("Linux", "ARMHF", Value::Null)], 2),
        (vec![of("linux", "armel", Value::Null), arm("v5")], 1),
        (vec![of("", "arm", json!(""))], 1),
        (vec![of("linux", "arm", json!("V7"))], 1),
        // What names no platform comes last, and signatures not at all.
        (vec![unknown(), Value::Null], 2),
        (vec![Value::Null, arm("v5")], 2),
        (vec![needy(), arm("v5")], 2),
        (
            vec![
                json!({"os": "linux", "architecture": "arm", "os.version": "9", "os.features": null}),
            ],
            1,
        ),
    ] {
        let numbered = entries
            .iter()
            .zip(1..)
            .map(|(platform, number)| entry(number, platform.clone()));
        assert_eq!(chosen(numbered.collect()).unwrap(), number, "{entries:?}");
    }
    let windows = json!({"os": "windows", "architecture": "arm"});
    let error = chosen(vec![
        entry(1, other()),
        entry(2, windows),
        entry(3, unknown()),
    ])
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image is not made for linux/arm, only for: linux/amd64, windows/arm/v7"
    );
    let error = chosen(vec![]).unwrap_err();
    let text = "the index names no manifest: push or save the image again";
    assert_eq!(error.to_string(), text);
}

/// An entry that only says of itself that it is an image was passed over as an attestation: "only for: nothing".
/// containerd 2.4.2 goes by the platform (core/images/image.go, `Manifest`); the type of an image in `artifactType` is
/// that of its configuration (image specification 1.1.1); moby 29 knows one word for attestations.
#[test]
fn entries_are_attestations_only_when_they_say_so() {
    let this = || json!({"os": "linux", "architecture": "arm"});
    let of = |platform: Value, kind: Value, reference: Value| {
        let mut made = entry(1, platform);
        made["artifactType"] = kind;
        made["annotations"] = json!({"vnd.docker.reference.type": reference});
        made
    };
    let (oci, docker) = (
        json!("application/vnd.oci.image.config.v1+json"),
        json!("application/vnd.docker.container.image.v1+json"),
    );
    let sbom = || json!("application/spdx+json");
    let unknown = || json!({"os": "unknown", "architecture": "unknown"});
    for image in [
        of(this(), oci.clone(), json!("")),
        of(this(), docker, Value::Null),
        of(
            this(),
            json!("Application/vnd.oci.image.config.v1+json; a=b"),
            json!("image"),
        ),
        of(
            this(),
            json!("application/vnd.oci.image.manifest.v1+json"),
            Value::Null,
        ),
        of(Value::Null, oci.clone(), json!("other")),
        of(this(), Value::Null, json!("")),
        // An artifact for this machine, where there is no image.
        of(this(), sbom(), Value::Null),
    ] {
        assert_eq!(chosen(vec![image.clone()]).unwrap(), 1, "{image}");
        let other = entry(2, json!({"os": "linux", "architecture": "amd64"}));
        assert_eq!(chosen(vec![other, image.clone()]).unwrap(), 1, "{image}");
    }
    assert_eq!(
        chosen(vec![of(this(), sbom(), json!("")), entry(2, this())]).unwrap(),
        2
    );
    for none in [
        of(this(), Value::Null, json!("attestation-manifest")),
        of(unknown(), oci, json!("")),
        of(unknown(), Value::Null, Value::Null),
        of(Value::Null, sbom(), Value::Null),
    ] {
        let error = chosen(vec![none.clone()]).unwrap_err().to_string();
        let fits = error.contains("no image, only attestations") && !error.contains("nothing");
        assert!(fits, "{none}: {error}");
    }
}

#[test]
fn docker_and_oci_manifests_are_one() {
    for (config, layer) in [
        (
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
        (
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
        (
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        ),
    ] {
        let Parsed::Manifest(manifest) = parsed(&manifest(config, layer)).unwrap() else {
            panic!()
        };
        assert_eq!(manifest.content_size(), 43);
        assert_eq!(manifest.annotations[0], ("a".to_owned(), "1".to_owned()));
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let oci = "application/vnd.oci.image.config.v1+json";
    let tar = "application/vnd.oci.image.layer.v1.tar";
    let refused = |value: &Value| parsed(value).unwrap_err();
    assert!(matches!(
        refused(&manifest(oci, "application/wasm")),
        ManifestError::Layer(_)
    ));
    assert!(matches!(
        refused(&manifest(oci, &format!("{tar}+encrypted"))),
        ManifestError::Layer(_)
    ));
    assert!(matches!(
        refused(&json!({"schemaVersion": 1, "fsLayers": []})),
        ManifestError::Kind(_)
    ));
    assert!(matches!(
        refused(&json!({"schemaVersion": 2})),
        ManifestError::Kind(_)
    ));
    assert!(matches!(
        refused(&json!([])),
        ManifestError::Document(DocumentError::Field { .. })
    ));
    let mut both = manifest(oci, tar);
    both["manifests"] = json!([]);
    assert!(matches!(refused(&both), ManifestError::Kind(_)));
    let mut blake3 = manifest(oci, tar);
    blake3["config"]["digest"] = json!(format!("blake3:{}", "0".repeat(64)));
    assert!(matches!(refused(&blake3), ManifestError::Digest { .. }));
    let mut many = manifest(oci, tar);
    many["layers"] = json!(vec![many["layers"][0].clone(); 501]);
    assert!(matches!(refused(&many), ManifestError::TooManyLayers(501)));
}

#[test]
fn configurations_are_checked_against_the_manifest() {
    let config = |ids: &[&str]| {
        let value = json!({
            "architecture": "arm", "os": "linux",
            "config": {"Cmd": null, "Env": ["A=b"], "Volumes": null},
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        parse_config(value.to_string().as_bytes(), 1)
    };
    assert_eq!(config(&[D]).unwrap().1.len(), 1);
    assert!(matches!(
        config(&[]),
        Err(ManifestError::LayerCount {
            layers: 1,
            diff_ids: 0
        })
    ));
    let error = config(&["x"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rootfs.diff_ids[0] names content that cannot be verified"
    );
}

/// An image of one platform that was asked for by name was refused on another: containerd 2.4.2 compares nothing
/// there (core/images/image.go, `Manifest`), nor does moby, and emulators run it.
#[test]
fn another_platform_is_refused_only_where_nothing_else_tells() {
    let this = Machine::this().architecture();
    let config = |os: &str, architecture: &str| ImageConfig {
        platform: crate::document::PlatformNames {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            ..Default::default()
        },
        ..Default::default()
    };
    for (os, architecture, fits) in [
        ("linux", this, true),
        ("", this, true),
        ("LINUX", &this.to_uppercase(), true),
        ("linux", "", true),
        ("linux", "s390x", false),
        ("windows", this, false),
    ] {
        let config = config(os, architecture);
        let check = |said_by| check_platform(&config, said_by, "image");
        assert!(check(PlatformSource::Caller).is_ok(), "{os}/{architecture}");
        assert_eq!(
            check(PlatformSource::Config).is_ok(),
            fits,
            "{os}/{architecture}"
        );
    }
}

/// Pulled, such an image was "an artifact" for CreateContainer. moby 29 lists the four types for images, containerd
/// 2.4.2 converts the first (core/remotes/docker/converter.go); go.podman.io/image v5 asks the manifest's own type.
#[test]
fn configurations_of_old_registries_are_those_of_images() {
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let tar = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let oci_tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    let is_image = |manifest_type: &str, config: &str, layer: &str| {
        let mut value = manifest(config, layer);
        value["mediaType"] = json!(manifest_type);
        match parsed(&value).unwrap() {
            Parsed::Manifest(manifest) => manifest.kind == ManifestKind::Image,
            Parsed::Index(_) => panic!("a manifest was given"),
        }
    };
    for config in DEFAULTED_TYPES {
        assert!(is_image(docker, config, tar), "{config:?}");
        assert!(is_image("", config, tar), "{config:?}");
        assert!(is_image(oci, config, oci_tar), "{config:?}");
        assert!(
            is_image(docker, config, "application/octet-stream"),
            "{config:?}"
        );
        assert!(
            !is_image(oci, config, "application/octet-stream"),
            "{config:?}"
        );
    }
    for (manifest_type, config, layer) in [
        (
            oci,
            "application/vnd.docker.container.image.v1+json",
            oci_tar,
        ),
        (docker, "application/vnd.oci.image.config.v1+json", oci_tar),
        (
            "",
            "Application/Vnd.OCI.image.config.v1+json; charset=utf-8",
            tar,
        ),
        (docker, "application/vnd.docker.container.image.v1+json", ""),
    ] {
        assert!(is_image(manifest_type, config, layer), "{config}");
    }
    // Artifacts stay artifacts: ORAS, Helm, Docker's plugins, cosign's attestations.
    for (manifest_type, config) in [
        (oci, "application/vnd.oci.empty.v1+json"),
        (oci, "application/vnd.unknown.config.v1+json"),
        (oci, "application/vnd.cncf.helm.config.v1+json"),
        (docker, "application/vnd.docker.plugin.v1+json"),
        (oci, "application/vnd.example.image.config.v1+json"),
    ] {
        assert!(!is_image(manifest_type, config, oci_tar), "{config}");
    }
    let mut artifact = manifest("application/octet-stream", oci_tar);
    artifact["artifactType"] = json!("application/x-something");
    let Parsed::Manifest(artifact) = parsed(&artifact).unwrap() else {
        panic!()
    };
    assert_ne!(artifact.kind, ManifestKind::Image);
}

/// Which layers an image may have: those of containerd's `IsLayerType`, moby's `supportedMediaTypes`, and the older
/// spellings of both; compression is told by the bytes.
#[test]
fn layers_of_every_spelling_are_taken() {
    let config = "application/vnd.oci.image.config.v1+json";
    for layer in [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.serialization.rootfs.tar.gzip",
        "application/octet-stream",
        "application/json",
        "text/html",
        "",
    ] {
        assert!(parsed(&manifest(config, layer)).is_ok(), "{layer}");
    }
    for layer in [
        "application/vnd.in-toto+json",
        "application/vnd.erofs.layer.v1",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/wasm",
    ] {
        let error = parsed(&manifest(config, layer)).unwrap_err();
        assert!(matches!(error, ManifestError::Layer(_)), "{layer}: {error}");
    }
}

/// What a manifest says of itself, and what its fields say: containerd 2.4.2 refuses contradictions
/// (core/images/image.go, `validateMediaType`), and takes what says nothing.
#[test]
fn fields_and_type_of_a_document_must_agree() {
    let config = "application/vnd.oci.image.config.v1+json";
    let image = |changes: Value| {
        let mut value = manifest(config, "application/vnd.oci.image.layer.v1.tar");
        for (key, change) in changes.as_object().unwrap() {
            value[key] = change.clone();
        }
        parsed(&value)
    };
    let list = "application/vnd.docker.distribution.manifest.list.v2+json";
    for good in [
        json!({}),
        json!({"mediaType": null, "manifests": null, "fsLayers": null, "annotations": null}),
        json!({"mediaType": "text/plain", "schemaVersion": null}),
        json!({"layers": null}),
        json!({"unknown": {"a": [1.5, null]}, "subject": {"digest": 5}}),
    ] {
        assert!(image(good.clone()).is_ok(), "{good}");
    }
    for bad in [
        json!({"mediaType": list}),
        json!({"manifests": []}),
        json!({"config": null}),
    ] {
        let error = image(bad.clone()).unwrap_err();
        assert!(matches!(error, ManifestError::Kind(_)), "{bad}: {error}");
    }
    for (bad, text) in [
        (
            json!({"config": "x"}),
            "config: invalid value \"x\": an object is expected",
        ),
        (
            json!({"layers": [{"digest": D, "size": 1.5}]}),
            "layers[0].size: invalid value 1.5: a whole number is expected",
        ),
        (
            json!({"layers": {}}),
            "layers: invalid value {…}: a list is expected",
        ),
        (
            json!({"annotations": {"a": 1}}),
            "annotations[\"a\"]: invalid value 1: a text is expected",
        ),
    ] {
        let error = image(bad.clone()).unwrap_err();
        let ManifestError::Document(DocumentError::Field { source, .. }) = &error else {
            panic!("{bad}: {error}")
        };
        assert_eq!(source.to_string(), text, "{bad}");
    }
    let error =
        image(json!({"layers": [{"digest": D, "size": -1, "mediaType": "tar"}]})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "layers[0].size: invalid value -1: a size in bytes is not negative"
    );
    let index = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "manifests": [{"digest": D}]});
    assert!(matches!(parsed(&index), Err(ManifestError::Kind(_))));
    let typed = json!({"mediaType": list, "manifests": null});
    assert!(matches!(parsed(&typed), Err(ManifestError::NoImage(_))));
}

fn artifact() -> Value {
    let empty = "application/vnd.oci.empty.v1+json";
    manifest(empty, "application/octet-stream")
}

fn title(name: &str) -> Value {
    json!({"org.opencontainers.image.title": name})
}

/// The files of an artifact.
fn files(value: &Value) -> Vec<ArtifactFile> {
    match parsed(value).unwrap() {
        Parsed::Manifest(manifest) => match manifest.kind {
            ManifestKind::Artifact(files) => files,
            ManifestKind::Image => panic!("an image"),
        },
        Parsed::Index(_) => panic!("an index"),
    }
}

#[test]
fn what_has_no_configuration_of_an_image_is_an_artifact() {
    let mut artifact = artifact();
    let nameless = files(&artifact);
    assert_eq!(nameless[0].name, nameless[0].part.digest.hex());
    artifact["layers"][0]["annotations"] = title("dir/file.bin");
    assert_eq!(files(&artifact)[0].name, "dir/file.bin");
    // A title is cleaned as Go's path.Clean does; an empty one counts as missing.
    let long = format!("{}f", "./".repeat(1000));
    for (name, clean) in [
        ("./f", "f"),
        ("d//f", "d/f"),
        ("d/", "d"),
        ("d/../f", "f"),
        ("a/./b/../c//", "a/c"),
        ("...", "..."),
        (&long, "f"),
    ] {
        artifact["layers"][0]["annotations"] = title(name);
        assert_eq!(files(&artifact)[0].name, clean);
    }
    for none in [json!(""), Value::Null] {
        artifact["layers"][0]["annotations"] = json!({"org.opencontainers.image.title": none});
        assert_eq!(files(&artifact)[0].name, nameless[0].name);
    }
    for name in [
        "/etc/passwd",
        "/",
        "../x",
        "a/../../b",
        "a/..",
        ".",
        "./",
        "a\0b",
        &"x".repeat(300),
        &"x/".repeat(600),
    ] {
        artifact["layers"][0]["annotations"] = title(name);
        let error = parsed(&artifact).unwrap_err();
        assert!(
            matches!(error, ManifestError::FileName(_)),
            "{name:?}: {error}"
        );
    }
}

/// Two equal descriptors were refused as two files of one name, though nothing tells them apart.
#[test]
fn a_file_that_an_artifact_names_twice_is_one() {
    let artifact = artifact();
    let two = |one: Value, other: Value, digest: &str| {
        let mut two = artifact.clone();
        two["layers"] = json!([artifact["layers"][0], artifact["layers"][0]]);
        two["layers"][0]["annotations"] = one;
        two["layers"][1]["annotations"] = other;
        two["layers"][1]["digest"] = json!(digest);
        two
    };
    let another = format!("sha256:{}", "1".repeat(64));
    // A layer that stands twice is one file.
    for (one, other) in [
        (title("a"), title("a")),
        (title("d/a"), title("d//./a")),
        (json!({}), Value::Null),
        (title(""), json!({})),
    ] {
        assert_eq!(files(&two(one.clone(), other, D)).len(), 1, "{one}");
        if one == title("a") {
            assert_eq!(files(&two(one, title("b"), D)).len(), 2);
        }
    }
    for (one, other, digest) in [
        ("a", "a", another.as_str()),
        ("a", "./a", &another),
        ("a", "a/b", D),
        ("a/b", "a", D),
        ("a/b", "a", &another),
    ] {
        let error = parsed(&two(title(one), title(other), digest)).unwrap_err();
        assert!(
            matches!(error, ManifestError::FileName(_)),
            "{one} {other}: {error}"
        );
    }
}
