use super::*;

const ONE: &str = r#"{
  "cdiVersion": "0.6.0",
  "kind": "acme.com/gpu",
  "containerEdits": { "env": ["ACME=1"], "additionalGids": [44, 0] },
  "devices": [
    { "name": "0", "containerEdits": {
        "deviceNodes": [
          { "path": "/dev/acme0", "hostPath": "/dev/null" },
          { "path": "/dev/acme1", "type": "c", "major": 7, "minor": 8, "fileMode": 384, "uid": 5, "permissions": "r" }
        ],
        "mounts": [ { "hostPath": "/etc", "containerPath": "/acme", "options": ["ro", "nosuid"] } ] } },
    { "name": "1", "containerEdits": { "env": ["SECOND=1"] } },
    { "name": "hooked", "containerEdits": { "hooks": [ { "hookName": "createContainer", "path": "/bin/acme-hook" } ] } },
    { "name": "rdt", "containerEdits": { "intelRdt": { "closID": "x" } } }
  ]
}"#;

const YAML: &str = "
cdiVersion: \"1.1.0\"
kind: acme.com/net
devices:
- name: eth:0
  containerEdits:
    env: [A=b]
";

fn directories(files: &[(&str, &str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let top = tempfile::tempdir().unwrap();
    let all = ["a", "b"].map(|name| top.path().join(name));
    for dir in &all {
        fs::create_dir(dir).unwrap();
    }
    for (dir, name, text) in files {
        #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
        fs::write(top.path().join(dir).join(name), text).unwrap();
    }
    (top, all.to_vec())
}

fn refused(files: &[(&str, &str, &str)], name: &str) -> String {
    let (_top, dirs) = directories(files);
    let error = edits(&dirs, &[name]).unwrap_err();
    crate::pod::chain(&error)
}

#[test]
fn the_edits_of_a_file_and_of_its_devices_add_up() {
    let (_top, dirs) = directories(&[("a", "gpu.json", ONE), ("b", "net.yaml", YAML)]);
    let names = ["acme.com/gpu=0", "acme.com/gpu=1", "acme.com/net=eth:0"];
    let found = edits(&dirs, &names).unwrap();
    assert_eq!(found.env, ["ACME=1", "SECOND=1", "A=b"]);
    assert_eq!(found.additional_gids, [44]);
    let [null, numbered] = found.devices.as_slice() else {
        panic!("{:?}", found.devices)
    };
    assert_eq!((null.device.major, null.device.minor), (1, 3));
    assert_eq!(null.device.path, Path::new("/dev/acme0"));
    assert_eq!(null.permissions, "rwm");
    let device = &numbered.device;
    assert_eq!((device.major, device.mode, device.uid), (7, 0o600, 5));
    assert_eq!(numbered.permissions, "r");
    assert_eq!(found.mounts[0].options, ["ro", "nosuid", "rbind"]);
}

#[test]
fn a_later_directory_wins_and_one_directory_must_agree() {
    let other = ONE.replace("ACME=1", "ACME=2");
    let (_top, dirs) = directories(&[("a", "x.json", ONE), ("b", "x.json", &other)]);
    let found = edits(&dirs, &["acme.com/gpu=1"]).unwrap();
    assert_eq!(found.env, ["ACME=2", "SECOND=1"]);
    let text = refused(
        &[("a", "x.json", ONE), ("a", "y.json", ONE)],
        "acme.com/gpu=1",
    );
    assert!(text.contains("x.json") && text.contains("y.json"), "{text}");
}

#[test]
fn devices_that_cannot_be_had_are_named() {
    let files: [(&str, &str, &str); 3] = [
        ("a", "gpu.json", ONE),
        ("a", "torn.json", "{"),
        ("b", "ignored.txt", ONE),
    ];
    let text = refused(&files, "acme.com/gpu=9");
    for word in ["acme.com/gpu=9", "/a and ", "torn.json"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = refused(&files, "acme.com/gpu=hooked");
    assert!(
        text.contains("createContainer hook /bin/acme-hook"),
        "{text}"
    );
    assert!(refused(&files, "acme.com/gpu=rdt").contains("intelRdt"));
    for name in [
        "gpu",
        "acme.com/gpu",
        "=0",
        "a/b=",
        "a/b=x/y",
        "a/b=-x",
        "../x/gpu=0",
    ] {
        assert!(refused(&files, name).contains("no name"), "{name}");
    }
    let gone = ONE.replace("/dev/null", "/dev/none-of-this-name");
    let text = refused(&[("a", "gpu.json", &gone)], "acme.com/gpu=0");
    assert!(text.contains("/dev/none-of-this-name"), "{text}");
    let newer = ONE.replace("0.6.0", "2.0.0");
    let text = refused(&[("a", "gpu.json", &newer)], "acme.com/gpu=0");
    assert!(text.contains("2.0.0"), "{text}");
}
