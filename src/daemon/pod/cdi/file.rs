//! The files of CDI: versions 0.3.0 to 1.1.0, checked as the reference library checks them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::yaml;

/// Released versions of the specification that can be read, oldest first.
const VERSIONS: [&str; 8] = [
    "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
];

/// Whether a file of this name is a description. The reference takes `.json` and `.yaml` alone
/// (container-device-interface 1.1.2, spec-dirs.go); `.yml` is read here as well.
pub(super) fn is_description(path: &Path) -> bool {
    let extension = path.extension().and_then(|text| text.to_str());
    matches!(extension, Some("json" | "yaml" | "yml"))
}

/// A description: one kind of device, by one vendor.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct SpecFile {
    cdi_version: String,
    pub kind: String,
    annotations: BTreeMap<String, String>,
    /// An entry of null is no device.
    devices: Vec<Option<Device>>,
    /// Changes for every container with one of the devices.
    pub container_edits: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Device {
    name: String,
    annotations: BTreeMap<String, String>,
    /// Changes for containers with this device.
    pub container_edits: Edits,
}

/// Changes of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Edits {
    env: Vec<Option<String>>,
    pub device_nodes: Vec<NodeEdit>,
    pub mounts: Vec<MountEdit>,
    /// Programs to run around the container's start and end.
    pub hooks: Vec<HookEdit>,
    additional_gids: Vec<Option<u32>>,
    intel_rdt: Option<IntelRdt>,
    net_devices: Vec<NetDevice>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct NodeEdit {
    /// Where, in the container.
    pub path: String,
    /// Where on the host, when that is elsewhere.
    pub host_path: String,
    /// `b`, `c`, `u` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Major number; 0 means that of the host's node.
    pub major: i64,
    pub minor: i64,
    pub file_mode: Option<u32>,
    /// Permissions out of `r`, `w` and `m`, or `none`.
    pub permissions: String,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct MountEdit {
    /// Path of the host.
    pub host_path: String,
    /// Where, in the container.
    pub container_path: String,
    pub options: Vec<Option<String>>,
    #[serde(rename = "type")]
    pub kind: String,
}

/// A program of the node that is run at a moment of the container's life.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct HookEdit {
    /// Which moment: `createRuntime`, ….
    pub hook_name: String,
    pub path: String,
    /// Its arguments, the first being its name.
    pub args: Vec<Option<String>>,
    pub env: Vec<Option<String>>,
    /// Seconds after which it has failed.
    pub timeout: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct IntelRdt {
    #[serde(rename = "closID")]
    clos_id: String,
    l3_cache_schema: String,
    mem_bw_schema: String,
    schemata: Option<Vec<Option<String>>>,
    enable_monitoring: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct NetDevice {
    host_interface_name: String,
    name: String,
}

/// Moments at which hooks may be run.
const HOOKS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

impl SpecFile {
    /// The device of this name.
    pub(super) fn device(&self, name: &str) -> Option<&Device> {
        self.devices().find(|device| device.name == name)
    }

    fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().flatten()
    }

    /// All edits of the file, with where each stands.
    fn all_edits(&self) -> impl Iterator<Item = (String, &Edits)> {
        let of_devices = self
            .devices()
            .map(|device| (format!("device {:?}", device.name), &device.container_edits));
        std::iter::once(("containerEdits".to_owned(), &self.container_edits)).chain(of_devices)
    }

    fn check(&self) -> Result<(), String> {
        let version = self.cdi_version.trim_start_matches('v');
        let Some(number) = VERSIONS.iter().position(|known| *known == version) else {
            let known = VERSIONS.join(", ");
            return Err(format!("cdiVersion: {version:?} is none of {known}"));
        };
        if split_kind(&self.kind).is_none() {
            return Err(format!(
                "kind: {:?} is not like vendor.com/class",
                self.kind
            ));
        }
        let mut names = Vec::new();
        for device in self.devices() {
            if !word(&device.name, "_-.:") {
                return Err(format!("devices: {:?} is no name of a device", device.name));
            }
            if names.contains(&device.name.as_str()) {
                return Err(format!("devices: {:?} is there twice", device.name));
            }
            if device.container_edits.is_empty() {
                return Err(format!("device {:?}: containerEdits is empty", device.name));
            }
            names.push(&device.name);
        }
        if names.is_empty() {
            return Err("devices: there is none".to_owned());
        }
        for (place, edits) in self.all_edits() {
            edits.check().map_err(|why| format!("{place}: {why}"))?;
        }
        let (least, what) = self.least_version();
        if VERSIONS.iter().position(|known| *known == least) > Some(number) {
            return Err(format!(
                "cdiVersion: {version:?} has no {what}; write {least:?} or later"
            ));
        }
        Ok(())
    }

    /// The oldest version that has all that the file uses, and the newest part of it.
    fn least_version(&self) -> (&'static str, &'static str) {
        let any = |test: fn(&Edits) -> bool| self.all_edits().any(|(_, edits)| test(edits));
        let class = self.kind.split_once('/').map_or("", |(_, class)| class);
        let digit = |device: &Device| {
            device
                .name
                .starts_with(|letter: char| letter.is_ascii_digit())
        };
        if any(|edits| !edits.net_devices.is_empty()) {
            ("1.1.0", "netDevices")
        } else if any(|edits| edits.intel_rdt.as_ref().is_some_and(IntelRdt::is_new)) {
            ("1.1.0", "schemata or enableMonitoring of intelRdt")
        } else if any(|edits| edits.intel_rdt.is_some()) {
            ("0.7.0", "intelRdt")
        } else if any(|edits| !edits.additional_gids.is_empty()) {
            ("0.7.0", "additionalGids")
        } else if !self.annotations.is_empty()
            || self.devices().any(|one| !one.annotations.is_empty())
        {
            ("0.6.0", "annotations")
        } else if class.contains('.') {
            ("0.6.0", "dot in the class of a kind")
        } else if self.devices().any(digit) {
            ("0.5.0", "device name that begins with a digit")
        } else if any(|edits| {
            edits
                .device_nodes
                .iter()
                .any(|node| !node.host_path.is_empty())
        }) {
            ("0.5.0", "hostPath of a device node")
        } else if any(|edits| edits.mounts.iter().any(|mount| !mount.kind.is_empty())) {
            ("0.4.0", "type of a mount")
        } else {
            ("0.3.0", "")
        }
    }
}

impl IntelRdt {
    fn is_new(&self) -> bool {
        self.schemata.is_some() || self.enable_monitoring
    }
}

impl Edits {
    /// The first part that cannot be done, in words.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        if self.intel_rdt.is_some() {
            return Some("intelRdt");
        }
        (!self.net_devices.is_empty()).then_some("netDevices")
    }

    /// Environment, `NAME=value` each; an entry of null is left out.
    pub(super) fn env(&self) -> &[Option<String>] {
        &self.env
    }

    /// Further groups, each with its index in the file.
    pub(super) fn additional_gids(&self) -> impl Iterator<Item = (usize, u32)> {
        let all = self.additional_gids.iter().enumerate();
        all.filter_map(|(index, gid)| gid.map(|gid| (index, gid)))
    }

    fn is_empty(&self) -> bool {
        self.env.is_empty()
            && self.device_nodes.is_empty()
            && self.mounts.is_empty()
            && self.hooks.is_empty()
            && self.additional_gids.is_empty()
            && self.intel_rdt.is_none()
            && self.net_devices.is_empty()
    }

    fn check(&self) -> Result<(), String> {
        check_env("env", &self.env)?;
        for (number, node) in self.device_nodes.iter().enumerate() {
            let wrong = |what: String| Err(format!("deviceNodes[{number}]: {what}"));
            if node.path.is_empty() {
                return wrong("path is missing".to_owned());
            }
            if !matches!(node.kind.as_str(), "" | "b" | "c" | "u" | "p") {
                return wrong(format!("type: {:?} is none of b, c, u and p", node.kind));
            }
            if node.major < 0 || node.minor < 0 {
                return wrong(format!(
                    "device number {}:{} is negative",
                    node.major, node.minor
                ));
            }
            let letters = node.permissions.bytes().all(|byte| b"rwm".contains(&byte));
            if !letters && node.permissions != "none" {
                let given = &node.permissions;
                return wrong(format!(
                    "permissions: {given:?} is neither none nor of r, w and m"
                ));
            }
        }
        for (number, mount) in self.mounts.iter().enumerate() {
            if mount.host_path.is_empty() || mount.container_path.is_empty() {
                return Err(format!(
                    "mounts[{number}]: hostPath or containerPath is missing"
                ));
            }
        }
        for (number, hook) in self.hooks.iter().enumerate() {
            let wrong = |what: String| Err(format!("hooks[{number}]: {what}"));
            if !HOOKS.contains(&hook.hook_name.as_str()) {
                let known = HOOKS.join(", ");
                return wrong(format!("hookName: {:?} is none of {known}", hook.hook_name));
            }
            if hook.path.is_empty() {
                return wrong("path is missing".to_owned());
            }
            check_env("env", &hook.env).or_else(wrong)?;
        }
        let mut devices = self.net_devices.iter();
        if devices.any(|one| one.name.is_empty() || one.host_interface_name.is_empty()) {
            return Err("netDevices: hostInterfaceName or name is missing".to_owned());
        }
        Ok(())
    }
}

fn check_env(field: &str, env: &[Option<String>]) -> Result<(), String> {
    let named = |text: &&String| text.find('=').is_some_and(|at| at > 0);
    match env.iter().flatten().find(|text| !named(text)) {
        Some(text) => Err(format!("{field}: {text:?} is not like NAME=value")),
        None => Ok(()),
    }
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<SpecFile, String> {
    let spec: SpecFile = yaml::from_str(text).map_err(|error| error.to_string())?;
    spec.check()?;
    Ok(spec)
}

/// Kind and name of a device: `vendor.com/class=name`.
pub(super) fn split_name(text: &str) -> Option<(&str, &str)> {
    let (kind, name) = text.split_once('=')?;
    split_kind(kind)?;
    word(name, "_-.:").then_some((kind, name))
}

fn split_kind(kind: &str) -> Option<(&str, &str)> {
    let (vendor, class) = kind.split_once('/')?;
    let letter = |text: &str| text.starts_with(|first: char| first.is_ascii_alphabetic());
    let name = |text: &str| letter(text) && word(text, "_-.");
    (name(vendor) && name(class)).then_some((vendor, class))
}

/// Letters and digits, inside also some other characters.
fn word(text: &str, others: &str) -> bool {
    let edge = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().next_back())
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || others.contains(letter))
}
