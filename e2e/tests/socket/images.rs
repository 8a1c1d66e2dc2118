//! Images: pulled from real registries, found by every name, unpacked right, removed.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{
    AuthConfig, ImageFilter, ImageFsInfoRequest, ListImagesRequest, Mount, PullImageRequest,
};
use e2e::daemon::Options;
use e2e::registry::{PASSWORD, Registry, USER};
use e2e::request::{self, BUSYBOX, container};
use e2e::{Container, Daemon, call, fails, must};

const LAYERS: &str = "registry.holdfast.test/layers/";

fn with_image<'d>(daemon: &'d Daemon, image: &str) -> Container<'d> {
    let mut name = image.replace(['/', ':', '.', '@'], "-");
    // A host name has 64 characters at most.
    name.truncate(60);
    daemon
        .run_named(&name)
        .start(container("c", image, &["sleep", "1000"]))
}

#[test]
fn a_pull_gives_the_same_id_as_everything_else() {
    let daemon = Daemon::start();
    let id = daemon.pull(BUSYBOX);
    let image = daemon.image(BUSYBOX).unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.repo_tags, [BUSYBOX]);
    assert_eq!(image.repo_digests.len(), 1);
    assert!(image.repo_digests[0].starts_with("registry.holdfast.test/busybox@sha256:"));
    assert!(image.size > 100_000, "{}", image.size);
    assert!(!image.pinned);
    let listed = daemon.images();
    assert_eq!(listed, [image]);
    let status = with_image(&daemon, BUSYBOX).status();
    assert_eq!(status.image_id, id);
    assert_eq!(daemon.pull(BUSYBOX), id, "a second pull");
}

#[test]
fn an_image_is_found_by_every_kind_of_reference() {
    let daemon = Daemon::start();
    let id = daemon.pull("busybox");
    let image = daemon.image("busybox").unwrap();
    assert_eq!(image.repo_tags, ["docker.io/library/busybox:latest"]);
    let hexadecimal = id.strip_prefix("sha256:").unwrap_or(&id);
    let digest = image.repo_digests[0].clone();
    let digest_only = digest.split('@').nth(1).unwrap();
    let names = [
        "busybox".to_owned(),
        "busybox:latest".into(),
        "library/busybox".into(),
        "docker.io/busybox".into(),
        "docker.io/library/busybox".into(),
        "docker.io/library/busybox:latest".into(),
        "index.docker.io/library/busybox:latest".into(),
        digest.clone(),
        format!("busybox@{digest_only}"),
        format!("docker.io/library/busybox:latest@{digest_only}"),
        format!("sha256:{hexadecimal}"),
        hexadecimal.to_owned(),
        hexadecimal[..12].to_owned(),
    ];
    for name in names {
        let found = daemon.image(&name);
        assert_eq!(found.map(|image| image.id), Some(id.clone()), "{name}");
        let filter = ImageFilter {
            image: Some(request::image_spec(&name)),
        };
        let mut client = daemon.clients().images;
        let listed = call(client.list_images(ListImagesRequest {
            filter: Some(filter),
        }));
        assert_eq!(must("ListImages", listed).images.len(), 1, "{name}");
    }
    for name in [
        "busybox:1.0",
        "other",
        "docker.io/library/busybo",
        "ffffffffffff",
        "registry.k8s.io/busybox",
    ] {
        assert_eq!(daemon.image(name), None, "{name}");
    }
}

#[test]
fn tags_of_one_image_are_one_image() {
    let daemon = Daemon::start();
    let tags: Vec<_> = ["1", "2", "3"]
        .map(|tag| format!("gcr.io/k8s-staging-cri-tools/test-image-tags:{tag}"))
        .into();
    let ids: BTreeSet<_> = tags.iter().map(|tag| daemon.pull(tag)).collect();
    assert_eq!(ids.len(), 1);
    let mut found = daemon.image(&tags[0]).unwrap().repo_tags;
    found.sort();
    assert_eq!(found, tags);
    must("RemoveImage", daemon.try_remove_image(&tags[1]));
    assert!(daemon.images().is_empty(), "one tag takes all with it");
}

#[test]
fn one_image_from_two_registries_has_one_id() {
    let daemon = Daemon::start();
    let one = daemon.pull(BUSYBOX);
    let two = daemon.pull("docker.io/library/busybox:latest");
    assert_eq!(one, two);
    let image = daemon.image(&one).unwrap();
    assert_eq!((image.repo_tags.len(), image.repo_digests.len()), (2, 2));
}

#[test]
fn a_pull_by_digest_needs_no_tag() {
    let daemon = Daemon::start();
    daemon.pull(BUSYBOX);
    let digest = daemon.image(BUSYBOX).unwrap().repo_digests[0].clone();
    must("RemoveImage", daemon.try_remove_image(BUSYBOX));
    let id = daemon.pull(&digest);
    let image = daemon.image(&digest).unwrap();
    assert_eq!(image.id, id);
    assert!(image.repo_tags.is_empty(), "{:?}", image.repo_tags);
    assert_eq!(image.repo_digests, std::slice::from_ref(&digest));
    with_image(&daemon, &digest).sh("true");
}

#[test]
fn a_container_can_be_made_of_an_image_id() {
    let daemon = Daemon::start();
    let id = daemon.pull(BUSYBOX);
    with_image(&daemon, &id).sh("true");
    with_image(&daemon, &id.trim_start_matches("sha256:")[..12]).sh("true");
}

#[test]
fn every_compression_and_media_type_unpacks_to_the_same() {
    let daemon = Daemon::start();
    let mut sums = BTreeSet::new();
    for form in ["gzip", "zstd", "plain", "docker"] {
        let run = with_image(&daemon, &format!("{LAYERS}{form}:1"));
        assert_eq!(
            run.sh("cat /content/text"),
            "the same in every compression\n"
        );
        run.sh("test -d /content/empty && test ! -s /content/none");
        sums.insert(run.sh("sha256sum /content/*  2>/dev/null | sort"));
    }
    assert_eq!(sums.len(), 1, "{sums:?}");
}

#[test]
fn indexes_give_the_image_of_this_machine() {
    let daemon = Daemon::start();
    let arch = e2e::program::sh("dpkg --print-architecture");
    for form in ["oci", "docker", "nested"] {
        let run = with_image(&daemon, &format!("registry.holdfast.test/index/{form}:1"));
        assert_eq!(run.sh("cat /arch"), arch);
    }
}

#[test]
fn whiteouts_take_away_what_lies_below() {
    let daemon = Daemon::start();
    let run = with_image(&daemon, &format!("{LAYERS}whiteouts:1"));
    let paths = run.sh("cd /w && find . | sort | tr '\\n' ' '");
    let wanted = ". ./back ./becomes-dir ./becomes-dir/inside ./becomes-file ./becomes-target ./dir ./dir/b \
                  ./keep ./opaque ./opaque/new";
    assert_eq!(paths.trim(), wanted);
    assert_eq!(
        run.sh("cat /w/back /w/becomes-file /w/becomes-target"),
        "new\nfile\na file where a link was\n"
    );
    run.sh("test ! -L /w/becomes-target && test -d /w/becomes-dir");
}

#[test]
fn links_stay_links() {
    let daemon = Daemon::start();
    let run = with_image(&daemon, &format!("{LAYERS}links:1"));
    assert_eq!(run.sh("stat -c '%h %a %u %g' /l/one").trim(), "3 640 7 8");
    let inode = run.sh("stat -c %i /l/one");
    assert_eq!(run.sh("stat -c %i /l/two"), inode);
    assert_eq!(run.sh("stat -c %i /l/sub/three"), inode);
    assert_eq!(
        run.sh("for l in absolute relative dangling loop root; do readlink /l/$l; done"),
        "/l/one\n../l/one\n/nowhere\nloop\n/\n"
    );
    assert_eq!(run.sh("cat /l/absolute"), "linked\n");
    let run = with_image(&daemon, "registry.holdfast.test/busybox:1");
    run.sh("test $(stat -c %h /bin/busybox) -gt 100");
}

#[test]
fn a_hard_link_may_lead_to_a_lower_layer() {
    let daemon = Daemon::start();
    let image = format!("{LAYERS}links-across:1");
    let run = with_image(&daemon, &image);
    assert_eq!(run.sh("cat /l/four"), "linked\n");
    // As overlay has it when a file of a lower layer is linked: one file under both names.
    assert_eq!(run.sh("stat -c '%a %u %g' /l/four").trim(), "640 7 8");
    assert_eq!(run.sh("stat -c %i /l/four"), run.sh("stat -c %i /l/one"));
}

#[test]
fn an_upper_layer_may_write_below_a_symlink() {
    let daemon = Daemon::start();
    let image = format!("{LAYERS}symlink-parent:1");
    // It has no shell, so it gets the host's.
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| fs::exists(path).unwrap());
    let mut config = container("c", &image, &["/busybox", "sleep", "1000"]);
    config.mounts = vec![request::mount(busybox.unwrap(), "/busybox")];
    let run = daemon.run_named("merged").start(config);
    let cat = |path: &str| run.exec(&["/busybox", "cat", path]).stdout;
    assert_eq!(cat("/usr/lib/lower"), "lower\n");
    assert_eq!(cat("/lib/lower"), "lower\n");
    assert_eq!(cat("/usr/lib/upper"), "upper\n");
    assert_eq!(
        run.exec(&["/busybox", "readlink", "/lib"]).stdout,
        "usr/lib\n"
    );
    assert!(!fs::exists("/lib/upper").unwrap() && !fs::exists("/usr/lib/upper").unwrap());
}

#[test]
fn an_implied_directory_is_the_lower_layers() {
    let daemon = Daemon::start();
    // The same layer above others first: what it becomes there must not come back here.
    daemon.pull(&format!("{LAYERS}implied-elsewhere:1"));
    let run = with_image(&daemon, &format!("{LAYERS}implied:1"));
    let stat = |path: &str| {
        run.sh(&format!("stat -c '%a %u %g' {path}"))
            .trim()
            .to_owned()
    };
    assert_eq!(stat("/owned"), "2750 1000 1001");
    assert_eq!(run.sh("cat /owned/lower /owned/upper"), "lower\nupper\n");
    assert_eq!(stat("/new"), "755 0 0");
    assert_eq!(stat("/hidden"), "755 0 0");
    assert_eq!(run.sh("ls /hidden").trim(), "upper");
    let elsewhere = with_image(&daemon, &format!("{LAYERS}implied-elsewhere:1"));
    assert_eq!(elsewhere.sh("stat -c '%a %u' /owned").trim(), "755 0");
    daemon.kill9();
    daemon.restart();
    assert_eq!(daemon.images().len(), 3);
}

#[test]
fn sparse_files_keep_their_holes() {
    let daemon = Daemon::start();
    let run = with_image(&daemon, &format!("{LAYERS}sparse:1"));
    assert_eq!(run.sh("stat -c %s /sparse").trim(), "2097152");
    assert_eq!(run.sh("tr -d '\\0' < /sparse"), "beginend");
    assert_eq!(run.sh("tail -c +1048577 /sparse | head -c 3"), "end");
    let blocks: u64 = run.sh("stat -c %b /sparse").trim().parse().unwrap();
    assert!(blocks < 100, "{blocks}");
    run.sh("test ! -e /GNUSparseFile.0");
}

#[test]
fn other_digests_are_verified_too() {
    let daemon = Daemon::start();
    let run = with_image(&daemon, &format!("{LAYERS}sha512:1"));
    assert_eq!(
        run.sh("cat /content/text"),
        "the same in every compression\n"
    );
    daemon.kill9();
    daemon.restart();
    assert!(daemon.image(&format!("{LAYERS}sha512:1")).is_some());
}

#[test]
fn owners_modes_times_and_attributes_are_kept() {
    let daemon = Daemon::start();
    let run = with_image(&daemon, &format!("{LAYERS}metadata:1"));
    let stat = |format: &str, file: &str| {
        run.exec(&["stat", "-c", format, file])
            .stdout
            .trim()
            .to_owned()
    };
    assert_eq!(stat("%a", "/m/setuid"), "4755");
    assert_eq!(stat("%a", "/m/setgid"), "2755");
    assert_eq!(stat("%a", "/m/sticky"), "1777");
    assert_eq!(stat("%u %g %a", "/m/owned"), "1234 4321 600");
    assert_eq!(stat("%u %g", "/m/large-id"), "2000000000 2000000001");
    assert_eq!(stat("%Y", "/m/precise"), "1700000000");
    assert_eq!(stat("%F %t:%T", "/m/null"), "character special file 1:3");
    assert_eq!(stat("%F", "/m/fifo"), "fifo");
    run.exec(&["cat", "/m/café", "/m/ space\ttab"])
        .stdout
        .contains("utf-8")
        .then_some(())
        .unwrap();
    assert_eq!(run.sh("ls /m | grep -c latin").trim(), "1");
    assert_eq!(run.sh("cat /m/long-name-*"), "long\n");
    // The host reads extended attributes through the container's root.
    let root = format!("/proc/{}/root/m", run.pid());
    let get = |file: &str, name: &str| {
        let script = "import os,sys; sys.stdout.write(os.getxattr(sys.argv[1], sys.argv[2]).hex())";
        let path = format!("{root}/{file}");
        e2e::program::run("python3", ["-c", script, path.as_str(), name])
    };
    assert_eq!(get("noted", "user.note").ok(), "61206e6f7465");
    assert_eq!(get("noted", "user.bytes").ok(), "0001ff");
    assert!(
        get("capable", "security.capability")
            .ok()
            .starts_with("01000002")
    );
    assert_ne!(
        get("trusted", "trusted.overlay.opaque").code,
        0,
        "an image decided over the host's overlay"
    );
}

#[test]
fn an_image_cannot_write_outside_its_root() {
    let daemon = Daemon::start();
    let image = "registry.holdfast.test/bad/hostile:1";
    // Refused, or held inside: both are right, as long as nothing outside changed.
    let _ = daemon.try_pull(image);
    let base = daemon.place.dir.display().to_string();
    for name in [
        "escape-parent",
        "escape-absolute",
        "escape-symlink",
        "escape-up",
    ] {
        for dir in ["/", "/tmp", "/var", "/var/tmp", &base] {
            assert!(
                !fs::exists(format!("{dir}/{name}")).unwrap(),
                "{dir}/{name}"
            );
        }
    }
}

#[test]
fn pulls_over_https_with_the_configured_ca() {
    let daemon = Daemon::with(Options::default().registry(Registry::tls()));
    with_image(&daemon, BUSYBOX).sh("true");
}

fn pull_with(daemon: &Daemon, auth: AuthConfig) -> Result<String, tonic::Status> {
    let request = PullImageRequest {
        image: Some(request::image_spec(BUSYBOX)),
        auth: Some(auth),
        sandbox_config: None,
    };
    call(daemon.clients().images.pull_image(request)).map(|answer| answer.image_ref)
}

fn password() -> AuthConfig {
    AuthConfig {
        username: USER.into(),
        password: PASSWORD.into(),
        ..AuthConfig::default()
    }
}

#[test]
fn pulls_with_user_and_password() {
    let (token, _turn) = Registry::token_alone();
    for registry in [Registry::basic(), token] {
        let daemon = Daemon::with(Options::default().registry(registry));
        must("pull", pull_with(&daemon, password()));
        must("RemoveImage", daemon.try_remove_image(BUSYBOX));
        // base64 of user:password, as docker's config has it.
        let text = format!("printf {USER}:{PASSWORD} | base64 -w0");
        let auth = AuthConfig {
            auth: e2e::program::sh(&text),
            ..AuthConfig::default()
        };
        must("pull", pull_with(&daemon, auth));
        let log = daemon.log();
        assert!(!log.contains(PASSWORD), "the password is in the log");
    }
}

#[test]
fn wrong_credentials_are_refused_and_leave_nothing() {
    let (token, _turn) = Registry::token_alone();
    for registry in [Registry::basic(), token] {
        let daemon = Daemon::with(Options::default().registry(registry));
        let wrong = AuthConfig {
            password: "wrong-password".into(),
            ..password()
        };
        for auth in [wrong, AuthConfig::default()] {
            let refused = pull_with(&daemon, auth);
            let text = e2e::fails(refused, tonic::Code::PermissionDenied, &["credentials"]);
            assert!(!text.contains("wrong-password"), "{text}");
        }
        assert!(daemon.images().is_empty());
    }
}

#[test]
fn tokens_are_fetched_once_a_repository() {
    let (registry, _turn) = Registry::token_alone();
    let daemon = Daemon::with(Options::default().registry(registry));
    let before = registry.token_log().lines().count();
    must("pull", pull_with(&daemon, password()));
    let asked = registry.token_log().lines().count() - before;
    assert!(
        (1..=3).contains(&asked),
        "{asked} requests for tokens in one pull"
    );
}

#[test]
fn the_next_mirror_is_asked_when_one_fails() {
    let daemon = Daemon::with(Options::default().without_registry());
    let dir = daemon.place.hosts().join("registry.holdfast.test");
    fs::create_dir_all(&dir).unwrap();
    let plain = Registry::plain().address();
    let text = format!(
        r#"server = "http://{plain}/v2/registry.holdfast.test"
[host."http://127.0.0.1:1"]
  capabilities = ["pull", "resolve"]
[host."http://{plain}/v2/no-such-prefix"]
  capabilities = ["pull", "resolve"]
  override_path = true
[host."http://{plain}/v2/registry.holdfast.test"]
  capabilities = ["pull", "resolve"]
  override_path = true
"#
    );
    fs::write(dir.join("hosts.toml"), text).unwrap();
    daemon.pull(BUSYBOX);
}

#[test]
fn identical_pulls_at_once_share_the_work() {
    let daemon = Daemon::start();
    let ids: BTreeSet<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| daemon.pull(BUSYBOX)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(ids.len(), 1);
    assert_eq!(daemon.images().len(), 1);
}

#[test]
fn different_pulls_at_once_share_their_layers() {
    let daemon = Daemon::start();
    let names = ["gzip", "zstd", "plain", "docker", "links", "whiteouts"];
    thread::scope(|scope| {
        for name in names {
            let daemon = &daemon;
            scope.spawn(move || daemon.pull(&format!("{LAYERS}{name}:1")));
        }
    });
    // Four of them differ in their compression only, and compression is no part of an image.
    assert_eq!(daemon.images().len(), 3);
}

#[test]
fn removal_may_be_repeated_and_by_any_name() {
    let daemon = Daemon::start();
    let id = daemon.pull(BUSYBOX);
    for _ in 0..3 {
        must("RemoveImage", daemon.try_remove_image(BUSYBOX));
    }
    assert!(daemon.images().is_empty());
    must("RemoveImage", daemon.try_remove_image("never.was/here:1"));
    daemon.pull(BUSYBOX);
    must("RemoveImage", daemon.try_remove_image(&id));
    assert!(daemon.images().is_empty());
}

#[test]
fn a_container_keeps_running_when_its_image_is_removed() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("inuse");
    let image = format!("{LAYERS}gzip:1");
    let run = pod.start(container("c", &image, &["sleep", "1000"]));
    must("RemoveImage", daemon.try_remove_image(&image));
    assert_eq!(daemon.image(&image), None);
    assert_eq!(
        run.sh("cat /content/text"),
        "the same in every compression\n"
    );
    run.sh("find / -xdev -type f | head -n 400 | xargs cat > /dev/null");
    daemon.kill9();
    daemon.restart();
    assert_eq!(
        run.sh("cat /content/text"),
        "the same in every compression\n"
    );
}

#[test]
fn the_file_systems_use_grows_and_shrinks() {
    let daemon = Daemon::start();
    let info = || {
        let mut client = daemon.clients().images;
        let answer = must(
            "ImageFsInfo",
            call(client.image_fs_info(ImageFsInfoRequest {})),
        );
        let system = answer.image_filesystems.into_iter().next().unwrap();
        assert!(system.timestamp > 0);
        let point = system.fs_id.unwrap().mountpoint;
        assert!(fs::metadata(&point).unwrap().is_dir(), "{point}");
        (
            system.used_bytes.unwrap().value,
            system.inodes_used.unwrap().value,
        )
    };
    let before = info();
    daemon.pull(BUSYBOX);
    let with = info();
    assert!(
        with.0 > before.0 + 500_000 && with.1 > before.1 + 10,
        "{before:?} {with:?}"
    );
    must("RemoveImage", daemon.try_remove_image(BUSYBOX));
    call::until(
        "the space to be free again",
        std::time::Duration::from_secs(5),
        || (info().0 < with.0 - 500_000).then_some(()),
    );
}

#[test]
fn pinned_images_say_so_and_can_be_removed() {
    let pins = vec!["registry.holdfast.test/layers/*".to_owned()];
    let daemon = Daemon::with(Options::default().set("image.pinned", pins));
    let pinned = format!("{LAYERS}plain:1");
    daemon.pull(&pinned);
    daemon.pull(BUSYBOX);
    assert!(daemon.image(&pinned).unwrap().pinned);
    assert!(!daemon.image(BUSYBOX).unwrap().pinned);
    must("RemoveImage", daemon.try_remove_image(&pinned));
    assert_eq!(daemon.image(&pinned), None);
}

#[test]
fn an_artifact_is_kept_as_files() {
    let daemon = Daemon::start();
    let artifact = "registry.holdfast.test/artifact/files:1";
    let id = daemon.pull(artifact);
    let image = daemon.image(artifact).unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.repo_tags, [artifact]);
    // Its configuration is everybody's empty one, so its id is its manifest's.
    assert!(
        image.repo_digests[0].ends_with(&id),
        "{:?}",
        image.repo_digests
    );
    assert!(image.size > 300_000, "{}", image.size);
    assert_eq!(daemon.pull(artifact), id, "a second pull");
    let layers = daemon.place.root().join("images/layers");
    let layer = fs::read_dir(&layers).unwrap().next().unwrap().unwrap();
    let file = |name: &str| fs::read(layer.path().join("diff").join(name)).unwrap();
    assert_eq!(file("config.json"), b"{\"a\": 1}\n");
    assert_eq!(file("weights/part.bin").len(), 300_000);
    let pod = daemon.run_named("artifact");
    let config = container("c", artifact, &["sh"]);
    let refused = daemon.try_create(&pod.id, &pod.config, &config);
    fails(
        refused,
        tonic::Code::FailedPrecondition,
        &["artifact", artifact],
    );
    daemon.kill9();
    daemon.restart();
    assert_eq!(daemon.image(artifact), Some(image));
    must("RemoveImage", daemon.try_remove_image(artifact));
    call::until("its files to be deleted", Duration::from_secs(5), || {
        (!layer.path().exists()).then_some(())
    });
}

#[test]
fn an_artifact_can_be_mounted() {
    let daemon = Daemon::start();
    let artifact = "registry.holdfast.test/artifact/files:1";
    daemon.pull(artifact);
    let mut config = container("c", BUSYBOX, &["sleep", "1000"]);
    config.mounts = vec![Mount {
        container_path: "/model".into(),
        readonly: true,
        image: Some(request::image_spec(artifact)),
        ..Mount::default()
    }];
    let run = daemon.run_named("artifact").start(config);
    assert_eq!(run.sh("cat /model/config.json"), "{\"a\": 1}\n");
    assert_eq!(
        run.sh("stat -c '%s %a' /model/weights/part.bin").trim(),
        "300000 644"
    );
    run.sh("! touch /model/new 2> /dev/null");
    must("RemoveImage", daemon.try_remove_image(artifact));
    run.sh("cat /model/weights/part.bin > /dev/null");
}

#[test]
fn the_containers_file_system_is_told_too() {
    let daemon = Daemon::start();
    let written = || {
        let mut client = daemon.clients().images;
        let answer = call(client.image_fs_info(ImageFsInfoRequest {}));
        let info = must("ImageFsInfo", answer).container_filesystems.remove(0);
        let point = info.fs_id.unwrap().mountpoint;
        assert!(fs::metadata(&point).unwrap().is_dir(), "{point}");
        info.used_bytes.unwrap().value
    };
    let before = written();
    let run = with_image(&daemon, BUSYBOX);
    run.sh("dd if=/dev/zero of=/written bs=1M count=3 2> /dev/null");
    // Sizes of layers are measured every ten seconds at most.
    call::until("the size to be told", Duration::from_secs(20), || {
        (written() >= before + (3 << 20)).then_some(())
    });
}

#[test]
fn images_survive_a_restart() {
    let daemon = Daemon::start();
    daemon.pull(BUSYBOX);
    daemon.pull(&format!("{LAYERS}zstd:1"));
    let before = daemon.images();
    daemon.kill9();
    daemon.restart();
    assert_eq!(daemon.images(), before);
    with_image(&daemon, &format!("{LAYERS}zstd:1")).sh("true");
}
