//! Whether pods can join the configured network: what NetworkReady says.
//!
//! Asking costs processes, and kubelets ask every few seconds, so a verdict is kept for a while. A change of
//! the configuration is seen at once. Plugins are asked in the background, once at a time: one that hangs holds up
//! no status.

use holdfast_kernel::error_chain;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::call::{self, Call};
use super::config::NetworkList;
use super::error::CniError;
use super::native::{Asked, Known};
use super::network::CniNetwork;
use super::verb::Verb;
use super::verdicts::{Asking, Verdict, stamp};
use super::version::CniVersion;
use holdfast_disk::json_text;

/// How long a verdict of the plugins is good.
const FRESH: Duration = Duration::from_secs(10);
/// How long a plugin may take to say what it is or whether it is ready.
const STATUS_DEADLINE: Duration = Duration::from_secs(5);
/// How long the plugins may take before whoever asks for the status is answered without them.
const FIRST_STATUS_WAIT: Duration = Duration::from_secs(1);
/// As [`FIRST_STATUS_WAIT`], where the plugins have been asked before and what they said then is an answer.
const STATUS_WAIT: Duration = Duration::from_millis(100);

impl CniNetwork {
    /// Whether pods can join the network that [`CniNetwork::look`] found.
    ///
    /// # Errors
    /// Why not, as a text for people: no configuration, a plugin is missing or speaks another version, says
    /// itself that it is not ready, or has not answered yet.
    pub async fn ready(
        self: &Arc<Self>,
        found: Result<Option<NetworkList>, CniError>,
    ) -> Result<(), String> {
        let told = |error: CniError| error_chain(&error);
        let dir = &self.settings.conf_dir;
        let list = found.map_err(told)?;
        let list = list.ok_or_else(|| told(CniError::NoConfig(dir.clone())))?;
        let known = self.verdicts.of(&list);
        if let Some(verdict) = &known
            && verdict.at.elapsed() < FRESH
        {
            return verdict.ready.clone();
        }
        let mut asking = self.asking(&list);
        let wait = if known.is_some() {
            STATUS_WAIT
        } else {
            FIRST_STATUS_WAIT
        };
        let rest = wait.saturating_sub(asking.since.elapsed());
        // Nothing is ever sent: it ends with the other end.
        let _ = tokio::time::timeout(rest, asking.answered.changed()).await;
        match self.verdicts.of(&list) {
            Some(verdict) => verdict.ready,
            None => Err(format!(
                "the plugins of network {} have not answered yet",
                list.name
            )),
        }
    }

    /// Has the plugins of a network asked, unless they are being asked already.
    fn asking(self: &Arc<Self>, list: &NetworkList) -> Asking {
        let mut state = self.verdicts.state();
        let under_way = state.asking.iter().find(|asking| asking.of == *list);
        if let Some(asking) = under_way {
            return asking.clone();
        }
        let (answer, answered) = watch::channel(());
        let asking = Asking {
            of: list.clone(),
            since: Instant::now(),
            answered,
        };
        state.asking = Some(asking.clone());
        let (network, list) = (Arc::clone(self), list.clone());
        tokio::spawn(async move {
            let ready = network
                .ask(&list)
                .await
                .map_err(|error| error_chain(&error));
            let mut state = network.verdicts.state();
            // The configuration may have changed meanwhile.
            if state.asking.take_if(|asking| asking.of == list).is_some() {
                let (of, at) = (list, Instant::now());
                state.network = Some(Verdict { of, at, ready });
            }
            drop(answer);
        });
        asking
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
            call.deadline = call.deadline.min(STATUS_DEADLINE);
            self.ask_plugin(&Asked::of(list, plugin, &call, Known::New))
                .await?;
        }
        Ok(())
    }

    /// Whether a program speaks a version. One that does not answer VERSION is called all the same, as containerd
    /// does: plugins that are scripts often know ADD and DEL only.
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
        let Some(versions) = versions else {
            return Ok(());
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

    /// The versions that a program says it speaks; None when it says nothing of the kind.
    async fn versions(
        &self,
        program: &Path,
        wanted: CniVersion,
    ) -> Result<Option<Vec<String>>, CniError> {
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
            deadline: self.settings.timeout.min(STATUS_DEADLINE),
        };
        match call::run(&call).await {
            Ok(stdout) => Ok(supported(&stdout)),
            // What plugins of 0.1.0 say, which has no VERSION.
            Err(CniError::Failed { message, .. })
                if message.starts_with("unknown CNI_COMMAND: VERSION") =>
            {
                Ok(Some(vec![CniVersion::V0_1_0.as_str().to_owned()]))
            }
            Err(CniError::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The versions in an answer to VERSION.
fn supported(stdout: &[u8]) -> Option<Vec<String>> {
    let answer: Value = serde_json::from_str(&json_text(stdout)).ok()?;
    let texts = |list: &[Value]| {
        let texts = list.iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    match answer.get("supportedVersions").and_then(Value::as_array) {
        Some(versions) if !versions.is_empty() => Some(texts(versions)),
        // The version that had VERSION first and no list in its answer.
        _ if answer.get("cniVersion")? == "0.2.0" => {
            Some(vec!["0.1.0".to_owned(), "0.2.0".to_owned()])
        }
        _ => None,
    }
}
