//! The network itself: joining it, leaving it, and what is kept of each pod.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, oneshot};

use super::call::{self, Call};
use super::config::{self, NetworkList, Plugin};
use super::error::CniError;
use super::exclusion::Exclusion;
use super::leftover;
use super::native::{Asked, Known, NativePlugin, Natives};
use super::outcome::{self, Outcome};
use super::pod::{Attachment, CniPod, INTERFACE};
use super::verb::Verb;
use super::verdicts::Verdicts;
use super::version::CniVersion;
use crate::subnet::Subnet;
use holdfast_disk::{Dir, Durability, FileName, Record, RecordError};

/// Version and largest size of a record: a list, arguments, and a result of 1 MiB at most.
const RECORD: Record<Attachment> = Record::new(1, 8 << 20);
/// What the records of pods end in.
const SUFFIX: &str = ".json";
/// What the marks of pods end in for which plugins are being called to let go: one that is found was left by
/// a daemon that died meanwhile.
const RELEASING: &str = ".releasing";
/// How long the configuration directory may take to answer.
const LOOK_DEADLINE: Duration = Duration::from_secs(5);
/// The file with the ranges of [`CniNetwork::set_ranges`].
const RANGES: &str = "ranges";

/// The files from which a network of plugins is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniSettings {
    /// The directory of the configuration.
    pub conf_dir: PathBuf,
    /// The directories of the plugins, in the order of the search.
    pub bin_dirs: Vec<PathBuf>,
    /// How long one call of one plugin may take.
    pub timeout: Duration,
    /// The directory with a durable record of what plugins were given, because what plugins keep outlives a boot.
    pub state_dir: PathBuf,
    /// The plugins that are served without their programs; None for those whose program is of a known release.
    pub native: Option<Vec<NativePlugin>>,
}

/// The network of the plugins that are installed on this machine.
#[derive(Debug)]
pub struct CniNetwork {
    pub(super) settings: CniSettings,
    pub(super) dir: Arc<Dir>,
    /// Ranges that the kubelet named, for plugins that take them.
    pub(super) ranges: Mutex<Vec<Subnet>>,
    /// Keeps pods from joining while plugins forget the pods that they are not told of.
    pub(super) exclusion: Exclusion,
    pub(super) verdicts: Verdicts,
    pub(super) natives: Natives,
    /// One permit, which the thread that looks at the configuration has as long as it looks.
    pub(super) looking: Arc<Semaphore>,
}

impl CniNetwork {
    /// Opens the directory of records. Nothing has to be configured yet.
    ///
    /// # Errors
    /// [`CniError::Dir`].
    pub fn open(settings: CniSettings) -> Result<CniNetwork, CniError> {
        let dir = Dir::create_root(&settings.state_dir)?;
        dir.sweep_temporaries()?;
        let ranges = dir.read_file(&FileName::new(RANGES)?, 4096)?;
        let ranges = String::from_utf8(ranges.unwrap_or_default()).unwrap_or_default();
        let ranges = ranges
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect();
        Ok(CniNetwork {
            natives: Natives::new(settings.native.clone()),
            settings,
            dir: Arc::new(dir),
            ranges: Mutex::new(ranges),
            exclusion: Exclusion::default(),
            verdicts: Verdicts::default(),
            looking: Arc::new(Semaphore::new(1)),
        })
    }

    /// The files from which the network was made.
    pub fn settings(&self) -> &CniSettings {
        &self.settings
    }

    /// The network that is configured now, if any. Blocks on the directory's file system.
    ///
    /// # Errors
    /// [`CniError::Read`], [`CniError::Config`].
    pub fn configured(&self) -> Result<Option<NetworkList>, CniError> {
        config::first(&self.settings.conf_dir)
    }

    /// As [`CniNetwork::configured`], on a thread of its own and with a deadline. One looks at a time, so that a mount
    /// that never answers costs one thread, however many ask.
    ///
    /// # Errors
    /// The errors of [`CniNetwork::configured`]; [`CniError::Read`] also when the file system does not answer.
    pub async fn look(&self) -> Result<Option<NetworkList>, CniError> {
        let dir = &self.settings.conf_dir;
        let failed = |source| CniError::Read {
            path: dir.clone(),
            source,
        };
        let look = async {
            let permit = Arc::clone(&self.looking).acquire_owned().await;
            let (done, found) = oneshot::channel();
            let place = dir.clone();
            let work = move || {
                // The thread alone has the permit, also when whoever asked gives up.
                let _permit = permit;
                // Whoever asked may have given up.
                let _ = done.send(config::first(&place));
            };
            let thread = std::thread::Builder::new().name("holdfastd-cni".to_owned());
            thread.spawn(work).map_err(failed)?;
            found.await.unwrap_or(Err(CniError::Ending))
        };
        let answer = tokio::time::timeout(LOOK_DEADLINE, look).await;
        answer.unwrap_or_else(|_| {
            let why = "it does not answer; look for a dead mount";
            Err(failed(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                why,
            )))
        })
    }

    /// The ranges of later pods, for plugins that take them. Kept on disk: a kubelet says it once.
    ///
    /// # Errors
    /// [`CniError::Dir`].
    pub fn set_ranges(&self, ranges: Vec<Subnet>) -> Result<(), CniError> {
        let text: String = ranges.iter().map(|range| format!("{range}\n")).collect();
        let name = FileName::new(RANGES)?;
        self.dir
            .replace(&name, text.as_bytes(), Durability::Synced)?;
        *self.ranges.lock().unwrap_or_else(PoisonError::into_inner) = ranges;
        Ok(())
    }

    /// Joins a pod to a network and gives its addresses, IPv4 first. On failure the caller calls
    /// [`CniNetwork::del`].
    ///
    /// # Errors
    /// [`CniError`] names the plugin and what it said.
    pub async fn add(&self, list: &NetworkList, pod: &CniPod) -> Result<Vec<IpAddr>, CniError> {
        let _joining = self.exclusion.join().await;
        let ranges = self
            .ranges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut attachment = Attachment {
            netns: pod.netns.clone(),
            list: list.source.clone(),
            arguments: pod.arguments(),
            runtime: pod.runtime_arguments(&ranges),
            result: None,
        };
        // A pod that was cut off in its making has a record; looking for what it left takes a look at all pods.
        let known = match self.is_attached(&pod.id)? {
            false => Known::New,
            true => Known::Made(None),
        };
        self.keep(&pod.id, attachment.clone()).await?;
        let mut last = None;
        for plugin in &list.plugins {
            let call = self.call(Verb::Add, list, plugin, Some((&pod.id, &attachment)))?;
            let asked = Asked::of(list, plugin, &call, known);
            let outcome = self.run_add(list, &asked).await?;
            attachment.result = Some(outcome.whole());
            last = Some((outcome, call.plugin));
        }
        self.keep(&pod.id, attachment).await?;
        let none = |version: CniVersion| CniError::NoAddress {
            network: list.name.clone(),
            interface: INTERFACE,
            version: version.as_str(),
        };
        let (outcome, plugin) = last.ok_or_else(|| none(list.version))?;
        let found = outcome.addresses(INTERFACE);
        let found = found.map_err(|reason| no_result(Verb::Add, &plugin, reason))?;
        if found.is_empty() {
            return Err(none(outcome.version()));
        }
        Ok(found)
    }

    /// The result of one plugin's ADD.
    async fn run_add(&self, list: &NetworkList, asked: &Asked<'_>) -> Result<Outcome, CniError> {
        let call = asked.call;
        let wrong = |reason| no_result(Verb::Add, &call.plugin, reason);
        match self.natives.serve(asked).await {
            Some(answer) => answer?.ok_or_else(|| wrong("it gave none".to_owned())),
            None => {
                let stdout = call::run(call).await?;
                outcome::parse(&stdout, list.version).map_err(wrong)
            }
        }
    }

    /// Takes a pod off the network that it joined, with the configuration and the result of that time. A pod
    /// that never joined one is done. Works when the namespace at `netns` is gone.
    ///
    /// # Errors
    /// [`CniError`]; the record stays, so that it can be repeated. Plugins that an earlier one was chained to
    /// are not called: they would free an address that rules still lead to.
    pub async fn del(&self, id: &str, netns: &Path) -> Result<(), CniError> {
        let Some(mut attachment) = self.attachment_or_substitute(id, netns).await? else {
            return Ok(());
        };
        let marker = FileName::new(format!("{id}{RELEASING}"))?;
        let interrupted = self.dir.exists(&marker)?;
        if attachment.result.is_none() || interrupted {
            // A daemon died in the middle of ADD or DEL, and its plugin may still be at it.
            let id = id.to_owned();
            let ended = tokio::task::spawn_blocking(move || leftover::end(&id));
            let _ = ended.await;
        }
        if !is_namespace(&attachment.netns) {
            // An empty path says that the namespace is gone.
            attachment.netns = PathBuf::new();
        }
        match self.dir.create_file(&marker) {
            Err(error) if !error.is_already_exists() => return Err(error.into()),
            _ => {}
        }
        let released = self.del_recorded(id, &attachment).await;
        self.dir.remove_file(&marker)?;
        released?;
        Ok(self.dir.remove_file(&file_name(id)?)?)
    }

    async fn del_recorded(&self, id: &str, attachment: &Attachment) -> Result<(), CniError> {
        let list = self.recorded(attachment)?;
        for plugin in list.plugins.iter().rev() {
            let call = self.call(Verb::Del, &list, plugin, Some((id, attachment)))?;
            let known = Known::Made(attachment.result.as_ref());
            self.ask_plugin(&Asked::of(&list, plugin, &call, known))
                .await?;
        }
        Ok(())
    }

    /// Makes a call whose answer says nothing but whether it failed.
    pub(super) async fn ask_plugin(&self, asked: &Asked<'_>) -> Result<(), CniError> {
        match self.natives.serve(asked).await {
            Some(answer) => answer.map(drop),
            None => call::run(asked.call).await.map(drop),
        }
    }

    /// Asks the plugins whether a pod is still joined as it was. A pod that never joined is fine.
    ///
    /// # Errors
    /// [`CniError`] says what the plugin misses.
    pub async fn check(&self, id: &str) -> Result<(), CniError> {
        let Some(attachment) = self.attachment(id)? else {
            return Ok(());
        };
        let list = self.recorded(&attachment)?;
        if list.disable_check || list.version < CniVersion::V0_4_0 || attachment.result.is_none() {
            return Ok(());
        }
        for plugin in &list.plugins {
            let call = self.call(Verb::Check, &list, plugin, Some((id, &attachment)))?;
            let known = Known::Made(attachment.result.as_ref());
            self.ask_plugin(&Asked::of(&list, plugin, &call, known))
                .await?;
        }
        Ok(())
    }

    /// The ids of all pods of which there are records.
    ///
    /// # Errors
    /// [`CniError::Dir`].
    pub fn attached(&self) -> Result<Vec<String>, CniError> {
        let entries = self.dir.entries()?;
        let names = entries.iter().filter_map(|entry| entry.name.as_str());
        let ids = names.filter_map(|name| name.strip_suffix(SUFFIX));
        Ok(ids.map(str::to_owned).collect())
    }

    /// Whether there is a record of a pod.
    ///
    /// # Errors
    /// [`CniError::Dir`].
    pub fn is_attached(&self, id: &str) -> Result<bool, CniError> {
        Ok(self.dir.exists(&file_name(id)?)?)
    }

    /// Writes the record of a pod; waits for the disk on a thread of its own.
    async fn keep(&self, id: &str, attachment: Attachment) -> Result<(), CniError> {
        let (dir, name) = (Arc::clone(&self.dir), file_name(id)?);
        let stored = tokio::task::spawn_blocking(move || {
            RECORD.store(&dir, &name, &attachment, Durability::Synced)
        });
        // A thread that panicked or was not started has written nothing.
        stored.await.map_err(|_| CniError::Ending)??;
        Ok(())
    }

    pub(super) fn attachment(&self, id: &str) -> Result<Option<Attachment>, CniError> {
        Ok(RECORD.load(&self.dir, &file_name(id)?)?)
    }

    /// As [`CniNetwork::attachment`]. A record that is damaged says no more, and keeping it would keep the pod's
    /// address for ever: its pod leaves the network of today without a result, as with libcni 1.3.1.
    async fn attachment_or_substitute(
        &self,
        id: &str,
        netns: &Path,
    ) -> Result<Option<Attachment>, CniError> {
        let damage = match self.attachment(id) {
            Ok(Some(attachment)) => match self.recorded(&attachment) {
                Ok(_) => return Ok(Some(attachment)),
                Err(error) => error,
            },
            Err(error @ CniError::Record(RecordError::Damaged { .. })) => error,
            other => return other,
        };
        let Ok(Some(list)) = self.look().await else {
            return Err(damage);
        };
        tracing::warn!(
            pod = id,
            network = list.name,
            error = &damage as &dyn std::error::Error,
            "cannot read what the network plugins were given; the pod leaves the network that is configured now"
        );
        Ok(Some(Attachment::of_unread(id, netns, &list)))
    }

    /// The list of a record.
    fn recorded(&self, attachment: &Attachment) -> Result<NetworkList, CniError> {
        config::parse(attachment.list.clone()).map_err(|reason| CniError::Config {
            path: self.settings.state_dir.clone(),
            reason,
        })
    }

    /// A call of one plugin of a list, for a pod or for none.
    pub(super) fn call(
        &self,
        verb: Verb,
        list: &NetworkList,
        plugin: &Plugin,
        pod: Option<(&str, &Attachment)>,
    ) -> Result<Call, CniError> {
        let program = self.program(&plugin.kind)?;
        let mut environment = vec![("CNI_PATH", self.search_path(":"))];
        let mut stdin = plugin.config.clone();
        stdin.insert("name".to_owned(), json!(list.name));
        stdin.insert("cniVersion".to_owned(), json!(list.told_version()));
        if let Some((id, attachment)) = pod {
            environment.extend([
                (leftover::KEY, id.to_owned()),
                ("CNI_NETNS", attachment.netns.display().to_string()),
                ("CNI_IFNAME", INTERFACE.to_owned()),
                ("CNI_ARGS", attachment.arguments.clone()),
            ]);
            let wanted = attachment.runtime.iter();
            let wanted = wanted.filter(|(capability, _)| plugin.takes(capability));
            let runtime: Map<String, Value> = wanted
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            if !runtime.is_empty() {
                stdin.insert("runtimeConfig".to_owned(), Value::Object(runtime));
            }
            // Before 0.4.0 a result went from one ADD to the next only.
            let chained = verb == Verb::Add || list.version >= CniVersion::V0_4_0;
            if let (true, Some(result)) = (chained, &attachment.result) {
                let result = outcome::read(result, list.version);
                match result.and_then(|result| result.in_version(list.version)) {
                    Ok(result) => _ = stdin.insert("prevResult".to_owned(), result),
                    // Plugins have to let go without it as well, as with libcni 1.3.1.
                    Err(_) if verb == Verb::Del => {}
                    Err(reason) => return Err(no_result(verb, &program, reason)),
                }
            }
        }
        Ok(Call {
            verb,
            plugin: program,
            environment,
            stdin: Value::Object(stdin),
            deadline: self.settings.timeout,
        })
    }

    pub(super) fn search_path(&self, between: &str) -> String {
        let dirs = self.settings.bin_dirs.iter();
        let dirs: Vec<String> = dirs.map(|dir| dir.display().to_string()).collect();
        dirs.join(between)
    }

    /// The program of a plugin.
    pub(super) fn program(&self, plugin: &str) -> Result<PathBuf, CniError> {
        let places = self.settings.bin_dirs.iter().map(|dir| dir.join(plugin));
        let found = places.into_iter().find(|path| path.is_file());
        found.ok_or_else(|| CniError::Missing {
            plugin: plugin.to_owned(),
            directories: self.search_path(", "),
        })
    }
}

fn no_result(verb: Verb, plugin: &Path, reason: String) -> CniError {
    CniError::NoResult {
        verb,
        plugin: plugin.to_owned(),
        reason,
    }
}

fn file_name(id: &str) -> Result<FileName, CniError> {
    Ok(FileName::new(format!("{id}{SUFFIX}"))?)
}

/// Whether a path is a namespace still: a pin that lost its mount is an empty file of another file system.
fn is_namespace(path: &Path) -> bool {
    /// The magic number of nsfs, `NSFS_MAGIC` of linux/magic.h.
    const NSFS: i64 = 0x6e73_6673;
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type().0 == NSFS)
}
