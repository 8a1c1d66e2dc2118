//! What tests against the kernel stand on: a root directory, in a mount namespace that only the test's thread is in.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::{fs, thread};

use tempfile::TempDir;

use crate::report::{Position, Reporter};
use holdfast_kernel::sys::memory::Shared;
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::{descriptor, mount};
use holdfast_wire::plan::*;

/// The root of a container to be, and a shim's ears.
pub(super) struct World {
    directory: TempDir,
    root: OwnedFd,
    childs: OwnedFd,
    /// Keeps reports from failing.
    _shims: OwnedFd,
    progress: Shared,
}

impl World {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::File::open(directory.path()).unwrap().into();
        let (shims, childs) = descriptor::packet_pair().unwrap();
        descriptor::set_nonblocking(shims.as_fd()).unwrap();
        Self {
            directory,
            root,
            childs,
            _shims: shims,
            progress: Shared::new().unwrap(),
        }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(super) fn reporter(&self) -> Reporter<'_> {
        Reporter::new(self.childs.as_fd(), self.progress.number())
    }

    /// The step that was last begun.
    pub(super) fn position(&self) -> Position {
        Position::unpack(self.progress.number().load(Ordering::Relaxed))
    }

    /// A path of the root as the test sees it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::create(path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub(super) fn link(&self, path: &str, text: &str) {
        std::os::unix::fs::symlink(text, self.path(path)).unwrap();
    }
}

/// Runs a test on a thread that has a mount namespace of its own, which ends with it. Without the right to make one
/// the test is skipped.
pub(super) fn in_own_mounts(test: impl FnOnce(&World) + Send) {
    thread::scope(|scope| {
        let run = || {
            let made = namespace::unshare(CloneFlags::CLONE_NEWNS);
            if made.and_then(|()| mount::make_all_private()).is_err() {
                println!("skipped: no permission to make a mount namespace");
                return;
            }
            test(&World::new());
        };
        scope
            .spawn(run)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

pub(super) fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// A new file system of the plan.
pub(super) fn new_mount(target: &str, fs_type: &str, options: &[(&str, &str)]) -> Mount {
    let option = |(key, value): &(&str, &str)| (text(key), text(value));
    Mount {
        target: text(target),
        source: MountSource::New {
            fs_type: text(fs_type),
            options: options.iter().map(option).collect(),
            copy_up: false,
        },
        attributes: 0,
        recursive_attributes: false,
        propagation: Propagation::Private,
    }
}

/// A tree of the plan, private and with what is mounted below.
pub(super) fn tree_mount(target: &str, origin: TreeOrigin, path: &str) -> Mount {
    Mount {
        source: MountSource::Tree {
            origin,
            path: text(path),
            recursive: true,
            missing: Missing::Fail,
            id_map: None,
        },
        ..new_mount(target, "", &[])
    }
}

/// A character device of the plan.
pub(super) fn device(target: &str, major: u32, minor: u32) -> Device {
    Device {
        target: text(target),
        kind: libc::S_IFCHR,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    }
}

pub(super) fn process() -> Process {
    Process {
        args: vec![text("/bin/sh"), text("-c")],
        candidates: vec![text("/bin/sh")],
        env: vec![text("A=b")],
        cwd: text("/work"),
        terminal: true,
        uid: 1000,
        gid: 1001,
        groups: vec![7],
        umask: Some(0o077),
        capabilities: Capabilities {
            permitted: 0xff,
            ..Capabilities::default()
        },
        no_new_privileges: true,
        rlimits: vec![(7, 10, 20), (8, 30, 40)],
        oom_score_adj: Some(500),
        ..Process::default()
    }
}

/// A container with nothing but layers.
pub(super) fn container() -> ContainerPlan {
    ContainerPlan {
        lower: vec![text("/store/layers/2"), text("/store/layers/1")],
        upper: text("/store/c/upper"),
        work: text("/store/c/work"),
        process: process(),
        ..ContainerPlan::default()
    }
}
