//! Records on disk, and what readers see.

use std::sync::Arc;

use super::{Member, Task};
use crate::disk::Dir;
use crate::id::ContainerId;
use crate::pod::error::PodError;
use crate::pod::events::EventKind;
use crate::pod::index::PodSnapshot;
use crate::pod::record;
use crate::pod::state::ContainerPhase;

impl Task {
    pub(super) fn visible(&mut self, id: ContainerId) -> Option<&mut Member> {
        self.members.get_mut(&id).filter(|member| !member.preparing)
    }

    pub(super) fn state_dir(&mut self) -> Result<Dir, PodError> {
        if self.dir.is_none() {
            self.dir = Some(self.node.make_pod_dir(self.pod.id)?);
        }
        match &self.dir {
            Some(dir) => Ok(dir.try_clone()?),
            None => Err(PodError::Gone),
        }
    }

    /// Writes the pod's record and shows it to readers. A disk that refuses is told and does not stop the
    /// pod: its state can be had again from the shim.
    pub(super) fn keep_pod(&mut self) {
        let stored = self
            .state_dir()
            .and_then(|dir| Ok(record::store_pod(&dir, &self.pod)?));
        if let Err(error) = stored {
            tracing::error!(pod = %self.pod.id, error = crate::pod::chain(&error), "the pod's record is not written");
        }
        self.publish();
    }

    pub(super) fn keep_container(&mut self, id: ContainerId) {
        let dir = self.state_dir();
        let Some(member) = self.members.get(&id) else {
            return;
        };
        // What is under way is known to the shim, and is recorded when it is done.
        let settled = !matches!(member.record.phase, ContainerPhase::Starting(_));
        if settled
            && let Err(error) =
                dir.and_then(|dir| Ok(record::store_container(&dir, &member.record)?))
        {
            tracing::error!(container = %id, error = crate::pod::chain(&error), "the container's record is not written");
        }
        self.publish();
    }

    pub(super) fn snapshot(&self) -> Arc<PodSnapshot> {
        let visible = self.members.values().filter(|member| !member.preparing);
        let containers = visible
            .map(|member| (member.record.id, Arc::new(member.record.clone())))
            .collect();
        Arc::new(PodSnapshot {
            pod: Arc::new(self.pod.clone()),
            containers,
        })
    }

    pub(super) fn publish(&self) {
        self.entry.snapshot.store(self.snapshot());
        self.node.archive.changed(self.pod.id);
    }

    /// Tells those who listen what happened, with the snapshot that was published last.
    pub(super) fn announce(&self, kind: EventKind, object: &dyn std::fmt::Display) {
        let snapshot = self.entry.snapshot.load_full();
        self.node.events.emit(kind, object.to_string(), snapshot);
    }

    /// Announces what a change of phase means to those who listen.
    pub(super) fn announce_phase(&self, id: ContainerId, from: &ContainerPhase) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let to = &member.record.phase;
        match (from, to) {
            (ContainerPhase::Running(..), ContainerPhase::Running(..)) => {}
            (_, ContainerPhase::Running(..)) => self.announce(EventKind::Started, &id),
            (from, to) if from.is_alive() && !to.is_alive() => {
                self.announce(EventKind::Stopped, &id)
            }
            _ => {}
        }
    }
}
