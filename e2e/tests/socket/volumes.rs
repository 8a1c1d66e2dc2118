//! Volumes from images.

use cri_api::runtime::v1::{
    ContainerConfig, IdMapping, ImageSpec, Mount, NamespaceMode, UserNamespace,
};
use e2e::request::{BUSYBOX, PodParts, idle, image_spec, mount};
use e2e::{Container, Daemon, Pod, evidence, fails};
use tonic::Code;

/// /content with a text, on top of the small system.
const CONTENT: &str = "registry.holdfast.test/layers/gzip:1";
/// /w, over four layers with whiteouts.
const WHITEOUTS: &str = "registry.holdfast.test/layers/whiteouts:1";
/// /l with links, among them /l/root that leads to /.
const LINKS: &str = "registry.holdfast.test/layers/links:1";
/// An image of a single layer.
const PROBE: &str = "registry.holdfast.test/probe:1";

fn volume(image: &str, at: &str, sub_path: &str) -> Mount {
    Mount {
        container_path: at.to_owned(),
        readonly: true,
        image: Some(image_spec(image)),
        image_sub_path: sub_path.to_owned(),
        ..Mount::default()
    }
}

fn config(name: &str, mounts: Vec<Mount>) -> ContainerConfig {
    ContainerConfig {
        mounts,
        ..idle(name)
    }
}

fn with<'d>(pod: &Pod<'d>, name: &str, mounts: Vec<Mount>) -> Container<'d> {
    pod.start(config(name, mounts))
}

#[test]
fn an_image_is_a_volume() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("images");
    for image in [CONTENT, WHITEOUTS, PROBE] {
        daemon.pull(image);
    }
    let mounts = vec![
        volume(CONTENT, "/c", ""),
        volume(WHITEOUTS, "/deep/w", ""),
        volume(PROBE, "/p", ""),
        volume(WHITEOUTS, "/part", "w/opaque"),
    ];
    let container = with(&pod, "c", mounts);
    let text = "the same in every compression\n";
    assert_eq!(container.sh("cat /c/content/text"), text);
    assert_eq!(container.sh("cat /deep/w/w/back; ls /part"), "new\nnew\n");
    assert_ne!(container.exec(&["ls", "/deep/w/w/gone"]).code, 0);
    assert_eq!(container.sh("ls /p"), "bin\n");
    // A program of it can be run, as with other runtimes.
    assert_eq!(container.sh("/c/bin/echo x"), "x\n");
    for path in ["/c/x", "/deep/w/x", "/p/x", "/part/x"] {
        let out = container.exec(&["touch", path]);
        assert!(out.stderr.contains("Read-only"), "{path}: {out:?}");
    }
}

#[test]
fn an_artifact_is_a_volume_of_its_files() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("artifact");
    let artifact = "registry.holdfast.test/artifact/files:1";
    daemon.pull(artifact);
    let mounts = vec![
        volume(artifact, "/a", ""),
        volume(artifact, "/w", "weights"),
    ];
    let container = with(&pod, "c", mounts);
    assert_eq!(container.sh("cat /a/config.json"), "{\"a\": 1}\n");
    assert_eq!(container.sh("stat -c %s /w/part.bin"), "300000\n");
}

#[test]
fn nothing_is_mounted_on_the_host() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("images");
    daemon.pull(CONTENT);
    // Other tests mount things of their own meanwhile.
    let ours = || {
        let mounts = evidence::mounts(1).into_iter().map(|mount| mount.point);
        let ours = mounts.filter(|point| point.starts_with(&daemon.place.dir));
        ours.collect::<Vec<_>>()
    };
    let before = ours();
    let container = with(&pod, "c", vec![volume(CONTENT, "/c", "content")]);
    assert_eq!(ours(), before);
    let own = evidence::mounts(container.pid());
    assert!(own.iter().any(|mount| mount.point.to_str() == Some("/c")));
}

#[test]
fn the_status_says_which_image_it_was() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("images");
    daemon.pull(CONTENT);
    let container = with(&pod, "c", vec![volume(CONTENT, "/c", "content")]);
    // The text that PullImage answers.
    let id = daemon.image(CONTENT).unwrap().id;
    let mounts = container.status().mounts;
    let image = mounts[0].image.clone().unwrap();
    assert_eq!((image.image.as_str(), image.image_ref), (CONTENT, id));
    assert_eq!(mounts[0].image_sub_path, "content");
    assert!(mounts[0].readonly && mounts[0].host_path.is_empty());
}

#[test]
fn an_image_in_use_keeps_its_layers() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("images");
    daemon.pull(CONTENT);
    let mounts = vec![volume(CONTENT, "/c", "content")];
    let running = with(&pod, "running", mounts.clone());
    let created = pod.create(config("created", mounts));
    daemon.try_remove_image(CONTENT).unwrap();
    daemon.kill9();
    daemon.restart();
    std::thread::sleep(std::time::Duration::from_millis(500));
    created.start();
    for container in [&running, &created] {
        let text = container.sh("cat /c/text");
        assert_eq!(text, "the same in every compression\n");
    }
    assert!(
        !created.status().mounts[0]
            .image
            .clone()
            .unwrap()
            .image_ref
            .is_empty()
    );
}

#[test]
fn a_sub_path_stays_in_the_image() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("images");
    daemon.pull(LINKS);
    let container = with(&pod, "c", vec![volume(LINKS, "/v", "l/root/l")]);
    assert_eq!(container.sh("cat /v/one"), "linked\n");
    let refused = |sub_path: &str, code| {
        let config = config("bad", vec![volume(LINKS, "/v", sub_path)]);
        let words = ["image_sub_path"];
        fails(
            daemon.try_create(&pod.id, &pod.config, &config),
            code,
            &words,
        );
    };
    refused("nowhere", Code::NotFound);
    refused("l/one", Code::NotFound);
    refused("l/dangling", Code::NotFound);
    refused("../..", Code::InvalidArgument);
    refused("/l", Code::InvalidArgument);
}

#[test]
fn volumes_that_cannot_be_are_refused_by_name() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("images");
    daemon.pull(BUSYBOX);
    let create =
        |mount: Mount| daemon.try_create(&pod.id, &pod.config, &config("bad", vec![mount]));
    let absent = "registry.holdfast.test/never:1";
    // Kubelets look for the first word.
    fails(
        create(volume(absent, "/v", "")),
        Code::NotFound,
        &["ImageVolumeMountFailed", absent],
    );
    let writable = Mount {
        readonly: false,
        ..volume(BUSYBOX, "/v", "")
    };
    fails(create(writable), Code::InvalidArgument, &["readonly"]);
    let both = Mount {
        host_path: "/tmp".to_owned(),
        ..volume(BUSYBOX, "/v", "")
    };
    fails(create(both), Code::InvalidArgument, &["host_path"]);
    let only_path = Mount {
        image_sub_path: "bin".to_owned(),
        ..mount("/tmp", "/v")
    };
    fails(create(only_path), Code::InvalidArgument, &["image"]);
    let nameless = Mount {
        image: Some(ImageSpec::default()),
        ..volume(BUSYBOX, "/v", "")
    };
    fails(create(nameless), Code::InvalidArgument, &["host_path"]);
}

#[test]
fn an_image_volume_has_the_owners_of_the_pods_user_namespace() {
    let daemon = Daemon::start();
    let range = IdMapping {
        host_id: 700_000,
        container_id: 0,
        length: 65_536,
    };
    let mut wanted = daemon.pod("images");
    wanted.namespaces().userns_options = Some(UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![range],
        gids: vec![range],
    });
    let pod = daemon.run(wanted);
    for image in [LINKS, PROBE] {
        daemon.pull(image);
    }
    let mut mapped = volume(LINKS, "/mapped", "l");
    mapped.uid_mappings = vec![range];
    mapped.gid_mappings = vec![range];
    let mounts = vec![volume(LINKS, "/v", "l"), volume(PROBE, "/p", ""), mapped];
    let container = with(&pod, "c", mounts);
    let owners = container.sh("stat -c %u:%g /v/one /v/sub /p/bin/probe /mapped/one");
    assert_eq!(owners, "7:8\n0:0\n0:0\n7:8\n");
    assert_ne!(container.exec(&["touch", "/v/x"]).code, 0);
}
