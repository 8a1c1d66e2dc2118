//! Chooses the containers whose logs are shown, and finds those that have come since.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use cri_api::runtime::v1 as cri;

use super::arguments::LogsArgs;
use super::logs_error::LogsError;
use super::print::Heads;
use super::source::{ReadError, Source};
use crate::annotations::RESTART_ANNOTATION;
use crate::connect::Daemon;
use crate::inspect::container_status;
use crate::out;
use crate::out::style::PALETTE;
use crate::refusal::Refusal;
use crate::select::{self, Target};

/// How long others are waited for when everything has ended: those that start after init containers, or what
/// somebody restarts by hand.
const LINGER: Duration = Duration::from_secs(2);
/// Longer than the first rest between two restarts, which is 10 s as with the kubelet.
const FIRST_REST: Duration = Duration::from_secs(12);

/// The pod or container that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// This container and no other.
    Container(String),
    /// All containers of a pod, or those of one name.
    Pod { id: String, name: Option<String> },
}

/// The containers whose logs are shown.
#[derive(Debug)]
pub(super) struct ShownLogs {
    scope: Scope,
    sources: Vec<Source>,
    /// Containers that have or had a source.
    known: HashSet<String>,
    /// Names by their colours.
    names: Vec<String>,
    pod_ready: bool,
    policy: Policy,
    /// Exit code of each name's last container that has ended.
    codes: HashMap<String, i32>,
}

/// The restart policy of a container, as far as logs depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// No container follows, or the policy is not known here.
    Never,
    /// Another container follows when this one failed.
    OnFailure,
    /// Another container always follows.
    Always,
}

impl Policy {
    fn from_pod(pod: &cri::PodSandbox) -> Self {
        match pod.annotations.get(RESTART_ANNOTATION).map(String::as_str) {
            Some("Always") => Self::Always,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Never,
        }
    }
}

impl ShownLogs {
    /// Finds the containers that are meant, each name's newest.
    pub(super) async fn find(daemon: &mut Daemon, args: &LogsArgs) -> Result<Self, LogsError> {
        // The bare name of a container will do, as for `exec`.
        let scope = match select::bare_target(daemon, args.within.name(&args.name)).await? {
            Target::Pod(pod) => Scope::Pod {
                id: pod.id,
                name: None,
            },
            Target::Container(container) if args.name.contains('/') => Scope::Pod {
                name: Some(select::container_name(&container)),
                id: container.pod_sandbox_id,
            },
            Target::Container(container) => Scope::Container(container.id),
        };
        let mut shown = Self {
            scope,
            sources: Vec::new(),
            known: HashSet::new(),
            names: Vec::new(),
            pod_ready: true,
            policy: Policy::Never,
            codes: HashMap::new(),
        };
        shown.look_at_pod(daemon).await?;
        let last = u64::try_from(args.tail).ok();
        let containers = shown.containers(daemon).await?;
        for container in newest(&containers) {
            if args.previous {
                shown.add_previous(daemon, container, last).await?;
            } else {
                shown.add(daemon, container, last).await?;
            }
        }
        // Older ones of the same names are the past.
        let ids = containers.into_iter().map(|container| container.id);
        shown.known.extend(ids);
        Ok(shown)
    }

    /// Returns the prefix of lines.
    pub(super) fn heads(&self) -> Heads {
        match self.scope {
            Scope::Pod { name: None, .. } => Heads::Names,
            _ => Heads::Nothing,
        }
    }

    /// All logs that are shown.
    pub(super) fn sources(&mut self) -> &mut [Source] {
        &mut self.sources
    }

    /// Lets go of containers that have ended; their logs were read after that.
    pub(super) fn forget_ended(&mut self) {
        self.sources.retain(|source| !source.ended);
    }

    /// Nothing is left to follow.
    pub(super) fn is_done(&self) -> bool {
        self.sources.is_empty()
    }

    /// How long other containers are waited for when all have ended.
    pub(super) fn wait_for_others(&self) -> Duration {
        if !self.pod_ready || matches!(self.scope, Scope::Container(_)) {
            return Duration::ZERO;
        }
        let failed = self.codes.values().any(|code| *code != 0);
        match self.policy {
            Policy::Always | Policy::OnFailure if failed => Duration::MAX,
            // An init container that has succeeded is not restarted, and looks like any other.
            Policy::Always => FIRST_REST,
            Policy::Never | Policy::OnFailure => LINGER,
        }
    }

    /// Looks which containers have ended and which have come. A daemon that does not answer may be about to be
    /// replaced: the logs go on meanwhile.
    pub(super) async fn poll_containers(&mut self, daemon: &mut Daemon) -> Result<(), LogsError> {
        match self.look_now(daemon).await {
            Err(error) if error.is_passing() => Ok(()),
            result => result,
        }
    }

    async fn look_now(&mut self, daemon: &mut Daemon) -> Result<(), LogsError> {
        let containers = self.containers(daemon).await?;
        for source in &mut self.sources {
            let now = containers
                .iter()
                .find(|container| container.id == source.id);
            source.ended = now
                .is_none_or(|container| container.state() == cri::ContainerState::ContainerExited);
            if source.ended && self.policy != Policy::Never {
                // One that was removed has no code, and was to end.
                let status = container_status(daemon, &source.id).await;
                let code = status.map_or(0, |status| status.exit_code);
                self.codes.insert(source.name.clone(), code);
            }
        }
        for container in &containers {
            if !self.known.contains(&container.id) {
                self.add(daemon, container, None).await?;
                self.known.insert(container.id.clone());
            }
        }
        Ok(self.look_at_pod(daemon).await?)
    }

    async fn look_at_pod(&mut self, daemon: &mut Daemon) -> Result<(), Refusal> {
        if let Scope::Pod { id, .. } = &self.scope {
            let pods = select::pods(daemon).await?;
            let pod = pods.iter().find(|pod| pod.id == *id);
            self.pod_ready =
                pod.is_some_and(|pod| pod.state() == cri::PodSandboxState::SandboxReady);
            self.policy = pod.map_or(Policy::Never, Policy::from_pod);
        }
        Ok(())
    }

    /// The containers that are meant, oldest first.
    async fn containers(&self, daemon: &mut Daemon) -> Result<Vec<cri::Container>, Refusal> {
        let mut containers = select::containers(daemon).await?;
        containers.retain(|container| match &self.scope {
            Scope::Container(id) => container.id == *id,
            Scope::Pod { id, name } => {
                container.pod_sandbox_id == *id
                    && name
                        .as_ref()
                        .is_none_or(|name| *name == select::container_name(container))
            }
        });
        Ok(containers)
    }

    async fn add(
        &mut self,
        daemon: &mut Daemon,
        container: &cri::Container,
        last: Option<u64>,
    ) -> Result<(), LogsError> {
        let name = select::container_name(container);
        let path = match container_status(daemon, &container.id).await {
            Ok(status) => {
                if status.state() == cri::ContainerState::ContainerExited {
                    self.codes.insert(name.clone(), status.exit_code);
                }
                status.log_path
            }
            // Removed meanwhile.
            Err(refusal) if refusal.code() == tonic::Code::NotFound => return Ok(()),
            Err(refusal) => return Err(refusal.into()),
        };
        if path.is_empty() {
            if self.heads() == Heads::Names {
                out::note(&format!("holdfast: container {name} has no log"));
                return Ok(());
            }
            return Err(LogsError::NoLog(name));
        }
        Ok(self.push(container, path.into(), last)?)
    }

    /// The log of the container before this one: of an older one that is still there, or by the name that the
    /// kubelet gives logs, ATTEMPT.log.
    async fn add_previous(
        &mut self,
        daemon: &mut Daemon,
        container: &cri::Container,
        last: Option<u64>,
    ) -> Result<(), LogsError> {
        let name = select::container_name(container);
        let all = select::containers(daemon).await?;
        let before = all.iter().rev().find(|older| {
            older.pod_sandbox_id == container.pod_sandbox_id
                && older.created_at < container.created_at
                && select::container_name(older) == name
        });
        if let Some(before) = before {
            return self.add(daemon, before, last).await;
        }
        let attempt = container.metadata.as_ref().map(|metadata| metadata.attempt);
        let path = PathBuf::from(container_status(daemon, &container.id).await?.log_path);
        let before = attempt.and_then(|attempt| attempt.checked_sub(1));
        let path = before.map(|before| path.with_file_name(format!("{before}.log")));
        match path.filter(|path| path.exists()) {
            Some(path) => Ok(self.push(container, path, last)?),
            None if self.heads() == Heads::Names => Ok(()),
            None => Err(LogsError::NoPrevious(name)),
        }
    }

    fn push(
        &mut self,
        container: &cri::Container,
        path: PathBuf,
        last: Option<u64>,
    ) -> Result<(), ReadError> {
        let name = select::container_name(container);
        let place = self.names.iter().position(|known| *known == name);
        let place = place.unwrap_or_else(|| {
            self.names.push(name.clone());
            self.names.len() - 1
        });
        let mut source = Source {
            name,
            style: PALETTE[place % PALETTE.len()],
            id: container.id.clone(),
            path,
            log: None,
            next: None,
            ended: container.state() == cri::ContainerState::ContainerExited,
        };
        source.log = source.open(last)?;
        self.sources.push(source);
        Ok(())
    }
}

/// The newest container of each name.
fn newest(containers: &[cri::Container]) -> Vec<&cri::Container> {
    let mut newest: Vec<&cri::Container> = Vec::new();
    for container in containers {
        let name = select::container_name(container);
        match newest
            .iter_mut()
            .find(|older| select::container_name(older) == name)
        {
            Some(older) => *older = container,
            None => newest.push(container),
        }
    }
    newest
}
