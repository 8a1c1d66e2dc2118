//! Volumes that an image declares: each container has its own, with what the image has there.

use std::fs;
use std::os::unix::fs::MetadataExt;

use cri_api::runtime::v1::{IdMapping, NamespaceMode, UserNamespace};
use e2e::daemon::Options;
use e2e::request::{self, ContainerParts, PodParts, container};
use e2e::{Daemon, fails, must};
use tonic::Code;

const CONFIG: &str = "registry.holdfast.test/config/";

/// A container that is called like its image.
fn with(image: &str) -> cri_api::runtime::v1::ContainerConfig {
    container(image, &format!("{CONFIG}{image}:1"), &["sleep", "100000"])
}

#[test]
fn a_declared_volume_begins_with_the_images_content() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("declared");
    let run = pod.start(with("volumes"));
    assert_eq!(run.sh("cat /data/from-image"), "from the image\n");
    let stat = |path: &str| {
        run.sh(&format!("stat -c '%a %u %g' {path}"))
            .trim()
            .to_owned()
    };
    assert_eq!(stat("/data"), "750 1000 1000");
    assert_eq!(stat("/data/from-image"), "640 1000 1000");
    assert_eq!(stat("/new"), "755 0 0");
    assert_eq!(run.sh("cat /data/sub/deep"), "deep\n");
    assert_eq!(run.sh("readlink /data/link"), "/etc/passwd\n");
    let inodes = run.sh("stat -c %i /data/from-image /data/same");
    let mut inodes = inodes.lines();
    assert_eq!(inodes.next(), inodes.next(), "two names of one file");
    // A mount of its own, not the image's layer.
    assert_eq!(run.sh("grep -c ' /data ' /proc/self/mountinfo").trim(), "1");
    run.sh("echo mine > /data/from-image; echo mine > /new/file");
    let mut second = with("volumes");
    second.metadata.as_mut().unwrap().name = "second".into();
    let other = pod.start(second);
    assert_eq!(other.sh("cat /data/from-image"), "from the image\n");
    assert_eq!(other.sh("ls /new"), "");
}

#[test]
fn a_declared_volume_lives_and_dies_with_its_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("declared");
    let run = pod.start(with("volumes"));
    run.sh("echo kept > /new/file");
    daemon.kill9();
    daemon.restart();
    assert_eq!(run.sh("cat /new/file"), "kept\n");
    let directory = daemon.place.root().join("containers").join(&run.id);
    let volumes = directory.join("volumes");
    assert_eq!(fs::read_dir(&volumes).unwrap().count(), 2);
    must("StopContainer", daemon.try_stop(&run.id, 0));
    assert!(volumes.exists());
    must("RemoveContainer", daemon.try_remove(&run.id));
    assert!(!directory.exists());
}

#[test]
fn a_declared_volume_is_writable_under_a_read_only_root() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("declared");
    let mut config = with("volumes");
    let linux = config.linux.as_mut().unwrap();
    linux.security_context.as_mut().unwrap().readonly_rootfs = true;
    let run = pod.start(config);
    run.sh("echo x > /data/new && echo x > /new/file && ! touch /etc/new");
}

#[test]
fn a_mount_of_the_request_comes_instead() {
    let daemon = Daemon::start();
    let host = daemon.place.dir.join("mounted");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("mine"), "mine\n").unwrap();
    let pod = daemon.run_named("declared");
    let mut config = with("volumes");
    config.mounts = vec![request::mount(&host, "/data/")];
    let run = pod.start(config);
    assert_eq!(run.sh("ls /data"), "mine\n");
    let volumes = daemon
        .place
        .root()
        .join("containers")
        .join(&run.id)
        .join("volumes");
    assert_eq!(fs::read_dir(&volumes).unwrap().count(), 1);
}

/// What a volume begins with is looked up beneath the image's root, whatever its path.
#[test]
fn a_declared_volume_cannot_show_the_host() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("declared");
    let run = pod.start(with("volumes-linked"));
    assert_eq!(run.sh("cat /linked/from-image"), "from the image\n");
    // The image's own /etc, which the link leads to within its root.
    assert!(
        run.sh("cat /outside/nsswitch.conf")
            .starts_with("passwd: files\n")
    );
    run.sh("test ! -e /outside/debian_version && test ! -e /outside/machine-id");
    daemon.pull(&format!("{CONFIG}volumes-proc:1"));
    let refused = daemon.try_create(&pod.id, &pod.config, &with("volumes-proc"));
    fails(refused, Code::InvalidArgument, &["/proc/self"]);
    assert_eq!(daemon.containers().len(), 1);
}

/// Three spellings of one path are one volume: paths are cleaned as Go's path.Clean does, with which containerd and CRI-O
/// begin. What a link leads to is another.
#[test]
fn a_declared_volume_is_one_however_it_is_spelled() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("odd");
    let run = pod.start(with("volumes-odd"));
    let volumes = daemon
        .place
        .root()
        .join("containers")
        .join(&run.id)
        .join("volumes");
    assert_eq!(fs::read_dir(volumes).unwrap().count(), 2);
    run.sh("grep -q ' /data ' /proc/mounts && touch /data/mine && test ! -e /through");
}

/// Its content belongs to the image's users, who are others on the host.
#[test]
fn a_declared_volume_fits_the_pods_user_namespace() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("mapped");
    let range = IdMapping {
        host_id: 800_000,
        container_id: 0,
        length: 65_536,
    };
    config.namespaces().userns_options = Some(UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![range],
        gids: vec![range],
    });
    let pod = daemon.run(config);
    let mut config = with("volumes");
    config.namespaces().userns_options = pod.config.clone().namespaces().userns_options.clone();
    let run = pod.start(config);
    let stat = run.sh("stat -c '%a %u %g' /data /data/from-image /new");
    assert_eq!(stat, "750 1000 1000\n640 1000 1000\n755 0 0\n");
    run.sh("echo mine > /new/file && chown 5:6 /new/file");
    let volumes = daemon
        .place
        .root()
        .join("containers")
        .join(&run.id)
        .join("volumes");
    let files = fs::read_dir(&volumes)
        .unwrap()
        .map(|dir| dir.unwrap().path().join("file"));
    let made = files
        .filter_map(|file| fs::metadata(file).ok())
        .next()
        .unwrap();
    assert_eq!(
        (made.uid(), made.gid()),
        (5, 6),
        "ids of the image, not of the host's range"
    );
}

#[test]
fn declared_volumes_can_be_ignored() {
    let daemon = Daemon::with(Options::default().set("image.volumes", "ignore"));
    let pod = daemon.run_named("declared");
    let run = pod.start(with("volumes"));
    assert_eq!(
        run.sh("grep -c ' /data ' /proc/self/mountinfo || true")
            .trim(),
        "0"
    );
    assert_eq!(run.sh("cat /data/from-image"), "from the image\n");
    pod.start(with("volumes-odd"));
}
