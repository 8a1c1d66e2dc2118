//! What is known of a pod.

use std::time::Instant;

use cri_api::runtime::v1::PodSandboxState;

use super::{Checked, Since, When};

/// Slot and attempt: what its name is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodKey {
    pub slot: usize,
    pub attempt: u32,
}

/// A pod that was made.
#[derive(Debug)]
pub struct Pod {
    pub id: String,
    pub key: PodKey,
    /// It was known to be made.
    pub made: Since,
    /// It was known not to be ready.
    pub not_ready: Since,
    /// It was known to be gone.
    pub gone: Since,
    /// Somebody wanted it stopped, or removed.
    pub stop_asked: Since,
    /// Somebody wanted it removed.
    pub remove_asked: Since,
    /// Its shim or its pause was killed.
    pub hurt: Since,
    /// Attempts of its containers' names, a slot each.
    pub attempts: [u32; crate::script::CONTAINERS],
}

impl Pod {
    pub fn new(id: &str, key: PodKey, at: Instant) -> Self {
        let mut made = Since::default();
        made.note(at);
        Self {
            id: id.to_owned(),
            key,
            made,
            not_ready: Since::default(),
            gone: Since::default(),
            stop_asked: Since::default(),
            remove_asked: Since::default(),
            hurt: Since::default(),
            attempts: [0; crate::script::CONTAINERS],
        }
    }

    /// Whether it may be not ready at that time, because somebody or something wanted it.
    pub fn may_be_down(&self, at: Instant) -> bool {
        self.stop_asked.by(at) || self.hurt.by(at)
    }

    /// It was seen in a state; none when it was not there.
    pub fn seen(&mut self, state: Option<PodSandboxState>, when: When) -> Checked {
        let id = &self.id;
        let Some(state) = state else {
            return self.missing(when);
        };
        if self.gone.by(when.start) {
            return Err(format!("pod {id} was gone and is back"));
        }
        if state == PodSandboxState::SandboxReady {
            if self.not_ready.by(when.start) {
                return Err(format!("pod {id} was not ready and is ready again"));
            }
            return Ok(());
        }
        if !self.may_be_down(when.end) {
            return Err(format!("pod {id} is not ready, and nothing was done to it"));
        }
        self.not_ready.note(when.end);
        Ok(())
    }

    fn missing(&mut self, when: When) -> Checked {
        if !self.made.by(when.start) || self.remove_asked.by(when.end) {
            if self.made.by(when.start) {
                self.gone.note(when.end);
            }
            return Ok(());
        }
        Err(format!("pod {} is gone, and nobody removed it", self.id))
    }
}
