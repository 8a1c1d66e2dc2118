//! The cgroup files of a process, with their paths: where each limit and each count stands.

use holdfast_kernel::sys::pid::Pid;
use std::path::{Path, PathBuf};

use super::procfs::{self, Mount};

/// Where a process's groups are, by controller.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    /// Controllers (empty: the v2 tree) and the group's directory.
    places: Vec<(Vec<String>, PathBuf)>,
    /// Whether the v2 tree has controllers at all.
    pure: bool,
}

/// A value and the file that it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub text: String,
    pub file: PathBuf,
}

impl Groups {
    /// The groups of a process.
    pub(super) fn of_process(pid: Pid) -> Self {
        let groups = procfs::text(pid, "cgroup").unwrap_or_default();
        let mounts = procfs::read("/proc/self/mountinfo").unwrap_or_default();
        Self::parse(&groups, &procfs::mounts(&mounts))
    }

    /// From /proc/PID/cgroup (cgroups(7)) and a mount table.
    fn parse(groups: &str, mounts: &[Mount]) -> Self {
        let place = |line: &str| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let names: Vec<String> = controllers
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
            let mount = mounts.iter().find(|mount| has_controllers(mount, &names))?;
            let below = Path::new(path).strip_prefix(&mount.root).ok()?;
            Some((names, Path::new(&mount.target).join(below)))
        };
        let places: Vec<_> = groups.lines().filter_map(place).collect();
        let pure = places.iter().all(|(names, _)| names.is_empty());
        Self { places, pure }
    }

    /// Whether everything is in one v2 tree.
    pub(super) fn is_v2(&self) -> bool {
        self.pure
    }

    /// The group's directory for a controller.
    pub(super) fn directory(&self, controller: &str) -> Option<&Path> {
        let has = |names: &[String]| names.iter().any(|name| name == controller);
        let own = self.places.iter().find(|(names, _)| has(names));
        let v2 = self.places.iter().find(|(names, _)| names.is_empty());
        own.or(v2).map(|(_, path)| path.as_path())
    }

    /// The content of a controller's file: the v1 name, or the v2 name where that serves it.
    pub(super) fn read(&self, controller: &str, v1: &str, v2: &str) -> Option<Value> {
        self.read_in(self.directory(controller)?, controller, (v1, v2))
    }

    /// The same in another group of the tree, such as the one above.
    pub(super) fn read_in(
        &self,
        directory: &Path,
        controller: &str,
        names: (&str, &str),
    ) -> Option<Value> {
        let is_v1 = self
            .places
            .iter()
            .any(|(names, _)| names.iter().any(|name| name == controller));
        let file = directory.join(if is_v1 { names.0 } else { names.1 });
        let text = procfs::read(file.to_str()?).ok()?;
        Some(Value {
            text: text.trim().to_owned(),
            file,
        })
    }
}

/// Whether a mount is the tree of these controllers.
fn has_controllers(mount: &Mount, controllers: &[String]) -> bool {
    match controllers.first() {
        None => mount.fs_type == "cgroup2",
        Some(first) => {
            let wanted = first
                .strip_prefix("name=")
                .map_or(first.as_str(), |_| first);
            mount.fs_type == "cgroup"
                && mount
                    .super_options
                    .split(',')
                    .any(|option| option == wanted)
        }
    }
}

/// A counter of a file of `NAME VALUE` lines.
pub(super) fn counter(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fs_type: &str, target: &str, root: &str, options: &str) -> Mount {
        Mount {
            root: root.to_owned(),
            target: target.to_owned(),
            options: "rw".to_owned(),
            fs_type: fs_type.to_owned(),
            source: "cgroup".to_owned(),
            super_options: options.to_owned(),
        }
    }

    #[test]
    fn a_hybrid_machine() {
        let mounts = [
            mount("cgroup", "/sys/fs/cgroup/memory", "/", "rw,memory"),
            mount("cgroup", "/sys/fs/cgroup/cpu", "/", "rw,cpu,cpuacct"),
            mount("cgroup2", "/sys/fs/cgroup/unified", "/", "rw"),
        ];
        let groups = Groups::parse("4:memory:/pod/a\n3:cpu,cpuacct:/pod/a\n0::/\n", &mounts);
        assert!(!groups.is_v2());
        assert_eq!(
            groups.directory("memory"),
            Some(Path::new("/sys/fs/cgroup/memory/pod/a"))
        );
        assert_eq!(
            groups.directory("cpuacct"),
            Some(Path::new("/sys/fs/cgroup/cpu/pod/a"))
        );
        assert_eq!(
            groups.directory("io"),
            Some(Path::new("/sys/fs/cgroup/unified/"))
        );
    }

    #[test]
    fn a_pure_machine_whose_tree_is_mounted_from_below() {
        let mounts = [mount("cgroup2", "/sys/fs/cgroup", "/outer", "rw")];
        let groups = Groups::parse("0::/outer/pod/a\n", &mounts);
        assert!(groups.is_v2());
        assert_eq!(
            groups.directory("memory"),
            Some(Path::new("/sys/fs/cgroup/pod/a"))
        );
    }

    #[test]
    fn a_counter_among_others() {
        assert_eq!(counter("low 0\noom_kill 3\n", "oom_kill"), Some(3));
        assert_eq!(counter("low 0\n", "oom"), None);
    }
}
