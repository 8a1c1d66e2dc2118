//! What has to hold whatever an image, a request or a container brings: one test a property.
//!
//! Each test has harmless input on which a broken property would show, and looks at the host for what must not be
//! there. Nothing here is, or repeats, an attack. The published weaknesses of other runtimes in this table name the
//! class that a property belongs to; it is the only place of the project with such numbers.
//!
//! | property | class |
//! |---|---|
//! | [`mounts`]: the target of a mount never leaves the root | CVE-2021-30465, CVE-2024-45310 |
//! | [`mounts`]: the places that every container has are the root's own | CVE-2024-5154, CVE-2026-41579, CVE-2026-47766 |
//! | [`mounts`]: /proc is procfs, and nothing lies on it or diverts it | CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2025-52881 |
//! | [`mounts`]: paths are masked by the real null device | CVE-2025-31133 |
//! | [`mounts`]: the console is the terminal | CVE-2025-52565 |
//! | [`descriptors`]: the program that enters a pod is sealed | CVE-2019-5736 |
//! | [`descriptors`]: every descriptor is closed, and the working directory lies in the root | CVE-2024-21626 |
//! | [`descriptors`]: no socket is abstract | CVE-2020-15257 |
//! | [`descriptors`]: nothing is inheritable | CVE-2022-24769, CVE-2022-27652, CVE-2022-29162 |
//! | [`files`]: nobody else enters the state | CVE-2024-25621 |
//! | [`files`]: only what a volume is gets a label | CVE-2021-43816 |
//! | [`files`]: a log is no link | CVE-2026-53489 |
//! | [`files`]: an annotation makes no file | CVE-2025-0750 |
//! | [`images`]: what an image says of itself asks for nothing | CVE-2024-8676, CVE-2026-53488, CVE-2026-53492 |
//! | [`images`]: an archive takes no name but the one that is given | CVE-2026-50195 |
//! | [`images`]: a layer is unpacked inside its directory | CVE-2018-15664, CVE-2025-47290 |
//! | [`images`]: little of an image is read into memory | CVE-2025-4437 |
//! | `image_volumes_declared`: a declared volume begins with the image's own files | CVE-2022-23648 |
//! | [`kernel`]: what the kernel does on the host is not the container's to choose | CVE-2022-0492 |
//! | [`kernel`], `sysctls`: a sysctl has one key and one value | CVE-2022-0811 |
//! | [`resources`], `exec`: the output of a command is bounded | CVE-2022-1708, CVE-2022-31030 |
//! | [`resources`]: what keeps a pod is not counted in its containers | CVE-2019-14891 |
//! | [`resources`], `attach`: attaching leaves nothing behind | CVE-2025-64329 |
//! | [`users`], `users`: a user is one number or one name | CVE-2024-40635, CVE-2026-30892, CVE-2026-46680 |
//! | [`users`]: the primary group is a supplementary one | CVE-2022-2995, CVE-2023-25173 |
//! | `host_ports`: a port of a loopback address is reached from there only | CVE-2020-8558 |

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

/// A directory of the host in which nothing may appear.
fn outside(daemon: &Daemon) -> PathBuf {
    let dir = daemon.place.dir.join("outside");
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Whether nothing was put there.
fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// An image of a small system that `change` has changed.
fn image(daemon: &Daemon, name: &str, change: impl FnOnce(&Path)) -> String {
    let dir = daemon.place.dir.join(format!("image-{name}"));
    for below in ["bin", "etc", "tmp"] {
        fs::create_dir_all(dir.join(below)).unwrap();
    }
    let found = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = found.into_iter().find(|path| fs::exists(path).unwrap());
    fs::copy(busybox.unwrap(), dir.join("bin/busybox")).unwrap();
    for tool in [
        "sh", "sleep", "cat", "echo", "ls", "id", "mount", "mkdir", "stat", "pwd", "true",
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
