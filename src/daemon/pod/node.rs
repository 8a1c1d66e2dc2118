//! What all pods of this machine share: settings, stores, the network, the cgroup hierarchy.

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
