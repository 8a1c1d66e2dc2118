//! Calls that change containers, and commands that run in them.

use std::time::Instant;

use cri_api::runtime::v1::{
    ContainerConfig, CreateContainerRequest, ExecSyncRequest, ExecSyncResponse,
    LinuxContainerResources, RemoveContainerRequest, ReopenContainerLogRequest,
    StartContainerRequest, StopContainerRequest, UpdateContainerResourcesRequest,
};
use e2e::BUSYBOX;
use e2e::request;
use tonic::{Code, Status};

use super::{Answer, Client};
use crate::model::{Checked, Container, Kind, Model, Pod, PodKey, Trouble, When};
use crate::script::Step;

/// Containers of a slot that are there at the same time.
const CROWD: usize = 3;

/// What may be at a container at the end of a call.
#[derive(Debug, Clone, Copy, Default)]
struct May {
    over: bool,
    killed: bool,
    gone: bool,
    not_running: bool,
    missing_program: bool,
    pod_down: bool,
}

fn config(key: PodKey, slot: usize, attempt: u32) -> ContainerConfig {
    let command = Kind::of(key, slot, attempt).script();
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut config = request::container(&format!("c{slot}"), BUSYBOX, &words);
    if let Some(metadata) = &mut config.metadata {
        metadata.attempt = attempt;
    }
    config.log_path = format!("c{slot}/{attempt}.log");
    config
}

impl Client<'_> {
    pub fn create(&self, step: &Step) {
        let Some(pod) = self.pick_pod(step) else {
            return;
        };
        let Some((key, attempt)) = self.next_container(&pod, step) else {
            return;
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.clone(),
            config: Some(config(key, step.container, attempt)),
            sandbox_config: Some(self.pod_config(key)),
        };
        let slot = step.container;
        let what = format!("CreateContainer {slot}/{attempt} in {pod}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.create_container(request));
        match answer {
            Answer::Is(answer) => {
                self.note(&format!("{what} is {}", answer.container_id));
                let mut model = self.world.model();
                let made = model.container_made(&answer.container_id, &pod, (slot, attempt), when);
                drop(model);
                self.world.check(made);
            }
            Answer::Refused(status) => {
                self.world.check(self.create_refused(
                    &what,
                    &pod,
                    (slot, attempt),
                    (&status, when),
                ));
            }
            Answer::Lost => {}
        }
    }

    /// The name of the next container in a slot. When there are many the oldest is removed instead.
    fn next_container(&self, pod: &str, step: &Step) -> Option<(PodKey, u32)> {
        let mut model = self.world.model();
        let now = Instant::now();
        let there = model.containers_of(pod);
        let there: Vec<_> = there
            .filter(|one| one.slot == step.container && !one.gone.by(now))
            .map(|one| (one.attempt, one.start_asked.by(now), one.id.clone()))
            .collect();
        if there.len() >= CROWD {
            drop(model);
            if let Some((_, _, id)) = there.into_iter().min() {
                self.remove_this(&id, step);
            }
            return None;
        }
        let used = there.iter().max().is_some_and(|(_, started, _)| *started);
        let pod = model.pods.get_mut(pod)?;
        let attempt = &mut pod.attempts[step.container];
        *attempt += u32::from(used && step.choice.is_multiple_of(2));
        Some((pod.key, *attempt))
    }

    fn create_refused(
        &self,
        what: &str,
        pod: &str,
        (slot, attempt): (usize, u32),
        (status, when): (&Status, When),
    ) -> Checked {
        let mut model = self.world.model();
        let taken = model.containers_of(pod).any(|one| {
            let over = one.start_asked.by(when.end) || one.remove_asked.by(when.end);
            (one.slot, one.attempt) == (slot, attempt) && over
        });
        let Some(pod) = model.pods.get_mut(pod) else {
            return Ok(());
        };
        if status.code() == Code::AlreadyExists && pod.attempts[slot] == attempt {
            pod.attempts[slot] += 1;
        }
        let (down, gone) = (pod.may_be_down(when.end), pod.remove_asked.by(when.end));
        drop(model);
        let allowed: [(bool, &[Code]); 3] = [
            (taken, &[Code::AlreadyExists]),
            (down, &[Code::FailedPrecondition]),
            (gone, &[Code::NotFound]),
        ];
        self.allow(what, status, when, &allowed)
    }

    pub fn start(&self, step: &Step) {
        let Some(id) = self.pick_container(step) else {
            return;
        };
        if let Some(container) = self.world.model().containers.get_mut(&id) {
            container.start_asked.note(Instant::now());
        }
        let request = StartContainerRequest {
            container_id: id.clone(),
        };
        let what = format!("StartContainer {id}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.start_container(request));
        let may = self.world.model().may(&id, when);
        match answer {
            Answer::Is(_) if may.missing_program => {
                self.world
                    .check(Err(format!("{what} succeeds without a program")));
            }
            Answer::Is(_) => {
                if let Some(container) = self.world.model().containers.get_mut(&id) {
                    container.running.note(when.end);
                }
            }
            Answer::Refused(status) => {
                let program: &[Code] = &[Code::NotFound, Code::InvalidArgument];
                let killed: &[Code] =
                    &[Code::FailedPrecondition, Code::Unavailable, Code::Internal];
                let allowed: [(bool, &[Code]); 4] = [
                    (
                        may.over || may.gone || may.pod_down,
                        &[Code::FailedPrecondition],
                    ),
                    (may.gone, &[Code::NotFound]),
                    (may.missing_program, program),
                    (may.killed, killed),
                ];
                self.world.check(self.allow(&what, &status, when, &allowed));
                self.launch_troubled(&id, when);
            }
            Answer::Lost => self.launch_troubled(&id, when),
        }
    }

    /// A start in bad times may have failed, whatever was answered.
    fn launch_troubled(&self, id: &str, when: When) {
        let mut model = self.world.model();
        let troubled = model.troubled(Trouble::Broken, when);
        if let Some(container) = model.containers.get_mut(id) {
            container.launch_troubled |= troubled;
        }
    }

    pub fn stop(&self, step: &Step, grace: i64) {
        let Some(id) = self.pick_container(step) else {
            return;
        };
        if let Some(container) = self.world.model().containers.get_mut(&id) {
            container.stop_asked.note(Instant::now());
        }
        let request = StopContainerRequest {
            container_id: id.clone(),
            timeout: grace,
        };
        let what = format!("StopContainer {id} {grace}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.stop_container(request));
        match answer {
            Answer::Is(_) => {
                let mut model = self.world.model();
                if let Some(container) = model.containers.get_mut(&id)
                    && container.running.by(when.start)
                {
                    container.exited.note(when.end);
                }
            }
            Answer::Refused(status) => self.world.check(self.allow(&what, &status, when, &[])),
            Answer::Lost => {}
        }
    }

    pub fn remove(&self, step: &Step) {
        if let Some(id) = self.pick_container(step) {
            self.remove_this(&id, step);
        }
    }

    fn remove_this(&self, id: &str, step: &Step) {
        if let Some(container) = self.world.model().containers.get_mut(id) {
            container.remove_asked.note(Instant::now());
        }
        let request = RemoveContainerRequest {
            container_id: id.to_owned(),
        };
        let what = format!("RemoveContainer {id}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.remove_container(request));
        match answer {
            Answer::Is(_) => {
                if let Some(container) = self.world.model().containers.get_mut(id) {
                    container.gone.note(when.end);
                }
            }
            Answer::Refused(status) => self.world.check(self.allow(&what, &status, when, &[])),
            Answer::Lost => {}
        }
    }

    pub fn exec(&self, step: &Step, code: i32) {
        let Some(id) = self.pick_container(step) else {
            return;
        };
        let word = format!("w{}", step.choice % 100_000);
        let script = format!("echo {word}; echo e{word} >&2; exit {code}");
        let request = ExecSyncRequest {
            container_id: id.clone(),
            cmd: ["sh", "-c", &script].map(str::to_owned).into(),
            timeout: 20,
        };
        let what = format!("ExecSync {id}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.exec_sync(request));
        let may = self.world.model().may(&id, when);
        match answer {
            Answer::Is(answer) => {
                self.world
                    .check(exec_result(&what, &answer, (&word, code), may));
            }
            Answer::Refused(status) => self.refused_in(&what, &status, when, may),
            Answer::Lost => {}
        }
    }

    /// A refusal of something that wants a running container.
    fn refused_in(&self, what: &str, status: &Status, when: When, may: May) {
        let ending = may.over || may.killed || may.gone;
        let allowed: [(bool, &[Code]); 2] = [
            (may.not_running || ending, &[Code::FailedPrecondition]),
            (ending, &[Code::NotFound, Code::Unavailable, Code::Internal]),
        ];
        self.world.check(self.allow(what, status, when, &allowed));
    }

    pub fn update(&self, step: &Step) {
        let Some(id) = self.pick_container(step) else {
            return;
        };
        let resources = LinuxContainerResources {
            cpu_shares: 128 + i64::try_from(step.choice % 512).unwrap_or(0),
            ..LinuxContainerResources::default()
        };
        let request = UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(resources),
            ..UpdateContainerResourcesRequest::default()
        };
        let what = format!("UpdateContainerResources {id}");
        let mut client = self.clients.runtime.clone();
        let asked = client.update_container_resources(request);
        let (answer, when) = self.ask(&what, step.cancel, asked);
        let may = self.world.model().may(&id, when);
        if let Answer::Refused(status) = answer {
            self.refused_in(&what, &status, when, may);
        }
    }

    pub fn reopen_log(&self, step: &Step) {
        let Some(id) = self.pick_container(step) else {
            return;
        };
        let request = ReopenContainerLogRequest {
            container_id: id.clone(),
        };
        let what = format!("ReopenContainerLog {id}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.reopen_container_log(request));
        let may = self.world.model().may(&id, when);
        if let Answer::Refused(status) = answer {
            self.refused_in(&what, &status, when, may);
        }
    }
}

/// A command does what it was told to, unless its container ends.
fn exec_result(
    what: &str,
    answer: &ExecSyncResponse,
    (word, code): (&str, i32),
    may: May,
) -> Checked {
    let whole = answer.exit_code == code
        && answer.stdout == format!("{word}\n").as_bytes()
        && answer.stderr == format!("e{word}\n").as_bytes();
    let killed = answer.exit_code == 137 && (may.over || may.killed || may.gone);
    if whole || killed {
        return Ok(());
    }
    Err(format!(
        "{what} of {word} and {code} gives {answer:?}; {may:?}"
    ))
}

impl Model {
    /// A container's id became known.
    pub fn container_made(
        &mut self,
        id: &str,
        pod: &str,
        (slot, attempt): (usize, u32),
        when: When,
    ) -> Checked {
        let twin = self.containers_of(pod).find(|one| {
            let same = (one.slot, one.attempt) == (slot, attempt);
            same && one.id != id && !one.remove_asked.by(when.end)
        });
        if let Some(twin) = twin {
            return Err(format!(
                "{id} in {pod} has the name of {}, which nobody removed",
                twin.id
            ));
        }
        let Some(owner) = self.pods.get(pod) else {
            return Err(format!("{id} is in {pod}, which is not known"));
        };
        let new = || Container::new(id, owner, slot, attempt, when.end);
        self.containers.entry(id.to_owned()).or_insert_with(new);
        Ok(())
    }

    fn may(&self, id: &str, when: When) -> May {
        let Some(container) = self.containers.get(id) else {
            return May::default();
        };
        let Some(pod) = self.pods.get(&container.pod) else {
            return May::default();
        };
        may(container, pod, when)
    }
}

fn may(container: &Container, pod: &Pod, when: When) -> May {
    May {
        over: container.may_be_over(pod, when.end),
        killed: container.may_be_killed(pod, when.end),
        gone: container.may_be_gone(pod, when.end),
        not_running: !container.running.by(when.start),
        missing_program: container.kind == Kind::Missing,
        pod_down: pod.may_be_down(when.end),
    }
}
