//! Places where a test build can be made to end, to fail or to hang.
//!
//! The primitives that change something outside the process (files, cgroups, netlink, mounts, messages, processes)
//! announce each change as a step. So the steps of an operation are whatever it really does, and a new one cannot
//! be forgotten. Without the Cargo feature `fault`, which no release has, all of this is nothing at all.
//!
//! ```text
//!   RUN_DIR/fault/trace   a line for each hit:   PROCESS STEP before|after
//!                         and for each kill:     killed PID
//!   RUN_DIR/fault/armed   what is to happen:     PROCESS STEP before|after COUNT kill|hang|errno N
//! ```
//!
//! `STEP` may end with `*`. `COUNT` says at which hit, 0 at every one. What has happened is taken out of the file
//! first, unless it is for every hit. The directory must exist when the process starts; otherwise nothing happens.

#[cfg(feature = "fault")]
mod live;

use nix::errno::Errno;

#[cfg(feature = "fault")]
pub use live::{attach, attach_pod};

/// A change under way; its end is where this is dropped.
#[derive(Debug)]
#[must_use = "the step lasts as long as this lives"]
pub struct Step {
    #[cfg(feature = "fault")]
    name: &'static str,
}

/// A change is about to be made.
///
/// # Errors
/// The one that a test wants to see here; none without the feature `fault`.
#[inline]
pub fn step(name: &'static str) -> Result<Step, Errno> {
    #[cfg(feature = "fault")]
    return live::begin(name).map(|()| Step { name });
    #[cfg(not(feature = "fault"))]
    {
        let _ = name;
        Ok(Step {})
    }
}

/// Announces a change that cannot fail by itself; otherwise as [`step`].
#[inline]
pub fn mark(name: &'static str) -> Step {
    #[cfg(feature = "fault")]
    {
        let _ = live::begin(name);
        Step { name }
    }
    #[cfg(not(feature = "fault"))]
    {
        let _ = name;
        Step {}
    }
}

impl Step {
    /// Ends nothing here: the copy of it in a process that was forked meanwhile ends the step.
    #[inline]
    pub fn leave_to_child(self) {
        #[cfg(feature = "fault")]
        std::mem::forget(self);
        #[cfg(not(feature = "fault"))]
        let Self {} = self;
    }
}

#[cfg(feature = "fault")]
impl Drop for Step {
    fn drop(&mut self) {
        live::end(self.name);
    }
}
