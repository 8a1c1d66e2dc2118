//! Network configuration lists: the JSON files of the configuration directory (CNI specification, section 1).
//!
//! ```text
//!   net.d/10-a.conflist   {"name":"a", "plugins":[P, Q]}     the first file by name is the network
//!   net.d/a/20-r.conf     R                                  plugins of network a that others add: P, Q, R
//!   net.d/a/30-s.conf     S                                  by name, after those of the list: P, Q, R, S
//!   net.d/50-b.conf       {"name":"b", "type":…}             one plugin, the older form: never with a directory
//! ```
//!
//! What is accepted is what libcni 1.3.1 and containerd's go-cni accept, and what they refuse is refused: a file that
//! they cannot read puts no pod on another network.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::CniError;
use super::field::Object;
use super::version::{self, CniVersion};
use holdfast_disk::json_text;
use holdfast_kernel::sys::regular;

/// Largest configuration file; real ones have a few KiB.
const FILE_LIMIT: u64 = 1 << 20;
/// Most plugins in one list.
const PLUGIN_LIMIT: usize = 64;

/// The network that pods join: plugins that are called one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkList {
    /// The name of the network.
    pub name: String,
    /// The version that its plugins are spoken to in.
    pub version: CniVersion,
    /// Whether the list names its version: where it does not, plugins are told an empty one, as libcni does.
    names_version: bool,
    /// The plugins of the network, in the order of ADD.
    pub plugins: Vec<Plugin>,
    /// CHECK is not to be called.
    pub disable_check: bool,
    /// GC is not to be called.
    pub disable_gc: bool,
    /// The network's own directory is not looked into.
    only_inlined: bool,
    /// The list as it was read, with the plugins of its directory; a single plugin's file is made a list of one.
    pub source: Value,
}

/// A plugin of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// The name of the program, which is, looked up in the plugin directories.
    pub kind: String,
    /// The runtime arguments that it takes.
    capabilities: Vec<String>,
    /// The part of the configuration that is for this plugin, as it was read.
    pub config: Map<String, Value>,
}

impl Plugin {
    /// Whether the plugin takes a runtime argument.
    pub fn takes(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|of| of == capability)
    }
}

/// The network of a directory: the first file by name that ends in `.conflist`, `.conf` or `.json`. None
/// when there is no such file. A first file that is broken is an error: taking the next one would put pods
/// on another network than the one that was meant.
///
/// # Errors
/// [`CniError::Read`], [`CniError::Config`].
pub(super) fn first(dir: &Path) -> Result<Option<NetworkList>, CniError> {
    let Some(path) = files(dir, &["conflist", "conf", "json"])?
        .into_iter()
        .next()
    else {
        return Ok(None);
    };
    let wrong = |reason: String| CniError::Config {
        path: path.clone(),
        reason,
    };
    let source = read(&path)?;
    if ending(&path) != "conflist" {
        return single(source).and_then(parse).map(Some).map_err(wrong);
    }
    let mut list = inlined(source).map_err(wrong)?;
    if !list.only_inlined {
        list.add_from(&dir.join(&list.name))?;
    }
    if list.plugins.is_empty() {
        let place = dir.join(&list.name);
        return Err(wrong(format!(
            "plugins: it is missing, and {} has no file that ends in .conf; name a plugin in one of them",
            place.display()
        )));
    }
    list.check().map_err(wrong)?;
    Ok(Some(list))
}

/// Reads a list that is complete in itself.
///
/// # Errors
/// What is wrong with it and what would be right.
pub(super) fn parse(source: Value) -> Result<NetworkList, String> {
    let list = inlined(source)?;
    if list.plugins.is_empty() {
        return Err("plugins: it is missing; name at least one plugin".to_owned());
    }
    list.check()?;
    Ok(list)
}

impl NetworkList {
    /// Adds the plugins of the network's own directory. A plugin's file needs no more than a type: name and version
    /// are the list's.
    fn add_from(&mut self, dir: &Path) -> Result<(), CniError> {
        for path in files(dir, &["conf"])? {
            let added = plugin("", &read(&path)?).map_err(|reason| CniError::Config {
                path: path.clone(),
                reason,
            })?;
            self.plugins.push(added);
        }
        // The whole list is what is recorded for DEL: the directory may be another one by then.
        if let Value::Object(source) = &mut self.source {
            let all = self.plugins.iter().map(|of| json!(of.config)).collect();
            source.insert("plugins".to_owned(), Value::Array(all));
        }
        Ok(())
    }

    /// The version as plugins are told.
    pub(super) fn told_version(&self) -> &'static str {
        if self.names_version {
            self.version.as_str()
        } else {
            ""
        }
    }

    /// The version, where the list names one.
    pub(super) fn named_version(&self) -> Option<CniVersion> {
        self.names_version.then_some(self.version)
    }

    fn check(&self) -> Result<(), String> {
        let count = self.plugins.len();
        if count > PLUGIN_LIMIT {
            return Err(format!(
                "plugins: there are {count}, and at most {PLUGIN_LIMIT} are allowed"
            ));
        }
        Ok(())
    }
}

/// The files of a directory with one of these endings, by name. None when there is no such directory.
fn files(dir: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, CniError> {
    let failed = |source| CniError::Read {
        path: dir.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if endings.contains(&ending(&path)) && !entry.file_type().map_err(failed)?.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What stands after the last dot of a file's name, also of one that begins with it.
fn ending(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str());
    let parts = name.and_then(|name| name.rsplit_once('.'));
    parts.map_or("", |(_, ending)| ending)
}

fn read(path: &Path) -> Result<Value, CniError> {
    let wrong = |error: &dyn std::fmt::Display| CniError::Config {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let text = regular::read(path, FILE_LIMIT).map_err(|source| match source.kind() {
        std::io::ErrorKind::FileTooLarge => wrong(&source),
        _ => CniError::Read {
            path: path.to_owned(),
            source,
        },
    })?;
    serde_json::from_str(&json_text(&text)).map_err(|error| wrong(&error))
}

/// A file with one plugin, as a list.
fn single(source: Value) -> Result<Value, String> {
    let file = Object::document(&source)?;
    if file.get("type").is_none() && file.get("plugins").is_some() {
        return Err(
            "type: it is missing; a file with a list of plugins has to end in .conflist".to_owned(),
        );
    }
    // Here, so that what is wrong has its place in the file and not in the list that it becomes.
    plugin("", &source)?;
    let list = json!({ "name": file.text("name")?, "cniVersion": file.text("cniVersion")? });
    let Value::Object(mut list) = list else {
        return Err("no JSON object".to_owned());
    };
    list.insert("plugins".to_owned(), json!([source]));
    Ok(Value::Object(list))
}

/// Reads a list with the plugins that stand in it, which may be none where others add theirs.
fn inlined(source: Value) -> Result<NetworkList, String> {
    let Value::Object(fields) = &source else {
        return Err("no JSON object".to_owned());
    };
    let name = match fields.get("name") {
        Some(Value::String(name)) if is_name(name) => name.clone(),
        name => {
            let given = name.unwrap_or(&Value::Null);
            return Err(format!(
                "name: invalid value {given}: letters, digits, `.`, `_` and `-` are expected, a letter or digit first"
            ));
        }
    };
    let only_inlined = switch(fields, "loadOnlyInlinedPlugins")?;
    let plugins = match fields.get("plugins") {
        None if only_inlined => {
            return Err(
                "plugins: it is missing, and loadOnlyInlinedPlugins allows no others".to_owned(),
            );
        }
        None => Vec::new(),
        Some(Value::Array(entries)) if !entries.is_empty() => {
            let entries = entries.iter().enumerate();
            let entries = entries.map(|(index, entry)| plugin(&format!("plugins[{index}]"), entry));
            entries.collect::<Result<_, _>>()?
        }
        Some(other) => {
            return Err(format!(
                "plugins: invalid value {other}: a list of at least one plugin is expected"
            ));
        }
    };
    let named = version(fields)?;
    Ok(NetworkList {
        version: named.unwrap_or(CniVersion::V0_1_0),
        names_version: named.is_some(),
        plugins,
        disable_check: switch(fields, "disableCheck")?,
        disable_gc: switch(fields, "disableGC")?,
        only_inlined,
        name,
        source,
    })
}

/// A switch of a list: a boolean, or a text that says the same in any case.
fn switch(fields: &Map<String, Value>, key: &str) -> Result<bool, String> {
    match fields.get(key) {
        None => Ok(false),
        Some(Value::Bool(set)) => Ok(*set),
        Some(Value::String(set)) if set.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(set)) if set.eq_ignore_ascii_case("false") => Ok(false),
        Some(other) => Err(format!(
            "{key}: invalid value {other}: true or false is expected"
        )),
    }
}

/// The newest version of those that the list allows and that are known. None where it names none, which means 0.1.0.
fn version(fields: &Map<String, Value>) -> Result<Option<CniVersion>, String> {
    let text = |path: &str, value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{path}: invalid value {other}: a text is expected")),
    };
    let unknown = |path: &str, given: &str| {
        let known = version::KNOWN;
        format!("{path}: invalid value {given}: {known} is expected")
    };
    let single = fields.get("cniVersion");
    let single = single.map(|value| text("cniVersion", value)).transpose()?;
    let single = single.filter(|text| !text.is_empty());
    let several = match fields.get("cniVersions") {
        None => Vec::new(),
        Some(Value::Array(several)) => several.clone(),
        Some(other) => {
            return Err(format!(
                "cniVersions: invalid value {other}: a list of texts is expected"
            ));
        }
    };
    let mut newest = match &single {
        None => None,
        Some(text) => CniVersion::parse(text),
    };
    if several.is_empty() {
        return match (single, newest) {
            (Some(text), None) => Err(unknown("cniVersion", &format!("{text:?}"))),
            (_, newest) => Ok(newest),
        };
    }
    for (index, value) in several.iter().enumerate() {
        let path = format!("cniVersions[{index}]");
        let given = text(&path, value)?;
        if !is_version(&given) {
            return Err(unknown(&path, &format!("{given:?}")));
        }
        // Those of a later specification are for others who read the same file.
        newest = newest.max(CniVersion::parse(&given));
    }
    let all = Value::Array(several).to_string();
    newest.map(Some).ok_or_else(|| unknown("cniVersions", &all))
}

/// Whether a text is a version, known or not: up to three numbers, or nothing for 0.1.0.
fn is_version(text: &str) -> bool {
    let number = |part: &str| part.parse::<u32>().is_ok();
    text.is_empty() || (text.split('.').count() <= 3 && text.split('.').all(number))
}

/// One plugin; `path` is its place in the file, empty for a whole one.
fn plugin(path: &str, value: &Value) -> Result<Plugin, String> {
    let object = match path {
        "" => Object::document(value)?,
        path => Object::at(path, value)?,
    };
    let kind = object.text("type")?;
    // It becomes a path below the plugin directories and must not leave them.
    if kind.is_empty() || kind.starts_with('.') || kind.contains(['/', '\0']) {
        return Err(format!(
            "{}: invalid value {kind:?}: the file name of a plugin's program is expected",
            object.path("type")
        ));
    }
    // What the reference library reads of every plugin's configuration has the right types, or the file is refused.
    let _ = (object.text("name")?, object.text("cniVersion")?);
    let capabilities = object.switches("capabilities")?;
    object.object_field("prevResult")?;
    if let Some(ipam) = object.object_field("ipam")? {
        ipam.text("type")?;
    }
    if let Some(dns) = object.object_field("dns")? {
        dns.text("domain")?;
        for key in ["nameservers", "search", "options"] {
            dns.texts(key)?;
        }
    }
    let set = capabilities.into_iter().filter(|(_, set)| *set);
    Ok(Plugin {
        kind: kind.to_owned(),
        capabilities: set.map(|(name, _)| name.to_owned()).collect(),
        config: value.as_object().cloned().unwrap_or_default(),
    })
}

/// Network names: section 1 of the specification.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(plain)
}
