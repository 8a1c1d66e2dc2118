//! Lists, stop and rm, images.

use std::fs;
use std::process::Stdio;

use e2e::Daemon;
use e2e::program::{finish, sh};
use e2e::request::{BUSYBOX, idle, shell};

use super::{command, run_on_terminal};

#[test]
fn containers_are_listed_as_crictl_does() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("listed");
    let running = pod.start(idle("runs"));
    let (ended, _) = pod.finish(shell("ended", "exit 3"));
    let other = daemon.run_named("other").start(idle("web"));
    let table = daemon.holdfast(&["ps"]).ok();
    for word in [
        "CONTAINER",
        "IMAGE",
        "CREATED",
        "STATE",
        "NAME",
        "ATTEMPT",
        "POD ID",
        "NAMESPACE",
        "Running",
        "runs",
        "listed",
        "e2e",
        &running.id[..13],
        BUSYBOX,
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(!table.contains("ended"), "{table}");
    let ids = |args: &[&str]| -> Vec<String> {
        let text = daemon.holdfast(&[&["ps", "-q"], args].concat()).ok();
        text.lines().map(str::to_owned).collect()
    };
    assert_eq!(ids(&[]), [&*other.id, &running.id]);
    assert_eq!(ids(&["-a"]), [&*other.id, &ended.id, &running.id]);
    assert_eq!(ids(&["-l"]), [&*other.id]);
    assert_eq!(ids(&["-n", "2"]), [&*other.id, &ended.id]);
    assert_eq!(ids(&["--state", "exited"]), [&*ended.id]);
    assert_eq!(ids(&["--name", "^r.n"]), [&*running.id]);
    assert_eq!(ids(&["-a", "--pod", "listed"]), [&*ended.id, &running.id]);
    assert_eq!(ids(&["--image", BUSYBOX]).len(), 2);
    assert_eq!(ids(&["--id", &running.id[..20]]), [&*running.id]);
    assert!(ids(&["--label", "a=b"]).is_empty());
    let long = daemon.holdfast(&["ps", "--no-trunc"]).ok();
    assert!(long.contains(&running.id), "{long}");
    let missing = daemon
        .holdfast(&["ps", "--image", "nobody/has:it"])
        .fails(1);
    assert!(missing.contains("nobody/has:it"), "{missing}");
    daemon.holdfast(&["ps", "--name", "("]).fails(2);
}

#[test]
fn pods_are_listed_as_crictl_does() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("first");
    config.labels.insert("app".to_owned(), "demo".to_owned());
    let first = daemon.run(config);
    let second = daemon.run_named("second");
    second.stop();
    let table = daemon.holdfast(&["pods"]).ok();
    for word in [
        "POD ID",
        "CREATED",
        "STATE",
        "RUNTIME",
        "(default)",
        "NotReady",
        "first",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let ids = |args: &[&str]| -> Vec<String> {
        let text = daemon.holdfast(&[&["pods", "-q"], args].concat()).ok();
        text.lines().map(str::to_owned).collect()
    };
    assert_eq!(ids(&[]), [&*second.id, &first.id]);
    assert_eq!(ids(&["--state", "ready"]), [&*first.id]);
    assert_eq!(ids(&["--state", "notready"]), [&*second.id]);
    assert_eq!(ids(&["--label", "app=demo"]), [&*first.id]);
    assert_eq!(ids(&["--name", "sec", "--namespace", "e2e"]), [&*second.id]);
    assert_eq!(ids(&["-l"]), [&*second.id]);
}

#[test]
fn pods_and_containers_are_stopped_and_removed_by_any_name() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("mixed");
    let by_name = pod.start(idle("a"));
    let by_id = pod.start(idle("other"));
    let refused = daemon.holdfast(&["rm", "mixed/a"]).fails(1);
    assert!(refused.contains("--force"), "{refused}");
    daemon
        .holdfast(&["stop", "--timeout", "0", "mixed/a", &by_id.id[..16]])
        .ok();
    assert_eq!(by_name.wait().exit_code, 137);
    assert_eq!(by_id.wait().exit_code, 137);
    daemon.holdfast(&["rm", "mixed/a"]).ok();
    let running = pod.start(idle("c"));
    daemon.holdfast(&["rm", "-f", &running.id]).ok();
    assert_eq!(daemon.containers().len(), 1);
    // Nothing is done when one of the names means nothing.
    let missing = daemon.holdfast(&["stop", "mixed", "nobody"]).fails(1);
    assert_eq!(missing.matches("nobody").count(), 1, "{missing}");
    assert_eq!(
        daemon
            .holdfast(&["pods", "-q", "--state", "ready"])
            .ok()
            .trim(),
        pod.id
    );
    // A bare name of a container could be that of many. This one begins no id.
    daemon.holdfast(&["stop", "other"]).fails(1);
    daemon.run_named("second");
    daemon.holdfast(&["stop", "--all"]).ok();
    assert_eq!(
        daemon.holdfast(&["pods", "-q", "--state", "ready"]).ok(),
        ""
    );
    daemon.holdfast(&["rm", "--all"]).ok();
    assert!(daemon.pods().is_empty());
    daemon.holdfast(&["rm"]).fails(2);
}

#[test]
fn a_pod_of_a_manifest_takes_its_directories_with_it_wherever_they_are() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    let dir = daemon.place.dir.join("elsewhere");
    let manifest = daemon.place.dir.join("pod.yaml");
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: there\nspec:\n  restartPolicy: Never\n  \
         volumes:\n  - name: v\n    emptyDir: {{}}\n  containers:\n  - name: c\n    image: {BUSYBOX}\n    \
         command: [sleep, '100000']\n    volumeMounts:\n    - name: v\n      mountPath: /v\n"
    );
    fs::write(&manifest, text).unwrap();
    let root = |name: &str| dir.join(name).display().to_string();
    let (logs, volumes, memory) = (root("logs"), root("volumes"), root("memory"));
    let ran = daemon.holdfast(&[
        "run",
        &manifest.display().to_string(),
        "--log-root",
        &logs,
        "--volume-root",
        &volumes,
        "--memory-volume-root",
        &memory,
    ]);
    ran.ok();
    let count = || {
        sh(&format!(
            "find {} -mindepth 2 -maxdepth 2 | wc -l",
            dir.display()
        ))
    };
    assert_eq!(count().trim(), "2");
    daemon.holdfast(&["rm", "there"]).ok();
    assert_eq!(count().trim(), "0");
    assert!(dir.join("logs").is_dir());
}

#[test]
fn images_are_listed_and_removed() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    let pod = daemon.run_named("user");
    pod.start(idle("c"));
    let tree = daemon.place.dir.join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/motd"), "hello").unwrap();
    let source = tree.display().to_string();
    daemon
        .holdfast(&["image", "import", &source, "localhost/tree:one"])
        .ok();
    let table = daemon.holdfast(&["images"]).ok();
    for word in ["IMAGE", "TAG", "IMAGE ID", "SIZE", "localhost/tree", "one"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let ids = daemon.holdfast(&["images", "-q"]).ok();
    assert_eq!(ids.lines().count(), 2);
    let one = daemon
        .holdfast(&["images", "-q", "localhost/tree:one"])
        .ok();
    assert!(one.lines().count() == 1 && ids.contains(&one), "{one}");
    let filtered = daemon
        .holdfast(&["images", "-q", "-f", "reference=tree"])
        .ok();
    assert_eq!(filtered, one);
    let verbose = daemon.holdfast(&["images", "-v"]).ok();
    assert!(
        verbose.contains("RepoTags: localhost/tree:one"),
        "{verbose}"
    );
    let digests = daemon.holdfast(&["images", "--digests", "--no-trunc"]).ok();
    assert!(
        digests.contains("DIGEST") && digests.contains(one.trim()),
        "{digests}"
    );
    // The image of a container stays.
    let pruned = daemon.holdfast(&["rmi", "--prune"]).ok();
    assert_eq!(pruned, "Deleted: localhost/tree:one\n");
    assert_eq!(daemon.holdfast(&["images", "-q"]).ok().lines().count(), 1);
    let missing = daemon.holdfast(&["rmi", "localhost/tree:one"]).fails(1);
    assert!(missing.contains("localhost/tree:one"), "{missing}");
    daemon.holdfast(&["rm", "user"]).ok();
    daemon.holdfast(&["rmi", "-a"]).ok();
    assert_eq!(daemon.holdfast(&["images", "-q"]).ok(), "");
}

#[test]
fn an_oci_layout_is_imported_as_a_directory_and_as_an_archive() {
    let daemon = Daemon::start();
    let layout = daemon.place.dir.join("layout");
    // The smallest image there is: one layer with one file.
    let script = format!(
        "d={}; mkdir -p $d/blobs/sha256 $d/t/bin; echo x > $d/t/bin/x; tar -C $d/t -cf $d/l .; rm -r $d/t; \
         put() {{ s=$(sha256sum $1 | cut -c1-64); n=$(stat -c %s $1); mv $1 $d/blobs/sha256/$s; }}; \
         diff=$(sha256sum $d/l | cut -c1-64); put $d/l; layer=$s size=$n; \
         printf '{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{}},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}}}' $diff > $d/c; \
         put $d/c; config=$s csize=$n; \
         printf '{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:%s\",\"size\":%s}},\"layers\":[{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:%s\",\"size\":%s}}]}}' $config $csize $layer $size > $d/m; \
         put $d/m; \
         printf '{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:%s\",\"size\":%s}}]}}' $s $n > $d/index.json; \
         printf '{{\"imageLayoutVersion\":\"1.0.0\"}}' > $d/oci-layout; tar -C $d -cf $d.tar .; echo $config",
        layout.display()
    );
    let config = sh(&script);
    let directory = layout.display().to_string();
    let archive = format!("{directory}.tar");
    for (source, name) in [(&directory, "localhost/a:1"), (&archive, "localhost/b:1")] {
        let said = daemon.holdfast(&["image", "import", source, name]).ok();
        assert!(said.starts_with(name), "{said}");
    }
    // The layout's image, and not one that is made of its files.
    let ids = daemon.holdfast(&["images", "-q"]).ok();
    assert_eq!(ids.trim(), format!("sha256:{}", config.trim()));
}

#[test]
fn colours_are_for_terminals_only() {
    let daemon = Daemon::start();
    let container = daemon.run_named("colours").start(idle("c"));
    let escape = '\x1b';
    for verb in [&["ps"][..], &["pods"], &["images"], &["stats"], &["top"]] {
        let text = daemon.holdfast(verb).ok();
        assert!(!text.contains(escape), "{verb:?}: {text:?}");
    }
    let coloured = run_on_terminal(&daemon, "holdfast ps").ok();
    assert!(coloured.contains("\x1b[32mRunning"), "{coloured:?}");
    let plain = run_on_terminal(&daemon, "NO_COLOR=1 holdfast ps").ok();
    assert!(
        plain.contains("Running") && !plain.contains(escape),
        "{plain:?}"
    );
    assert!(plain.contains(&container.id[..13]));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("gone");
    let container = pod.start(shell("c", "yes | head -c 3000000; exec sleep 100000"));
    container.wait_for("y\n");
    let holdfast = |args: &[&str]| {
        let mut child = command(&daemon, args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        child
    };
    for args in [
        &["ps"][..],
        &["ps", "-q"],
        &["pods", "-o", "json"],
        &["logs", "gone/c"],
        &["logs", "-f", "gone"],
        &["stats", "-w"],
        &["exec", "gone/c", "yes"],
        &["completion", "bash"],
        &["inspect", "gone/c"],
        &["images"],
        &["ns"],
        &["ns", "gone", "-o", "svg"],
        &["tree", "gone"],
        &["why", "gone/c"],
        &["debts"],
        &["tour", "--list"],
        &["--help"],
        &["run", "--help"],
    ] {
        let mut child = holdfast(args);
        let status = child.wait().unwrap();
        assert!(status.success(), "{args:?}: {status}");
    }
}

#[test]
fn manual_pages_and_completions_are_made() {
    let daemon = Daemon::start();
    let dir = daemon.place.dir.join("man");
    fs::create_dir(&dir).unwrap();
    daemon.holdfast(&["man", &dir.display().to_string()]).ok();
    for page in [
        "holdfast.1",
        "holdfast-ps.1",
        "holdfast-port-forward.1",
        "holdfast-image-import.1",
    ] {
        let text = fs::read_to_string(dir.join(page)).unwrap();
        assert!(
            text.contains(".TH") && text.contains("SYNOPSIS"),
            "{page}: {text}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let text = daemon.holdfast(&["completion", shell]).ok();
        assert!(text.contains("port-forward"), "{shell}");
    }
    let missing = dir.join("none").display().to_string();
    let said = finish(command(&daemon, &["man", &missing])).fails(1);
    assert!(said.contains(&missing), "{said}");
}
