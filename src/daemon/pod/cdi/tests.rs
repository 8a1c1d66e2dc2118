use super::*;
use holdfast_kernel::error_chain;

const ONE: &str = r#"{
  "cdiVersion": "0.7.0",
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
    error_chain(&error)
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
    assert_eq!((device.major, device.mode, device.uid), (7, 0o600, Some(5)));
    assert_eq!(numbered.permissions, "r");
    assert_eq!(found.mounts[0].options, ["ro", "nosuid", "rbind"]);
}

/// A FIFO without a writer once kept the reader, and with it the daemon. Others beside it are still read, and what
/// describes nothing is named to who looks for a device.
#[test]
fn what_is_no_regular_file_is_passed_over() {
    use std::os::unix::fs::symlink;
    let (top, dirs) = directories(&[("a", "gpu.json", ONE)]);
    let at = |name: &str| top.path().join("a").join(name);
    nix::unistd::mkfifo(&at("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(at("dir.json")).unwrap();
    symlink("fifo.yaml", at("link.json")).unwrap();
    symlink("/dev/zero", at("zero.json")).unwrap();
    symlink("nowhere", at("gone.json")).unwrap();
    assert_eq!(
        edits(&dirs, &["acme.com/gpu=1"]).unwrap().env,
        ["ACME=1", "SECOND=1"]
    );
    let error = edits(&dirs, &["acme.com/none=1"]).unwrap_err().to_string();
    for (file, why) in [
        ("fifo.yaml", "a FIFO"),
        ("dir.json", "a directory"),
        ("link.json", "a FIFO"),
        ("zero.json", "a device"),
        ("gone.json", "No such file"),
    ] {
        let told = error
            .split("; ")
            .any(|part| part.contains(file) && part.contains(why));
        assert!(told, "{file}: {error}");
    }
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
    let newer = ONE.replace("0.7.0", "2.0.0");
    let text = refused(&[("a", "gpu.json", &newer)], "acme.com/gpu=0");
    assert!(text.contains("2.0.0"), "{text}");
}

/// A description of one device with these edits, in YAML.
fn described(edits: &str) -> String {
    format!("cdiVersion: 1.1.0\nkind: acme.com/x\ndevices:\n- name: d\n  containerEdits: {edits}\n")
}

fn found(edits_of: &str) -> Result<CdiEdits, String> {
    let (_top, dirs) = directories(&[("a", "x.yaml", &described(edits_of))]);
    edits(&dirs, &["acme.com/x=d"]).map_err(|error| error_chain(&error))
}

/// Follows `fillMissingInfo` and `Apply` of container-device-interface 1.1.2.
#[test]
fn nodes_are_filled_as_in_the_reference() {
    for (node, number, mode, permissions) in [
        ("path: /dev/null, permissions: none", (1, 3), 0o666, ""),
        ("path: /dev/null", (1, 3), 0o666, "rwm"),
        ("path: /dev/null, permissions: ''", (1, 3), 0o666, "rwm"),
        ("path: /dev/null, permissions: wrr", (1, 3), 0o666, "rw"),
        ("path: /dev/null, fileMode: 0640", (1, 3), 0o640, "rwm"),
        ("path: /dev/null, fileMode: 416", (1, 3), 0o640, "rwm"),
        (
            "path: /dev/null, fileMode: 0o640, type: c",
            (1, 3),
            0o640,
            "rwm",
        ),
        // With a type and a major number the minor is 0, and the host's node is not needed.
        (
            "path: /dev/acme-none, type: c, major: 240",
            (240, 0),
            0o666,
            "rwm",
        ),
        ("path: /dev/acme-none, type: p", (0, 0), 0o666, "rwm"),
        (
            "path: /dev/null, type: c, major: 9, minor: 4",
            (9, 4),
            0o666,
            "rwm",
        ),
        // Without a type the host's counts, with the number of the description.
        ("path: /dev/null, major: 9, minor: 4", (9, 4), 0o666, "rwm"),
    ] {
        let found = found(&format!("{{deviceNodes: [{{{node}}}]}}")).unwrap();
        let grant = &found.devices[0];
        assert_eq!((grant.device.major, grant.device.minor), number, "{node}");
        assert_eq!(
            (grant.device.mode, grant.permissions.as_str()),
            (mode, permissions),
            "{node}"
        );
    }
}

#[test]
fn what_the_reference_refuses_is_refused_by_name() {
    for (edits, words) in [
        (
            "{deviceNodes: [{path: /dev/null, permissions: NONE}]}",
            &["deviceNodes[0]", "NONE"][..],
        ),
        (
            "{deviceNodes: [{path: /dev/null, permissions: rx}]}",
            &["rx"],
        ),
        (
            "{deviceNodes: [{path: /dev/null, fileMode: '0640'}]}",
            &["line 5", "fileMode", "0640"],
        ),
        (
            "{deviceNodes: [{path: /dev/null, mode: 0640}]}",
            &["line 5", "mode", "fileMode"],
        ),
        (
            "{deviceNodes: [{path: /dev/null, type: x}]}",
            &["type", "\"x\""],
        ),
        ("{deviceNodes: [{hostPath: /dev/null}]}", &["path"]),
        (
            "{deviceNodes: [{path: /dev/null, type: c, major: -1}]}",
            &["-1"],
        ),
        (
            "{deviceNodes: [{path: /dev/null, type: b}]}",
            &["/dev/null", "type"],
        ),
        ("{env: [NOVALUE]}", &["NOVALUE"]),
        ("{env: ['=x']}", &["=x"]),
        ("{mounts: [{hostPath: /etc}]}", &["containerPath"]),
        (
            "{netDevices: [{hostInterfaceName: e0, name: e1}]}",
            &["netDevices"],
        ),
        (
            "{intelRdt: {closID: x, enableMonitoring: yes}}",
            &["intelRdt"],
        ),
        (
            "{hooks: [{hookName: onStart, path: /x}]}",
            &["onStart", "createRuntime"],
        ),
        ("{}", &["empty"]),
    ] {
        let error = found(edits).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{edits}: {error}");
        }
    }
    let numbers = "{env: [A=1, ~], additionalGids: [0x2c, ~, 054]}";
    let found = found(numbers).unwrap();
    assert_eq!((found.env.len(), found.additional_gids), (1, vec![44, 44]));
}

/// `ValidateVersion` of specs-go 1.1.1: a file may use what its version has.
#[test]
fn a_version_has_what_it_has() {
    for (version, kind, name, edits, right) in [
        ("0.3.0", "a.b/c", "d", "{env: [A=1]}", true),
        ("v0.3.0", "a.b/c", "d", "{env: [A=1]}", true),
        ("0.3.0", "a.b/c", "0", "{env: [A=1]}", false),
        ("0.5.0", "a.b/c", "0", "{env: [A=1]}", true),
        (
            "0.4.0",
            "a.b/c",
            "d",
            "{deviceNodes: [{path: /x, hostPath: /dev/null}]}",
            false,
        ),
        (
            "0.3.0",
            "a.b/c",
            "d",
            "{mounts: [{hostPath: /etc, containerPath: /e, type: bind}]}",
            false,
        ),
        ("0.5.0", "a.b/c.d", "d", "{env: [A=1]}", false),
        ("0.6.0", "a.b/c.d", "d", "{env: [A=1]}", true),
        ("0.6.0", "a.b/c", "d", "{additionalGids: [1]}", false),
        ("0.7.0", "a.b/c", "d", "{additionalGids: [1]}", true),
        (
            "1.0.0",
            "a.b/c",
            "d",
            "{netDevices: [{hostInterfaceName: a, name: b}]}",
            false,
        ),
        ("1.1.0", "1.b/c", "d", "{env: [A=1]}", false),
        ("1.2.0", "a.b/c", "d", "{env: [A=1]}", false),
        ("0.2.0", "a.b/c", "d", "{env: [A=1]}", false),
        ("0.3", "a.b/c", "d", "{env: [A=1]}", false),
    ] {
        let text = format!(
            "cdiVersion: {version}\nkind: {kind}\ndevices: [{{name: {name}, containerEdits: {edits}}}]"
        );
        let found = file::parse(&text);
        assert_eq!(found.is_ok(), right, "{text}: {found:?}");
    }
}

#[test]
fn hooks_are_kept_in_their_order() {
    let text = "{hooks: [{hookName: poststop, path: /b, timeout: 010}, \
        {hookName: prestart, path: /a, args: [a, 1, ~], env: [X=yes]}]}";
    let found = found(text).unwrap();
    let [stop, start] = found.hooks.as_slice() else {
        panic!("{:?}", found.hooks)
    };
    assert_eq!((stop.moment, stop.timeout), (HookMoment::Poststop, Some(8)));
    assert_eq!((start.moment, start.timeout), (HookMoment::Prestart, None));
    assert_eq!(start.args, ["a", "1"]);
    assert_eq!(start.env, ["X=yes"]);
    for (edits, words) in [
        (
            "{hooks: [{hookName: prestart, path: a}]}",
            ["hooks[0].path: ", "absolute"],
        ),
        (
            "{hooks: [{hookName: prestart, path: /a, timeout: 0}]}",
            ["hooks[0].timeout: ", "at least 1"],
        ),
        (
            "{hooks: [{hookName: prestart, path: /a, timeout: '5'}]}",
            ["timeout", "5"],
        ),
        (
            "{hooks: [{hookName: prestart, path: /a, env: [X]}]}",
            ["hooks[0]", "\"X\""],
        ),
        ("{hooks: [{hookName: prestart}]}", ["hooks[0]", "path"]),
    ] {
        let error = self::found(edits).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{edits}: {error}");
        }
    }
}

/// `filepath.Clean` for paths; the node of a relative path is made from the root, as runc makes it.
#[test]
fn paths_of_edits_are_cleaned() {
    for (path, wanted) in [
        ("/dev//hfx", "/dev/hfx"),
        ("/dev/hf/a/../x", "/dev/hf/x"),
        ("dev/hfx", "/dev/hfx"),
        ("/dev/./hfx/", "/dev/hfx"),
        ("./dev/a/b/../../hfx", "/dev/hfx"),
    ] {
        for kind in ["hostPath: /dev/null", "type: c, major: 240"] {
            let found = found(&format!("{{deviceNodes: [{{path: {path}, {kind}}}]}}")).unwrap();
            assert_eq!(found.devices[0].device.path, Path::new(wanted), "{path}");
        }
    }
    let relative = found("{deviceNodes: [{path: dev/pts/../null}]}").unwrap();
    assert_eq!(relative.devices[0].device.minor, 3);
    for (path, wanted) in [
        ("/etc/../dev/./", "/dev"),
        ("//etc/", "/etc"),
        ("/../etc", "/etc"),
        ("/none-of-this-name/../etc", "/etc"),
    ] {
        let edits = format!("{{mounts: [{{hostPath: {path}, containerPath: /a/../b}}]}}");
        let found = found(&edits).unwrap();
        assert_eq!(found.mounts[0].host_path, Path::new(wanted), "{path}");
    }
}

#[test]
fn mistakes_name_the_device_and_the_file() {
    for (edits, words) in [
        (
            "{deviceNodes: [{path: /../dev/x, hostPath: /dev/null}]}",
            &["deviceNodes[0].path", "root"][..],
        ),
        (
            "{mounts: [{hostPath: etc, containerPath: /a}]}",
            &["mounts[0].hostPath", "absolute path"],
        ),
        (
            "{mounts: [{hostPath: /etc, containerPath: /a, options: [ro, nonsuchopt]}]}",
            &["mounts[0].options", "nonsuchopt"],
        ),
        (
            "{mounts: [{hostPath: /etc, containerPath: /a}, {hostPath: /etc, containerPath: /a, options: [remount]}]}",
            &["mounts[1].options", "remount"],
        ),
        (
            "{mounts: [{hostPath: /etc, containerPath: /a, options: [ro, rnosuid]}]}",
            &["mounts[0].options", "mixed"],
        ),
        (
            "{mounts: [{hostPath: /etc, containerPath: /a, options: [idmap]}]}",
            &["mounts[0].options", "uidMappings"],
        ),
        (
            "{mounts: [{hostPath: etc, containerPath: /a, type: tmpfs, options: [bind]}]}",
            &["mounts[0].hostPath"],
        ),
        (
            "{mounts: [{hostPath: /etc, containerPath: /a/../..}]}",
            &["mounts[0].containerPath", "root"],
        ),
        (
            "{mounts: [{hostPath: /etc, containerPath: /proc/sys}]}",
            &["mounts[0].containerPath", "/proc/sys"],
        ),
        (
            "{mounts: [{hostPath: /etc, containerPath: /}]}",
            &["mounts[0].containerPath", "root"],
        ),
    ] {
        let error = found(edits).unwrap_err();
        for word in ["\"acme.com/x=d\"", "x.yaml"].iter().chain(words) {
            assert!(error.contains(word), "{edits}: {error}");
        }
    }
    let other =
        "{mounts: [{hostPath: tmpfs, containerPath: /a, type: tmpfs, options: ['size=1m']}]}";
    assert_eq!(found(other).unwrap().mounts[0].kind, "tmpfs");
}

/// Such values came to the start of the container, which failed with words of the kernel. container-device-interface
/// 1.1.2 takes them; what the kernel refuses is mknod(2), execve(2), chown(2) and setgroups(2).
#[test]
#[expect(clippy::too_many_lines, reason = "a table of descriptions")]
fn values_that_the_kernel_cannot_take_name_their_place() {
    for (edits, words) in [
        (
            "{deviceNodes: [{path: /dev/q, type: c, major: 4096}]}",
            "deviceNodes[0].major: 4096 is no device number; use at most 4095",
        ),
        (
            "{deviceNodes: [{path: /dev/q, type: b, major: 1, minor: 1048576}]}",
            "deviceNodes[0].minor: 1048576",
        ),
        (
            "{deviceNodes: [{path: /dev/null}, {path: /dev/q, type: u, major: 9223372036854775807}]}",
            "deviceNodes[1].major: ",
        ),
        (
            "{deviceNodes: [{path: /dev/null, major: 5000}]}",
            "deviceNodes[0].major: 5000",
        ),
        (
            "{deviceNodes: [{path: /dev/null, minor: 4294967296}]}",
            "deviceNodes[0].minor: ",
        ),
        (
            "{deviceNodes: [{path: /dev/null, uid: 4294967295}]}",
            "deviceNodes[0].uid: 4294967295",
        ),
        (
            "{deviceNodes: [{path: /dev/null, gid: 4294967295}]}",
            "deviceNodes[0].gid: 4294967295",
        ),
        (
            "{additionalGids: [4294967295]}",
            "additionalGids[0]: 4294967295 is no user or group",
        ),
        (
            "{additionalGids: [7, ~, 4294967295]}",
            "additionalGids[2]: ",
        ),
        (
            "{env: [A=1, ~, \"B=\\0\"]}",
            "env[2]: \"B=\\0\" has a NUL byte",
        ),
        (
            "{hooks: [{hookName: prestart, path: \"/a\\0b\"}]}",
            "hooks[0].path: ",
        ),
        (
            "{hooks: [{hookName: prestart, path: /a}, {hookName: poststop, path: /a, args: [a, \"\\0\"]}]}",
            "hooks[1].args[1]: ",
        ),
        (
            "{hooks: [{hookName: prestart, path: /a, env: [\"A=\\0\"]}]}",
            "hooks[0].env[0]: ",
        ),
        (
            "{hooks: [{hookName: prestart, path: ../a}]}",
            "hooks[0].path: ",
        ),
        (
            "{hooks: [{hookName: prestart, path: /a, timeout: 4294967296}]}",
            "hooks[0].timeout: 4294967296",
        ),
        (
            "{mounts: [{hostPath: t, containerPath: /a, type: tmpfs, options: [\"size=1\\0\"]}]}",
            "mounts[0].options[0]: ",
        ),
        (
            "{mounts: [{hostPath: t, containerPath: /a, type: \"tmp\\0fs\"}]}",
            "mounts[0].type: ",
        ),
        (
            "{mounts: [{hostPath: \"t\\0\", containerPath: /a, type: tmpfs}]}",
            "mounts[0].hostPath: ",
        ),
        (
            "{mounts: [{hostPath: /etc, containerPath: \"/a\\0\"}]}",
            "mounts[0].containerPath: ",
        ),
    ] {
        let error = found(edits).unwrap_err();
        for word in ["\"acme.com/x=d\"", "x.yaml", words] {
            assert!(error.contains(word), "{edits}: {error}");
        }
    }
    for edits in [
        "{deviceNodes: [{path: /dev/q, type: c, major: 4095, minor: 1048575, uid: 4294967294}]}",
        "{deviceNodes: [{path: /dev/q, type: p, major: 4096}]}",
        "{additionalGids: [4294967294]}",
    ] {
        assert!(found(edits).is_ok(), "{edits}");
    }
}

/// A hook at `/tmp/../tmp/hook` was refused at the start. runc 1.3 checks that the path is absolute and runs it as it
/// is, so the kernel resolves it, and a link before `..` leads where it points.
#[test]
fn paths_of_hooks_stay_as_they_are() {
    for path in [
        "/tmp/../tmp/hook",
        "/../bin//true",
        "/bin/./true",
        "/bin/link/../true",
        "/a/",
    ] {
        let edits = format!("{{hooks: [{{hookName: createRuntime, path: {path}}}]}}");
        assert_eq!(found(&edits).unwrap().hooks[0].path.as_os_str(), path);
    }
}
