//! What the reference libraries make of configurations and results, and what is made of them here. `libcni.json` has
//! both: the program e2e/tools/cni-oracle writes it, by running libcni and containerd's go-cni on each case, and
//! `e2e/tests/contract.rs` sees that it still says so.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::config;
use super::super::outcome;
use super::super::version::CniVersion;

const TABLE: &str = include_str!("libcni.json");
const REFUSED: &str = "refused";

#[derive(Deserialize)]
struct Table {
    configurations: Vec<Configuration>,
    results: Vec<Written>,
}

#[derive(Deserialize)]
struct Configuration {
    case: String,
    files: BTreeMap<String, String>,
    /// Why we read it otherwise, on purpose.
    differs: Option<String>,
    says: Network,
}

#[derive(Deserialize)]
struct Network {
    error: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(rename = "cniVersion", default)]
    version: String,
    #[serde(default)]
    plugins: Vec<String>,
}

#[derive(Deserialize)]
struct Written {
    case: String,
    /// The version of the list.
    version: String,
    wrote: String,
    differs: Option<String>,
    says: Answer,
}

#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
    #[serde(default)]
    version: String,
    /// The result as each version has it.
    #[serde(rename = "as", default)]
    versions: BTreeMap<String, Value>,
    #[serde(default)]
    addresses: Vec<String>,
    unconnected: Option<String>,
}

fn table() -> Table {
    serde_json::from_str(TABLE).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "files of a test, as other programs write them"
)]
fn lay_out(dir: &Path, files: &BTreeMap<String, String>) {
    for (name, text) in files {
        let path = dir.join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn configurations_are_read_as_the_reference_reads_them() {
    let mut compared = 0;
    for of in table().configurations {
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path(), &of.files);
        let ours = config::first(dir.path());
        let case = format!("{}: {ours:?}", of.case);
        if of.differs.is_some() {
            // All that we do otherwise is to refuse at once what the reference refuses later.
            assert!(of.says.error.is_none() && ours.is_err(), "{case}");
            continue;
        }
        compared += 1;
        if of.says.error.is_some() {
            assert!(!matches!(ours, Ok(Some(_))), "{case}");
            continue;
        }
        let ours = ours.unwrap().unwrap();
        let plugins: Vec<&str> = ours.plugins.iter().map(|of| of.kind.as_str()).collect();
        assert_eq!(
            (ours.name.as_str(), ours.told_version(), plugins),
            (
                of.says.name.as_str(),
                of.says.version.as_str(),
                of.says.plugins.iter().map(String::as_str).collect()
            ),
            "{case}"
        );
        // What is recorded for DEL is read as the same list, without any directory.
        let recorded = config::parse(ours.source.clone()).unwrap();
        assert_eq!(recorded.plugins, ours.plugins, "{case}");
        assert_eq!(recorded.told_version(), ours.told_version(), "{case}");
    }
    assert!(compared > 100, "only {compared} cases");
}

#[test]
fn results_are_read_and_converted_as_the_reference_does() {
    let mut compared = 0;
    for of in table().results {
        let list = CniVersion::parse(&of.version).unwrap();
        let ours = outcome::parse(of.wrote.as_bytes(), list);
        let case = format!("{}: {ours:?}", of.case);
        if let Some(why) = &of.differs {
            // Each has a test of its own.
            assert!(!why.is_empty(), "{case}");
            continue;
        }
        compared += 1;
        if of.says.error.is_some() {
            assert!(ours.is_err(), "{case}");
            continue;
        }
        let ours = ours.unwrap_or_else(|error| panic!("{}: {error}", of.case));
        assert_eq!(ours.version().as_str(), of.says.version, "{case}");
        for (version, wanted) in &of.says.versions {
            let converted = ours.in_version(CniVersion::parse(version).unwrap());
            let converted = converted.unwrap_or_else(|_| Value::from(REFUSED));
            assert_eq!(&converted, wanted, "{case} as {version}");
        }
        let found = ours.addresses("eth0");
        match &of.says.unconnected {
            None => {
                let found: Vec<String> = found.unwrap().iter().map(ToString::to_string).collect();
                assert_eq!(found, of.says.addresses, "{case}");
            }
            Some(why) if why == REFUSED => assert!(found.is_err(), "{case}"),
            Some(_) => assert_eq!(found, Ok(Vec::new()), "{case}"),
        }
    }
    assert!(compared > 70, "only {compared} cases");
}
