//! Which containers' logs are shown, and which others have come since.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use anstyle::Style;
use cri_api::runtime::v1 as cri;

use super::LogsArgs;
use super::file::LogFile;
use super::line::Line;
use crate::cli::connect::Daemon;
use crate::cli::inspect::container_status;
use crate::cli::out::style::PALETTE;
use crate::cli::select::{self, Target};
use crate::cli::{CliError, out};

/// The log of one container.
#[derive(Debug)]
pub(super) struct Source {
    /// The container's name.
    pub name: String,
    /// The colour of its name.
    pub style: Style,
    id: String,
    path: PathBuf,
    log: Option<LogFile>,
    /// The record that is shown next.
    next: Option<Line>,
    /// The container had ended before the last look at its log.
    ended: bool,
}

impl Source {
    /// Reads the next record, unless one waits.
    pub(super) fn fill(&mut self) -> Result<(), CliError> {
        if self.log.is_none() {
            // A container that has never run has none.
            self.log = self.open(None)?;
        }
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        while self.next.is_none() {
            let failed = CliError::io(format!("read {}", self.path.display()));
            match log.next().map_err(failed)? {
                Some(record) => self.next = Line::parse(&record),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// The record that is shown next.
    pub(super) fn peek(&self) -> Option<&Line> {
        self.next.as_ref()
    }

    /// Takes it.
    pub(super) fn take(&mut self) -> Option<Line> {
        self.next.take()
    }

    fn open(&self, last: Option<u64>) -> Result<Option<LogFile>, CliError> {
        match LogFile::open(&self.path, last) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result
                .map(Some)
                .map_err(CliError::io(format!("open {}", self.path.display()))),
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// This container and no other.
    Container(String),
    /// All containers of a pod, or those of one name.
    Pod { id: String, name: Option<String> },
}

/// The containers whose logs are shown.
#[derive(Debug)]
pub(super) struct Which {
    scope: Scope,
    sources: Vec<Source>,
    /// Containers that have or had a source.
    known: HashSet<String>,
    /// Names by their colours.
    names: Vec<String>,
    pod_ready: bool,
}

impl Which {
    /// Finds the containers that are meant, each name's newest.
    pub(super) async fn find(daemon: &mut Daemon, args: &LogsArgs) -> Result<Self, CliError> {
        let scope = match select::target(daemon, &args.name).await {
            Ok(Target::Pod(pod)) => Scope::Pod {
                id: pod.id,
                name: None,
            },
            Ok(Target::Container(container)) if args.name.contains('/') => Scope::Pod {
                name: Some(select::container_name(&container)),
                id: container.pod_sandbox_id,
            },
            Ok(Target::Container(container)) => Scope::Container(container.id),
            // The bare name of a container, as `exec` takes it.
            Err(error) => match select::container(daemon, &args.name).await {
                Ok(container) => Scope::Container(container.id),
                Err(_) => return Err(error),
            },
        };
        let mut which = Self {
            scope,
            sources: Vec::new(),
            known: HashSet::new(),
            names: Vec::new(),
            pod_ready: true,
        };
        let last = u64::try_from(args.tail).ok();
        let containers = which.containers(daemon).await?;
        for container in newest(&containers) {
            if args.previous {
                which.add_previous(daemon, container, last).await?;
            } else {
                which.add(daemon, container, last).await?;
            }
        }
        // Older ones of the same names are the past.
        let ids = containers.into_iter().map(|container| container.id);
        which.known.extend(ids);
        Ok(which)
    }

    /// Whether names stand in front of lines.
    pub(super) fn prefixed(&self) -> bool {
        matches!(self.scope, Scope::Pod { name: None, .. })
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

    /// There may be other containers later.
    pub(super) fn may_go_on(&self) -> bool {
        self.pod_ready && matches!(self.scope, Scope::Pod { .. })
    }

    /// Looks which containers have ended and which have come.
    pub(super) async fn look(&mut self, daemon: &mut Daemon) -> Result<(), CliError> {
        let containers = match self.containers(daemon).await {
            // It may be about to be replaced by another release; the logs go on.
            Err(CliError::Refused { status, .. })
                if matches!(
                    status.code(),
                    tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled
                ) =>
            {
                return Ok(());
            }
            containers => containers?,
        };
        for source in &mut self.sources {
            let now = containers.iter().find(|one| one.id == source.id);
            source.ended =
                now.is_none_or(|one| one.state() == cri::ContainerState::ContainerExited);
        }
        for container in &containers {
            if self.known.insert(container.id.clone()) {
                self.add(daemon, container, None).await?;
            }
        }
        if let Scope::Pod { id, .. } = &self.scope {
            let pods = select::pods(daemon).await?;
            let pod = pods.iter().find(|pod| pod.id == *id);
            self.pod_ready =
                pod.is_some_and(|pod| pod.state() == cri::PodSandboxState::SandboxReady);
        }
        Ok(())
    }

    /// The containers that are meant, oldest first.
    async fn containers(&self, daemon: &mut Daemon) -> Result<Vec<cri::Container>, CliError> {
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
    ) -> Result<(), CliError> {
        let path = match container_status(daemon, &container.id).await {
            Ok(status) => status.log_path,
            // Removed meanwhile.
            Err(CliError::Refused { status, .. }) if status.code() == tonic::Code::NotFound => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let name = select::container_name(container);
        if path.is_empty() {
            if self.prefixed() {
                out::note(&format!("holdfast: container {name} has no log"));
                return Ok(());
            }
            return Err(CliError::NoLog(name));
        }
        self.push(container, path.into(), last)
    }

    /// The log of the container before this one: of an older one that is still there, or by the name that the
    /// kubelet gives logs, ATTEMPT.log.
    async fn add_previous(
        &mut self,
        daemon: &mut Daemon,
        container: &cri::Container,
        last: Option<u64>,
    ) -> Result<(), CliError> {
        let name = select::container_name(container);
        let all = select::containers(daemon).await?;
        let before = all.iter().rev().find(|one| {
            one.pod_sandbox_id == container.pod_sandbox_id
                && one.created_at < container.created_at
                && select::container_name(one) == name
        });
        if let Some(before) = before {
            return self.add(daemon, before, last).await;
        }
        let attempt = container.metadata.as_ref().map(|metadata| metadata.attempt);
        let path = PathBuf::from(container_status(daemon, &container.id).await?.log_path);
        let before = attempt.and_then(|attempt| attempt.checked_sub(1));
        let path = before.map(|before| path.with_file_name(format!("{before}.log")));
        match path.filter(|path| path.exists()) {
            Some(path) => self.push(container, path, last),
            None if self.prefixed() => Ok(()),
            None => Err(CliError::NoPrevious(name)),
        }
    }

    fn push(
        &mut self,
        container: &cri::Container,
        path: PathBuf,
        last: Option<u64>,
    ) -> Result<(), CliError> {
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
            .find(|one| select::container_name(one) == name)
        {
            Some(older) => *older = container,
            None => newest.push(container),
        }
    }
    newest
}
