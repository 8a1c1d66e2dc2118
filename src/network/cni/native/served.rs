//! Decides which calls are served here, and runs them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::edition::{Edition, Editions};
use super::error::NativeError;
use super::job::{Job, Work};
use super::loopback;
use super::plugin::NativePlugin;
use super::pod::Pod;
use crate::cni::call::Call;
use crate::cni::config::{NetworkList, Plugin};
use crate::cni::error::CniError;
use crate::cni::outcome::{self, Outcome};
use crate::cni::verb::Verb;
use crate::cni::version::CniVersion;
use holdfast_kernel::{error_chain, fault};

/// A call, and what is known beside what the program would be told.
#[derive(Debug)]
pub(in crate::cni) struct Asked<'a> {
    /// The call as it would be made of the program.
    call: &'a Call,
    /// The type of the plugin.
    kind: &'a str,
    /// The version of the list; none where it names none.
    version: Option<CniVersion>,
}

impl<'a> Asked<'a> {
    /// A call of a plugin of a list.
    pub(in crate::cni) fn of(list: &NetworkList, plugin: &'a Plugin, call: &'a Call) -> Asked<'a> {
        Asked {
            call,
            kind: &plugin.kind,
            version: list.named_version(),
        }
    }
}

/// The plugins that are served here.
#[derive(Debug)]
pub(in crate::cni) struct Natives {
    /// Those that the daemon's configuration names; none where it names none, and the edition decides.
    chosen: Option<Vec<NativePlugin>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    editions: Editions,
    /// Pods for which a thread is at work.
    busy: Mutex<HashSet<String>>,
}

/// A pod is busy as long as this is kept.
struct Busy<'a>(&'a Shared, String);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy().remove(&self.1);
    }
}

impl Shared {
    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Natives {
    /// Serves these plugins, or by default those of known editions.
    pub(in crate::cni) fn new(chosen: Option<Vec<NativePlugin>>) -> Natives {
        Natives {
            chosen,
            shared: Arc::default(),
        }
    }

    /// Serves a call, and gives the result of ADD. None when the program has to be called; nothing has been done then.
    ///
    /// # Errors
    /// [`CniError::Failed`], [`CniError::Process`], as if the program had been called.
    pub(in crate::cni) async fn serve(
        &self,
        asked: &Asked<'_>,
    ) -> Option<Result<Option<Outcome>, CniError>> {
        let version = asked
            .version
            .filter(|version| *version >= CniVersion::V0_3_0)?;
        if !matches!(asked.call.verb, Verb::Add | Verb::Del) {
            return None;
        }
        let plugin = NativePlugin::named(asked.kind)?;
        let edition = self.edition(plugin, &asked.call.plugin).await?;
        if edition == Edition::Y2022 && version > CniVersion::V1_0_0 {
            return None;
        }
        let job = job(plugin, asked)?;
        tracing::debug!(
            pod = job.pod.id,
            plugin = asked.kind,
            verb = %asked.call.verb,
            "a network plugin is served without its program"
        );
        let answer = self.run(asked.call, job).await;
        Some(answer.and_then(|result| {
            let read = |result: Value| {
                let outcome = outcome::read(&result, version)?.in_version(version)?;
                outcome::read(&outcome, version)
            };
            result
                .map(read)
                .transpose()
                .map_err(|reason| CniError::NoResult {
                    verb: asked.call.verb,
                    plugin: asked.call.plugin.clone(),
                    reason,
                })
        }))
    }

    /// The edition as which a plugin is served. None when it is not.
    async fn edition(&self, plugin: NativePlugin, program: &Path) -> Option<Edition> {
        let is_chosen = self.chosen.as_ref().map(|chosen| chosen.contains(&plugin));
        if is_chosen == Some(false) {
            return None;
        }
        let (shared, program) = (Arc::clone(&self.shared), program.to_owned());
        let found = tokio::task::spawn_blocking(move || shared.editions.of(plugin, &program));
        match found.await {
            Ok(Some(edition)) => Some(edition),
            // Whoever names a plugin wants it served, whatever program lies there.
            _ if is_chosen == Some(true) => Some(Edition::Y2026),
            _ => None,
        }
    }

    async fn run(&self, call: &Call, job: Job) -> Result<Option<Value>, CniError> {
        let process = |source: io::Error| CniError::Process {
            verb: call.verb,
            plugin: call.plugin.clone(),
            source,
        };
        let failed = |error: NativeError| CniError::Failed {
            verb: call.verb,
            plugin: call.plugin.clone(),
            message: error_chain(&error),
        };
        let _step = fault::step(call.verb.step()).map_err(|errno| process(errno.into()))?;
        let id = job.pod.id.clone();
        if !self.shared.busy().insert(id.clone()) {
            let why = "an earlier call for this pod does not end; look for a dead mount";
            return Err(process(io::Error::new(io::ErrorKind::ResourceBusy, why)));
        }
        let shared = Arc::clone(&self.shared);
        let (done, ended) = oneshot::channel();
        let work = move || {
            let busy = Busy(&shared, id);
            let answer = job.run();
            drop(busy);
            // Whoever asked may have given up.
            let _ = done.send(answer);
        };
        // The thread joins the pod's namespace, so nobody may use it afterwards.
        let thread = std::thread::Builder::new().name("holdfastd-cni".to_owned());
        if let Err(error) = thread.spawn(work) {
            self.shared.busy().remove(&pod_of(call));
            return Err(process(error));
        }
        match timeout(call.deadline, ended).await {
            Ok(Ok(answer)) => answer.map_err(failed),
            // The thread has panicked.
            Ok(Err(_)) => Err(CniError::Ending),
            Err(_) => {
                let why = "it does not end; look for a dead mount";
                Err(process(io::Error::new(io::ErrorKind::TimedOut, why)))
            }
        }
    }
}

fn pod_of(call: &Call) -> String {
    call.parameter("CNI_CONTAINERID")
        .unwrap_or_default()
        .to_owned()
}

/// The work of a call. None when something of it is not known here.
fn job(plugin: NativePlugin, asked: &Asked<'_>) -> Option<Job> {
    let config: &Map<String, Value> = asked.call.stdin.as_object()?;
    let pod = Pod {
        id: pod_of(asked.call),
        netns: PathBuf::from(asked.call.parameter("CNI_NETNS")?),
    };
    let work = match plugin {
        NativePlugin::Loopback => loopback::holds(config).then_some(Work::Loopback)?,
    };
    Some(Job {
        verb: asked.call.verb,
        pod,
        work,
        previous: config.get("prevResult").cloned(),
    })
}
