//! Attacks on other runtimes, replayed: each finds its property held.
//!
//! A test is named after the attack and says what it was and what stops it here. Some are where their theme is:
//!
//! | attack | test |
//! |---|---|
//! | CVE-2019-16884 | `bad_input::mounts_on_proc_are_refused`, `mounts::no_volume_fakes_a_part_of_proc` |
//! | CVE-2020-8558 | `host_ports` |
//! | CVE-2022-0811 | `sysctls::unsafe_and_hostile_parameters_are_refused_with_their_name`, and here |
//! | CVE-2022-1708, CVE-2022-31030 | `exec::more_than_a_client_takes_is_cut_off`, and here |
//! | CVE-2022-23648 | `image_volumes_declared::a_declared_volume_cannot_show_the_host` |
//! | CVE-2024-40635, CVE-2026-46680 | `users::users_that_do_not_exist_or_do_not_fit_are_refused`, and here |
//! | CVE-2025-47290 | `images::` with the image `bad/hostile`, and here |
//! | CVE-2026-30892 | CRI has no user for exec; here the one of the request |
//! | CVE-2025-64329 | `attach::clients_of_a_silent_container_leave_nothing_in_its_shim`, and here |

mod descriptors;
mod files;
mod images;
mod kernel;
mod mounts;
mod resources;
mod users;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use e2e::Daemon;
use e2e::program::sh;

/// A directory of the host where an attack would leave something.
fn trap(daemon: &Daemon) -> PathBuf {
    let dir = daemon.place.dir.join("trap");
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Whether nothing was put there.
fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// An image of a small system that `change` has made hostile.
fn image(daemon: &Daemon, name: &str, change: impl FnOnce(&Path)) -> String {
    let dir = daemon.place.dir.join(format!("image-{name}"));
    for below in ["bin", "etc", "tmp"] {
        fs::create_dir_all(dir.join(below)).unwrap();
    }
    let found = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = found.into_iter().find(|path| fs::exists(path).unwrap());
    fs::copy(busybox.unwrap(), dir.join("bin/busybox")).unwrap();
    for tool in [
        "sh", "sleep", "cat", "echo", "ls", "id", "dd", "mount", "unshare", "mkdir", "find",
        "true", "stat",
    ] {
        symlink("busybox", dir.join("bin").join(tool)).unwrap();
    }
    change(&dir);
    let reference = format!("localhost/{name}:1");
    daemon
        .holdfast(&["image", "import", &dir.display().to_string(), &reference])
        .ok();
    reference
}

/// Replaces a path of an image's tree by a link.
fn link(tree: &Path, path: &str, target: impl AsRef<Path>) {
    let at = tree.join(path);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    sh(&format!("rm -rf {}", at.display()));
    symlink(target, at).unwrap();
}
