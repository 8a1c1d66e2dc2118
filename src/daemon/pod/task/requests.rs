//! Handles the requests of clients to a pod.

use std::sync::Arc;
use std::time::Duration;

use std::os::fd::AsFd;

use tokio::time::Instant;

use super::{Answer, Command, Done, Member, MemberStage, PodGoal, Task, reply};
use crate::pod::admit::{self, Admission, Stopping};
use crate::pod::blocking::blocking;
use crate::pod::error::{LookupError, PodError, Refusal};
use crate::pod::link::ShimLink;
use crate::pod::record::ContainerRecord;
use crate::pod::state::{ContainerEvent, ContainerPhase, Goal, PodPhase, Urgency};
use crate::pod::{container, launch_error, start, update};
use crate::spec::{ContainerConfig, PodConfig, Resources};
use holdfast_image::Image;
use holdfast_kernel::id::ContainerId;
use holdfast_wire::Request;

/// A longer grace period means the same to everybody and would overflow the clock: a year.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Task {
    /// Carries out a command of a handler.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Create(config, image, answer) => {
                self.create_container(*config, &image, answer)
            }
            Command::Start(id, answer) => self.start(id, answer),
            Command::Stop(id, grace, answer) => self.stop(id, grace, answer),
            Command::Remove(id, answer) => self.remove(id, answer),
            Command::Update(id, resources, answer) => self.update(id, *resources, answer),
            Command::UpdatePod(resources, answer) => {
                self.pod.resources = *resources;
                self.keep_pod();
                reply(answer, Ok(()));
            }
            Command::ReopenLog(id, answer) => self.reopen_log(id, answer),
            Command::StopPod(answer) => {
                self.stop_waiting.push(answer);
                self.goal = self.goal.max(PodGoal::Stop);
            }
            Command::RemovePod(answer) => {
                self.remove_waiting.push(answer);
                self.goal = PodGoal::Remove;
            }
        }
    }

    fn create_container(
        &mut self,
        config: ContainerConfig,
        image: &Arc<Image>,
        answer: Answer<ContainerId>,
    ) {
        let stopping = if self.goal == PodGoal::Stay {
            Stopping::No
        } else {
            Stopping::Yes
        };
        let records = self.members.values().map(|member| &member.record);
        match admit::container(&self.pod, stopping, records, &config) {
            Ok(Admission::Create) => {}
            Ok(Admission::Same(id)) => return self.join_creation(id, answer),
            Err(error) => return reply(answer, Err(Arc::new(error))),
        }
        let made = container::new_record(&self.node, &self.pod, config, image)
            .and_then(|record| Ok((self.node.images.hold_layers(&record.layers())?, record)));
        let (hold, record) = match made {
            Ok(made) => made,
            Err(error) => return reply(answer, Err(Arc::new(error))),
        };
        let (id, node, pod) = (record.id, Arc::clone(&self.node), self.snapshot());
        let copy = record.clone();
        let mut member = Member::new(record, Some(hold));
        member.stage = MemberStage::Preparing;
        member.waiting.created.push(answer);
        self.members.insert(id, member);
        self.work.push(Box::pin(async move {
            Done::Prepared(id, container::create(node, pod, copy).await)
        }));
    }

    fn join_creation(&mut self, id: ContainerId, answer: Answer<ContainerId>) {
        match self.members.get_mut(&id) {
            Some(member) if member.stage == MemberStage::Preparing => {
                member.waiting.created.push(answer)
            }
            _ => reply(answer, Ok(id)),
        }
    }

    fn start(&mut self, id: ContainerId, answer: Answer<()>) {
        let ready = self.pod.phase == PodPhase::Ready && self.goal == PodGoal::Stay;
        let pod = self.pod.id;
        let Some(member) = self.visible(id) else {
            return unknown(id, answer);
        };
        if !ready && member.record.phase == ContainerPhase::Created {
            let error = PodError::Refused(Refusal::PodPhase {
                id: pod,
                phase: "not ready",
                wanted: "containers start in a ready sandbox; run a new one",
            });
            return reply(answer, Err(Arc::new(error)));
        }
        if member.record.phase == ContainerPhase::Created
            && let Err(error) = self.intend_start(id)
        {
            return reply(answer, Err(Arc::new(error)));
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.waiting.start.push(answer);
        }
        self.apply(id, ContainerEvent::StartAsked);
    }

    fn stop(&mut self, id: ContainerId, grace: Duration, answer: Answer<()>) {
        // Stopping what is not there is done.
        let Some(member) = self.visible(id) else {
            return reply(answer, Ok(()));
        };
        member.waiting.stop.push(answer);
        if grace.is_zero() {
            return self.apply(id, ContainerEvent::StopAsked(Urgency::Kill));
        }
        if member.record.phase.is_alive() {
            // A later request may only shorten the time.
            let deadline = Instant::now() + grace.min(LONGEST_GRACE);
            member.deadline = Some(
                member
                    .deadline
                    .map_or(deadline, |earlier| earlier.min(deadline)),
            );
        }
        self.apply(id, ContainerEvent::StopAsked(Urgency::Signal));
    }

    fn remove(&mut self, id: ContainerId, answer: Answer<()>) {
        let Some(member) = self.visible(id) else {
            return reply(answer, Ok(()));
        };
        member.waiting.remove.push(answer);
        self.apply(id, ContainerEvent::RemoveAsked);
    }

    fn update(&mut self, id: ContainerId, resources: Resources, answer: Answer<()>) {
        let Some(member) = self.visible(id) else {
            return unknown(id, answer);
        };
        if matches!(
            member.record.phase,
            ContainerPhase::Exited(_) | ContainerPhase::Removing
        ) {
            return reply(
                answer,
                Err(Arc::new(phase_error(
                    &member.record,
                    "only a created or running container has resources",
                ))),
            );
        }
        // It has the former resources.
        member.launch_plan = None;
        let mut record = member.record.clone();
        record.resources = update::merged(&record.resources, &resources);
        if record.phase.is_alive() {
            // The score of a process is set before its program runs, and never after.
            record.resources.oom_score_adj = member.record.resources.oom_score_adj;
        }
        let (node, pod) = (Arc::clone(&self.node), self.snapshot());
        self.work.push(Box::pin(async move {
            let result = blocking(move || update::apply(&node, &pod, &record)).await;
            Done::Updated(id, answer, result)
        }));
    }

    fn reopen_log(&mut self, id: ContainerId, answer: Answer<()>) {
        let pod = Arc::clone(&self.pod.config);
        let link = self.link.clone();
        let Some(member) = self.visible(id) else {
            return unknown(id, answer);
        };
        let (Some(link), ContainerPhase::Running(..)) = (link, &member.record.phase) else {
            let error = phase_error(&member.record, "only a running container's log is reopened");
            return reply(answer, Err(Arc::new(error)));
        };
        let config = Arc::clone(&member.record.config);
        self.work.push(Box::pin(async move {
            reply(
                answer,
                reopen(link, id, pod, config).await.map_err(Arc::new),
            );
            Done::Nothing
        }));
    }
}

async fn reopen(
    link: ShimLink,
    container: ContainerId,
    pod: Arc<PodConfig>,
    config: Arc<ContainerConfig>,
) -> Result<(), PodError> {
    let Some(log) = start::open_log(pod, config).await? else {
        return Ok(());
    };
    let request = Request::ReopenLog { container };
    link.ask(request, &[log.as_fd()])
        .await
        .map_err(launch_error::shim("reopen the container's log"))?;
    Ok(())
}

fn unknown<T>(id: ContainerId, answer: Answer<T>) {
    reply(
        answer,
        Err(Arc::new(PodError::Lookup(LookupError::UnknownContainer(
            id.to_string(),
        )))),
    );
}

/// The error of a request that the phase of the container does not allow.
pub(super) fn phase_error(record: &ContainerRecord, wanted: &'static str) -> PodError {
    let phase = match &record.phase {
        ContainerPhase::Created => "created",
        ContainerPhase::Starting(_) => "starting",
        ContainerPhase::Running(_, Goal::Run) => "running",
        ContainerPhase::Running(..) => "stopping",
        ContainerPhase::Exited(_) => "exited",
        ContainerPhase::Removing => "being removed",
    };
    PodError::Refused(Refusal::ContainerPhase {
        id: record.id,
        phase,
        wanted,
    })
}
