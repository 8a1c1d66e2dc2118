use super::*;
use serde_json::{Value, json};

const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn machine() -> Machine {
    Machine {
        architecture: Arch::from("arm"),
        variants: vec![Some("v7"), Some("v6"), None],
    }
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
        Parsed::Index(digest) => Ok(hex::decode(digest.hex()).unwrap()[0]),
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

#[test]
fn the_best_variant_is_chosen() {
    let arm = |variant: &str| json!({"os": "linux", "architecture": "arm", "variant": variant});
    let plain = json!({"os": "linux", "architecture": "arm"});
    let other = json!({"os": "linux", "architecture": "amd64"});
    let windows = json!({"os": "windows", "architecture": "arm"});
    let unknown = json!({"os": "unknown", "architecture": "unknown"});
    assert_eq!(
        chosen(vec![
            entry(1, other.clone()),
            entry(2, arm("v6")),
            entry(3, arm("v7"))
        ])
        .unwrap(),
        3
    );
    assert_eq!(
        chosen(vec![entry(1, plain.clone()), entry(2, arm("v6"))]).unwrap(),
        2
    );
    assert_eq!(
        chosen(vec![entry(1, arm("v8")), entry(2, plain)]).unwrap(),
        2
    );
    assert_eq!(
        chosen(vec![entry(1, unknown.clone()), entry(2, Value::Null)]).unwrap(),
        2
    );
    let error = chosen(vec![entry(1, other), entry(2, windows), entry(3, unknown)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image is not made for linux/arm, only for: linux/amd64, windows/arm"
    );
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
    assert!(matches!(refused(&json!([])), ManifestError::Json { .. }));
    let mut both = manifest(oci, tar);
    both["manifests"] = json!([]);
    assert!(matches!(refused(&both), ManifestError::Kind(_)));
    let mut blake3 = manifest(oci, tar);
    blake3["config"]["digest"] = json!(format!("blake3:{}", "0".repeat(64)));
    assert!(matches!(refused(&blake3), ManifestError::Digest(_)));
    let mut many = manifest(oci, tar);
    many["layers"] = json!(vec![many["layers"][0].clone(); 501]);
    assert!(matches!(refused(&many), ManifestError::TooManyLayers(501)));
}

#[test]
fn configurations_are_checked_against_manifest_and_machine() {
    let config = |architecture: &str, ids: &[&str]| {
        let value = json!({
            "architecture": architecture, "os": "linux",
            "config": {"Cmd": null, "Env": ["A=b"], "Volumes": null},
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        parse_config(value.to_string().as_bytes(), 1, &machine())
    };
    assert_eq!(config("arm", &[D]).unwrap().1.len(), 1);
    assert!(config("", &[D]).is_ok());
    assert!(matches!(
        config("arm", &[]),
        Err(ManifestError::LayerCount {
            layers: 1,
            diff_ids: 0
        })
    ));
    assert!(matches!(
        config("arm", &["x"]),
        Err(ManifestError::Digest(_))
    ));
    assert!(matches!(
        config("amd64", &[D]),
        Err(ManifestError::Platform { .. })
    ));
}

#[test]
fn what_has_no_configuration_of_an_image_is_an_artifact() {
    let empty = "application/vnd.oci.empty.v1+json";
    let mut artifact = manifest(empty, "application/octet-stream");
    let files = |value: &Value| match parsed(value).unwrap() {
        Parsed::Manifest(manifest) => match manifest.kind {
            ManifestKind::Artifact(files) => files,
            ManifestKind::Image => panic!("an image"),
        },
        Parsed::Index(_) => panic!("an index"),
    };
    let nameless = files(&artifact);
    assert_eq!(nameless[0].name, nameless[0].part.digest.hex());
    let title = |name: &str| json!({"org.opencontainers.image.title": name});
    artifact["layers"][0]["annotations"] = title("dir/file.bin");
    assert_eq!(files(&artifact)[0].name, "dir/file.bin");
    for name in [
        "",
        "/etc/passwd",
        "../x",
        "a/../../b",
        "a//b",
        ".",
        "a\0b",
        &"x".repeat(300),
    ] {
        artifact["layers"][0]["annotations"] = title(name);
        let error = parsed(&artifact).unwrap_err();
        assert!(
            matches!(error, ManifestError::FileName(_)),
            "{name:?}: {error}"
        );
    }
    for (one, other) in [("a", "a"), ("a", "a/b"), ("a/b", "a")] {
        let mut two = artifact.clone();
        two["layers"] = json!([artifact["layers"][0], artifact["layers"][0]]);
        two["layers"][0]["annotations"] = title(one);
        two["layers"][1]["annotations"] = title(other);
        let error = parsed(&two).unwrap_err();
        assert!(
            matches!(error, ManifestError::FileName(_)),
            "{one} {other}: {error}"
        );
    }
}
