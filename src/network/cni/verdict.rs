//! Whether pods can join the configured network: what NetworkReady says.
//!
//! Asking costs processes, and kubelets ask every few seconds, so a verdict is kept for a while. A change of
//! the configuration is seen at once.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::{self, Call, Verb};
use super::{CniError, CniNetwork, CniVersion, NetworkList};

/// How long a verdict of the plugins is good.
const FRESH: Duration = Duration::from_secs(10);
/// Longest wait for one plugin's word: whoever asks for the status must not wait long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What plugins said of themselves.
#[derive(Debug, Default)]
pub(super) struct Verdicts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Of the network as a whole: when it was asked, and what is wrong.
    network: Option<(NetworkList, Instant, Option<String>)>,
    /// Versions that a program speaks, as long as the file is the same.
    versions: HashMap<PathBuf, (Stamp, Vec<String>)>,
}

/// A program file's identity: device, inode, size and time of change.
type Stamp = (u64, u64, u64, i64);

impl Verdicts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CniNetwork {
    /// Whether pods can join the configured network.
    ///
    /// # Errors
    /// Why not, as a text for people: no configuration, a plugin is missing or speaks another version, or
    /// says itself that it is not ready.
    pub async fn ready(&self) -> Result<(), String> {
        let told = |error: CniError| chain(&error);
        let dir = &self.settings.conf_dir;
        let list = self.configured().map_err(told)?;
        let list = list.ok_or_else(|| told(CniError::NoConfig(dir.clone())))?;
        let known = match &self.verdicts.state().network {
            Some((of, at, wrong)) if *of == list && at.elapsed() < FRESH => Some(wrong.clone()),
            _ => None,
        };
        let wrong = match known {
            Some(wrong) => wrong,
            None => {
                let wrong = self.ask(&list).await.err().map(told);
                self.verdicts.state().network = Some((list, Instant::now(), wrong.clone()));
                wrong
            }
        };
        wrong.map_or(Ok(()), Err)
    }

    async fn ask(&self, list: &NetworkList) -> Result<(), CniError> {
        for plugin in &list.plugins {
            let program = self.program(&plugin.kind)?;
            self.speaks(&program, list.version).await?;
        }
        if list.version < CniVersion::V1_1_0 {
            return Ok(());
        }
        for plugin in &list.plugins {
            let mut call = self.call(Verb::Status, list, plugin, None)?;
            call.deadline = call.deadline.min(PATIENCE);
            call::run(&call).await?;
        }
        Ok(())
    }

    /// Whether a program speaks a version.
    async fn speaks(&self, program: &Path, wanted: CniVersion) -> Result<(), CniError> {
        let stamp = stamp(program);
        let known = match self.verdicts.state().versions.get(program) {
            Some((of, versions)) if *of == stamp => Some(versions.clone()),
            _ => None,
        };
        let versions = match known {
            Some(versions) => versions,
            None => {
                let versions = self.versions(program, wanted).await?;
                let mut state = self.verdicts.state();
                let entry = (stamp, versions.clone());
                state.versions.insert(program.to_owned(), entry);
                versions
            }
        };
        if versions.iter().any(|version| version == wanted.as_str()) {
            return Ok(());
        }
        Err(CniError::Version {
            plugin: program.to_owned(),
            wanted: wanted.as_str(),
            spoken: versions.join(", "),
        })
    }

    async fn versions(&self, program: &Path, wanted: CniVersion) -> Result<Vec<String>, CniError> {
        let call = Call {
            verb: Verb::Version,
            plugin: program.to_owned(),
            environment: vec![
                ("CNI_PATH", self.search_path(":")),
                // Plugins of old refuse every call without these, even this one.
                ("CNI_CONTAINERID", format!("version-{}", std::process::id())),
                ("CNI_NETNS", "version".to_owned()),
                ("CNI_IFNAME", "version".to_owned()),
            ],
            stdin: json!({ "cniVersion": wanted.as_str() }),
            deadline: self.settings.timeout.min(PATIENCE),
        };
        let stdout = call::run(&call).await?;
        let answer: Value = serde_json::from_slice(&stdout).unwrap_or_default();
        let versions = answer.get("supportedVersions").and_then(Value::as_array);
        let versions = versions.ok_or_else(|| CniError::NoResult {
            verb: Verb::Version,
            plugin: program.to_owned(),
            reason: format!(
                "no supportedVersions; it wrote: {:?}",
                call::excerpt(&stdout)
            ),
        })?;
        let texts = versions.iter().filter_map(Value::as_str);
        Ok(texts.map(str::to_owned).collect())
    }
}

fn stamp(program: &Path) -> Stamp {
    let found = std::fs::metadata(program);
    found.map_or((0, 0, 0, 0), |found| {
        (found.dev(), found.ino(), found.size(), found.mtime())
    })
}

/// An error with the chain of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
