//! The list of specs that may do other than pass, and how a run compares with it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use crate::report::Spec;

/// The list, as far as it holds on this machine.
#[derive(Debug)]
pub struct Expected {
    exceptions: Vec<Exception>,
}

#[derive(Debug)]
struct Exception {
    spec: String,
    state: String,
    reason: String,
}

/// How a run compares with the list.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many specs have passed.
    pub passed: usize,
    /// Those that did what the list says, with the reason.
    pub excused: Vec<String>,
    /// Those that did something else.
    pub surprises: Vec<String>,
}

impl Expected {
    /// Reads the list.
    ///
    /// # Errors
    /// The file cannot be read, or an entry lacks a key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let table: Table = text
            .parse()
            .with_context(|| format!("parse {}", path.display()))?;
        let entries = table.get("exception").and_then(Value::as_array);
        let mut exceptions = Vec::new();
        for entry in entries.into_iter().flatten() {
            let get = |key: &str| {
                let text = entry.get(key).and_then(Value::as_str);
                text.map(str::to_owned)
                    .with_context(|| format!("an exception has no {key}: {entry}"))
            };
            if holds(&get("when")?)? {
                exceptions.push(Exception {
                    spec: get("spec")?,
                    state: get("state")?,
                    reason: get("reason")?,
                });
            }
        }
        Ok(Self { exceptions })
    }

    /// Compares. With `focused`, specs that were skipped are not looked at: the focus left them out.
    pub fn compare(&self, specs: &[Spec], focused: bool) -> Outcome {
        let mut outcome = Outcome::default();
        for spec in specs
            .iter()
            .filter(|spec| !(focused && spec.state == "skipped"))
        {
            let exception = self
                .exceptions
                .iter()
                .find(|exception| spec.name.contains(&exception.spec));
            let wanted = exception.map_or("passed", |exception| &exception.state);
            match exception {
                _ if spec.state != wanted => {
                    outcome
                        .surprises
                        .push(format!("{} instead of {wanted}: {}", spec.state, spec.name));
                }
                Some(exception) => {
                    outcome.excused.push(format!(
                        "{}: {} ({})",
                        spec.state, spec.name, exception.reason
                    ));
                }
                None => outcome.passed += 1,
            }
        }
        outcome
    }
}

/// Whether a condition of the list holds on this machine.
fn holds(when: &str) -> Result<bool> {
    match when {
        "always" => Ok(true),
        "no-apparmor" => {
            let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
            Ok(enabled.map_or(true, |text| text.trim() != "Y"))
        }
        other => bail!("unknown condition {other:?} in the list of exceptions"),
    }
}
