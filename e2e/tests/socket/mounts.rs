//! Volumes: bind mounts in all their kinds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use cri_api::runtime::v1::{
    Device, IdMapping, Mount, MountPropagation, NamespaceMode, UserNamespace,
};
use e2e::program::{run, sh};
use e2e::request::{ContainerParts, PodParts, idle, mount, shell};
use e2e::{Container, Daemon, Pod};
use tonic::Code;

/// A directory of the host for a test's volume.
fn volume(daemon: &Daemon, name: &str) -> PathBuf {
    let dir = daemon.place.dir.join("volumes").join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn with<'d>(pod: &Pod<'d>, name: &str, mounts: Vec<Mount>) -> Container<'d> {
    let mut config = idle(name);
    config.mounts = mounts;
    pod.start(config)
}

#[test]
fn a_volume_is_shared_by_containers_and_host() {
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    let pod = daemon.run_named("volume");
    let [a, b] = ["a", "b"].map(|name| with(&pod, name, vec![mount(&dir, "/data/deep")]));
    a.sh("echo from-a > /data/deep/file");
    assert_eq!(b.sh("cat /data/deep/file"), "from-a\n");
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "from-a\n");
    fs::write(dir.join("host"), "from the host").unwrap();
    assert_eq!(a.sh("cat /data/deep/host"), "from the host");
}

fn device(host: &str, container: &str) -> Device {
    Device {
        host_path: host.to_owned(),
        container_path: container.to_owned(),
        permissions: "rwm".to_owned(),
    }
}

/// A pod with a user namespace, where the node has them.
fn mapped<'d>(daemon: &'d Daemon, name: &str) -> Option<Pod<'d>> {
    let of = [IdMapping {
        host_id: 700_000,
        container_id: 0,
        length: 65_536,
    }];
    let mut config = daemon.pod(name);
    config.namespaces().userns_options = Some(UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: of.to_vec(),
        gids: of.to_vec(),
    });
    match daemon.try_run(&config) {
        Ok(id) => Some(Pod { daemon, id, config }),
        Err(error) => {
            e2e::skip::report(
                &e2e::skip::test_name(),
                &format!("no user namespaces: {error}"),
            );
            None
        }
    }
}

/// Somebody mounted the host's /dev/urandom on /dev/random, as people do to save entropy, and no container started:
/// the node was there already. What is mounted at the place of a node stays, as in runc 1.5, whose mknod(2) takes
/// EEXIST for done.
#[test]
fn what_is_mounted_on_a_device_node_stays() {
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    let file = dir.join("file");
    fs::write(&file, "content\n").unwrap();
    let (urandom, file) = (PathBuf::from("/dev/urandom"), &file);
    let foo = || vec![device("/dev/zero", "/dev/foo")];
    let plain = daemon.run_named("plain");
    let pods = [Some(plain), mapped(&daemon, "mapped")];
    for pod in pods.iter().flatten() {
        for (name, host, at, devices, script, wanted) in [
            (
                "random",
                &urandom,
                "/dev/random",
                vec![],
                "stat -c %t:%T /dev/random",
                "1:9\n",
            ),
            ("tty", file, "/dev/tty", vec![], "cat /dev/tty", "content\n"),
            (
                "full",
                file,
                "/dev/full",
                vec![],
                "cat /dev/full; stat -c %t:%T /dev/null",
                "content\n1:3\n",
            ),
            (
                "asked",
                file,
                "/dev/foo",
                foo(),
                "cat /dev/foo",
                "content\n",
            ),
            (
                "below",
                file,
                "/dev/bar",
                foo(),
                "cat /dev/bar; stat -c %t:%T /dev/foo",
                "content\n1:5\n",
            ),
            // Paths that are hidden behind the null device are hidden all the same.
            (
                "null",
                file,
                "/dev/null",
                vec![],
                "cat /dev/null; wc -c </proc/timer_list; ls -A /dev | grep ^[.]; echo x >/proc/version || echo no",
                "content\n0\nno\n",
            ),
        ] {
            let mut config = idle(name);
            config.mounts = vec![mount(host, at)];
            config.devices = devices;
            config.security().masked_paths = ["/proc/timer_list", "/proc/version", "/proc/fs"]
                .map(str::to_owned)
                .to_vec();
            let container = pod.start(config);
            assert_eq!(container.sh(&format!("{script}; true")), wanted, "{name}");
        }
        pod.remove();
    }
}

#[test]
fn a_device_in_the_place_of_a_directory_is_refused() {
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    daemon.provide(e2e::BUSYBOX);
    let pods = [Some(daemon.run_named("plain")), mapped(&daemon, "mapped")];
    for pod in pods.iter().flatten() {
        for (name, mounts, at) in [
            ("dir", vec![mount(&dir, "/dev/foo")], "/dev/foo"),
            ("shm", vec![], "/dev/shm"),
            ("etc", vec![], "/etc"),
            ("null-dir", vec![mount(&dir, "/dev/null")], "/dev/bar"),
        ] {
            let mut config = idle(&format!("no-{name}"));
            config.mounts = mounts;
            config.devices = vec![device("/dev/zero", at)];
            let error = pod.attempt(config).map(drop).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{name}: {error}");
            for word in ["devices.container_path", "directory", "another path"] {
                assert!(error.message().contains(word), "{name}: {error}");
            }
        }
        pod.remove();
    }
}

/// With cgroup v1 the directory of the hierarchies is a tmpfs that becomes read-only at the end, and took the volumes in
/// it and over it along.
#[test]
fn a_writable_volume_at_the_cgroups_is_writable() {
    let daemon = Daemon::start();
    if e2e::machine::cgroup_roots()
        .iter()
        .all(|(_, of)| of.is_empty())
    {
        e2e::skip!("the node has cgroup v2, where a directory below the mount is a cgroup");
    }
    let pods = [Some(daemon.run_named("plain")), mapped(&daemon, "mapped")];
    for (number, pod) in pods.iter().flatten().enumerate() {
        let dir = volume(&daemon, &format!("v{number}"));
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        for (name, at, readonly, sealed) in [
            ("below", "/sys/fs/cgroup/x", false, true),
            ("deep", "/sys/fs/cgroup/x/y", false, true),
            ("hierarchy", "/sys/fs/cgroup/memory", false, true),
            ("over", "/sys/fs/cgroup", false, false),
            ("ro-below", "/sys/fs/cgroup/x", true, true),
            ("ro-over", "/sys/fs/cgroup", true, false),
        ] {
            let mut volume = mount(&dir, at);
            volume.readonly = readonly;
            let container = with(pod, name, vec![volume]);
            let made = container.exec(&["touch", &format!("{at}/{name}")]);
            assert_eq!(made.code != 0, readonly, "{name}: {made:?}");
            assert_eq!(dir.join(name).exists(), !readonly, "{name}");
            if sealed {
                let made = container.exec(&["mkdir", "/sys/fs/cgroup/new"]);
                assert!(made.stderr.contains("Read-only"), "{name}: {made:?}");
            }
        }
        pod.remove();
    }
}

#[test]
fn a_read_only_volume_is_read_only() {
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    let mut volume = mount(&dir, "/data");
    volume.readonly = true;
    let container = with(&daemon.run_named("ro"), "c", vec![volume]);
    let out = container.exec(&["touch", "/data/x"]);
    assert!(out.code != 0 && out.stderr.contains("Read-only"), "{out:?}");
    assert!(!dir.join("x").exists());
}

#[test]
fn one_file_can_be_mounted() {
    let daemon = Daemon::start();
    let file = volume(&daemon, "v").join("file");
    fs::write(&file, "content").unwrap();
    let container = with(
        &daemon.run_named("file"),
        "c",
        vec![mount(&file, "/etc/my/file.conf")],
    );
    assert_eq!(container.sh("cat /etc/my/file.conf"), "content");
    container.sh("echo more >> /etc/my/file.conf");
    assert_eq!(fs::read_to_string(&file).unwrap(), "contentmore\n");
}

#[test]
fn a_missing_host_path_is_made_as_other_runtimes_do() {
    let daemon = Daemon::start();
    let dir = daemon.place.dir.join("volumes/not/yet");
    let container = with(
        &daemon.run_named("missing"),
        "c",
        vec![mount(&dir, "/data")],
    );
    container.sh("touch /data/x");
    assert!(dir.join("x").exists());
}

#[test]
fn a_symlinked_host_path_is_followed() {
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    let link = daemon.place.dir.join("volumes/link");
    symlink(&dir, &link).unwrap();
    let container = with(&daemon.run_named("link"), "c", vec![mount(&link, "/data")]);
    container.sh("touch /data/x");
    assert!(dir.join("x").exists());
}

#[test]
fn symlinks_of_the_image_do_not_lead_out_of_the_root() {
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    fs::write(dir.join("mark"), "volume").unwrap();
    let pod = daemon.run_named("inside");
    // /l/root -> / and /l/absolute -> /l/one in the image; the first leads into the container's own root.
    let image = "registry.holdfast.test/layers/links:1";
    let mut config = e2e::request::container("c", image, &["sleep", "1000"]);
    config.mounts = vec![mount(&dir, "/l/root/mnt/deep")];
    let container = pod.start(config);
    assert_eq!(container.sh("cat /mnt/deep/mark"), "volume");
    assert!(
        !PathBuf::from("/mnt/deep").exists(),
        "the host's /mnt was touched"
    );
}

#[test]
fn volumes_below_each_other_are_mounted_the_shallow_one_first() {
    let daemon = Daemon::start();
    let (outer, inner) = (volume(&daemon, "outer"), volume(&daemon, "inner"));
    fs::write(inner.join("mark"), "inner").unwrap();
    let mounts = vec![mount(&inner, "/data/sub"), mount(&outer, "/data")];
    let container = with(&daemon.run_named("nested"), "c", mounts);
    assert_eq!(container.sh("cat /data/sub/mark"), "inner");
    assert!(outer.join("sub").is_dir());
}

#[test]
fn mounts_of_the_host_reach_a_container_only_when_asked_for() {
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    let path = dir.display();
    sh(&format!(
        "mount --bind {path} {path}; mount --make-shared {path}"
    ));
    fs::create_dir(dir.join("later")).unwrap();
    let pod = daemon.run_named("propagation");
    let [private, slave, shared] = [
        ("private", MountPropagation::PropagationPrivate),
        ("slave", MountPropagation::PropagationHostToContainer),
        ("shared", MountPropagation::PropagationBidirectional),
    ]
    .map(|(name, propagation)| {
        let mut volume = mount(&dir, "/data");
        volume.propagation = propagation.into();
        with(&pod, name, vec![volume])
    });
    sh(&format!(
        "mount -t tmpfs none {path}/later; echo x > {path}/later/file"
    ));
    let sees =
        |container: &Container<'_>| container.exec(&["test", "-e", "/data/later/file"]).code == 0;
    let seen = [sees(&private), sees(&slave), sees(&shared)];
    sh(&format!("umount {path}/later"));
    assert_eq!(seen, [false, true, true]);
    let point = |container: &Container<'_>| {
        let mounts = e2e::evidence::mounts(container.pid());
        mounts
            .into_iter()
            .find(|mount| mount.point.to_str() == Some("/data"))
            .unwrap()
            .propagation
            .join(" ")
    };
    assert_eq!(point(&private), "-".replace('-', ""));
    assert!(point(&slave).contains("master:"), "{}", point(&slave));
    assert!(point(&shared).contains("shared:"), "{}", point(&shared));
    pod.remove();
    sh(&format!("umount {path}"));
}

/// As `ensureShared` and `ensureSharedOrSlave` of containerd 2.4.2 want it, when the container is created. The path may
/// lie deep below the mount, and need not be there yet: then it is made, as without propagation.
#[test]
fn propagation_needs_a_mount_that_has_it_and_says_so() {
    use MountPropagation::{PropagationBidirectional as Both, PropagationHostToContainer as Down};
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    let path = dir.display();
    fs::create_dir_all(dir.join("below")).unwrap();
    let pod = daemon.run_named("propagation");
    daemon.provide(e2e::BUSYBOX);
    let cases = [
        ("shared", "", Both, true),
        ("shared", "below", Down, true),
        ("shared", "missing/a", Both, true),
        ("shared", "missing/b", Down, true),
        ("slave", "", Both, false),
        ("slave", "below", Both, false),
        ("slave", "below", Down, true),
        ("slave", "missing/c", Both, false),
        ("slave", "missing/d", Down, true),
        ("private", "", Both, false),
        ("private", "", Down, false),
        ("private", "missing/e", Down, false),
        ("unbindable", "below", Down, false),
    ];
    let mut wrong = Vec::new();
    for (number, (kind, below, propagation, right)) in cases.into_iter().enumerate() {
        // Twice: a slave has a master, which is the lower of the two.
        sh(&format!(
            "mount --bind {path} {path} && mount --make-shared {path} && mount --bind {path} {path} && mount --make-{kind} {path}"
        ));
        let mut config = idle(&format!("c{number}"));
        let mut volume = mount(dir.join(below), "/data");
        volume.propagation = propagation.into();
        config.mounts = vec![volume];
        let created = daemon.try_create(&pod.id, &pod.config, &config);
        let was_made = dir.join(below).exists();
        let told = match &created {
            Ok(id) => daemon.try_start(id).is_ok() && dir.join(below).is_dir(),
            Err(status) => {
                let text = status.message();
                let named = ["mounts[0].propagation", path.to_string().as_str(), "shared"]
                    .iter()
                    .all(|word| text.contains(word));
                !(named && status.code() == Code::FailedPrecondition)
            }
        };
        if let Ok(id) = &created {
            e2e::must("remove", daemon.try_stop(id, 0));
            e2e::must("remove", daemon.try_remove(id));
        }
        sh(&format!("umount {path} && umount {path}"));
        if told != right || !right && (created.is_ok() || was_made && below.starts_with("missing"))
        {
            wrong.push(format!("{kind} {below} {propagation:?}: {created:?}"));
        }
    }
    pod.remove();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn read_only_can_be_recursive() {
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    let path = dir.display();
    fs::create_dir(dir.join("sub")).unwrap();
    sh(&format!("mount -t tmpfs none {path}/sub"));
    let pod = daemon.run_named("rro");
    let mut volume = mount(&dir, "/data");
    volume.readonly = true;
    let plain = with(&pod, "plain", vec![volume.clone()]);
    volume.recursive_read_only = true;
    let recursive = with(&pod, "recursive", vec![volume.clone()]);
    let codes =
        [&plain, &recursive].map(|container| container.exec(&["touch", "/data/sub/x"]).code);
    let mut config = idle("bad");
    volume.readonly = false;
    config.mounts = vec![volume];
    let refused = daemon.try_create(&pod.id, &pod.config, &config);
    pod.remove();
    run("umount", [format!("{path}/sub")]).ok();
    assert_eq!(codes[0], 0, "plain read-only is not recursive");
    assert_ne!(codes[1], 0);
    assert!(refused.is_err(), "recursive without readonly was accepted");
}

#[test]
fn the_pods_files_can_be_replaced_and_written() {
    let daemon = Daemon::start();
    let hosts = volume(&daemon, "v").join("hosts");
    fs::write(&hosts, "10.0.0.1 from-the-kubelet\n").unwrap();
    let pod = daemon.run_named("hosts");
    let container = with(&pod, "own", vec![mount(&hosts, "/etc/hosts")]);
    assert_eq!(
        container.sh("cat /etc/hosts"),
        "10.0.0.1 from-the-kubelet\n"
    );
    let out = pod.output(shell(
        "plain",
        "echo '10.0.0.2 x' >> /etc/hosts && grep -c 10.0.0.2 /etc/hosts",
    ));
    assert_eq!(out, "1\n");
}

#[test]
fn no_volume_fakes_a_part_of_proc() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("proc");
    let dir = volume(&daemon, "v");
    let file = dir.join("file");
    fs::write(&file, "model name : one of our own\n").unwrap();
    daemon.provide(e2e::BUSYBOX);
    for target in ["/proc/sys", "/proc/self/attr", "/proc", "/proc/1", "/"] {
        let mut config = idle("bad");
        config.mounts = vec![mount(&dir, target)];
        let refused = daemon.try_create(&pod.id, &pod.config, &config);
        e2e::fails(refused, tonic::Code::InvalidArgument, &["container_path"]);
    }
    let container = with(&pod, "c", vec![mount(&file, "/proc/cpuinfo")]);
    assert!(container.sh("cat /proc/cpuinfo").contains("one of our own"));
}

#[test]
fn the_hosts_dev_can_be_the_containers() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("dev");
    let container = with(&pod, "c", vec![mount("/dev", "/dev")]);
    container.sh("echo x > /dev/null && test -c /dev/zero");
}

/// The options hold for the container's own mount and nobody else's: the host goes on executing there.
#[test]
fn options_of_a_mount_are_what_the_kernel_has() {
    let daemon = Daemon::start();
    let dir = volume(&daemon, "v");
    let script = dir.join("run");
    fs::write(&script, "#!/bin/sh\necho ran\n").unwrap();
    sh(&format!("chmod 4755 {}", script.display()));
    let cases: [(&str, &[&str]); 4] = [
        ("plain", &[]),
        ("noexec", &["noexec"]),
        ("all", &["nosuid", "nodev", "noexec"]),
        ("nosuid", &["nosuid"]),
    ];
    let mut mounts = Vec::new();
    for (name, options) in cases {
        let mut volume = mount(&dir, &format!("/v/{name}"));
        volume.mount_options = options.iter().map(|&option| option.into()).collect();
        mounts.push(volume);
    }
    let mut sealed = mount(&dir, "/v/sealed");
    (sealed.readonly, sealed.recursive_read_only) = (true, true);
    sealed.mount_options = vec!["noexec".into()];
    mounts.push(sealed);
    let container = with(&daemon.run_named("options"), "c", mounts);
    for (name, options) in cases {
        let line = container.sh(&format!("grep ' /v/{name} ' /proc/self/mountinfo"));
        let shown = line.split(' ').nth(5).unwrap();
        for option in ["noexec", "nodev", "nosuid"] {
            let there = shown.split(',').any(|one| one == option);
            let wanted = options.contains(&option);
            // A host whose own mount forbids it forbids it here as well.
            assert!(there || !wanted, "{name}: {shown}");
        }
    }
    assert_eq!(container.sh("/v/plain/run"), "ran\n");
    for name in ["noexec", "all", "sealed"] {
        let out = container.exec(&["/bin/sh", "-c", &format!("/v/{name}/run")]);
        assert!(
            out.code != 0 && out.stderr.contains("denied"),
            "{name} {out:?}"
        );
    }
    let status = container.status().mounts;
    assert_eq!(status[2].mount_options, ["nosuid", "nodev", "noexec"]);
    assert_eq!(sh(script.to_str().unwrap()), "ran\n");
}
