//! The configuration file: TOML, with drop-ins.
//!
//! Every key has a default, so there need not be a file at all. `config.d/*.toml` beside the file are merged
//! over it in the order of their names: tables key by key, everything else as a whole. A key that is not
//! known and a value of the wrong type are errors with file and line. Nothing here has side effects.

mod check;
mod experiments;
mod metrics;
mod streaming;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub(super) use experiments::ExperimentsConfig;
pub(super) use metrics::MetricsConfig;
pub(super) use streaming::StreamingConfig;

use super::quantity::{Period, Size};
use holdfast_network::Subnet;

/// Where the configuration is looked for when nobody says.
pub const DEFAULT_PATH: &str = "/etc/holdfast/config.toml";

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

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no configuration.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value cannot be used.
    #[error("configuration: {key} = {value:?} is not possible; {remedy}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The configuration cannot be shown.
    #[error("cannot write the configuration as TOML")]
    Show(#[source] toml::ser::Error),
}

impl Config {
    /// Reads a file and its drop-ins. Without a file named, the default one need not exist.
    ///
    /// # Errors
    /// [`ConfigError`] names file and line, or the key.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_PATH));
        let mut merged = match read(path) {
            Ok(text) => parse(path, &text)?,
            Err(ConfigError::Read { source, .. })
                if file.is_none() && source.kind() == io::ErrorKind::NotFound =>
            {
                Table::new()
            }
            Err(error) => return Err(error),
        };
        for path in drop_ins(path)? {
            merge(&mut merged, parse(&path, &read(&path)?)?);
        }
        let config: Self = merged
            .try_into()
            .map_err(|error| syntax(path, "", &error))?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    /// [`ConfigError::Show`] for a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(ConfigError::Show)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The drop-ins of a file, in the order of their names.
fn drop_ins(file: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let dir = file.with_file_name("config.d");
    let failed = |source| ConfigError::Read {
        path: dir.clone(),
        source,
    };
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// One file as a table. It is read as a configuration of its own first, so that an error has its line.
fn parse(path: &Path, text: &str) -> Result<Table, ConfigError> {
    toml::from_str::<Config>(text).map_err(|error| syntax(path, text, &error))?;
    toml::from_str(text).map_err(|error| syntax(path, text, &error))
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.as_bytes()[..start]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1;
    ConfigError::Syntax {
        path: path.to_owned(),
        line,
        message: error.message().to_owned(),
    }
}

/// Puts `over` on `under`: tables key by key, everything else as a whole.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
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
