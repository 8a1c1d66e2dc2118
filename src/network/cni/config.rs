//! Network configuration lists: the JSON files of the configuration directory (CNI specification, section 1).

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::CniError;

/// Largest configuration file; real ones have a few KiB.
const FILE_LIMIT: u64 = 1 << 20;
/// Most plugins in one list.
const PLUGIN_LIMIT: usize = 64;

/// The versions of the protocol that are spoken, as `cniVersion` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CniVersion {
    /// 0.3.0; its results are those of 0.3.1.
    V0_3_0,
    /// 0.3.1.
    V0_3_1,
    /// 0.4.0: CHECK, and the result of ADD goes to DEL.
    V0_4_0,
    /// 1.0.0.
    V1_0_0,
    /// 1.1.0: GC and STATUS.
    V1_1_0,
}

/// All versions, the newest first.
const VERSIONS: [(CniVersion, &str); 5] = [
    (CniVersion::V1_1_0, "1.1.0"),
    (CniVersion::V1_0_0, "1.0.0"),
    (CniVersion::V0_4_0, "0.4.0"),
    (CniVersion::V0_3_1, "0.3.1"),
    (CniVersion::V0_3_0, "0.3.0"),
];

impl CniVersion {
    fn parse(text: &str) -> Option<CniVersion> {
        let known = VERSIONS.iter().find(|(_, name)| *name == text);
        known.map(|(version, _)| *version)
    }

    /// As `cniVersion` has it.
    pub fn as_str(self) -> &'static str {
        let known = VERSIONS.iter().find(|(version, _)| *version == self);
        known.map_or("1.1.0", |(_, name)| name)
    }
}

/// The network that pods join: plugins that are called one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkList {
    /// Its name.
    pub name: String,
    /// The version that its plugins are spoken to in.
    pub version: CniVersion,
    /// Its plugins, in the order of ADD.
    pub plugins: Vec<Plugin>,
    /// CHECK is not to be called.
    pub disable_check: bool,
    /// GC is not to be called.
    pub disable_gc: bool,
    /// The list as it was read; a single plugin's file is made a list of one.
    pub source: Value,
}

/// One plugin of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// Its program: a file name, looked up in the plugin directories.
    pub kind: String,
    /// Its part of the configuration, as it was read.
    pub config: Map<String, Value>,
}

impl Plugin {
    /// Whether the plugin takes a runtime argument.
    pub fn takes(&self, capability: &str) -> bool {
        let declared = self.config.get("capabilities");
        declared.and_then(|all| all.get(capability)) == Some(&Value::Bool(true))
    }
}

/// The network of a directory: the first file by name that ends in `.conflist`, `.conf` or `.json`. None
/// when there is no such file. A first file that is broken is an error: taking the next one would put pods
/// on another network than the one that was meant.
///
/// # Errors
/// [`CniError::Read`], [`CniError::Config`].
pub fn first(dir: &Path) -> Result<Option<NetworkList>, CniError> {
    let Some(path) = first_file(dir)? else {
        return Ok(None);
    };
    let failed = |source| CniError::Read {
        path: path.clone(),
        source,
    };
    let mut text = Vec::new();
    let file = std::fs::File::open(&path).map_err(failed)?;
    file.take(FILE_LIMIT + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    let wrong = |reason: String| CniError::Config {
        path: path.clone(),
        reason,
    };
    if text.len() as u64 > FILE_LIMIT {
        return Err(wrong(format!("it has more than {FILE_LIMIT} bytes")));
    }
    let value: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let list = path.extension().is_some_and(|end| end == "conflist");
    let value = if list { value } else { list_of_one(value) };
    parse(value).map(Some).map_err(wrong)
}

fn first_file(dir: &Path) -> Result<Option<PathBuf>, CniError> {
    let failed = |source| CniError::Read {
        path: dir.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut first: Option<PathBuf> = None;
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let end = path.extension().and_then(|end| end.to_str());
        if matches!(end, Some("conflist" | "conf" | "json"))
            && first.as_ref().is_none_or(|first| path < *first)
        {
            first = Some(path);
        }
    }
    Ok(first)
}

/// A file with one plugin, as a list.
fn list_of_one(plugin: Value) -> Value {
    let mut list = Map::new();
    for key in ["name", "cniVersion"] {
        if let Some(value) = plugin.get(key) {
            list.insert(key.to_owned(), value.clone());
        }
    }
    list.insert("plugins".to_owned(), Value::Array(vec![plugin]));
    Value::Object(list)
}

/// Reads a list.
///
/// # Errors
/// What is wrong with it and what would be right.
pub(super) fn parse(source: Value) -> Result<NetworkList, String> {
    let text = |key: &str| source.get(key).and_then(Value::as_str);
    let name = text("name").unwrap_or_default().to_owned();
    if !is_name(&name) {
        return Err(format!(
            "name {name:?} is no network name; give letters, digits, `.`, `_` and `-`, a letter or digit first"
        ));
    }
    let plugins = source.get("plugins").and_then(Value::as_array);
    let plugins = plugins.ok_or("it has no list `plugins`")?;
    if plugins.is_empty() || plugins.len() > PLUGIN_LIMIT {
        return Err(format!("give 1 to {PLUGIN_LIMIT} plugins"));
    }
    let flag = |key: &str| match source.get(key) {
        Some(Value::Bool(set)) => *set,
        Some(Value::String(set)) => set.eq_ignore_ascii_case("true"),
        _ => false,
    };
    Ok(NetworkList {
        version: version(&source)?,
        plugins: plugins.iter().map(plugin).collect::<Result<_, _>>()?,
        disable_check: flag("disableCheck"),
        disable_gc: flag("disableGC"),
        name,
        source,
    })
}

/// The newest version of those that the list allows.
fn version(source: &Value) -> Result<CniVersion, String> {
    let single = source.get("cniVersion").into_iter();
    let several = source.get("cniVersions").and_then(Value::as_array);
    let given: Vec<&str> = single
        .chain(several.into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let known = given.iter().filter_map(|text| CniVersion::parse(text));
    known.max().ok_or_else(|| {
        format!("cniVersion {given:?} is not spoken; give 0.3.1, 0.4.0, 1.0.0 or 1.1.0")
    })
}

fn plugin(value: &Value) -> Result<Plugin, String> {
    let config = value.as_object().ok_or("a plugin is no JSON object")?;
    let kind = config.get("type").and_then(Value::as_str);
    let kind = kind.unwrap_or_default();
    // It becomes a path below the plugin directories and must not leave them.
    if kind.is_empty() || kind.starts_with('.') || kind.contains(['/', '\0']) {
        return Err(format!(
            "plugin type {kind:?} is no file name of a plugin program"
        ));
    }
    Ok(Plugin {
        kind: kind.to_owned(),
        config: config.clone(),
    })
}

/// Network names: section 1 of the specification.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(plain)
}
