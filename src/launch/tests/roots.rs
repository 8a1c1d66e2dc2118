//! Mounts, devices, hidden and read-only paths of a root, against the kernel.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;

use super::world::*;
use crate::target::{Kind, ensure};
use crate::{cover, device as devices, rootfs};
use holdfast_kernel::sys::mount::{self, Depth};
use holdfast_wire::Step;
use holdfast_wire::plan::*;

fn make_mounts(world: &World, mounts: &[Mount]) -> nix::Result<()> {
    let trees: Vec<Option<OwnedFd>> = mounts.iter().map(|_| None).collect();
    rootfs::make_mounts(world.root(), mounts, &trees, &world.reporter())
}

#[test]
fn missing_mount_points_are_made_and_later_mounts_see_earlier_ones() {
    in_own_mounts(|world| {
        let mounts = [
            new_mount("/a/b", "tmpfs", &[("mode", "0751"), ("size", "64k")]),
            new_mount("/a/b/c", "tmpfs", &[("mode", "0700")]),
        ];
        make_mounts(world, &mounts).unwrap();
        let mode = |path: &str| fs::metadata(world.path(path)).unwrap().mode() & 0o7777;
        assert_eq!(
            (mode("a"), mode("a/b"), mode("a/b/c")),
            (0o755, 0o751, 0o700)
        );
        let device = |path: &str| fs::metadata(world.path(path)).unwrap().dev();
        assert_ne!(device("a/b"), device("a/b/c"));
        assert_eq!(world.position().step, Step::Mount);
        assert_eq!(world.position().index, 1);
    });
}

#[test]
fn a_failed_mount_is_told_by_step_and_index() {
    in_own_mounts(|world| {
        world.write("file", "");
        world.link("round", "round");
        let good = || new_mount("/tmp", "tmpfs", &[]);
        for (mount, step, errno) in [
            (
                new_mount("/x", "nonsensefs", &[]),
                Step::Mount,
                Errno::ENODEV,
            ),
            (
                new_mount("/x", "tmpfs", &[("nonsense", "1")]),
                Step::Mount,
                Errno::EINVAL,
            ),
            (
                new_mount("/file/x", "tmpfs", &[]),
                Step::MountTarget,
                Errno::ENOTDIR,
            ),
            (
                new_mount("/round/x", "tmpfs", &[]),
                Step::MountTarget,
                Errno::ELOOP,
            ),
            (new_mount("/file", "tmpfs", &[]), Step::Mount, Errno::EINVAL),
        ] {
            let target = mount.target.clone();
            let failed = make_mounts(world, &[good(), mount]).unwrap_err();
            let at = world.position();
            assert_eq!((at.step, at.index, failed), (step, 1, errno), "{target:?}");
        }
    });
}

/// A link of the image must not put procfs where nobody hides its dangerous files.
#[test]
fn procfs_goes_only_where_no_link_leads() {
    in_own_mounts(|world| {
        fs::create_dir(world.path("real")).unwrap();
        world.link("linked", "real");
        let error = make_mounts(world, &[new_mount("/linked", "proc", &[])]).unwrap_err();
        assert_eq!(
            (error, world.position().step),
            (Errno::ELOOP, Step::MountTarget)
        );
        make_mounts(world, &[new_mount("/linked", "tmpfs", &[])]).unwrap();
    });
}

#[test]
fn a_tree_of_a_file_is_mounted_on_a_file() {
    in_own_mounts(|world| {
        world.write("source", "content");
        let source = text(world.path("source").to_str().unwrap());
        let tree = mount::clone_tree(AT_FDCWD, &source, Depth::Single).unwrap();
        let mounts = [tree_mount("/etc/hosts", TreeOrigin::Host, "/source")];
        let trees = [Some(tree)];
        rootfs::make_mounts(world.root(), &mounts, &trees, &world.reporter()).unwrap();
        assert_eq!(world.read("etc/hosts"), "content");
    });
}

#[test]
fn content_is_copied_up_with_owners_modes_and_links() {
    in_own_mounts(|world| {
        world.write("data/dir/file", "kept");
        fs::set_permissions(
            world.path("data/dir/file"),
            PermissionsExt::from_mode(0o4750),
        )
        .unwrap();
        fs::set_permissions(world.path("data"), PermissionsExt::from_mode(0o1777)).unwrap();
        symlink("dir/file", world.path("data/link")).unwrap();
        let below = fs::metadata(world.path("data")).unwrap().dev();
        let mut mount = new_mount("/data", "tmpfs", &[]);
        if let MountSource::New { copy_up, .. } = &mut mount.source {
            *copy_up = true;
        }
        make_mounts(world, &[mount]).unwrap();
        let above = fs::metadata(world.path("data")).unwrap();
        assert_ne!(above.dev(), below);
        assert_eq!(above.mode() & 0o7777, 0o1777);
        assert_eq!(world.read("data/link"), "kept");
        let file = fs::metadata(world.path("data/dir/file")).unwrap();
        assert_eq!((file.mode() & 0o7777, file.dev()), (0o4750, above.dev()));
        let link = fs::read_link(world.path("data/link")).unwrap();
        assert_eq!(link.to_str(), Some("dir/file"));
    });
}

fn make_devices(world: &World, plan: &ContainerPlan) -> nix::Result<()> {
    let trees: Vec<Option<OwnedFd>> = plan.devices.iter().map(|_| None).collect();
    devices::make_all(world.root(), plan, &trees, &world.reporter())
}

#[test]
fn devices_and_links_are_made_once() {
    in_own_mounts(|world| {
        let plan = ContainerPlan {
            devices: vec![Device {
                uid: 7,
                gid: 8,
                ..device("/dev/zero", 1, 5)
            }],
            symlinks: vec![(text("/dev/fd"), text("/proc/self/fd"))],
            ..container()
        };
        // What is there already stays, whoever made it.
        for _ in 0..2 {
            make_devices(world, &plan).unwrap();
        }
        let zero = fs::symlink_metadata(world.path("dev/zero")).unwrap();
        assert!(zero.file_type().is_char_device());
        assert_eq!((zero.uid(), zero.gid()), (7, 8));
        let link = fs::read_link(world.path("dev/fd")).unwrap();
        assert_eq!(link.to_str(), Some("/proc/self/fd"));
        assert_eq!(world.position().index, 1);
    });
}

#[test]
fn a_device_takes_no_place_of_something_else() {
    in_own_mounts(|world| {
        world.write("dev/file", "");
        fs::create_dir_all(world.path("dev/directory")).unwrap();
        make_devices(
            world,
            &ContainerPlan {
                devices: vec![device("/dev/full", 1, 7)],
                ..container()
            },
        )
        .unwrap();
        for (target, errno) in [
            ("/dev/file", Errno::EEXIST),
            ("/dev/directory", Errno::EISDIR),
            ("/dev/file/below", Errno::ENOTDIR),
            // Another device of that name.
            ("/dev/full", Errno::EEXIST),
        ] {
            let plan = ContainerPlan {
                devices: vec![device(target, 1, 3)],
                ..container()
            };
            assert_eq!(make_devices(world, &plan), Err(errno), "{target}");
        }
        // What the request mounts there is what it wants there.
        let plan = ContainerPlan {
            mounts: vec![tree_mount("/dev/file", TreeOrigin::Host, "/x")],
            devices: vec![device("/dev/file", 1, 3)],
            ..container()
        };
        make_devices(world, &plan).unwrap();
        assert!(fs::metadata(world.path("dev/file")).unwrap().is_file());
    });
}

#[test]
fn masked_paths_are_empty_and_missing_ones_are_skipped() {
    in_own_mounts(|world| {
        world.write("secret/file", "secret");
        world.write("key", "secret");
        world.write("other/x", "secret");
        let plan = ContainerPlan {
            devices: vec![device("/dev/null", 1, 3)],
            masked_paths: ["/secret", "/key", "/missing/x", "/key/below", "/other"]
                .map(text)
                .to_vec(),
            ..container()
        };
        make_devices(world, &plan).unwrap();
        cover::mask(world.root(), &plan, &world.reporter()).unwrap();
        assert_eq!(world.read("key"), "");
        for directory in ["secret", "other"] {
            let path = world.path(directory);
            assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "{directory}");
            let denied = File::create(path.join("new")).unwrap_err();
            assert_eq!(denied.raw_os_error(), Some(libc::EROFS));
        }
        assert_eq!(world.position().index, 4);
    });
}

#[test]
fn a_file_is_masked_only_by_the_null_device() {
    in_own_mounts(|world| {
        world.write("key", "secret");
        world.write("dev/null", "no device");
        let plan = ContainerPlan {
            masked_paths: vec![text("/key")],
            ..container()
        };
        let masked = cover::mask(world.root(), &plan, &world.reporter());
        assert_eq!(masked, Err(Errno::ENXIO));
        // Where a volume stands for the null device, an empty file hides, and its name is gone again.
        let plan = ContainerPlan {
            mounts: vec![
                new_mount("/dev", "tmpfs", &[]),
                tree_mount("/dev/null", TreeOrigin::Host, "/x"),
            ],
            ..plan
        };
        cover::mask(world.root(), &plan, &world.reporter()).unwrap();
        assert_eq!(world.read("key"), "");
        assert_eq!(fs::read_dir(world.path("dev")).unwrap().count(), 1);
    });
}

#[test]
fn a_read_only_path_takes_what_is_mounted_below_along() {
    in_own_mounts(|world| {
        make_mounts(
            world,
            &[
                new_mount("/sys", "tmpfs", &[]),
                new_mount("/sys/below", "tmpfs", &[]),
                new_mount("/alone", "tmpfs", &[]),
                new_mount("/alone/below", "tmpfs", &[]),
            ],
        )
        .unwrap();
        let paths = ["/sys", "/missing", "/alone/."].map(text);
        cover::protect(world.root(), &paths, &world.reporter()).unwrap();
        for (path, writable) in [
            ("sys/x", false),
            ("sys/below/x", false),
            ("alone/x", false),
            ("alone/below/x", true),
        ] {
            assert_eq!(File::create(world.path(path)).is_ok(), writable, "{path}");
        }
    });
}

/// Images have /etc/resolv.conf point to a file that only a booted system has.
#[test]
fn places_behind_dangling_links_are_made() {
    let world = World::new();
    fs::create_dir(world.path("etc")).unwrap();
    world.link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
    world.link("etc/absolute", "/var/lib/x");
    world.link("etc/round", "round");
    ensure(world.root(), b"/etc/resolv.conf", Kind::File).unwrap();
    ensure(world.root(), b"/etc/absolute", Kind::Directory).unwrap();
    let made = fs::metadata(world.path("run/systemd/resolve/stub-resolv.conf")).unwrap();
    assert!(made.is_file());
    assert!(fs::metadata(world.path("var/lib/x")).unwrap().is_dir());
    for (target, errno) in [
        (&b"/etc/round"[..], Errno::ELOOP),
        (b"/etc/resolv.conf/below", Errno::ENOTDIR),
    ] {
        let failed = ensure(world.root(), target, Kind::File).map(drop);
        assert_eq!(failed, Err(errno));
    }
    // What is there is opened, not made anew.
    world.write("kept", "content");
    let place = ensure(world.root(), b"/kept", Kind::File).unwrap();
    assert!(!holdfast_kernel::sys::path::is_directory(place.as_fd()).unwrap());
    assert_eq!(world.read("kept"), "content");
}

/// Kernels before 6.8 take the layers as one text.
#[test]
fn the_options_of_an_overlay_list_the_highest_layer_first() {
    let plan = container();
    let page = rootfs::options_page(&plan);
    assert_eq!(
        page.to_str(),
        Ok(
            "index=off,lowerdir=/store/layers/2:/store/layers/1,upperdir=/store/c/upper,workdir=/store/c/work"
        )
    );
    let range = IdRange {
        inside: 0,
        outside: 1000,
        count: 10,
    };
    let plan = ContainerPlan {
        user: Some(IdMappings {
            uids: vec![range],
            gids: vec![range],
        }),
        ..plan
    };
    // With a user namespace the store that can be written is elsewhere.
    let page = rootfs::options_page(&plan).into_string().unwrap();
    assert!(
        page.ends_with(",upperdir=/rootfs/c/upper,workdir=/rootfs/c/work"),
        "{page}"
    );
    let image = Mount {
        source: MountSource::Image {
            lower: plan.lower,
            sub_path: text(""),
        },
        ..new_mount("/image", "", &[])
    };
    let page = crate::image::options_page(&image);
    assert_eq!(
        page.to_str(),
        Ok("lowerdir=/store/layers/2:/store/layers/1")
    );
}
