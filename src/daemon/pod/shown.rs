//! Specs as clients see them: scripts read there at which paths the namespaces of a pod can be entered.
//!
//! The path of the network namespace is the pinned one, as containerd and CRI-O have it. Where the process is gone
//! whose namespaces a Spec names there is no path at all, for its number is nobody's or somebody else's.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::error::PodError;
use super::record::PodRecord;
use super::{Pods, container, sandbox};

impl Pods {
    /// The OCI runtime Spec of a container.
    ///
    /// # Errors
    /// It is not known, or the kernel no longer has its AppArmor profile.
    pub(crate) fn runtime_spec(&self, id: &str) -> Result<Spec, PodError> {
        let (pod, record) = self.container(id)?;
        let mut spec = container::runtime_spec(&self.0, &pod, &record)?;
        self.paths(&pod.pod).show(&mut spec);
        Ok(spec)
    }

    /// The OCI runtime Spec of a pod's pause.
    ///
    /// # Errors
    /// It is not known.
    pub(crate) fn pause_spec(&self, id: &str) -> Result<Spec, PodError> {
        let snapshot = self.pod(id)?;
        let mut spec = sandbox::pause_spec(&self.0, &snapshot.pod)?;
        self.paths(&snapshot.pod).show(&mut spec);
        Ok(spec)
    }

    /// Where the network namespace of a pod is pinned, if it is.
    pub(crate) fn pinned_network(&self, pod: &PodRecord) -> Option<PathBuf> {
        Some(self.netns_path(pod)).filter(|path| path.exists())
    }

    fn paths(&self, pod: &PodRecord) -> Paths {
        Paths {
            network: self.pinned_network(pod),
            pause: pod.pause.is_some_and(|pause| pause.exists()),
        }
    }
}

/// Paths of the namespaces that a pod has.
#[derive(Debug)]
struct Paths {
    network: Option<PathBuf>,
    pause: bool,
}

impl Paths {
    /// Brings the paths of a Spec to what there is.
    fn show(&self, spec: &mut Spec) {
        let Some(linux) = spec.linux_mut() else {
            return;
        };
        for namespace in linux.namespaces_mut().iter_mut().flatten() {
            let path = match namespace.typ() {
                LinuxNamespaceType::Network => self.network.clone(),
                _ => namespace.path().clone().filter(|path| self.has(path)),
            };
            namespace.set_path(path);
        }
    }

    /// Whether there is what a path names. The pause owns all namespaces of a pod but those of a container that
    /// another one has joined; process 0 stands for one that has ended.
    fn has(&self, path: &Path) -> bool {
        let gone = path.starts_with("/proc/0");
        (self.pause && !gone) || !path.starts_with("/proc")
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{Linux, LinuxNamespace};

    use super::*;

    /// The network's path is where it is pinned (containerd 2.4.2 `runtimeSpec` of `crictl inspectp`, CRI-O 1.37
    /// likewise); a path that OCI's config-linux.md wants to exist is left out where it cannot.
    #[test]
    fn paths_are_those_that_there_are() {
        use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
        let pin = || Some(PathBuf::from("/run/netns/holdfast-1"));
        let (alive, ended) = (true, false);
        let cases = [
            (Network, None, pin(), alive, Some("/run/netns/holdfast-1")),
            (
                Network,
                Some("/proc/7/ns/net"),
                pin(),
                alive,
                Some("/run/netns/holdfast-1"),
            ),
            (Network, Some("/proc/0/ns/net"), None, ended, None),
            (Network, Some("/run/netns/holdfast-2"), None, ended, None),
            (
                Network,
                Some("/proc/7/ns/net"),
                pin(),
                ended,
                Some("/run/netns/holdfast-1"),
            ),
            (
                Ipc,
                Some("/proc/7/ns/ipc"),
                pin(),
                alive,
                Some("/proc/7/ns/ipc"),
            ),
            (Ipc, Some("/proc/0/ns/ipc"), None, ended, None),
            (Uts, Some("/proc/7/ns/uts"), None, ended, None),
            (Pid, Some("/proc/7/ns/pid"), None, ended, None),
            (
                Pid,
                Some("/proc/8/ns/pid"),
                pin(),
                alive,
                Some("/proc/8/ns/pid"),
            ),
            (Pid, Some("/proc/0/ns/pid"), pin(), alive, None),
            (Pid, Some("/proc/0/ns/pid"), None, ended, None),
            (Cgroup, Some("/proc/7/ns/cgroup"), None, ended, None),
            (Mount, None, pin(), alive, None),
        ];
        for (kind, path, network, pause, wanted) in cases {
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(kind).set_path(path.map(PathBuf::from));
            let mut linux = Linux::default();
            linux.set_namespaces(Some(vec![namespace]));
            let mut spec = Spec::default();
            spec.set_linux(Some(linux));
            Paths { network, pause }.show(&mut spec);
            let shown = spec
                .linux()
                .as_ref()
                .unwrap()
                .namespaces()
                .as_ref()
                .unwrap();
            assert_eq!(
                shown[0].path().as_deref(),
                wanted.map(Path::new),
                "{kind} {path:?}"
            );
        }
    }
}
