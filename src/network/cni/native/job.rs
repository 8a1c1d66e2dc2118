//! What is done for one call of a plugin.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::bridge::{self, Bridge};
use super::error::NativeError;
use super::loopback;
use super::pod::Pod;
use super::portmap::Portmap;
use super::rules::Rules;
use crate::cni::verb::Verb;

/// A call that can be served: its configuration is all known.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) verb: Verb,
    pub(super) pod: Pod,
    pub(super) work: Work,
    /// The result of the plugin before, in the version of the list.
    pub(super) previous: Option<Value>,
    /// When whoever asks gives up.
    pub(super) deadline: Instant,
    /// What is known of the rules of pods.
    pub(super) rules: Arc<Rules>,
}

/// The plugin that is served, with its configuration.
#[derive(Debug)]
pub(super) enum Work {
    Loopback,
    Bridge(Box<Bridge>),
    Portmap(Box<Portmap>),
}

/// What has come of a job.
#[derive(Debug)]
pub(super) enum Done {
    /// The result of ADD.
    Added(Value),
    /// The end of DEL.
    Removed {
        /// Whether interfaces are marked for deletion.
        marked: bool,
    },
}

impl Job {
    /// Does the work. Blocks, and moves the calling thread into the pod's namespace.
    ///
    /// # Errors
    /// [`NativeError`].
    pub(super) fn run(&self) -> Result<Done, NativeError> {
        let (pod, adds) = (&self.pod, self.verb == Verb::Add);
        let removed = |()| Done::Removed { marked: false };
        match &self.work {
            Work::Loopback if adds => loopback::add(pod, self.previous.as_ref()).map(Done::Added),
            Work::Loopback => loopback::del(pod).map(removed),
            Work::Bridge(config) if adds => {
                bridge::add(config, pod, (self.deadline, &self.rules)).map(Done::Added)
            }
            Work::Bridge(config) => {
                let marked = bridge::del(config, pod, (self.deadline, &self.rules))?;
                Ok(Done::Removed { marked })
            }
            Work::Portmap(config) if adds => {
                config.add(pod, &self.rules)?;
                Ok(Done::Added(self.previous.clone().unwrap_or_default()))
            }
            Work::Portmap(config) => config.del(pod, &self.rules).map(removed),
        }
    }
}
