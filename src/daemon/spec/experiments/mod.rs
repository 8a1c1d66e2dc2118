//! Wishes that CRI has no field for: annotations of the pod sandbox, checked.
//!
//! ```text
//!   experiments.holdfast.internal/join-network: POD-ID | NAMESPACE/NAME
//!   experiments.holdfast.internal/time-offsets: "monotonic=60s boottime=-1500000000ns"
//!   experiments.holdfast.internal/namespaces.CONTAINER: "uts=own ipc=own cgroup=own|pod|host"
//! ```
//!
//! They are read once, when a pod is asked for, and kept in its record: an annotation of a pod that an earlier
//! release made has no meaning. Whether this node allows them is decided elsewhere. A key below the prefix that
//! is not known here is refused, because a misspelt experiment is none.

mod experiment;
mod parse;
mod rules;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use experiment::ContainerSharing;
pub(crate) use experiment::{
    CgroupSharing, Experiment, ExperimentError, Experiments, PREFIX, PodReference, Sharing,
    TimeOffsets, seconds_and_nanos,
};
pub(super) use rules::check;
