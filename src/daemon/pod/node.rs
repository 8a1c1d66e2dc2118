//! The parts that all pods of this machine share: settings, stores, the network, the cgroup hierarchy.

use holdfast_kernel::error_chain;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};

use super::apparmor;
use super::archive::Archive;
use super::cgroups;
use super::debt::Debts;
use super::error::{PlacementError, PodError};
use super::events::Events;
use super::host;
use super::index::Index;
use super::readiness::Readiness;
use super::settings::{CniUse, PodSettings};
use super::spawn::Spawner;
use super::stats::Samples;
use crate::plan::CgroupMounts;
use crate::plan::seccomp::FilterCache;
use crate::spec::{self, HostFacts};
use crate::systemd::{self, Slice, Systemd};
use holdfast_disk::{Dir, Durability, FileName, FsSpace};
use holdfast_image::ImageStore;
use holdfast_kernel::cgroup::{CgroupPath, Driver, Hierarchy, Mode};
use holdfast_kernel::id::{ContainerId, PodId};
use holdfast_kernel::sys::{path, proc};
use holdfast_network::cni::CniNetwork;
use holdfast_network::{BridgeNetwork, NetnsName, netns};
use holdfast_wire::plan::STORE_MOUNT;

/// Shared by the tasks of all pods.
#[derive(Debug)]
pub(super) struct Node {
    pub settings: PodSettings,
    pub images: ImageStore,
    pub index: Index,
    pub cgroups: Hierarchy,
    pub driver: Driver,
    pub systemd: Systemd,
    pub cgroup_mounts: CgroupMounts,
    pub facts: HostFacts,
    pub hostname: String,
    pub boot_id: String,
    pub filters: FilterCache,
    pub spawner: Spawner,
    pub network: Option<BridgeNetwork>,
    pub cni: Arc<CniNetwork>,
    pub cni_use: CniUse,
    pub debts: Debts,
    pub archive: Archive,
    pub readiness: Readiness,
    pub samples: Samples,
    pub events: Events,
    pods: Dir,
    containers: Dir,
}

/// How long the release of what an earlier boot left may take beyond one call of a plugin.
const RELEASE_MARGIN: Duration = Duration::from_secs(5);
/// Directory of the pods' state below the run directory.
const PODS: &str = "pods";
/// Directory of the containers' writable layers below the root directory.
const CONTAINERS: &str = "containers";
/// Directory of the volumes that its image declares below a container's directory.
const VOLUMES: &str = "volumes";
/// The bundle of a container with hooks below its directory.
const BUNDLE: &str = "bundle";
/// Directory that stands for the layers of an image that has none, below a container's directory.
pub(super) const EMPTY_LAYER: &str = "empty";

impl Node {
    /// Makes the directories and reads the machine's facts. Blocks.
    pub(super) fn open(settings: PodSettings, images: ImageStore) -> Result<Self, PodError> {
        let system = |doing| move |source| PodError::System { doing, source };
        let run = Dir::create_root(&settings.run_dir)?;
        let root = Dir::create_root(&settings.root_dir)?;
        let cgroups = Hierarchy::detect()?;
        let driver = driver(settings.cgroup_driver, cgroups.mode())?;
        if driver == Driver::Systemd {
            Slice::of_path(&settings.cgroup_parent)?;
        }
        let network = settings
            .network
            .clone()
            .map(BridgeNetwork::new)
            .transpose()?;
        let cni = Arc::new(CniNetwork::open(settings.cni.clone())?);
        if let Some(bridge) = &network {
            prepare_bridge(bridge, &cni, settings.cni_use)?;
        }
        let spawner = Spawner::new(&settings.shim, &settings.root_dir)?;
        let mut facts = host::facts(cgroups.mode()).map_err(system("read the machine's facts"))?;
        facts.user_namespace_problem = spawner.user_namespace_problem().map(str::to_owned);
        if facts.apparmor {
            facts.apparmor_default = default_profile();
        }
        Ok(Self {
            pods: run.create_subdir(&FileName::new(PODS)?, 0o700)?,
            containers: root.create_subdir(&FileName::new(CONTAINERS)?, 0o700)?,
            facts,
            cgroup_mounts: host::cgroup_mounts().map_err(system("read the cgroup mounts"))?,
            hostname: host::node_hostname(),
            boot_id: proc::boot_id().map_err(system("read the boot id"))?,
            filters: FilterCache::default(),
            spawner,
            debts: Debts::open(&root)?,
            archive: Archive::open(&root)?,
            readiness: Readiness::new(settings.cni.timeout + RELEASE_MARGIN),
            samples: Samples::default(),
            events: Events::default(),
            index: Index::default(),
            cgroups,
            driver,
            systemd: Systemd::default(),
            network,
            cni,
            cni_use: settings.cni_use,
            settings,
            images,
        })
    }

    /// Whether the directories can be written and the cgroups read. Blocks.
    pub(super) fn check(&self) -> Result<(), PodError> {
        for (doing, dir) in [
            ("write to run_dir", &self.pods),
            ("write to root_dir", &self.containers),
        ] {
            // Also root is told of a file system that was remounted read-only.
            faccessat(dir.as_fd(), ".", AccessFlags::W_OK, AtFlags::empty()).map_err(|errno| {
                PodError::System {
                    doing,
                    source: errno.into(),
                }
            })?;
        }
        Ok(self.cgroups.check()?)
    }

    /// Compiles the seccomp filters that nearly every pod uses, so that the first one does not wait for it.
    pub(super) fn compile_usual_filters(&self) {
        for profile in spec::usual_filters(&self.facts) {
            if let Err(error) = self.filters.get(&profile) {
                // The pods that need it will say so.
                tracing::error!(
                    error = error_chain(&error),
                    "cannot compile a default seccomp filter"
                );
            }
        }
    }

    /// State directory of a pod, made when missing.
    pub(super) fn make_pod_dir(&self, id: PodId) -> Result<Dir, PodError> {
        Ok(self
            .pods
            .create_subdir(&FileName::new(id.to_string())?, 0o700)?)
    }

    /// State directory of a pod; none when it is deleted already.
    pub(super) fn pod_dir(&self, id: PodId) -> Result<Option<Dir>, PodError> {
        match self.pods.subdir(&FileName::new(id.to_string())?) {
            Err(error) if error.is_not_found() => Ok(None),
            opened => Ok(Some(opened?)),
        }
    }

    /// Deletes a pod's state directory once what is owed for it is on disk: until then the record in it is what
    /// the next daemon goes by.
    pub(super) fn delete_pod_dir(&self, id: PodId) -> Result<(), PodError> {
        self.debts.secure(id)?;
        self.forget_pod_dir(id)
    }

    /// Deletes the state directory of a pod for which nothing is owed any more, and its copy for the next boot
    /// before that: no daemon finds it then.
    pub(super) fn forget_pod_dir(&self, id: PodId) -> Result<(), PodError> {
        self.archive.forget(id)?;
        Ok(self.pods.remove_tree(&FileName::new(id.to_string())?)?)
    }

    /// Identifiers and state directories of all pods on disk.
    pub(super) fn pod_dirs(&self) -> Result<Vec<(PodId, Dir)>, PodError> {
        let mut found = Vec::new();
        for entry in self.pods.entries()? {
            let id = entry.name.as_str().and_then(|name| name.parse().ok());
            if let Some(id) = id {
                found.push((id, self.pods.subdir(&entry.name)?));
            }
        }
        Ok(found)
    }

    /// Makes the upper and work directories of a container, whose root belongs to `owner`.
    pub(super) fn make_layer(&self, id: ContainerId, owner: (u32, u32)) -> Result<(), PodError> {
        let dir = self
            .containers
            .create_subdir(&FileName::new(id.to_string())?, 0o700)?;
        // The upper directory's mode is that of the container's root.
        let upper = dir.create_subdir(&FileName::new("upper")?, 0o755)?;
        path::set_own(upper.as_fd(), owner.0, owner.1).map_err(|errno| PodError::System {
            doing: "give the container's root directory to its root user",
            source: errno.into(),
        })?;
        dir.create_subdir(&FileName::new("work")?, 0o700)?;
        Ok(())
    }

    /// Makes the directory that stands for the layers of an image that has none: an overlay wants one.
    pub(super) fn make_empty_layer(&self, id: ContainerId) -> Result<(), PodError> {
        let container = self.containers.subdir(&FileName::new(id.to_string())?)?;
        container.create_subdir(&FileName::new(EMPTY_LAYER)?, 0o755)?;
        Ok(())
    }

    /// Makes the directory of a volume that a container's image declares.
    pub(super) fn make_volume(&self, id: ContainerId, number: usize) -> Result<Dir, PodError> {
        let container = self.containers.subdir(&FileName::new(id.to_string())?)?;
        let volumes = container.create_subdir(&FileName::new(VOLUMES)?, 0o700)?;
        Ok(volumes.create_new_subdir(&FileName::new(number.to_string())?, 0o755)?)
    }

    /// Path of that directory on the host.
    pub(super) fn volume_path(&self, id: ContainerId, number: usize) -> PathBuf {
        let container = self.settings.root_dir.join(CONTAINERS).join(id.to_string());
        container.join(VOLUMES).join(number.to_string())
    }

    /// Writes the bundle of a container with hooks: its Spec as config.json, and the place of its root.
    pub(super) fn make_bundle(&self, id: ContainerId, spec: &[u8]) -> Result<(), PodError> {
        let container = self.containers.subdir(&FileName::new(id.to_string())?)?;
        let bundle = container.create_subdir(&FileName::new(BUNDLE)?, 0o700)?;
        bundle.create_subdir(&FileName::new("rootfs")?, 0o755)?;
        bundle.replace(&FileName::new("config.json")?, spec, Durability::Volatile)?;
        Ok(())
    }

    /// Path of that directory on the host.
    pub(super) fn bundle_path(&self, id: ContainerId) -> PathBuf {
        let container = self.settings.root_dir.join(CONTAINERS).join(id.to_string());
        container.join(BUNDLE)
    }

    /// Deletes the upper and work directories and the volumes of a container. Missing ones are success.
    pub(super) fn delete_layer(&self, id: ContainerId) -> Result<(), PodError> {
        Ok(self
            .containers
            .remove_tree(&FileName::new(id.to_string())?)?)
    }

    /// The upper directory of a container.
    pub(super) fn upper(&self, id: ContainerId) -> Result<Dir, PodError> {
        let dir = self.containers.subdir(&FileName::new(id.to_string())?)?;
        Ok(dir.subdir(&FileName::new("upper")?)?)
    }

    /// The room on the file system of the containers' writable layers.
    pub(super) fn store_space(&self) -> Result<FsSpace, PodError> {
        Ok(self.containers.space()?)
    }

    /// Identifiers of all containers that have directories.
    pub(super) fn layers(&self) -> Result<Vec<ContainerId>, PodError> {
        let entries = self.containers.entries()?;
        Ok(entries
            .iter()
            .filter_map(|entry| entry.name.as_str()?.parse().ok())
            .collect())
    }

    /// A path below the root directory as the shim sees it.
    pub(super) fn store_path(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.settings.root_dir).unwrap_or(path);
        Path::new(STORE_MOUNT).join(below)
    }

    /// A container's directory as the shim sees it.
    pub(super) fn container_store_path(&self, id: ContainerId, name: &str) -> PathBuf {
        Path::new(STORE_MOUNT)
            .join(CONTAINERS)
            .join(id.to_string())
            .join(name)
    }

    /// Path of a pod's state directory on the host.
    pub(super) fn pod_path(&self, id: PodId) -> PathBuf {
        self.settings.run_dir.join(PODS).join(id.to_string())
    }

    /// The cgroup that holds those of a pod's processes: what the request names, or one below our own parent;
    /// with systemd a scope in it.
    pub(super) fn pod_cgroup(
        &self,
        id: PodId,
        parent: Option<&str>,
    ) -> Result<CgroupPath, PodError> {
        if self.driver == Driver::Systemd {
            let slice = match parent {
                Some(parent) => Slice::parse(parent)?,
                None => Slice::of_path(&self.settings.cgroup_parent)?,
            };
            return cgroups::of_scope(id, &slice);
        }
        match parent {
            Some(parent) => Ok(CgroupPath::new(parent)?),
            None => Ok(CgroupPath::new(&self.settings.cgroup_parent)?.join(&id.to_string())?),
        }
    }
}

/// Who makes the cgroups of pods on this machine.
fn driver(wanted: Option<Driver>, mode: Mode) -> Result<Driver, PodError> {
    match (wanted, mode) {
        (Some(Driver::Systemd), Mode::Hybrid | Mode::V1) => {
            Err(PodError::Placement(PlacementError::DriverMode))
        }
        (Some(driver), _) => Ok(driver),
        (None, Mode::V2) if systemd::is_running() => Ok(Driver::Systemd),
        (None, _) => Ok(Driver::Cgroupfs),
    }
}

/// Makes the built-in bridge unless the plugins' network takes its place and no pod is left on it: a machine
/// that has another network gets no bridge that nobody uses. Blocks.
fn prepare_bridge(
    bridge: &BridgeNetwork,
    cni: &CniNetwork,
    cni_use: CniUse,
) -> Result<(), PodError> {
    let plugins = cni_use == CniUse::WhenConfigured && !matches!(cni.configured(), Ok(None));
    if plugins && !bridge.is_used() {
        return Ok(());
    }
    Ok(bridge.ensure()?)
}

/// Name under which a pod's network namespace is pinned.
pub(super) fn netns_name(id: PodId) -> String {
    format!("holdfast-{}", id.short())
}

impl Node {
    /// Pins a pod's network namespace where ip-netns(8) looks. Blocks; may be repeated.
    pub(super) fn pin(&self, id: PodId, namespace: BorrowedFd<'_>) -> Result<(), PodError> {
        netns::pin(
            &self.settings.netns_dir,
            &NetnsName::new(&netns_name(id))?,
            namespace,
        )?;
        Ok(())
    }

    /// Where a pod's network namespace is pinned.
    pub(super) fn netns_path(&self, id: PodId) -> PathBuf {
        self.settings.netns_dir.join(netns_name(id))
    }

    /// Undoes [`Node::pin`]. Blocks; may be repeated.
    pub(super) fn unpin(&self, id: PodId) -> Result<(), PodError> {
        Ok(netns::unpin(
            &self.settings.netns_dir,
            &NetnsName::new(&netns_name(id))?,
        )?)
    }
}

/// Name of the AppArmor profile of containers that ask for the default. Without a parser a node still works,
/// with what else confines a container.
fn default_profile() -> Option<String> {
    apparmor::ensure_default()
        .inspect_err(|error| {
            tracing::warn!(
                error = error_chain(error),
                "containers are not confined by AppArmor unless they name a profile"
            );
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::error::{ConnectError, ErrorKind};
    use crate::pod::record;
    use crate::pod::settings::ImageVolumes;
    use crate::pod::testing;
    use crate::spec::PodConfig;
    use holdfast_image::ImageSettings;
    use holdfast_kernel::error_chain;
    use holdfast_network::cni::CniSettings;
    use std::collections::BTreeSet;

    impl Node {
        /// A node below `root`, whose pods have no network; see [`testing::node`].
        pub(in crate::pod) fn of_test(root: &Path) -> Self {
            let (run_dir, root_dir) = (root.join("run"), root.join("root"));
            let cni = CniSettings {
                conf_dir: root.join("cni-conf"),
                bin_dirs: Vec::new(),
                timeout: Duration::from_secs(3600),
                state_dir: root.join("cni-state"),
                native: None,
            };
            let run = Dir::create_root(&run_dir).unwrap();
            let dir = Dir::create_root(&root_dir).unwrap();
            Self {
                pods: run
                    .create_subdir(&FileName::new(PODS).unwrap(), 0o700)
                    .unwrap(),
                containers: dir
                    .create_subdir(&FileName::new(CONTAINERS).unwrap(), 0o700)
                    .unwrap(),
                facts: HostFacts::complete(),
                cgroup_mounts: CgroupMounts::V2 {
                    options: Vec::new(),
                },
                hostname: "node".to_owned(),
                boot_id: "one".to_owned(),
                filters: FilterCache::default(),
                spawner: Spawner::of_test(),
                debts: Debts::open(&dir).unwrap(),
                archive: Archive::open(&dir).unwrap(),
                readiness: Readiness::new(cni.timeout),
                samples: Samples::default(),
                events: Events::default(),
                index: Index::default(),
                cgroups: Hierarchy::detect().expect("cgroups are mounted"),
                driver: Driver::Cgroupfs,
                systemd: Systemd::default(),
                network: None,
                cni: Arc::new(CniNetwork::open(cni.clone()).unwrap()),
                cni_use: CniUse::Never,
                images: ImageStore::open(&root_dir.join("images"), ImageSettings::default())
                    .unwrap(),
                settings: PodSettings {
                    run_dir,
                    root_dir,
                    shim: PathBuf::new(),
                    cgroup_parent: "/holdfast-unit-tests".to_owned(),
                    cgroup_driver: Some(Driver::Cgroupfs),
                    pids_limit: None,
                    network: None,
                    cni,
                    cni_use: CniUse::Never,
                    cdi_dirs: Vec::new(),
                    netns_dir: root.join("netns"),
                    image_volumes: ImageVolumes::default(),
                    experiments: BTreeSet::new(),
                },
            }
        }
    }

    #[test]
    fn systemd_makes_the_cgroups_only_where_version_2_is_alone() {
        for mode in [Mode::Hybrid, Mode::V1] {
            let error = driver(Some(Driver::Systemd), mode).unwrap_err();
            assert!(
                error.to_string().contains("needs cgroup v2 alone"),
                "{error}"
            );
            assert_eq!(driver(None, mode).unwrap(), Driver::Cgroupfs, "{mode:?}");
        }
        for wanted in [Driver::Systemd, Driver::Cgroupfs] {
            assert_eq!(driver(Some(wanted), Mode::V2).unwrap(), wanted);
        }
    }

    /// The kubelet names the parent; a pod without one gets a group of its own below that of the configuration.
    #[test]
    fn the_cgroup_of_a_pod_follows_the_driver_and_the_request() {
        let (_guard, mut node) = testing::bare_node();
        let id = PodId::random().unwrap();
        let own = format!("/holdfast-unit-tests/{id}");
        let scope = format!("holdfast-{id}.scope");
        let cases = [
            (Driver::Cgroupfs, None, Ok(own)),
            (
                Driver::Cgroupfs,
                Some("/kubepods/pod1"),
                Ok("/kubepods/pod1".to_owned()),
            ),
            (
                Driver::Cgroupfs,
                Some("/a/../b"),
                Err(ErrorKind::InvalidArgument),
            ),
            (
                Driver::Systemd,
                Some("kubepods-pod1.slice"),
                Ok(format!("/kubepods.slice/kubepods-pod1.slice/{scope}")),
            ),
            (
                Driver::Systemd,
                Some("/kubepods/pod1"),
                Err(ErrorKind::InvalidArgument),
            ),
            (Driver::Systemd, None, Ok(format!("/machine.slice/{scope}"))),
        ];
        node.settings.cgroup_parent = "/holdfast-unit-tests".to_owned();
        for (driver, parent, wanted) in cases {
            if driver == Driver::Systemd {
                node.settings.cgroup_parent = "/machine.slice".to_owned();
            }
            node.driver = driver;
            let found = node.pod_cgroup(id, parent);
            let found = found
                .map(|path| path.to_string())
                .map_err(|error| error.kind());
            assert_eq!(found, wanted, "{driver:?} {parent:?}");
        }
    }

    #[test]
    fn only_what_has_an_id_for_a_name_is_a_pod_or_a_container() {
        let (guard, node) = testing::node();
        let (pod, container) = (PodId::random().unwrap(), ContainerId::random().unwrap());
        node.make_pod_dir(pod).unwrap();
        node.make_pod_dir(pod).unwrap();
        node.make_layer(container, testing::user()).unwrap();
        for other in ["run/pods/lost+found", "run/pods/abc", "root/containers/.x"] {
            std::fs::create_dir(guard.path().join(other)).unwrap();
        }
        let pods: Vec<_> = node
            .pod_dirs()
            .unwrap()
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        assert_eq!(pods, [pod]);
        assert_eq!(node.layers().unwrap(), [container]);
        assert!(node.pod_dir(PodId::random().unwrap()).unwrap().is_none());
        node.delete_layer(container).unwrap();
        node.delete_layer(container).unwrap();
        assert!(node.layers().unwrap().is_empty());
    }

    /// A pod whose debt was only in the memory of a daemon that died was released by nobody.
    #[test]
    fn the_record_of_a_pod_stays_until_its_debt_is_on_disk() {
        let (_guard, node) = testing::node();
        let pod = testing::pod_of(&node, PodConfig::default());
        let dir = node.make_pod_dir(pod.id).unwrap();
        record::store_pod(&dir, &pod).unwrap();
        let root = Dir::open_root(&node.settings.root_dir).unwrap();
        let debts = root.subdir(&FileName::new("debts").unwrap()).unwrap();
        let name = FileName::new(pod.id.to_string()).unwrap();
        // No file replaces a directory.
        debts.create_subdir(&name, 0o700).unwrap();
        let failure = PodError::Connect(ConnectError::NoNetwork("made up"));
        node.debts.record_debts(&pod, &[], vec![failure]);
        let error = node.delete_pod_dir(pod.id).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{}", error_chain(&error));
        assert!(record::load_pod(&dir).unwrap().is_some());
        debts.remove_tree(&name).unwrap();
        node.delete_pod_dir(pod.id).unwrap();
        assert!(node.pod_dir(pod.id).unwrap().is_none());
    }

    /// The copy for the next boot goes first: a daemon that dies between the two still knows the pod.
    #[test]
    fn a_pod_that_the_archive_cannot_forget_keeps_its_directory() {
        let (guard, node) = testing::node();
        let pod = testing::pod_of(&node, PodConfig::default());
        node.make_pod_dir(pod.id).unwrap();
        testing::known(&node, &pod);
        node.archive.changed(pod.id);
        node.archive.flush(&node.index).unwrap();
        let file = guard.path().join(format!("root/pods/{}.json", pod.id));
        std::fs::remove_file(&file).unwrap();
        // No directory is deleted as a file is.
        std::fs::create_dir(&file).unwrap();
        node.forget_pod_dir(pod.id).unwrap_err();
        assert!(node.pod_dir(pod.id).unwrap().is_some());
        std::fs::remove_dir(&file).unwrap();
        node.forget_pod_dir(pod.id).unwrap();
        assert!(node.pod_dir(pod.id).unwrap().is_none());
    }

    /// Two volumes of one container never share a directory, whatever a creation that failed has left.
    #[test]
    fn a_volume_is_always_a_new_directory() {
        let (_guard, node) = testing::node();
        let id = ContainerId::random().unwrap();
        node.make_volume(id, 0).unwrap_err();
        node.make_layer(id, testing::user()).unwrap();
        let volume = node.make_volume(id, 0).unwrap();
        assert_eq!(volume.path(), node.volume_path(id, 0));
        let again = node.make_volume(id, 0).unwrap_err();
        assert!(error_chain(&again).contains("File exists"), "{again:?}");
        node.make_volume(id, 1).unwrap();
    }

    #[test]
    fn a_bundle_has_the_spec_and_is_written_again_at_the_next_start() {
        let (_guard, node) = testing::node();
        let id = ContainerId::random().unwrap();
        node.make_layer(id, testing::user()).unwrap();
        for spec in [b"{\"a\":1}".as_slice(), b"{}"] {
            node.make_bundle(id, spec).unwrap();
            let bundle = node.bundle_path(id);
            assert_eq!(std::fs::read(bundle.join("config.json")).unwrap(), spec);
            assert!(bundle.join("rootfs").is_dir());
        }
    }

    /// The shim lives in a mount namespace that has root_dir alone.
    #[test]
    fn the_shim_sees_the_root_directory_at_the_store_mount() {
        let (_guard, node) = testing::node();
        let id = ContainerId::random().unwrap();
        let inside = node.store_path(&node.settings.root_dir.join("images/layers"));
        assert_eq!(inside, Path::new(STORE_MOUNT).join("images/layers"));
        let upper = node.upper(id).map(|_| ());
        upper.unwrap_err();
        node.make_layer(id, testing::user()).unwrap();
        let outside = node.upper(id).unwrap().path().to_owned();
        assert_eq!(
            node.store_path(&outside),
            node.container_store_path(id, "upper")
        );
    }
}
