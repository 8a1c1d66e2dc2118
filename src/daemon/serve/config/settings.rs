//! The keys of the configuration and their defaults.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::experiments::ExperimentsConfig;
use super::metrics::MetricsConfig;
use super::streaming::StreamingConfig;
use crate::serve::quantity::{Period, Size};
use holdfast_network::Subnet;

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
    /// Group that may use the socket; without it only root may.
    pub socket_group: Option<String>,
    /// The shim program; without it the one beside the daemon's own program.
    pub shim: Option<PathBuf>,
    /// Network of pods.
    pub network: NetworkConfig,
    /// Network plugins.
    pub cni: CniConfig,
    /// Devices by the Container Device Interface.
    pub cdi: CdiConfig,
    /// Control groups.
    pub cgroup: CgroupConfig,
    /// Images.
    pub image: ImageConfig,
    /// Exec, attach and port-forward.
    pub streaming: StreamingConfig,
    /// The daemon's own metrics.
    pub metrics: MetricsConfig,
    /// What pods may ask for that CRI has no field for.
    pub experiments: ExperimentsConfig,
    /// Log.
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

/// What connects pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// The installed plugins when there is a configuration of them, otherwise the built-in bridge.
    Auto,
    /// The built-in bridge.
    Bridge,
    /// The installed plugins.
    Cni,
    /// Nothing: pods have a loopback interface only.
    None,
}

/// Network of pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// What connects pods.
    pub kind: NetworkKind,
    /// Name of the bridge. Two daemons on one machine need two names.
    pub bridge: String,
    /// Where IPv4 addresses come from; empty: none.
    #[serde(with = "optional_subnet")]
    pub subnet4: Option<Subnet>,
    /// Where IPv6 addresses come from; empty: none.
    #[serde(with = "optional_subnet")]
    pub subnet6: Option<Subnet>,
    /// MTU of the bridge; without it the kernel's.
    pub mtu: Option<u32>,
    /// Where network namespaces are pinned; ip-netns(8) looks in /run/netns.
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

/// Network plugins (CNI).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CniConfig {
    /// Where their configuration is: the first file by name is the network.
    pub conf_dir: PathBuf,
    /// Where they are, in the order of the search.
    pub bin_dirs: Vec<PathBuf>,
    /// How long one call of one plugin may take.
    pub timeout: Period,
}

impl Default for CniConfig {
    fn default() -> Self {
        Self {
            conf_dir: "/etc/cni/net.d".into(),
            bin_dirs: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            timeout: Period::from_secs(60),
        }
    }
}

/// How cgroups are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// As systemd where it runs the machine and cgroup v2 is there, else as directories.
    Auto,
    /// By making directories.
    Cgroupfs,
    /// By asking systemd for a scope in the slice that the request names.
    Systemd,
}

/// Control groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CgroupConfig {
    /// Cgroup of pods that ask for none.
    pub parent: String,
    /// How cgroups are made.
    pub driver: CgroupDriver,
    /// Most tasks in a container that sets no limit; without it there is none.
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

/// Devices by the Container Device Interface.
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

/// What is done about the volumes that images declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumesConfig {
    /// Each container gets a directory for each, with what the image has there.
    Bind,
    /// Nothing.
    Ignore,
}

/// Images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// Directories of `HOST/hosts.toml` in containerd's format; the first that exists counts.
    pub hosts_dir: Vec<PathBuf>,
    /// Layers of one image under way at once.
    pub max_parallel_layers: usize,
    /// A connection that brings nothing for so long is broken off, and the download resumed.
    pub stall_timeout: Period,
    /// Likewise a download that brings less than so much a second; zero lets it be as slow as it likes.
    pub min_download_rate: Size,
    /// The time over which that rate is measured.
    pub download_rate_window: Period,
    /// References of images that kubelets must not collect; `*` stands for any characters.
    pub pinned: Vec<String>,
    /// What is done about the volumes that images declare.
    pub volumes: VolumesConfig,
    /// Most files in one layer.
    pub max_layer_entries: u64,
    /// Most content of one layer, unpacked.
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

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`, also by module: `info,holdfast_image=debug`.
    pub level: String,
    /// Form.
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

/// A subnet as text; the empty text is none, which TOML has no value for.
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
