//! Checks what cargo cannot see: which module of a crate may use which, by `.ci/layers.toml`, and a few rules that no
//! lint has. Which crate may use which stands in their Cargo.toml.
//!
//! `layers --circles` prints each circle between files of a crate with the names that close it.
//!
//! For modules it reads text, not syntax: comments and string literals on their own lines are passed over, everything
//! else that names `crate::MODULE` or `CRATE::` counts as a use.

mod circles;

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

/// Packages that only tests may use.
const TESTING: [&str; 2] = ["proptest", "tempfile"];

/// Where unsafe code may stand: system calls, and the pause, which has no library.
const UNSAFE: [&str; 2] = ["src/kernel/sys/", "src/shim/holdfast-pause.rs"];

struct Module {
    layer: i64,
    /// Modules of the same crate.
    uses: BTreeSet<String>,
    /// Other packages of ours and of others.
    crates: BTreeSet<String>,
}

struct Rules {
    /// By directory below src: `daemon/pod`.
    modules: BTreeMap<String, Module>,
    /// All packages that the workspace depends on.
    crates: BTreeSet<String>,
}

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?
        .to_owned();
    let rules = read_rules(&root)?;
    let mut faults = rules.faults(&root)?;
    for path in sources(&root.join("src"))? {
        let place = path.strip_prefix(&root)?.display().to_string();
        let text = fs::read_to_string(&path)?;
        check_file(&place, &text, &mut faults);
        let module = rules
            .modules
            .iter()
            .find(|(name, _)| place.starts_with(&format!("src/{name}/")));
        if let Some((name, module)) = module {
            check_uses(&rules, (name, module), (&place, &text), &mut faults);
        }
    }
    let verbose = std::env::args().any(|argument| argument == "--circles");
    let knotted = check_circles(&root, verbose, &mut faults)?;
    for fault in &faults {
        eprintln!("{fault}");
    }
    eprintln!(
        "layers: {} modules, {knotted} files in circles, {} faults",
        rules.modules.len(),
        faults.len()
    );
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Refuses circles between the files of a crate, and counts the files in them.
fn check_circles(root: &Path, verbose: bool, faults: &mut Vec<String>) -> Result<usize> {
    let mut knotted = 0;
    for entry in fs::read_dir(root.join("src"))? {
        let directory = format!("src/{}", entry?.file_name().to_string_lossy());
        if !root.join(&directory).join("lib.rs").exists() {
            continue;
        }
        let edges = circles::Crate::read(root, &directory)?.edges();
        for circle in circles::circles(&edges) {
            if verbose {
                print_circle(&circle, &edges);
            }
            knotted += circle.len();
            for file in &circle {
                let others: Vec<&str> = edges[file]
                    .keys()
                    .filter(|needed| circle.contains(*needed))
                    .map(String::as_str)
                    .collect();
                faults.push(format!(
                    "{file} stands in a circle with {}; see `layers --circles`",
                    others.join(", ")
                ));
            }
        }
    }
    Ok(knotted)
}

fn print_circle(circle: &BTreeSet<String>, edges: &circles::Edges) {
    eprintln!("a circle of {} files:", circle.len());
    for file in circle {
        for (needed, names) in &edges[file] {
            if circle.contains(needed) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                eprintln!("  {file} -> {needed}: {}", names.join(" "));
            }
        }
    }
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
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(toml::Value::as_table)
        .context("workspace.dependencies")?;
    Ok(Rules {
        modules,
        crates: dependencies
            .keys()
            .map(|name| name.replace('-', "_"))
            .collect(),
    })
}

impl Rules {
    /// Edges in the table itself that do not point downwards, and modules of a layered crate that are not in it.
    fn faults(&self, root: &Path) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        for (name, module) in &self.modules {
            let owner = owner(name);
            for used in &module.uses {
                match self.modules.get(&format!("{owner}/{used}")) {
                    Some(other) if other.layer < module.layer => {}
                    Some(_) => faults.push(format!(
                        "layers.toml: {name} may not use its sibling or superior {used}"
                    )),
                    None => faults.push(format!(
                        "layers.toml: {name} uses {used}, which is no module of {owner}"
                    )),
                }
            }
        }
        let layered: BTreeSet<&str> = self.modules.keys().map(|name| owner(name)).collect();
        for owner in layered {
            for entry in fs::read_dir(root.join("src").join(owner))? {
                let entry = entry?;
                let name = format!("{owner}/{}", entry.file_name().to_string_lossy());
                if entry.file_type()?.is_dir() && !self.modules.contains_key(&name) {
                    faults.push(format!("src/{name} stands in no layer of .ci/layers.toml"));
                }
            }
        }
        Ok(faults)
    }
}

/// The directory of the crate that a module is in.
fn owner(module: &str) -> &str {
    module.split('/').next().unwrap_or_default()
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

/// What holds for every source.
fn check_file(place: &str, text: &str, faults: &mut Vec<String>) {
    let production = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    if !is_test(place) && production.lines().count() > FILE_LIMIT {
        faults.push(format!("{place}: more than {FILE_LIMIT} lines"));
    }
    let stem = Path::new(place)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if JUNK.contains(&stem) {
        faults.push(format!("{place}: {stem} is no noun of the domain"));
    }
    if UNSAFE.iter().any(|allowed| place.starts_with(allowed)) {
        return;
    }
    for (number, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        let kinds = ["unsafe {", "unsafe fn", "unsafe impl"];
        if kinds.iter().any(|kind| line.contains(kind)) {
            faults.push(format!("{place}:{}: unsafe outside sys", number + 1));
        }
    }
}

fn is_test(place: &str) -> bool {
    place.contains("/tests/") || place.ends_with("/tests.rs") || place.ends_with("_tests.rs")
}

/// What a source of a module uses, against the module's rules.
fn check_uses(
    rules: &Rules,
    (name, module): (&str, &Module),
    (place, text): (&str, &str),
    faults: &mut Vec<String>,
) {
    let (owner, own) = name.split_once('/').unwrap_or((name, ""));
    for (number, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        for used in modules_in(line) {
            let is_module = rules.modules.contains_key(&format!("{owner}/{used}"));
            if used != own && is_module && !module.uses.contains(used) {
                faults.push(format!("{place}:{}: {name} may not use {used}", number + 1));
            }
        }
        // What only tests use is in [dev-dependencies].
        let named = |used: &&String| {
            !is_test(place) && !TESTING.contains(&used.as_str()) && names_crate(line, used)
        };
        for used in rules.crates.iter().filter(named) {
            if !module.crates.contains(used) {
                faults.push(format!(
                    "{place}:{}: {name} may not use the crate {used}",
                    number + 1
                ));
            }
        }
    }
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
