//! What is done for one call of a plugin.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::bridge::{self, Bridge};
use super::error::NativeError;
use super::loopback;
use super::pod::Pod;
use super::portmap::Portmap;
use super::ptp::Ptp;
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
    Ptp(Box<Ptp>),
    Portmap(Box<Portmap>),
    /// For a pod without limits.
    Bandwidth,
}

impl Work {
    /// Whether there is nothing to do but to hand on a result, and so nothing that could block.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Work::Portmap(portmap) => !portmap.has_rules(),
            Work::Bandwidth => true,
            _ => false,
        }
    }
}

/// What has come of a job.
#[derive(Debug)]
pub(super) enum Done {
    /// The result of ADD.
    Added(Value),
    /// All is as it was.
    Checked,
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
        match self.verb {
            Verb::Add => self.add().map(Done::Added),
            Verb::Check => self.check().map(|()| Done::Checked),
            _ => self.del().map(|marked| Done::Removed { marked }),
        }
    }

    fn add(&self) -> Result<Value, NativeError> {
        let pod = &self.pod;
        match &self.work {
            Work::Loopback => loopback::add(pod, self.previous.as_ref()),
            Work::Bridge(config) => bridge::add(config, pod, (self.deadline, &self.rules)),
            Work::Ptp(config) => config.add(pod, (self.deadline, &self.rules)),
            Work::Portmap(config) => {
                config.add(pod, &self.rules)?;
                Ok(self.previous.clone().unwrap_or_default())
            }
            Work::Bandwidth => Ok(self.previous.clone().unwrap_or_default()),
        }
    }

    fn check(&self) -> Result<(), NativeError> {
        let pod = &self.pod;
        let none = Value::Null;
        let result = self.previous.as_ref().unwrap_or(&none);
        match &self.work {
            Work::Loopback => loopback::check(pod),
            Work::Bridge(config) => bridge::check(config, (pod, result), self.deadline),
            Work::Ptp(config) => config.check((pod, result), self.deadline),
            Work::Portmap(config) => config.check(pod, &self.rules),
            Work::Bandwidth => Ok(()),
        }
    }

    /// Says whether interfaces are marked for deletion.
    fn del(&self) -> Result<bool, NativeError> {
        let pod = &self.pod;
        match &self.work {
            Work::Loopback => loopback::del(pod).map(|()| false),
            Work::Bridge(config) => bridge::del(config, pod, (self.deadline, &self.rules)),
            Work::Ptp(config) => config.del(pod, (self.deadline, &self.rules)),
            Work::Portmap(config) => config.del(pod, &self.rules).map(|()| false),
            Work::Bandwidth => Ok(false),
        }
    }
}
