//! Network plugins of a test: a configuration, real plugins and scripted ones.
//!
//! A daemon with plugins runs in a network namespace of its own, because real plugins leave chains of iptables
//! in place for good.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use cri_api::runtime::v1::{RuntimeCondition, StatusRequest};
use serde_json::Value;

use crate::call::{call, must, until};
use crate::daemon::{Daemon, Options};
use crate::place::Place;
use crate::program;
use crate::request::BUSYBOX;

/// Where Debian's containernetworking-plugins are.
const INSTALLED: &str = "/usr/lib/cni";

/// Which real plugins a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The plugins of Debian, from 2022.
    Debian,
    /// Those that e2e/tools/install.sh builds, of 2026, with multus and flannel's.
    Built,
}

impl Release {
    /// Both releases, for tests that run with each.
    pub const ALL: [Release; 2] = [Release::Debian, Release::Built];

    fn dir(self) -> PathBuf {
        match self {
            Release::Debian => INSTALLED.into(),
            Release::Built => program::cache().join("bin/cni"),
        }
    }

    /// The versions of the CNI that they speak.
    pub fn versions(self) -> &'static [&'static str] {
        const ALL: [&str; 7] = [
            "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
        ];
        match self {
            Release::Debian => &ALL[..6],
            Release::Built => &ALL,
        }
    }
}

/// A plugin that writes down how it was called and does what the test says: it sources `VERB.sh`, when there is
/// one, and gives a result with an address.
const SPY: &str = r#"#!/bin/sh
dir=DIR
name=${0##*/}
mkdir -p $dir/calls
call=$dir/calls/$(date +%s%N).$name.$CNI_COMMAND
cat >$call.stdin
env | grep ^CNI_ >$call.partial
mv $call.partial $call
if [ -e $dir/$name.$CNI_COMMAND.sh ]; then . $dir/$name.$CNI_COMMAND.sh; fi
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"'$CNI_NETNS'"}],
  "ips":[{"address":"fd00::7/64","interface":0},{"address":"10.99.0.7/24","interface":0}]}' ;;
VERSION) echo '{"cniVersion":"1.1.0",
  "supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}' ;;
esac
"#;

/// The network plugins of one daemon.
#[derive(Debug, Clone)]
pub struct Plugins {
    dir: PathBuf,
}

/// One call of a scripted plugin.
#[derive(Debug, Clone)]
pub struct Spied {
    /// Name of the plugin and its verb: `NAME.VERB`.
    pub what: String,
    /// Its environment: `CNI_…` with values.
    pub environment: Vec<String>,
    /// The JSON that it read from standard input.
    pub stdin: Value,
}

impl Spied {
    /// Whether it has a variable with a value.
    pub fn has(&self, variable: &str) -> bool {
        self.environment.iter().any(|line| line == variable)
    }
}

/// Starts a daemon with plugins in a network namespace of its own. There is no configuration yet.
pub fn start(options: Options) -> (Daemon, Plugins) {
    start_as("cni", options)
}

/// As [`start`], with another kind of network than `cni`.
pub fn start_as(kind: &'static str, options: Options) -> (Daemon, Plugins) {
    start_with(Release::Debian, kind, options)
}

/// As [`start_as`], with plugins of a release.
pub fn start_with(release: Release, kind: &'static str, options: Options) -> (Daemon, Plugins) {
    start_at(Place::new(), release, kind, options)
}

/// As [`start_with`], in a place that is there already.
pub fn start_at(
    place: Place,
    release: Release,
    kind: &'static str,
    options: Options,
) -> (Daemon, Plugins) {
    let plugins = Plugins::install(&place, release);
    let path = |path: PathBuf| toml::Value::from(path.display().to_string());
    options
        .set("network.kind", kind)
        .set("cni.conf_dir", path(plugins.conf()))
        .set(
            "cni.bin_dirs",
            toml::Value::Array(vec![path(plugins.bin())]),
        )
        .write(&place);
    let daemon = Daemon::at(place);
    // The registry is in the tests' own namespace.
    daemon.provide(BUSYBOX);
    daemon.terminate();
    daemon.place.make_home();
    daemon.restart();
    (daemon, plugins)
}

impl Plugins {
    /// Makes the directories of a place's plugins, with links to those of a release.
    pub fn install(place: &Place, release: Release) -> Self {
        let plugins = Self {
            dir: place.dir.join("cni"),
        };
        for dir in [plugins.conf(), plugins.bin(), plugins.leases()] {
            fs::create_dir_all(&dir)
                .unwrap_or_else(|error| panic!("make {}: {error}", dir.display()));
        }
        let installed = fs::read_dir(release.dir());
        assert!(
            release == Release::Debian || installed.is_ok(),
            "{} is missing: run e2e/tools/install.sh",
            release.dir().display()
        );
        for entry in installed.into_iter().flatten().flatten() {
            let link = plugins.bin().join(entry.file_name());
            symlink(entry.path(), link).unwrap_or_else(|error| panic!("link a plugin: {error}"));
        }
        plugins
    }

    /// Where the daemon looks for configurations.
    pub fn conf(&self) -> PathBuf {
        self.dir.join("net.d")
    }

    /// Where the daemon looks for plugins.
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// Where host-local keeps its leases.
    pub fn leases(&self) -> PathBuf {
        self.dir.join("leases")
    }

    /// Files of host-local's leases: their names are the addresses.
    pub fn leased(&self) -> Vec<String> {
        let networks = fs::read_dir(self.leases()).into_iter().flatten().flatten();
        let files = networks.flat_map(|network| fs::read_dir(network.path()).into_iter().flatten());
        let names = files
            .flatten()
            .map(|file| file.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
            .collect()
    }

    /// Writes a configuration file; one of a network's own directory is NETWORK/FILE.
    pub fn configure(&self, name: &str, text: &str) {
        let text = text.replace("LEASES", &self.leases().display().to_string());
        let text = text.replace("PLUGINS", &self.dir.display().to_string());
        let path = self.conf().join(name);
        if let Some(network) = path.parent() {
            fs::create_dir_all(network).unwrap_or_else(|error| panic!("make {name}: {error}"));
        }
        self.write(&path, &text, 0o644);
    }

    /// Removes a configuration file.
    pub fn forget(&self, name: &str) {
        fs::remove_file(self.conf().join(name)).unwrap_or_else(|error| panic!("remove: {error}"));
    }

    /// Adds a scripted plugin.
    pub fn spy(&self, name: &str) {
        let script = SPY.replace("DIR", &self.dir.display().to_string());
        self.write(&self.bin().join(name), &script, 0o755);
    }

    /// Adds a plugin of the test's own.
    pub fn program(&self, name: &str, script: &str) {
        self.write(&self.bin().join(name), script, 0o755);
    }

    /// Adds a file that plugins read, beside the directories of this place: PLUGINS/NAME in a configuration.
    pub fn provide(&self, name: &str, text: &str) {
        self.write(&self.dir.join(name), text, 0o644);
    }

    /// The versions of the CNI that a plugin says it speaks; none of one that is not there.
    pub fn spoken(&self, program: &str) -> Vec<String> {
        let path = self.bin().join(program);
        if !path.exists() {
            return Vec::new();
        }
        let ask = format!(
            r#"echo '{{"cniVersion":"1.0.0"}}' | CNI_COMMAND=VERSION CNI_PATH=/ CNI_IFNAME=x CNI_NETNS=x {}"#,
            path.display()
        );
        let answer: Value = serde_json::from_str(&program::sh(&ask)).unwrap_or_default();
        let versions = answer["supportedVersions"].as_array();
        let texts = versions.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// What a scripted plugin does when it is called with a verb, before it answers. Nothing: as before.
    pub fn act(&self, name: &str, verb: &str, script: &str) {
        self.write(&self.dir.join(format!("{name}.{verb}.sh")), script, 0o644);
    }

    /// Replaces a file in one step, so that nobody runs or reads half of it.
    fn write(&self, path: &std::path::Path, text: &str, mode: u32) {
        let partial = self.dir.join("partial");
        fs::write(&partial, text)
            .and_then(|()| fs::set_permissions(&partial, fs::Permissions::from_mode(mode)))
            .and_then(|()| fs::rename(&partial, path))
            .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    }

    /// All calls of scripted plugins but those that ask for the version, in their order.
    pub fn calls(&self) -> Vec<Spied> {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.dir.join("calls"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        paths.retain(|path| {
            let end = path.extension().and_then(|end| end.to_str());
            !matches!(end, Some("stdin" | "partial" | "VERSION"))
        });
        paths.sort();
        paths.iter().map(|path| spied(path)).collect()
    }

    /// The calls as `NAME.VERB`.
    pub fn order(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.what).collect()
    }

    /// Forgets the calls until now.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(self.dir.join("calls"));
    }
}

fn spied(path: &std::path::Path) -> Spied {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let stdin = fs::read(format!("{}.stdin", path.display())).unwrap_or_default();
    Spied {
        what: name
            .split_once('.')
            .map_or_else(String::new, |(_, what)| what.to_owned()),
        environment: fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect(),
        stdin: serde_json::from_slice(&stdin).unwrap_or_default(),
    }
}

/// Runs a script of sh in the daemon's network namespace.
#[track_caller]
pub fn inside(daemon: &Daemon, script: &str) -> program::Ran {
    let place = format!("--net=/run/netns/{}", daemon.place.tag);
    program::run("nsenter", [place.as_str(), "sh", "-c", script])
}

/// What the daemon says of its network once the plugins have answered.
#[track_caller]
pub fn network_ready(daemon: &Daemon) -> RuntimeCondition {
    until("the plugins' answer", Duration::from_secs(15), || {
        let condition = network_condition(daemon);
        let answered = !condition.message.contains("have not answered yet");
        answered.then_some(condition)
    })
}

/// What the daemon says of its network at once.
#[track_caller]
pub fn network_condition(daemon: &Daemon) -> RuntimeCondition {
    let status = must(
        "Status",
        call(daemon.clients().runtime.status(StatusRequest::default())),
    );
    let conditions = status.status.unwrap().conditions;
    let mut found = conditions.into_iter();
    found.find(|of| of.r#type == "NetworkReady").unwrap()
}
