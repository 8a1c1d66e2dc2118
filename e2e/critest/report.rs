//! What ginkgo's JSON report says of each spec.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// File name of the report.
pub const NAME: &str = "critest.json";

/// One spec and what it did.
#[derive(Debug)]
pub struct Spec {
    /// Names of its containers and its own, with spaces between.
    pub name: String,
    /// ginkgo's word: passed, failed, skipped, panicked, timedout, ...
    pub state: String,
}

/// The specs of the report in a directory. With `-parallel`, ginkgo puts it below the directory of the suite.
///
/// # Errors
/// There is no report, or another program wrote it, or no spec ran at all.
pub fn read(dir: &Path) -> Result<Vec<Spec>> {
    let path =
        find(dir).with_context(|| format!("critest left no report below {}", dir.display()))?;
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let report: Value = serde_json::from_slice(&text).context("parse critest's report")?;
    let suites = report.as_array().context("critest's report is no list")?;
    let entries = suites
        .iter()
        .filter_map(|suite| suite["SpecReports"].as_array())
        .flatten();
    let specs: Vec<Spec> = entries
        .filter(|entry| entry["LeafNodeType"] == "It")
        .map(spec)
        .collect();
    ensure!(!specs.is_empty(), "critest ran no spec");
    Ok(specs)
}

fn find(dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort_by_key(|path| path.is_dir());
    paths.into_iter().find_map(|path| {
        if path.is_dir() {
            return find(&path);
        }
        path.file_name()
            .is_some_and(|name| name == NAME)
            .then_some(path)
    })
}

fn spec(entry: &Value) -> Spec {
    let containers = entry["ContainerHierarchyTexts"]
        .as_array()
        .into_iter()
        .flatten();
    let words = containers
        .chain([&entry["LeafNodeText"]])
        .filter_map(Value::as_str);
    Spec {
        name: words.collect::<Vec<_>>().join(" "),
        state: entry["State"].as_str().unwrap_or_default().to_owned(),
    }
}
