//! Writes the records of a pod, and publishes its snapshot.

use holdfast_kernel::error_chain;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Member, MemberStage, Task};
use crate::pod::clock::now;
use crate::pod::entry::PodSnapshot;
use crate::pod::error::{LookupError, PodError, Refusal};
use crate::pod::events::EventKind;
use crate::pod::joined;
use crate::pod::record::{self, ContainerRecord};
use crate::pod::state::{ContainerPhase, Effect, Goal, PodPhase};
use holdfast_disk::Dir;
use holdfast_kernel::id::ContainerId;
use holdfast_wire::Request;

/// Time between two attempts to write what the disk refuses.
const WRITE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl Member {
    /// Its deletion was tried, and what the disk says would bring it back.
    fn removal_failed(&self) -> bool {
        self.record.phase == ContainerPhase::Removing && self.stage != MemberStage::Deleting
    }
}

impl Task {
    /// Returns a container that readers may see: one whose creation is complete.
    pub(super) fn visible(&mut self, id: ContainerId) -> Option<&mut Member> {
        self.members
            .get_mut(&id)
            .filter(|member| member.stage != MemberStage::Preparing)
    }

    /// Returns the state directory of the pod, and makes the directory when it is missing.
    pub(super) fn state_dir(&mut self) -> Result<Dir, PodError> {
        if self.dir.is_none() {
            self.dir = Some(self.node.make_pod_dir(self.pod.id)?);
        }
        match &self.dir {
            Some(dir) => Ok(dir.try_clone()?),
            None => Err(PodError::Refused(Refusal::Gone)),
        }
    }

    /// Writes the record of the pod.
    pub(super) fn store_pod(&mut self) -> Result<(), PodError> {
        let dir = self.state_dir()?;
        Ok(record::store_pod(&dir, &self.pod)?)
    }

    /// Writes the pod's record and shows it to readers. A disk that refuses is told, does not stop the pod, and
    /// is asked again until it takes the record.
    pub(super) fn keep_pod(&mut self) {
        let stored = self.secure().and_then(|()| self.store_pod());
        self.record_unsaved = stored.is_err();
        if let Err(error) = stored {
            tracing::error!(pod = %self.pod.id, error = error_chain(&error), "cannot write the record of a pod; Holdfast tries again");
            self.keep_later();
        }
        self.publish();
    }

    /// A record that says that the pod is stopped makes the next daemon release nothing: what is owed goes first.
    fn secure(&self) -> Result<(), PodError> {
        match self.pod.phase {
            PodPhase::NotReady => self.node.debts.secure(self.pod.id),
            PodPhase::Creating | PodPhase::Ready | PodPhase::Stopping | PodPhase::Removing => {
                Ok(())
            }
        }
    }

    /// Schedules another try to write the records that the disk has refused.
    pub(super) fn keep_later(&mut self) {
        if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + WRITE_RETRY_INTERVAL);
        }
    }

    /// Tries again what the disk has refused.
    pub(super) fn keep_again(&mut self) {
        if self.record_unsaved && self.pod.phase != PodPhase::Removing {
            self.keep_pod();
        }
        let members = self.members.values();
        // What is being deleted would come back.
        let still = members.filter(|member| member.stage != MemberStage::Deleting);
        let unkept = still.filter(|member| member.record_unsaved || member.removal_failed());
        let unkept: Vec<_> = unkept.map(|member| member.record.id).collect();
        for id in unkept {
            self.keep_container(id);
            if self.members.get(&id).is_some_and(Member::removal_failed) {
                self.effect(id, Effect::Delete);
            }
        }
    }

    /// Writes a container's record as it is to be next, before anybody sees it so.
    ///
    /// # Errors
    /// The disk refuses; nothing has changed.
    pub(super) fn write_ahead(
        &mut self,
        id: ContainerId,
        change: impl FnOnce(&mut ContainerRecord),
    ) -> Result<(), PodError> {
        let dir = self.state_dir()?;
        let member = self.members.get_mut(&id);
        let member = member
            .ok_or_else(|| PodError::Lookup(LookupError::UnknownContainer(id.to_string())))?;
        let mut next = member.record.clone();
        change(&mut next);
        record::store_container(&dir, &next)?;
        member.record_unsaved = false;
        Ok(())
    }

    /// Writes that a container is about to be started. Without that nothing is: a shim that starts what no record
    /// knows of would be the only one to know since when it runs.
    ///
    /// # Errors
    /// The disk refuses; nothing has changed.
    pub(super) fn intend_start(&mut self, id: ContainerId) -> Result<(), PodError> {
        let mut started_at = now();
        self.write_ahead(id, |record| {
            started_at = started_at.max(record.created_at);
            record.started_at = started_at;
            record.phase = ContainerPhase::Starting(Goal::Run);
        })?;
        if let Some(member) = self.members.get_mut(&id) {
            member.record.started_at = started_at;
            member.given_up = Arc::default();
        }
        Ok(())
    }

    /// Writes the record of a container, acknowledges an exit that is on disk now, and shows the record to readers. A
    /// record that the disk refuses is written again later.
    pub(super) fn keep_container(&mut self, id: ContainerId) {
        let dir = self.state_dir();
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let stored = dir.and_then(|dir| Ok(record::store_container(&dir, &member.record)?));
        member.record_unsaved = stored.is_err();
        if let Err(error) = stored {
            tracing::error!(container = %id, error = error_chain(&error), "cannot write the record of a container; Holdfast tries again");
            self.keep_later();
        } else if let Some(sequence) = member.unacknowledged.take() {
            self.ask(Request::Acknowledge { sequence });
        }
        self.publish();
    }

    /// Makes the snapshot of the pod that readers see.
    pub(super) fn snapshot(&self) -> Arc<PodSnapshot> {
        let visible = self
            .members
            .values()
            .filter(|member| member.stage != MemberStage::Preparing);
        let containers = visible
            .map(|member| (member.record.id, Arc::new(member.record.clone())))
            .collect();
        Arc::new(PodSnapshot {
            pod: Arc::new(self.pod.clone()),
            containers,
        })
    }

    /// Shows the present state to readers, and marks the pod for the archive.
    pub(super) fn publish(&self) {
        self.entry.snapshot.store(self.snapshot());
        self.node.archive.changed(self.pod.id);
    }

    /// Tells those who listen what happened, with the snapshot that was published last.
    pub(super) fn announce(&self, kind: EventKind, object: &dyn std::fmt::Display) {
        let snapshot = joined::shown(&self.node, self.entry.snapshot.load_full());
        self.node.events.emit(kind, object.to_string(), snapshot);
    }

    /// Announces what a change of phase means to those who listen.
    pub(super) fn announce_phase(&self, id: ContainerId, from: &ContainerPhase) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let to = &member.record.phase;
        match (from, to) {
            (ContainerPhase::Running(..), ContainerPhase::Running(..))
            | (_, ContainerPhase::Created) => {}
            (_, ContainerPhase::Running(..)) => self.announce(EventKind::Started, &id),
            (from, to) if from.is_alive() && !to.is_alive() => {
                self.announce(EventKind::Stopped, &id)
            }
            _ => {}
        }
    }
}
