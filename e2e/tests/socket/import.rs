//! `holdfast image import`: directories and archives become images.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use e2e::program::{run, sh};
use e2e::request::container;
use e2e::{Daemon, Pod, fails, skip};
use tonic::Code;

/// A small root file system of Debian's busybox.
fn tree(daemon: &Daemon) -> PathBuf {
    let dir = daemon.place.dir.join("tree");
    fs::create_dir_all(dir.join("bin")).unwrap();
    fs::create_dir_all(dir.join("tmp")).unwrap();
    fs::set_permissions(dir.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| fs::exists(path).unwrap());
    fs::copy(busybox.unwrap(), dir.join("bin/busybox")).unwrap();
    for name in ["sh", "sleep", "cat", "stat"] {
        symlink("busybox", dir.join("bin").join(name)).unwrap();
    }
    fs::write(dir.join("mark"), "imported").unwrap();
    sh(&format!(
        "chown 12:34 {}/mark; chmod 4711 {}/mark",
        dir.display(),
        dir.display()
    ));
    dir
}

fn check(pod: &Pod<'_>, name: &str) {
    let id = pod.daemon.image(name).unwrap().id;
    let short = name.replace([':', '/', '.'], "-");
    let run = pod.start(container(&short, name, &["/bin/sleep", "1000"]));
    assert_eq!(run.exec(&["/bin/cat", "/mark"]).stdout, "imported");
    assert_eq!(
        run.exec(&["/bin/stat", "-c", "%u %g %a", "/mark"])
            .stdout
            .trim(),
        "12 34 4711"
    );
    assert_eq!(run.status().image_id, id);
}

#[test]
fn a_directory_and_its_archives_become_images_that_run() {
    let daemon = Daemon::start();
    let dir = tree(&daemon);
    let path = dir.display().to_string();
    let tar = daemon.place.dir.join("tree.tar").display().to_string();
    run("tar", ["-C", path.as_str(), "-cf", tar.as_str(), "."]).ok();
    run("gzip", ["-k", tar.as_str()]).ok();
    run("zstd", ["-q", tar.as_str()]).ok();
    let pod = daemon.run_named("import");
    let gzip = format!("{tar}.gz");
    let zstd = format!("{tar}.zst");
    for (source, name) in [
        (&path, "localhost/dir:1"),
        (&tar, "localhost/tar:1"),
        (&gzip, "localhost/gzip:1"),
        (&zstd, "localhost/zstd:latest"),
    ] {
        let out = daemon.holdfast(&["image", "import", source, name]).ok();
        assert!(out.contains(name), "{out}");
        check(&pod, name);
    }
    // The same bytes are the same image under several names.
    let ids = ["localhost/tar:1", "localhost/gzip:1", "localhost/zstd"]
        .map(|name| daemon.image(name).unwrap().id);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2]);
    let listed = daemon.holdfast(&["images", "-o", "json"]).ok();
    for name in ["\"localhost/dir:1\"", "\"localhost/zstd:latest\""] {
        assert!(listed.contains(name), "{listed}");
    }
    daemon.holdfast(&["rmi", "localhost/dir:1"]).ok();
    assert_eq!(daemon.image("localhost/dir:1"), None);
}

/// Debian or Ubuntu as debootstrap makes it, kept from the first time on; or the reason why it cannot be made.
pub(crate) fn debootstrap() -> Result<PathBuf, String> {
    let cached = e2e::program::cache().join("debootstrap-minbase.tar");
    if cached.exists() {
        return Ok(cached);
    }
    let work = tempfile::tempdir_in("/var/tmp").map_err(|error| error.to_string())?;
    let tree = work.path().join("tree").display().to_string();
    let partial = cached.with_extension("partial").display().to_string();
    let release = sh(". /etc/os-release; echo $VERSION_CODENAME");
    let made = run("debootstrap", ["--variant=minbase", release.trim(), &tree]);
    if made.code != 0 {
        return Err(format!(
            "debootstrap failed: {}",
            made.stdout.lines().last().unwrap_or_default()
        ));
    }
    run("tar", ["-C", tree.as_str(), "-cf", partial.as_str(), "."]).ok();
    fs::rename(&partial, &cached).map_err(|error| error.to_string())?;
    Ok(cached)
}

#[test]
fn a_debootstrap_tree_becomes_an_image_that_runs() {
    let archive = match debootstrap() {
        Ok(archive) => archive,
        Err(reason) => skip!("{reason}"),
    };
    let daemon = Daemon::start();
    let dir = daemon.place.dir.join("debian");
    fs::create_dir_all(&dir).unwrap();
    let (path, archive) = (dir.display().to_string(), archive.display().to_string());
    run("tar", ["-C", path.as_str(), "-xf", archive.as_str()]).ok();
    daemon
        .holdfast(&["image", "import", &path, "localhost/debian:1"])
        .ok();
    let pod = daemon.run_named("debian");
    let run = pod.start(container("c", "localhost/debian:1", &["sleep", "1000"]));
    assert!(
        run.exec(&["cat", "/etc/os-release"])
            .stdout
            .contains("VERSION_CODENAME")
    );
    assert!(
        run.exec(&["dpkg", "-l", "base-files"])
            .stdout
            .contains("ii  base-files")
    );
    // A setuid program and a user other than root, by the tree's own files.
    assert_eq!(
        run.exec(&["stat", "-c", "%a", "/usr/bin/passwd"])
            .stdout
            .trim(),
        "4755"
    );
    assert!(
        run.exec(&["perl", "-e", "print getpwuid(65534)"])
            .stdout
            .contains("nobody")
    );
}

/// Imports an image as `docker save` writes it: an empty layer, and this as `config` of its configuration.
fn import(daemon: &Daemon, name: &str, config: &str) {
    let dir = daemon.place.dir.join(name.replace(['/', ':'], "-"));
    fs::create_dir_all(dir.join("empty")).unwrap();
    let path = dir.display();
    let layer = sh(&format!(
        "cd {path} && tar -C empty -cf layer.tar . && sha256sum < layer.tar"
    ));
    let layer = layer.split(' ').next().unwrap();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        _ => "arm64",
    };
    let text = format!(
        r#"{{"os":"linux","architecture":"{architecture}","config":{config},
        "rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}}}}"#
    );
    fs::write(dir.join("config.json"), text).unwrap();
    let manifest =
        format!(r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":["layer.tar"]}}]"#);
    fs::write(dir.join("manifest.json"), manifest).unwrap();
    sh(&format!(
        "cd {path} && tar -cf image.tar manifest.json config.json layer.tar"
    ));
    let archive = dir.join("image.tar").display().to_string();
    daemon.holdfast(&["image", "import", &archive, name]).ok();
}

/// What an image says cannot be seen in the request, so the error has to name the image.
#[test]
fn an_image_whose_configuration_cannot_be_used_is_named() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("odd");
    for (index, (config, words)) in [
        (r#"{"StopSignal":"65"}"#, ["config.StopSignal", "\"65\""]),
        (
            r#"{"StopSignal":"SIGNOTHING"}"#,
            ["config.StopSignal", "\"SIGNOTHING\""],
        ),
        (r#"{"StopSignal":"-9"}"#, ["config.StopSignal", "\"-9\""]),
        (r#"{"User":"nobody-here"}"#, ["user", "\"nobody-here\""]),
        (r#"{"User":"0:no-group"}"#, ["group", "\"no-group\""]),
        (r#"{"Volumes":{"../up":{}}}"#, ["Volumes", "../up"]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("localhost/odd{index}:1");
        import(&daemon, &name, config);
        let request = container("c", &name, &["/bin/sleep", "1000"]);
        let refused = daemon.try_create(&pod.id, &pod.config, &request);
        let said = fails(refused, Code::InvalidArgument, &words);
        assert!(
            said.contains(&format!("image {name}: ")),
            "{config}: {said}"
        );
    }
}

#[test]
fn what_is_no_archive_is_refused_and_leaves_nothing() {
    let daemon = Daemon::start();
    let path = daemon.place.dir.join("nonsense.tar");
    let file = path.display().to_string();
    let import = |name: &str| daemon.holdfast(&["image", "import", &file, name]);
    fs::write(&path, "this is no archive at all".repeat(1000)).unwrap();
    let text = import("localhost/x:1").fails(1);
    assert!(text.contains("localhost/x"), "{text}");
    fs::write(&path, "").unwrap();
    import("localhost/x:1").fails(1);
    let text = daemon
        .holdfast(&["image", "import", "/no/such/file", "localhost/x:1"])
        .fails(1);
    assert!(text.contains("/no/such/file"), "{text}");
    let dir = tree(&daemon).display().to_string();
    let text = daemon
        .holdfast(&["image", "import", &dir, "a/NOT"])
        .fails(1);
    assert!(text.contains("a/NOT"), "{text}");
    run("tar", ["-C", dir.as_str(), "-cf", file.as_str(), "."]).ok();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    import("localhost/x:1").fails(1);
    assert!(daemon.images().is_empty());
}

#[test]
fn a_pulled_image_comes_back_from_an_oci_layout() {
    let daemon = Daemon::start();
    let layout = daemon.place.dir.join("layout");
    let script = r#"
import hashlib, json, os, sys, tarfile, io
root, out = sys.argv[1], sys.argv[2]
blobs = os.path.join(out, "blobs/sha256"); os.makedirs(blobs)
def put(data):
    digest = hashlib.sha256(data).hexdigest()
    open(os.path.join(blobs, digest), "wb").write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as tar: tar.add(root, arcname=".")
layer = {**put(buffer.getvalue()), "mediaType": "application/vnd.oci.image.layer.v1.tar"}
arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
config = put(json.dumps({"architecture": arch, "os": "linux", "config": {"Cmd": ["/bin/cat", "/mark"]},
    "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode())
manifest = put(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {**config, "mediaType": "application/vnd.oci.image.config.v1+json"}, "layers": [layer]}).encode())
json.dump({"schemaVersion": 2, "manifests": [{**manifest, "mediaType": "application/vnd.oci.image.manifest.v1+json"}]},
    open(os.path.join(out, "index.json"), "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(os.path.join(out, "oci-layout"), "w"))
with tarfile.open(out + ".tar", "w") as tar: tar.add(out, arcname=".")
"#;
    let (tree, out) = (
        tree(&daemon).display().to_string(),
        layout.display().to_string(),
    );
    run("python3", ["-c", script, tree.as_str(), out.as_str()]).ok();
    let tar = format!("{out}.tar");
    daemon
        .holdfast(&["image", "import", &tar, "localhost/layout:1"])
        .ok();
    let pod = daemon.run_named("layout");
    assert_eq!(
        pod.output(container("c", "localhost/layout:1", &[])),
        "imported"
    );
}

/// `crane append` (go-containerregistry v0.22.1) writes its configuration as `sha256:HEX`, and writes it first: such
/// an archive became a root file system of its own files.
#[test]
fn archives_of_other_tools_become_the_images_that_they_hold() {
    let daemon = Daemon::start();
    let script = r#"
import gzip, hashlib, io, json, os, sys, tarfile
root, out = sys.argv[1], sys.argv[2]
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as tar: tar.add(root, arcname=".")
layer = buffer.getvalue()
packed = gzip.compress(layer, 1)
config = json.dumps({"architecture": "", "created": "0001-01-01T00:00:00Z", "os": "",
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    "config": {"Cmd": ["/bin/cat", "/mark"], "ExposedPorts": {"80/tcp": None}}}).encode()
names = ["sha256:" + hashlib.sha256(config).hexdigest(), hashlib.sha256(packed).hexdigest() + ".tar.gz"]
documents = [(names[0], config), (names[1], packed), ("manifest.json",
    json.dumps([{"Config": names[0], "RepoTags": ["x/y:1"], "Layers": [names[1]]}]).encode())]
empty = json.dumps({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": None}}).encode()
def write(name, files):
    with tarfile.open(name, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name); info.size = len(content); info.mode = 0o444
            tar.addfile(info, io.BytesIO(content))
write(out + "/crane.tar", documents)
write(out + "/last.tar", documents[::-1])
write(out + "/empty.tar", [("c", empty), ("manifest.json", json.dumps([{"Config": "c", "Layers": None}]).encode())])
write(out + "/neither.tar", documents[:2])
"#;
    let (tree, out) = (
        tree(&daemon).display().to_string(),
        daemon.place.dir.display().to_string(),
    );
    run("python3", ["-c", script, tree.as_str(), out.as_str()]).ok();
    let import = |file: &str, name: &str| {
        let file = format!("{out}/{file}.tar");
        daemon.holdfast(&["image", "import", &file, name])
    };
    let pod = daemon.run_named("archives");
    for file in ["crane", "last"] {
        let name = format!("localhost/{file}:1");
        import(file, &name).ok();
        let shown = pod.output(container(file, &name, &[]));
        assert_eq!(shown, "imported");
    }
    // An image without layers runs what is mounted into it.
    import("empty", "localhost/empty:1").ok();
    let mut config = container(
        "empty",
        "localhost/empty:1",
        &["/tools/bin/cat", "/tools/mark"],
    );
    config.mounts = vec![e2e::request::mount(&tree, "/tools")];
    assert_eq!(pod.output(config), "imported");
    let text = import("neither", "localhost/neither:1").fails(1);
    assert!(text.contains("neither an archive of images"), "{text}");
    assert_eq!(daemon.image("localhost/neither:1"), None);
}
