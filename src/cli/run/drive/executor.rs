//! Starts, stops and probes containers.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cri_api::runtime::v1 as cri;
use tonic::Status;

use super::probe;
use super::retry::until_reachable;
use super::sandbox::Sandbox;
use crate::connect::Daemon;
use crate::run::keeper::{Index, ProbeKind};
use crate::run::manifest::{Check, PlannedContainer, PodPlan};

/// Seconds that a container gets at least after its preStop hook, as on a node.
const LEAST_GRACE: u64 = 2;
/// The wait before a stop that failed is tried again.
const STOP_RETRY_DELAY: Duration = Duration::from_secs(1);
/// How often a stop is tried.
const MAX_STOP_ATTEMPTS: u32 = 30;

/// Carries out the actions on one pod.
#[derive(Debug)]
pub(super) struct Executor {
    daemon: Daemon,
    pod: String,
    /// Where its ports are: its own address, or this machine for a pod in the host's network.
    address: String,
    plan: PodPlan,
    /// Seconds between a stop signal and SIGKILL.
    grace: AtomicU32,
}

impl Executor {
    /// Makes the executor for a pod that has its sandbox. `grace` is the grace period in seconds.
    pub(super) fn new(daemon: Daemon, sandbox: &Sandbox, plan: PodPlan, grace: u32) -> Self {
        let address = sandbox.ips.first().cloned();
        Self {
            daemon,
            pod: sandbox.id.clone(),
            address: address.unwrap_or_else(|| "127.0.0.1".to_owned()),
            plan,
            grace: AtomicU32::new(grace),
        }
    }

    /// Changes the grace period of what is stopped from now on.
    pub(super) fn set_grace(&self, seconds: u32) {
        self.grace.store(seconds, Ordering::Relaxed);
    }

    fn grace(&self) -> u32 {
        self.grace.load(Ordering::Relaxed)
    }

    fn planned(&self, index: Index) -> Result<&PlannedContainer, String> {
        let planned = self.plan.containers.get(index);
        planned.ok_or_else(|| "the manifest has no such container".to_owned())
    }

    /// Makes and starts a container, and runs its postStart hook. Repeating it is safe.
    pub(super) async fn start(&self, index: Index, attempt: u32) -> Result<(), String> {
        let planned = self.planned(index)?;
        self.tidy(&planned.kept.name, attempt).await;
        let mut config = planned.config.clone();
        if let Some(target) = &planned.target {
            self.aim(&mut config, target).await?;
        }
        config.log_path = format!("{}/{attempt}.log", planned.kept.name);
        if let Some(metadata) = &mut config.metadata {
            metadata.attempt = attempt;
        }
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: self.pod.clone(),
            config: Some(config),
            sandbox_config: Some(self.plan.sandbox.clone()),
        };
        let create = || {
            let (mut runtime, request) = (self.daemon.runtime.clone(), request.clone());
            async move { runtime.create_container(request).await }
        };
        let refused = |what: &str| {
            let what = what.to_owned();
            move |status: Status| format!("cannot {what} it: {}", status.message())
        };
        let created = until_reachable(create).await.map_err(refused("create"))?;
        self.run(&created.container_id)
            .await
            .map_err(refused("start"))?;
        match &planned.post_start {
            Some(command) => self.post_start(&created.container_id, command).await,
            None => Ok(()),
        }
    }

    /// Puts a container into the pid namespace of the newest one of a name.
    async fn aim(&self, config: &mut cri::ContainerConfig, target: &str) -> Result<(), String> {
        let running =
            |container: &cri::Container| container.state() == cri::ContainerState::ContainerRunning;
        let targets = self.containers(target).await;
        let target = targets
            .into_iter()
            .filter(running)
            .max_by_key(|container| container.created_at)
            .ok_or_else(|| format!("cannot create it: its target {target} is not running"))?;
        let linux = config.linux.get_or_insert_default();
        let security = linux.security_context.get_or_insert_default();
        let options = security.namespace_options.get_or_insert_default();
        options.pid = cri::NamespaceMode::Target.into();
        options.target_id = target.id;
        Ok(())
    }

    async fn run(&self, id: &str) -> Result<(), Status> {
        let request = cri::StartContainerRequest {
            container_id: id.to_owned(),
        };
        let start = || {
            let (mut runtime, request) = (self.daemon.runtime.clone(), request.clone());
            async move { runtime.start_container(request).await }
        };
        match until_reachable(start).await {
            Ok(_) => Ok(()),
            // The answer to an earlier try may have been lost with the daemon.
            Err(_) if self.has_started(id).await => Ok(()),
            Err(status) => Err(status),
        }
    }

    async fn has_started(&self, id: &str) -> bool {
        let request = cri::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        let mut runtime = self.daemon.runtime.clone();
        let status = runtime.container_status(request).await;
        let status = status.ok().and_then(|reply| reply.into_inner().status);
        status.is_some_and(|status| status.started_at > 0)
    }

    /// A container whose hook fails is stopped: it is not what its author wanted it to be.
    async fn post_start(&self, id: &str, command: &[String]) -> Result<(), String> {
        let failure = match self.exec(id, command, Duration::ZERO).await {
            Ok(0) => return Ok(()),
            Ok(code) => format!("its postStart hook exited with {code}"),
            Err(status) => format!("cannot run its postStart hook: {}", status.message()),
        };
        self.stop_id(id, self.grace().into()).await;
        Err(failure)
    }

    /// Removes what is older than the previous attempt, with its log.
    async fn tidy(&self, name: &str, attempt: u32) {
        for old in self.containers(name).await {
            let metadata = old.metadata.unwrap_or_default();
            if metadata.attempt.saturating_add(1) >= attempt {
                continue;
            }
            let request = cri::RemoveContainerRequest {
                container_id: old.id,
            };
            let removed = self.daemon.runtime.clone().remove_container(request).await;
            if removed.is_ok() {
                let log = format!(
                    "{}/{name}/{}.log",
                    self.plan.sandbox.log_directory, metadata.attempt
                );
                // An old log that stays is deleted with the pod.
                let _ = fs::remove_file(Path::new(&log));
            }
        }
    }

    /// The pod's containers of a name.
    async fn containers(&self, name: &str) -> Vec<cri::Container> {
        let request = cri::ListContainersRequest {
            filter: Some(cri::ContainerFilter {
                pod_sandbox_id: self.pod.clone(),
                ..Default::default()
            }),
        };
        let list = || {
            let (mut runtime, request) = (self.daemon.runtime.clone(), request.clone());
            async move { runtime.list_containers(request).await }
        };
        let mut containers = match until_reachable(list).await {
            Ok(reply) => reply.containers,
            Err(_) => Vec::new(),
        };
        let named = |container: &cri::Container| {
            container
                .metadata
                .as_ref()
                .is_some_and(|of| of.name == name)
        };
        containers.retain(named);
        containers
    }

    async fn id(&self, index: Index, attempt: u32) -> Option<String> {
        let name = &self.planned(index).ok()?.kept.name;
        let all = self.containers(name).await.into_iter();
        let mut those = all
            .filter(|container| container.metadata.as_ref().map(|of| of.attempt) == Some(attempt));
        those.next().map(|container| container.id)
    }

    /// Runs the preStop hook and stops a container.
    pub(super) async fn stop(&self, index: Index, attempt: u32) {
        let (Some(id), Ok(planned)) = (self.id(index, attempt).await, self.planned(index)) else {
            return;
        };
        let grace = u64::from(self.grace());
        let mut left = grace;
        if let Some(command) = planned.pre_stop.as_ref().filter(|_| grace > 0) {
            let begun = Instant::now();
            let hook = self.exec(&id, command, Duration::from_secs(grace));
            // A hook that fails holds up nothing.
            let _ = tokio::time::timeout(Duration::from_secs(grace), hook).await;
            left = grace
                .saturating_sub(begun.elapsed().as_secs())
                .max(LEAST_GRACE);
        }
        self.stop_id(&id, left).await;
    }

    async fn stop_id(&self, id: &str, grace: u64) {
        let request = cri::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: i64::try_from(grace).unwrap_or(i64::MAX),
        };
        for _ in 0..MAX_STOP_ATTEMPTS {
            let mut runtime = self.daemon.runtime.clone();
            match runtime.stop_container(request.clone()).await {
                Ok(_) => return,
                Err(_) => tokio::time::sleep(STOP_RETRY_DELAY).await,
            }
        }
    }

    /// Runs a command in a container; no timeout when it is zero. Gives its exit code.
    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<i32, Status> {
        let request = cri::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.to_vec(),
            timeout: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        };
        let exec = || {
            let (mut runtime, request) = (self.daemon.runtime.clone(), request.clone());
            async move { runtime.exec_sync(request).await }
        };
        until_reachable(exec).await.map(|reply| reply.exit_code)
    }

    /// Whether a probe passes.
    pub(super) async fn probe(&self, index: Index, attempt: u32, kind: ProbeKind) -> bool {
        let planned = self.planned(index).ok();
        let Some(planned) = planned.and_then(|planned| planned.checks.get(kind)) else {
            return true;
        };
        let host = |host: &str| match host {
            "" => self.address.clone(),
            host => host.to_owned(),
        };
        match &planned.check {
            Check::Exec(command) => match self.id(index, attempt).await {
                // The daemon ends the command at the timeout.
                Some(id) => {
                    matches!(self.exec(&id, command, planned.timeout).await, Ok(0))
                }
                None => false,
            },
            Check::Tcp { host: to, port } => {
                let connect = probe::tcp(host(to), *port);
                tokio::time::timeout(planned.timeout, connect)
                    .await
                    .unwrap_or(false)
            }
            Check::Http {
                host: to,
                port,
                path,
                headers,
            } => {
                let get = probe::http((host(to), *port), path, headers);
                tokio::time::timeout(planned.timeout, get)
                    .await
                    .unwrap_or(false)
            }
        }
    }
}
