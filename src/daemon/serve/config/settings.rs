//! The keys of the configuration and their defaults.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::experiments::ExperimentsConfig;
use super::metrics::MetricsConfig;
use super::streaming::StreamingConfig;
use crate::serve::quantity::{Period, Size};
use holdfast_network::Subnet;
use holdfast_network::cni::NativePlugin;

/// The configuration of a daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Durable state: images and the containers' writable layers.
    pub root_dir: PathBuf,
    /// Volatile state: records of pods, sockets of shims. It should be on a tmpfs.
    pub run_dir: PathBuf,
    /// The socket to serve on.
    pub socket: PathBuf,
    /// Members of this group may use the socket, which amounts to root on this machine; without it only root may.
    pub socket_group: Option<String>,
    /// The shim program; without it `holdfast-shim` beside the daemon's own program.
    pub shim: Option<PathBuf>,
    /// Settings of the pods' network.
    pub network: NetworkConfig,
    /// Settings of network plugins (CNI).
    pub cni: CniConfig,
    /// Settings of devices by the Container Device Interface.
    pub cdi: CdiConfig,
    /// Settings of control groups.
    pub cgroup: CgroupConfig,
    /// Settings of images and their downloads.
    pub image: ImageConfig,
    /// Exec, attach and port-forward.
    pub streaming: StreamingConfig,
    /// The daemon's own metrics.
    pub metrics: MetricsConfig,
    /// Experiments that pods may ask for by annotations.
    pub experiments: ExperimentsConfig,
    /// Level and format of the daemon's log.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root_dir: "/var/lib/holdfast".into(),
            run_dir: "/run/holdfast".into(),
            socket: "/run/holdfast/holdfast.sock".into(),
            socket_group: None,
            shim: None,
            network: NetworkConfig::default(),
            cni: CniConfig::default(),
            cdi: CdiConfig::default(),
            cgroup: CgroupConfig::default(),
            image: ImageConfig::default(),
            streaming: StreamingConfig::default(),
            metrics: MetricsConfig::default(),
            experiments: ExperimentsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// How pods are connected to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// Network plugins connect pods when a plugin configuration is installed, otherwise the built-in bridge.
    Auto,
    /// The built-in bridge connects pods.
    Bridge,
    /// The installed network plugins connect pods.
    Cni,
    /// Pods are not connected: they have a loopback interface only.
    None,
}

/// The table `network`: how pods are connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// How pods are connected to a network.
    pub kind: NetworkKind,
    /// Name of the bridge. Two daemons on one machine need two names.
    pub bridge: String,
    /// Subnet of the pods' IPv4 addresses; without it pods have no IPv4 address.
    #[serde(with = "optional_subnet")]
    pub subnet4: Option<Subnet>,
    /// Subnet of the pods' IPv6 addresses; without it pods have no IPv6 address.
    #[serde(with = "optional_subnet")]
    pub subnet6: Option<Subnet>,
    /// MTU of the bridge; without it the kernel's.
    pub mtu: Option<u32>,
    /// Directory in which network namespaces are pinned; ip-netns(8) looks in /run/netns.
    pub netns_dir: PathBuf,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            kind: NetworkKind::Auto,
            bridge: "hf0".to_owned(),
            // Neither docker's, podman's nor a usual cluster's range. Texts that are tested to be subnets.
            subnet4: "10.209.0.0/16".parse().ok(),
            subnet6: "fd68:6f6c:6466::/64".parse().ok(),
            mtu: None,
            netns_dir: "/run/netns".into(),
        }
    }
}

/// The table `cni`: settings of network plugins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CniConfig {
    /// Directory of network configurations; the first file by name is used.
    pub conf_dir: PathBuf,
    /// Directories with plugins, in the order in which they are searched.
    pub bin_dirs: Vec<PathBuf>,
    /// How long one call of one plugin may take.
    pub timeout: Period,
    /// Plugins that the daemon serves itself; without it those whose program is of a known release.
    pub native: Option<Vec<NativePlugin>>,
}

impl Default for CniConfig {
    fn default() -> Self {
        Self {
            conf_dir: "/etc/cni/net.d".into(),
            bin_dirs: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            timeout: Period::from_secs(60),
            native: None,
        }
    }
}

/// Who makes the cgroups of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// `systemd` where systemd runs the machine and cgroup v2 is mounted, otherwise `cgroupfs`.
    Auto,
    /// The daemon makes directories in the cgroup file system.
    Cgroupfs,
    /// The daemon asks systemd for a scope in the slice that the request names.
    Systemd,
}

/// The table `cgroup`: settings of control groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CgroupConfig {
    /// Parent cgroup of pods that name none.
    pub parent: String,
    /// Who makes the cgroups of pods.
    pub driver: CgroupDriver,
    /// Most tasks in a container that sets no limit of its own; without it there is no limit.
    pub pids_limit: Option<u64>,
}

impl Default for CgroupConfig {
    fn default() -> Self {
        Self {
            parent: "/holdfast".to_owned(),
            driver: CgroupDriver::Auto,
            pids_limit: None,
        }
    }
}

/// The table `cdi`: devices by the Container Device Interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CdiConfig {
    /// Directories with descriptions of devices; the later ones win.
    pub dirs: Vec<PathBuf>,
}

impl Default for CdiConfig {
    fn default() -> Self {
        Self {
            dirs: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
        }
    }
}

/// How volumes that images declare are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumesConfig {
    /// Each container gets a directory for each declared volume, with the image's content at that path.
    Bind,
    /// Volumes that images declare are ignored.
    Ignore,
}

/// The table `image`: settings of images and their downloads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// Directories of `HOST/hosts.toml` in containerd's format; the first directory that exists is used.
    pub hosts_dir: Vec<PathBuf>,
    /// Most layers of one image that are downloaded at the same time.
    pub max_parallel_layers: usize,
    /// A download that receives nothing for this long is reconnected and resumed.
    pub stall_timeout: Period,
    /// A download that receives less than this a second is reconnected and resumed; zero allows any rate.
    pub min_download_rate: Size,
    /// The time over which `min_download_rate` is measured.
    pub download_rate_window: Period,
    /// References of images that kubelets must not remove; `*` stands for any characters.
    pub pinned: Vec<String>,
    /// How volumes that images declare are treated.
    pub volumes: VolumesConfig,
    /// Most files that one layer may have.
    pub max_layer_entries: u64,
    /// Most bytes that one layer may have when it is unpacked.
    pub max_layer_size: Size,
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            hosts_dir: vec![
                "/etc/holdfast/certs.d".into(),
                "/etc/containerd/certs.d".into(),
            ],
            max_parallel_layers: 3,
            stall_timeout: Period::from_secs(60),
            min_download_rate: Size(1 << 10),
            download_rate_window: Period::from_secs(60),
            pinned: Vec::new(),
            volumes: VolumesConfig::Bind,
            max_layer_entries: 4 << 20,
            max_layer_size: Size(256 << 30),
        }
    }
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable lines, as for a terminal or the journal.
    Text,
    /// Each line is a JSON object.
    Json,
}

/// The table `log`: level and format of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`, also by module: `info,holdfast_image=debug`. Without a module
    /// `debug` and `trace` are for Holdfast's own modules; others stay at `info`.
    pub level: String,
    /// Format of the log's lines.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// Reads and writes a subnet as text. Empty text means no subnet, since TOML has no null.
mod optional_subnet {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use holdfast_network::Subnet;

    pub(super) fn serialize<S: Serializer>(
        subnet: &Option<Subnet>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match subnet {
            Some(subnet) => out.serialize_str(&subnet.to_string()),
            None => out.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Subnet>, D::Error> {
        let text = String::deserialize(input)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(de::Error::custom)
    }
}
