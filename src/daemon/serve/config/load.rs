//! Reads the file and its drop-ins.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::refusal::ConfigError;
use super::settings::Config;

/// The configuration file that is read unless another one is named.
pub const DEFAULT_PATH: &str = "/etc/holdfast/config.toml";

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

/// Parses a file as a table. The file is read as a whole configuration first, so that an error has its line.
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
