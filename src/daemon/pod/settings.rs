//! The settings of the daemon's configuration that concern pods.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::spec::experiments::Experiment;
use holdfast_kernel::cgroup::Driver;
use holdfast_network::BridgeSettings;
use holdfast_network::cni::CniSettings;

/// The settings of all pods.
#[derive(Debug, Clone)]
pub(crate) struct PodSettings {
    /// Directory of volatile state, on a tmpfs where there is one.
    pub run_dir: PathBuf,
    /// Directory of durable state: images and the containers' writable layers.
    pub root_dir: PathBuf,
    pub shim: PathBuf,
    /// Cgroup below which pods without a cgroup parent get theirs.
    pub cgroup_parent: String,
    /// Who makes the cgroups of pods; without it systemd where it runs the machine and cgroup v2 is there.
    pub cgroup_driver: Option<Driver>,
    /// Most tasks in a container that sets no limit; none for no limit.
    pub pids_limit: Option<u64>,
    /// The built-in network, for pods that join no network of plugins; without it they have a loopback
    /// interface only.
    pub network: Option<BridgeSettings>,
    /// The network of plugins.
    pub cni: CniSettings,
    /// When pods join that one.
    pub cni_use: CniUse,
    /// Directories with descriptions of CDI devices; the later ones win.
    pub cdi_dirs: Vec<PathBuf>,
    /// Directory in which network namespaces are pinned: /run/netns, where ip-netns(8) looks.
    pub netns_dir: PathBuf,
    /// Whether volumes that images declare become directories of the container.
    pub image_volumes: ImageVolumes,
    /// Experiments that pods may ask for by annotations.
    pub experiments: BTreeSet<Experiment>,
}

/// When pods join the network of the plugins that are installed on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CniUse {
    Never,
    /// When there is a configuration at the time.
    WhenConfigured,
    /// Always: without a configuration there are no new pods.
    Always,
}

/// Whether volumes that images declare become directories of the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ImageVolumes {
    /// Each container gets a directory for each.
    #[default]
    Bind,
    Ignore,
}
