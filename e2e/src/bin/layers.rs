//! Checks the sources of the root package against `.ci/layers.toml`, and a few rules that no lint has.
//!
//! It reads text, not syntax: comments and string literals on their own lines are passed over, everything
//! else that names `crate::MODULE` or `CRATE::` counts as a use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

/// Longest source file without its tests, in lines.
const FILE_LIMIT: usize = 600;

/// Names that say nothing of the domain.
const JUNK: [&str; 7] = [
    "utils", "util", "common", "misc", "helpers", "shared", "manager",
];

struct Module {
    layer: i64,
    uses: BTreeSet<String>,
    crates: BTreeSet<String>,
}

struct Rules {
    modules: BTreeMap<String, Module>,
    crates: BTreeSet<String>,
}

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?
        .to_owned();
    let rules = read_rules(&root)?;
    let mut faults = rules.faults();
    for (name, module) in &rules.modules {
        for path in sources(&root.join("src").join(name))? {
            check_file(&rules, name, module, &path, &mut faults)?;
        }
    }
    for entry in fs::read_dir(root.join("src"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && name != "bin" && !rules.modules.contains_key(&name) {
            faults.push(format!("src/{name} stands in no layer of .ci/layers.toml"));
        }
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    eprintln!(
        "layers: {} modules, {} faults",
        rules.modules.len(),
        faults.len()
    );
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn strings(value: Option<&toml::Value>) -> BTreeSet<String> {
    let list = value.and_then(toml::Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn read_rules(root: &Path) -> Result<Rules> {
    let table: toml::Table = fs::read_to_string(root.join(".ci/layers.toml"))?.parse()?;
    let everywhere = strings(table.get("everywhere").and_then(|all| all.get("crates")));
    let mut modules = BTreeMap::new();
    for (name, rule) in table
        .get("module")
        .and_then(toml::Value::as_table)
        .context("[module.…]")?
    {
        let mut crates = strings(rule.get("crates"));
        crates.extend(everywhere.clone());
        let layer = rule
            .get("layer")
            .and_then(toml::Value::as_integer)
            .context("layer")?;
        modules.insert(
            name.clone(),
            Module {
                layer,
                uses: strings(rule.get("uses")),
                crates,
            },
        );
    }
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    let dependencies = manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .context("dependencies")?;
    Ok(Rules {
        modules,
        crates: dependencies
            .keys()
            .map(|name| name.replace('-', "_"))
            .collect(),
    })
}

impl Rules {
    /// Edges in the table itself that do not point downwards.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, module) in &self.modules {
            for used in &module.uses {
                match self.modules.get(used) {
                    Some(other) if other.layer < module.layer => {}
                    Some(_) => faults.push(format!(
                        "layers.toml: {name} may not use its sibling or superior {used}"
                    )),
                    None => faults.push(format!(
                        "layers.toml: {name} uses {used}, which is no module"
                    )),
                }
            }
        }
        faults
    }
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn check_file(
    rules: &Rules,
    name: &str,
    module: &Module,
    path: &Path,
    faults: &mut Vec<String>,
) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let is_test = path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests");
    let production = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let place = path.display();
    if !is_test && production.lines().count() > FILE_LIMIT {
        faults.push(format!("{place}: more than {FILE_LIMIT} lines"));
    }
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if JUNK.contains(&stem) {
        faults.push(format!("{place}: {stem} is no noun of the domain"));
    }
    for (number, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        for used in modules_in(line) {
            if used != name && rules.modules.contains_key(used) && !module.uses.contains(used) {
                faults.push(format!("{place}:{}: {name} may not use {used}", number + 1));
            }
        }
        for used in rules
            .crates
            .iter()
            .filter(|used| !is_test && names_crate(line, used))
        {
            if !module.crates.contains(used) {
                faults.push(format!(
                    "{place}:{}: {name} may not use the crate {used}",
                    number + 1
                ));
            }
        }
        if name != "sys"
            && (line.contains("unsafe {")
                || line.contains("unsafe fn")
                || line.contains("unsafe impl"))
        {
            faults.push(format!("{place}:{}: unsafe outside sys", number + 1));
        }
    }
    Ok(())
}

/// Modules that a line names: `crate::a`, and `crate::{a, b::c}` on one line.
fn modules_in(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let word = |text| -> &str {
            let text: &str = text;
            text.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default()
        };
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group.split(',').map(|part| word(part.trim()))),
            None => found.push(word(rest)),
        }
    }
    found
}

fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let path = line[at + name.len()..].starts_with("::");
        path && before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}
