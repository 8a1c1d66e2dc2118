//! Decides which calls are served here, and runs them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use nix::sys::socket::SockProtocol;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::bandwidth;
use super::bridge::Bridge;
use super::edition::{Edition, Editions};
use super::error::NativeError;
use super::job::{Done, Job, Work};
use super::loopback;
use super::plugin::NativePlugin;
use super::pod::Pod;
use super::portmap::Portmap;
use super::ptp::Ptp;
use super::rules::Rules;
use super::tables::Tables;
use crate::cni::call::Call;
use crate::cni::config::{NetworkList, Plugin};
use crate::cni::error::CniError;
use crate::cni::outcome::{self, Outcome};
use crate::cni::verb::Verb;
use crate::cni::version::CniVersion;
use crate::netlink::NetlinkSocket;
use crate::reaper::Reaper;
use holdfast_kernel::{error_chain, fault};

/// A call, and what is known beside what the program would be told.
#[derive(Debug)]
pub(in crate::cni) struct Asked<'a> {
    /// The call as it would be made of the program.
    pub(in crate::cni) call: &'a Call,
    /// The type of the plugin.
    kind: &'a str,
    /// The version of the list; none where it names none.
    version: Option<CniVersion>,
    /// What the daemon knows of the pod.
    known: Known<'a>,
}

/// What the daemon knows of the pod of a call.
#[derive(Debug, Clone, Copy)]
pub(in crate::cni) enum Known<'a> {
    /// No plugin was ever called for it.
    New,
    /// Plugins were called, and the last one gave this.
    Made(Option<&'a Value>),
}

impl<'a> Asked<'a> {
    /// A call of a plugin of a list.
    pub(in crate::cni) fn of(
        list: &NetworkList,
        plugin: &'a Plugin,
        call: &'a Call,
        known: Known<'a>,
    ) -> Asked<'a> {
        Asked {
            call,
            kind: &plugin.kind,
            version: list.named_version(),
            known,
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
    busy: Mutex<HashSet<Mark>>,
    /// Deletes the interfaces of pods that have left.
    reaper: OnceLock<Reaper>,
    rules: Arc<Rules>,
    tables: Tables,
}

/// A pod by its id, and whether the thread only looks at it.
type Mark = (String, bool);

/// A pod is busy as long as this is kept.
struct Busy<'a>(&'a Shared, Mark);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy().remove(&self.1);
    }
}

impl Shared {
    /// Has the marked interfaces deleted soon.
    fn reap(&self) {
        // Without a socket they go with the namespaces of their other ends.
        if let Ok(socket) = NetlinkSocket::open(SockProtocol::NetlinkRoute) {
            self.reaper.get_or_init(|| Reaper::start(socket)).wake();
        }
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<Mark>> {
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
        if asked.call.verb == Verb::Version {
            return None;
        }
        let work = self.work(asked, version).await?;
        if matches!(asked.call.verb, Verb::Status | Verb::Gc) {
            // Of those that are served none has a state of its own that could be in the way, or collects anything.
            return Some(Ok(None));
        }
        let job = self.job(asked, work)?;
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

    /// The work that a call is. None when it is not all known, or cannot be done here.
    async fn work(&self, asked: &Asked<'_>, version: CniVersion) -> Option<Work> {
        let plugin = NativePlugin::named(asked.kind)?;
        let call = asked.call;
        let config = call.stdin.as_object()?;
        let edition = self.edition(plugin, &call.plugin, version).await?;
        // Without a result before its own a chained plugin has none to hand on, and its program says so.
        let needs = matches!(call.verb, Verb::Add | Verb::Check);
        let has_previous = !needs || config.contains_key("prevResult");
        let (work, has_rules) = match plugin {
            NativePlugin::Loopback => (loopback::holds(config).then_some(Work::Loopback)?, false),
            NativePlugin::Bridge => {
                let leases = self.leases(call, version).await?;
                let bridge = Bridge::of(config, (edition, leases))?;
                bridge.fits(&pod_of(call)).then_some(())?;
                let has_rules = bridge.has_rules();
                (Work::Bridge(Box::new(bridge)), has_rules)
            }
            NativePlugin::Ptp => {
                let leases = self.leases(call, version).await?;
                let ptp = Ptp::of(config, (edition, leases))?;
                ptp.fits(&pod_of(call)).then_some(())?;
                let has_rules = ptp.has_rules();
                (Work::Ptp(Box::new(ptp)), has_rules)
            }
            NativePlugin::Portmap => {
                let portmap = Portmap::of(config, edition)?;
                (has_previous && portmap.fits(&pod_of(call))).then_some(())?;
                let has_rules = portmap.has_rules();
                (Work::Portmap(Box::new(portmap)), has_rules)
            }
            NativePlugin::Bandwidth => {
                let is_idle = has_previous && bandwidth::holds(config);
                (is_idle.then_some(Work::Bandwidth)?, false)
            }
            // Other plugins call it.
            NativePlugin::HostLocal => return None,
        };
        (!has_rules || self.writes_rules().await).then_some(work)
    }

    /// The edition as which `host-local` is served, where a plugin leases addresses with it.
    async fn leases(&self, call: &Call, version: CniVersion) -> Option<Edition> {
        let leases = NativePlugin::HostLocal;
        let named = call.stdin.get("ipam")?.get("type")?;
        (named == leases.program()).then_some(())?;
        let program = delegate(call, leases)?;
        self.edition(leases, &program, version).await
    }

    /// Whether rules of iptables can be written from here.
    async fn writes_rules(&self) -> bool {
        let shared = Arc::clone(&self.shared);
        let asked = tokio::task::spawn_blocking(move || shared.tables.can_be_written());
        asked.await.unwrap_or(false)
    }

    /// The edition as which a plugin is served. None when it is not, or does not speak the version.
    async fn edition(
        &self,
        plugin: NativePlugin,
        program: &Path,
        version: CniVersion,
    ) -> Option<Edition> {
        let is_chosen = self.chosen.as_ref().map(|chosen| chosen.contains(&plugin));
        if is_chosen == Some(false) {
            return None;
        }
        let (shared, program) = (Arc::clone(&self.shared), program.to_owned());
        let found = tokio::task::spawn_blocking(move || shared.editions.of(plugin, &program));
        let edition = match found.await {
            Ok(Some(edition)) => edition,
            // Whoever names a plugin wants it served, whatever program lies there.
            _ if is_chosen == Some(true) => Edition::Y2026,
            _ => return None,
        };
        (edition == Edition::Y2026 || version <= CniVersion::V1_0_0).then_some(edition)
    }

    /// The job that a call is.
    fn job(&self, asked: &Asked<'_>, work: Work) -> Option<Job> {
        let call = asked.call;
        let result = match asked.known {
            Known::New => None,
            Known::Made(result) => result,
        };
        let ips = result.and_then(|result| result.get("ips")?.as_array());
        let ip = |entry: &Value| {
            let (ip, _) = entry.get("address")?.as_str()?.split_once('/')?;
            ip.parse().ok()
        };
        Some(Job {
            verb: call.verb,
            pod: Pod {
                id: pod_of(call),
                netns: PathBuf::from(call.parameter("CNI_NETNS")?),
                is_new: matches!(asked.known, Known::New),
                ips: ips.into_iter().flatten().filter_map(ip).collect(),
            },
            work,
            previous: call.stdin.get("prevResult").cloned(),
            deadline: Instant::now() + call.deadline,
            rules: Arc::clone(&self.shared.rules),
        })
    }

    /// What a job has brought: the result of ADD.
    fn ended(&self, done: Done) -> Option<Value> {
        match done {
            Done::Added(result) => Some(result),
            Done::Checked => None,
            Done::Removed { marked } => {
                if marked {
                    self.shared.reap();
                }
                None
            }
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
        if job.work.is_idle() {
            return Ok(self.ended(job.run().map_err(failed)?));
        }
        // A look at a pod keeps nobody from taking it off its network.
        let mark = (job.pod.id.clone(), call.verb == Verb::Check);
        if !self.shared.busy().insert(mark.clone()) {
            let why = "an earlier call for this pod does not end; look for a dead mount";
            return Err(process(io::Error::new(io::ErrorKind::ResourceBusy, why)));
        }
        let shared = Arc::clone(&self.shared);
        let (done, ended) = oneshot::channel();
        let ended_mark = mark.clone();
        let work = move || {
            let busy = Busy(&shared, ended_mark);
            let answer = job.run();
            drop(busy);
            // Whoever asked may have given up.
            let _ = done.send(answer);
        };
        // The thread joins the pod's namespace, so nobody may use it afterwards.
        let thread = std::thread::Builder::new().name("holdfastd-cni".to_owned());
        if let Err(error) = thread.spawn(work) {
            self.shared.busy().remove(&mark);
            return Err(process(error));
        }
        match timeout(call.deadline, ended).await {
            Ok(Ok(answer)) => Ok(self.ended(answer.map_err(failed)?)),
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

/// The program of a plugin that another one calls.
fn delegate(call: &Call, plugin: NativePlugin) -> Option<PathBuf> {
    let mut dirs = call.parameter("CNI_PATH")?.split(':');
    dirs.find_map(|dir| Some(Path::new(dir).join(plugin.program())).filter(|path| path.is_file()))
}
