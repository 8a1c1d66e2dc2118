//! The configuration of a test's daemon.

use std::fs;
use std::path::PathBuf;

use toml::{Table, Value};

use crate::place::Place;
use crate::registry::Registry;

/// What a test wants otherwise than all others.
#[derive(Debug, Default)]
pub struct Options {
    settings: Vec<(&'static str, Value)>,
    registry: Upstream,
}

/// Where pulls of the test images go.
#[derive(Debug, Default)]
enum Upstream {
    /// To the plain http registry.
    #[default]
    Plain,
    /// To the given other registry.
    Other(&'static Registry),
    /// Nowhere: the test writes its own hosts.toml, or pulls nothing.
    None,
}

impl Options {
    /// Sets one key, written with dots.
    pub fn set(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.settings.push((key, value.into()));
        self
    }

    /// Pulls go to this registry.
    pub fn registry(mut self, registry: &'static Registry) -> Self {
        self.registry = Upstream::Other(registry);
        self
    }

    /// No registry is set up.
    pub fn without_registry(mut self) -> Self {
        self.registry = Upstream::None;
        self
    }

    /// Writes the configuration of a place.
    pub fn write(&self, place: &Place) {
        match self.registry {
            Upstream::Plain => Registry::plain().write_hosts(&place.hosts()),
            Upstream::Other(registry) => registry.write_hosts(&place.hosts()),
            Upstream::None => {}
        }
        let mut table = defaults(place);
        for (key, value) in &self.settings {
            put(&mut table, key, value.clone());
        }
        let text = table.to_string();
        fs::write(place.config(), text).unwrap_or_else(|error| panic!("write the config: {error}"));
    }
}

fn defaults(place: &Place) -> Table {
    let path = |path: PathBuf| Value::from(path.display().to_string());
    let mut table = Table::new();
    put(&mut table, "root_dir", path(place.root()));
    put(&mut table, "run_dir", path(place.run()));
    put(&mut table, "socket", path(place.socket()));
    put(&mut table, "network.netns_dir", path(place.netns()));
    put(&mut table, "cgroup.parent", place.cgroup().into());
    // Whatever is configured on this machine: tests have the built-in bridge unless they say otherwise.
    put(&mut table, "network.kind", "bridge".into());
    // What a test does with cgroups by hand is written for directories.
    let driver = std::env::var("HOLDFAST_E2E_CGROUP_DRIVER").unwrap_or("cgroupfs".to_owned());
    put(&mut table, "cgroup.driver", driver.into());
    put(&mut table, "network.bridge", place.bridge.clone().into());
    put(&mut table, "network.subnet4", place.subnet4.clone().into());
    put(&mut table, "network.subnet6", place.subnet6.clone().into());
    put(
        &mut table,
        "image.hosts_dir",
        Value::Array(vec![path(place.hosts())]),
    );
    put(&mut table, "log.level", "info,holdfast=debug".into());
    table
}

/// Puts a value below the tables that a dotted key names.
fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((outer, rest)) => {
            let inner = table.entry(outer).or_insert_with(|| Table::new().into());
            match inner {
                Value::Table(inner) => put(inner, rest, value),
                other => panic!("{outer} is no table but {other}"),
            }
        }
    }
}
