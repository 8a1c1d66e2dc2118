//! What is done for one call of a plugin.

use serde_json::Value;

use super::error::NativeError;
use super::loopback;
use super::pod::Pod;
use crate::cni::verb::Verb;

/// A call that can be served: its configuration is all known.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) verb: Verb,
    pub(super) pod: Pod,
    pub(super) work: Work,
    /// The result of the plugin before, in the version of the list.
    pub(super) previous: Option<Value>,
}

/// The plugin that is served, with its configuration.
#[derive(Debug)]
pub(super) enum Work {
    Loopback,
}

impl Job {
    /// Does the work, and gives the result of ADD. Blocks, and moves the calling thread into the pod's namespace.
    ///
    /// # Errors
    /// [`NativeError`].
    pub(super) fn run(&self) -> Result<Option<Value>, NativeError> {
        let add = self.verb == Verb::Add;
        match &self.work {
            Work::Loopback if add => loopback::add(&self.pod, self.previous.as_ref()).map(Some),
            Work::Loopback => loopback::del(&self.pod).map(|()| None),
        }
    }
}
