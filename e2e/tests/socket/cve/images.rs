//! What an image claims is content, never a wish.

use std::fs;
use std::os::unix::fs::MetadataExt;

use e2e::program::sh;
use e2e::request::{container, idle};
use e2e::{BUSYBOX, Container, Daemon};
use serde_json::{Value, json};

use super::{image, is_empty, trap};

/// An image as `docker save` writes it, with any configuration and any names in it.
fn saved(daemon: &Daemon, name: &str, inner: &Value, config: &Value) -> String {
    let dir = daemon.place.dir.join(format!("saved-{name}"));
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("bin")).unwrap();
    sh(&format!(
        "cp $(ls /bin/busybox /usr/bin/busybox 2>/dev/null | head -1) {0}/bin/sh; ln -s sh {0}/bin/sleep; ln -s sh {0}/bin/cat",
        tree.display()
    ));
    sh(&format!(
        "tar -C {} -cf {}/layer.tar .",
        tree.display(),
        dir.display()
    ));
    let digest = sh(&format!("sha256sum <{}/layer.tar", dir.display()));
    let digest = digest.split(' ').next().unwrap();
    let arch = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    let whole = json!({
        "architecture": arch, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    fs::write(dir.join("config.json"), whole.to_string()).unwrap();
    let manifest = json!([{"Config": "config.json", "RepoTags": inner, "Layers": ["layer.tar"]}]);
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = daemon.place.dir.join(format!("{name}.tar"));
    sh(&format!(
        "tar -C {} -cf {} manifest.json config.json layer.tar",
        dir.display(),
        archive.display()
    ));
    let reference = format!("localhost/{name}:1");
    daemon
        .holdfast(&[
            "image",
            "import",
            &archive.display().to_string(),
            &reference,
        ])
        .ok();
    reference
}

/// What the runtime made of a request, as people see it.
fn spec(run: &Container<'_>) -> Value {
    run.info()["runtimeSpec"].clone()
}

/// The words of a part of a spec, whatever their order: sets are written in any.
fn sorted(part: Option<&Value>) -> Vec<String> {
    let text = part.map(Value::to_string).unwrap_or_default();
    let mut words: Vec<_> = text.split(['[', ']', ',']).map(str::to_owned).collect();
    words.sort();
    words
}

/// CVE-2026-53488: a label of an image became a command on the host. CVE-2026-53492, CVE-2024-8676: annotations of
/// a checkpoint in an image brought devices and mounts of the host.
#[test]
fn cve_2026_53488_labels_of_an_image_do_nothing() {
    let daemon = Daemon::start();
    let trap = trap(&daemon);
    let command = format!("touch {}/ran", trap.display());
    let mounts =
        json!([{"destination": "/host", "type": "bind", "source": "/", "options": ["rbind"]}]);
    let labels = json!({
        "run": command, "RUN": command, "INSTALL": command,
        "io.containerd.image.hook": command,
        "containerd.io/restart.logpath": format!("binary:///bin/sh?-c={command}"),
        "cdi.k8s.io/evil": "vendor.com/device=all",
        "io.kubernetes.cri-o.annotations.checkpoint.name": "restored",
        "org.criu.checkpoint.container.name": "restored",
        "io.kubernetes.cri-o.Mounts": mounts.to_string(),
        "io.podman.annotations.privileged": "TRUE",
        "org.opencontainers.image.stopSignal": "KILL",
    });
    let config = json!({
        "Cmd": ["/bin/sleep", "1000"], "Labels": labels,
        "Healthcheck": {"Test": ["CMD-SHELL", command]}, "OnBuild": [command],
        "Privileged": true, "HostConfig": {"Privileged": true, "Binds": ["/:/host"]},
        "Mounts": mounts, "Devices": [{"PathOnHost": "/dev/kmsg"}],
    });
    let reference = saved(&daemon, "labels", &json!([]), &config);
    let pod = daemon.run_named("labels");
    let [plain, labelled] = [BUSYBOX, reference.as_str()].map(|image| {
        daemon.provide(BUSYBOX);
        pod.attempt(container(
            if image == BUSYBOX {
                "plain"
            } else {
                "labelled"
            },
            image,
            &["/bin/sleep", "1000"],
        ))
        .unwrap()
    });
    let (plain, labelled) = (spec(&plain), spec(&labelled));
    assert!(labelled["hooks"].is_null(), "{labelled}");
    let places = |spec: &Value| {
        let mounts = spec["mounts"].as_array().unwrap().iter();
        mounts
            .map(|mount| mount["destination"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(places(&plain), places(&labelled));
    for part in [
        "/process/capabilities",
        "/linux/devices",
        "/linux/resources/devices",
        "/linux/maskedPaths",
    ] {
        let sets = [&plain, &labelled].map(|spec| sorted(spec.pointer(part)));
        assert_eq!(sets[0], sets[1], "{part}");
    }
    let annotations = labelled["annotations"].to_string();
    for word in ["cdi.k8s.io", "checkpoint", "touch", "/host"] {
        assert!(!annotations.contains(word), "{annotations}");
    }
    assert!(is_empty(&trap));
}

/// CVE-2026-50195: an archive that is brought in under one name gave its content other names too.
#[test]
fn cve_2026_50195_an_archive_takes_no_name_but_the_one_given() {
    let daemon = Daemon::start();
    let before = daemon.pull(BUSYBOX);
    let inner = json!([
        BUSYBOX,
        "registry.holdfast.test/busybox:latest",
        "localhost/other:1"
    ]);
    let reference = saved(&daemon, "poison", &inner, &json!({"Cmd": ["/bin/sh"]}));
    assert_eq!(daemon.image(BUSYBOX).unwrap().id, before);
    assert_eq!(daemon.image("localhost/other:1"), None);
    assert_eq!(daemon.image(&reference).unwrap().repo_tags, [reference]);
}

/// CVE-2025-47290: between a check of a path and its use, a layer put a link there; CVE-2018-15664 and its kin. The
/// archive names the same path as a link and as a directory, over and over.
#[test]
fn cve_2025_47290_a_layer_cannot_write_through_its_own_links() {
    let daemon = Daemon::start();
    let trap = trap(&daemon);
    let archive = daemon.place.dir.join("race.tar");
    let script = "
import io, sys, tarfile
trap, out = sys.argv[1:]
tar = tarfile.open(out, 'w')
def add(name, kind=tarfile.REGTYPE, link='', data=b''):
    info = tarfile.TarInfo(name); info.type = kind; info.linkname = link; info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
up = '../' * 30 + trap[1:]
for round in range(50):
    for target in (trap, up, '/proc/self/cwd/' + up, '/proc/1/root' + trap):
        add('d', tarfile.DIRTYPE); add('d/file', data=b'inside')
        add('d', tarfile.SYMTYPE, target); add('d/through', data=b'escaped'); add('d/sub/deep', data=b'escaped')
        add('d/.wh.through'); add('d/.wh..wh..opq')
        add('hard', tarfile.LNKTYPE, 'd/through'); add('hard2', tarfile.LNKTYPE, up + '/victim')
        add('d/dev', tarfile.CHRTYPE); add('d/fifo', tarfile.FIFOTYPE)
tar.close()";
    let victim = trap.join("victim");
    fs::write(&victim, "untouched").unwrap();
    let made = e2e::program::run(
        "python3",
        [
            "-c",
            script,
            &trap.display().to_string(),
            &archive.display().to_string(),
        ],
    );
    made.ok();
    let mut command = std::process::Command::new(e2e::program::built("holdfast"));
    command.arg("--socket").arg(daemon.place.socket());
    command
        .args(["image", "import"])
        .arg(&archive)
        .arg("localhost/race:1");
    // Refused, or held inside.
    let _ = e2e::program::finish(command);
    let left: Vec<_> = fs::read_dir(&trap)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["victim"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1);
}

/// CVE-2025-4437: /etc/passwd of an image was read whole into memory, however large.
#[test]
fn cve_2025_4437_a_huge_passwd_is_not_read_whole() {
    let daemon = Daemon::start();
    let reference = image(&daemon, "huge-passwd", |tree| {
        let line = "user:x:1000:1000::/:/bin/sh\n";
        fs::write(
            tree.join("etc/passwd"),
            line.repeat((48 << 20) / line.len()),
        )
        .unwrap();
        fs::write(tree.join("etc/group"), "x".repeat(8 << 20)).unwrap();
    });
    let memory = || {
        let status = e2e::evidence::status(daemon.pid(), "VmRSS");
        status.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let pod = daemon.run_named("passwd");
    let before = memory();
    let mut config = container("c", &reference, &["sleep", "1000"]);
    e2e::request::ContainerParts::security(&mut config).run_as_username = "nobody-here".to_owned();
    for _ in 0..4 {
        assert!(
            pod.attempt(config.clone()).is_err(),
            "a user that is not there"
        );
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 32 << 10, "the daemon grew by {grown} KiB");
    daemon.run_named("after").start(idle("c"));
}
