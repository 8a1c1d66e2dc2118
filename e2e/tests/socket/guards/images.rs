//! What an image claims is content, never a wish.

use std::fs;

use e2e::program::sh;
use e2e::request::{container, idle};
use e2e::{BUSYBOX, Container, Daemon};
use serde_json::{Value, json};

use super::{image, is_empty, outside};

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

/// Labels, health checks and what else a configuration says beside the process leave the container as it is
/// without them.
#[test]
fn what_an_image_says_of_itself_asks_for_nothing() {
    let daemon = Daemon::start();
    let outside = outside(&daemon);
    let command = format!("touch {}/ran", outside.display());
    let labels = json!({
        "run": command, "hook": command, "devices": "/dev/null", "com.example.mounts": "/:/host",
        "io.kubernetes.container.name": "other",
    });
    let config = json!({
        "Cmd": ["/bin/sleep", "1000"], "Labels": labels,
        "Healthcheck": {"Test": ["CMD-SHELL", command]}, "OnBuild": [command],
        "Privileged": true, "HostConfig": {"Privileged": true}, "Devices": [{"PathOnHost": "/dev/null"}],
    });
    let reference = saved(&daemon, "labels", &json!([]), &config);
    let pod = daemon.run_named("labels");
    daemon.provide(BUSYBOX);
    let [plain, labelled] =
        [("plain", BUSYBOX), ("labelled", reference.as_str())].map(|(name, image)| {
            let config = container(name, image, &["/bin/sleep", "1000"]);
            spec(&pod.attempt(config).unwrap())
        });
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
    for word in ["hook", "touch", "/host", "other"] {
        assert!(!annotations.contains(word), "{annotations}");
    }
    assert!(is_empty(&outside));
}

/// The names in an archive are not those of images that are there already.
#[test]
fn an_archive_takes_no_name_but_the_one_that_is_given() {
    let daemon = Daemon::start();
    let before = daemon.pull(BUSYBOX);
    let inner = json!([
        BUSYBOX,
        "registry.holdfast.test/busybox:latest",
        "localhost/other:1"
    ]);
    let reference = saved(&daemon, "named", &inner, &json!({"Cmd": ["/bin/sh"]}));
    assert_eq!(daemon.image(BUSYBOX).unwrap().id, before);
    assert_eq!(daemon.image("localhost/other:1"), None);
    assert_eq!(daemon.image(&reference).unwrap().repo_tags, [reference]);
}

/// A layer has a link to a directory of the host, and files and directories behind it.
#[test]
fn a_layer_is_unpacked_inside_its_directory() {
    let daemon = Daemon::start();
    let outside = outside(&daemon);
    let archive = daemon.place.dir.join("links.tar");
    let script = "
import io, sys, tarfile
outside, out = sys.argv[1:]
tar = tarfile.open(out, 'w')
def add(name, kind=tarfile.REGTYPE, link='', data=b''):
    info = tarfile.TarInfo(name); info.type = kind; info.linkname = link; info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
add('link', tarfile.SYMTYPE, outside)
add('link/file', data=b'inside')
add('link/directory', tarfile.DIRTYPE)
add('link/.wh.gone')
add('hard', tarfile.LNKTYPE, 'link/file')
tar.close()";
    let args = [outside.display(), archive.display()].map(|path| path.to_string());
    e2e::program::run("python3", ["-c", script, &args[0], &args[1]]).ok();
    daemon
        .holdfast(&["image", "import", &args[1], "localhost/links:1"])
        .ok();
    assert!(is_empty(&outside));
}

/// Users are looked up in a file of the image, of which no more is kept than is needed.
#[test]
fn little_of_an_image_is_read_into_memory() {
    let daemon = Daemon::start();
    let reference = image(&daemon, "large-passwd", |tree| {
        let line = "user:x:1000:1000::/:/bin/sh\n";
        let lines = line.repeat((48 << 20) / line.len());
        fs::write(tree.join("etc/passwd"), lines).unwrap();
    });
    let memory = || {
        let status = e2e::evidence::status(daemon.pid(), "VmRSS");
        status.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let pod = daemon.run_named("passwd");
    let before = memory();
    let mut config = container("c", &reference, &["sleep", "1000"]);
    e2e::request::ContainerParts::security(&mut config).run_as_username = "nobody-here".to_owned();
    assert!(pod.attempt(config).is_err(), "a user that is not there");
    let grown = memory().saturating_sub(before);
    assert!(grown < 32 << 10, "the daemon grew by {grown} KiB");
    daemon.run_named("after").start(idle("c"));
}
