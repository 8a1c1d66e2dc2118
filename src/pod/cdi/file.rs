//! The files of CDI: JSON or YAML, versions 0.3.0 to 1.1.0.

use std::path::Path;

use serde::Deserialize;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `.json`.
    Json,
    /// `.yaml` or `.yml`.
    Yaml,
}

impl Form {
    /// The form of a file by its name; none when it is no description.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// A description: one kind of device, by one vendor.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecFile {
    cdi_version: String,
    /// `vendor.com/class`.
    pub kind: String,
    devices: Vec<Device>,
    /// Changes for every container with one of the devices.
    #[serde(default)]
    pub container_edits: Edits,
}

/// One device.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    name: String,
    /// Changes for containers with this device.
    #[serde(default)]
    pub container_edits: Edits,
}

/// Changes of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Edits {
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Nodes.
    pub device_nodes: Vec<NodeEdit>,
    /// Mounts.
    pub mounts: Vec<MountEdit>,
    hooks: Vec<Hook>,
    /// Further groups.
    #[serde(rename = "additionalGids")]
    pub additional_gids: Vec<u32>,
    intel_rdt: Option<serde_json::Value>,
    net_devices: Vec<serde_json::Value>,
}

/// A node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeEdit {
    /// Where, in the container.
    pub path: String,
    /// Where on the host, when that is elsewhere.
    #[serde(default)]
    pub host_path: String,
    /// `b`, `c`, `u` or `p`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Of `r`, `w` and `m`.
    #[serde(default)]
    pub permissions: String,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountEdit {
    /// Path of the host.
    pub host_path: String,
    /// Where, in the container.
    pub container_path: String,
    /// Options.
    #[serde(default)]
    pub options: Vec<String>,
    /// Type.
    #[serde(default, rename = "type")]
    pub kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    hook_name: String,
    path: String,
}

impl SpecFile {
    /// The device of this name.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }
}

impl Edits {
    /// The first part that cannot be done, in words.
    pub fn unsupported(&self) -> Option<String> {
        if let Some(hook) = self.hooks.first() {
            return Some(format!("the {} hook {}", hook.hook_name, hook.path));
        }
        if self.intel_rdt.is_some() {
            return Some("intelRdt".to_owned());
        }
        (!self.net_devices.is_empty()).then(|| "netDevices".to_owned())
    }
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str, form: Form) -> Result<SpecFile, String> {
    let spec: SpecFile = match form {
        Form::Json => serde_json::from_str(text).map_err(|error| error.to_string())?,
        Form::Yaml => serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?,
    };
    let version = spec.cdi_version.trim_start_matches('v');
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    let known = match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(0), Some(minor)) => (3..=8).contains(&minor),
        (Some(1), Some(minor)) => minor <= 1,
        _ => false,
    };
    if !known {
        return Err(format!("cdiVersion {version:?} is none of 0.3.0 to 1.1.0"));
    }
    if split_kind(&spec.kind).is_none() {
        return Err(format!("kind {:?} is not like vendor.com/class", spec.kind));
    }
    Ok(spec)
}

/// Kind and name of a device: `vendor.com/class=name`.
pub fn split_name(text: &str) -> Option<(&str, &str)> {
    let (kind, name) = text.split_once('=')?;
    split_kind(kind)?;
    word(name, "_-.:").then_some((kind, name))
}

fn split_kind(kind: &str) -> Option<(&str, &str)> {
    let (vendor, class) = kind.split_once('/')?;
    (word(vendor, "_-.") && word(class, "_-.")).then_some((vendor, class))
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
