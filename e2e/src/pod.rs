//! A pod and a container of a test.

use std::path::PathBuf;
use std::time::Duration;

use cri_api::runtime::v1::{
    ContainerConfig, ContainerState, ContainerStatus, PodSandboxConfig, PodSandboxStatus,
};
use serde_json::Value;
use tonic::Status;

use crate::call::{must, until};
use crate::daemon::Daemon;
use crate::log::{self, Line};

/// How long a container may take to do what a test waits for.
const CONTAINER_DEADLINE: Duration = Duration::from_secs(20);

/// A pod that was run. It lives until the daemon goes out of scope, or is removed.
#[derive(Debug, Clone)]
pub struct Pod<'d> {
    /// The daemon that runs it.
    pub daemon: &'d Daemon,
    /// Its identifier in the CRI.
    pub id: String,
    /// What was asked for.
    pub config: PodSandboxConfig,
}

impl<'d> Pod<'d> {
    /// Creates a container without starting it.
    #[track_caller]
    pub fn create(&self, config: ContainerConfig) -> Container<'d> {
        let image = config
            .image
            .as_ref()
            .map(|image| image.image.as_str())
            .unwrap_or_default();
        self.daemon.provide(image);
        let id = must(
            "CreateContainer",
            self.daemon.try_create(&self.id, &self.config, &config),
        );
        Container {
            daemon: self.daemon,
            id,
            config,
            logs: PathBuf::from(&self.config.log_directory),
        }
    }

    /// Creates and starts a container.
    #[track_caller]
    pub fn start(&self, config: ContainerConfig) -> Container<'d> {
        let container = self.create(config);
        container.start();
        container
    }

    /// Creates and starts a container that may be refused: its image must be there.
    ///
    /// # Errors
    /// What the daemon answered. What was created stays until the daemon goes out of scope.
    pub fn attempt(&self, config: ContainerConfig) -> Result<Container<'d>, Status> {
        let id = self.daemon.try_create(&self.id, &self.config, &config)?;
        self.daemon.try_start(&id)?;
        Ok(Container {
            daemon: self.daemon,
            id,
            config,
            logs: PathBuf::from(&self.config.log_directory),
        })
    }

    /// Runs a container to its end.
    #[track_caller]
    pub fn finish(&self, config: ContainerConfig) -> (Container<'d>, ContainerStatus) {
        let container = self.start(config);
        let status = container.wait();
        (container, status)
    }

    /// What a container wrote to its standard output, after it ended.
    #[track_caller]
    pub fn output(&self, config: ContainerConfig) -> String {
        let (container, _) = self.finish(config);
        container.stdout()
    }

    /// The status from PodSandboxStatus.
    #[track_caller]
    pub fn status(&self) -> PodSandboxStatus {
        let answer = must("PodSandboxStatus", self.daemon.try_pod_status(&self.id));
        answer
            .status
            .unwrap_or_else(|| panic!("PodSandboxStatus without a status"))
    }

    /// The verbose part of the status.
    #[track_caller]
    pub fn info(&self) -> Value {
        info(&must("PodSandboxStatus", self.daemon.try_pod_status(&self.id)).info)
    }

    /// The primary address of the pod.
    #[track_caller]
    pub fn ip(&self) -> String {
        self.status().network.unwrap_or_default().ip
    }

    /// The first further address, which is the IPv6 one.
    #[track_caller]
    pub fn ip6(&self) -> String {
        let network = self.status().network.unwrap_or_default();
        let further = network.additional_ips.into_iter().next();
        further
            .unwrap_or_else(|| panic!("the pod has one address only"))
            .ip
    }

    /// Process id of the pause on this machine.
    #[track_caller]
    pub fn pause(&self) -> i32 {
        let processes = self.daemon.namespaces(&self.id);
        let pause = processes.iter().find(|process| process.id == self.id);
        let pid = pause
            .unwrap_or_else(|| panic!("no pause among {processes:?}"))
            .pid;
        i32::try_from(pid).unwrap_or_else(|_| panic!("pid {pid}"))
    }

    /// Stops the pod by StopPodSandbox.
    #[track_caller]
    pub fn stop(&self) {
        must("StopPodSandbox", self.daemon.try_stop_pod(&self.id));
    }

    /// Stops and removes the pod.
    #[track_caller]
    pub fn remove(&self) {
        self.stop();
        must("RemovePodSandbox", self.daemon.try_remove_pod(&self.id));
    }
}

/// A container that was created.
#[derive(Debug, Clone)]
pub struct Container<'d> {
    /// The daemon that runs it.
    pub daemon: &'d Daemon,
    /// Its identifier in the CRI.
    pub id: String,
    /// What was asked for.
    pub config: ContainerConfig,
    logs: PathBuf,
}

/// What a command gave.
#[derive(Debug, Clone)]
pub struct Output {
    /// What the command wrote to standard output.
    pub stdout: String,
    /// What the command wrote to standard error.
    pub stderr: String,
    /// Exit code of the command.
    pub code: i32,
}

impl Container<'_> {
    /// Starts the container by StartContainer.
    #[track_caller]
    pub fn start(&self) {
        must("StartContainer", self.daemon.try_start(&self.id));
    }

    /// StopContainer; the grace period in seconds.
    #[track_caller]
    pub fn stop(&self, grace: i64) {
        must("StopContainer", self.daemon.try_stop(&self.id, grace));
    }

    /// Removes the container by RemoveContainer.
    #[track_caller]
    pub fn remove(&self) {
        must("RemoveContainer", self.daemon.try_remove(&self.id));
    }

    /// The status from ContainerStatus.
    #[track_caller]
    pub fn status(&self) -> ContainerStatus {
        let answer = must("ContainerStatus", self.daemon.try_status(&self.id));
        answer
            .status
            .unwrap_or_else(|| panic!("ContainerStatus without a status"))
    }

    /// The verbose part of the status.
    #[track_caller]
    pub fn info(&self) -> Value {
        info(&must("ContainerStatus", self.daemon.try_status(&self.id)).info)
    }

    /// Process id of the container's first process, on this machine.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let info = self.info();
        let pid = info["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.filter(|pid| *pid > 0)
            .unwrap_or_else(|| panic!("no pid in {info}"))
    }

    /// Waits until the container has ended.
    #[track_caller]
    pub fn wait(&self) -> ContainerStatus {
        until(
            &format!("the end of container {}", self.name()),
            CONTAINER_DEADLINE,
            || {
                let status = self.status();
                (status.state() == ContainerState::ContainerExited).then_some(status)
            },
        )
    }

    fn name(&self) -> &str {
        self.config
            .metadata
            .as_ref()
            .map_or("", |metadata| metadata.name.as_str())
    }

    /// Runs a command in it.
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> Output {
        let answer = must(
            &format!("ExecSync {command:?}"),
            self.daemon.try_exec(&self.id, command, 60),
        );
        Output {
            stdout: String::from_utf8_lossy(&answer.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&answer.stderr).into_owned(),
            code: answer.exit_code,
        }
    }

    /// Runs a script of sh in it that has to succeed, and gives what it wrote.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let output = self.exec(&["sh", "-c", script]);
        assert_eq!(
            output.code, 0,
            "{script:?}: {}{}",
            output.stdout, output.stderr
        );
        output.stdout
    }

    /// Path of its log.
    pub fn log_path(&self) -> PathBuf {
        self.logs.join(&self.config.log_path)
    }

    /// The lines of the container's log.
    #[track_caller]
    pub fn log(&self) -> Vec<Line> {
        log::read(&self.log_path())
    }

    /// What it wrote to standard output so far.
    #[track_caller]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&log::written(&self.log(), "stdout")).into_owned()
    }

    /// What it wrote to standard error so far.
    #[track_caller]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&log::written(&self.log(), "stderr")).into_owned()
    }

    /// Waits until its standard output has a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        until(
            &format!("{text:?} in the output of {}", self.name()),
            CONTAINER_DEADLINE,
            || {
                // The last line may be half written at this moment.
                let log = std::fs::read(self.log_path()).ok()?;
                let whole = log
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                let out = log::written(&log::parse(&log[..whole]), "stdout");
                String::from_utf8_lossy(&out).contains(text).then_some(())
            },
        );
    }
}

#[track_caller]
fn info(info: &std::collections::HashMap<String, String>) -> Value {
    let text = info
        .get("info")
        .unwrap_or_else(|| panic!("no `info` in {info:?}"));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("info is no JSON: {error}: {text}"))
}
