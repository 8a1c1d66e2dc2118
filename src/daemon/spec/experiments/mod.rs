//! Experiments: requests for which CRI has no field, as annotations of the pod sandbox, checked.
//!
//! ```text
//!   experiments.holdfast.internal/join-network: POD-ID | NAMESPACE/NAME
//!   experiments.holdfast.internal/time-offsets: "monotonic=60s boottime=-1500000000ns"
//!   experiments.holdfast.internal/namespaces.CONTAINER: "uts=own ipc=own cgroup=own|pod|host"
//! ```
//!
//! The annotations are read once, when a pod is requested, and kept in its record: annotations of a pod that an
//! earlier release made are ignored. Another module decides whether this node allows them. An unknown key with the
//! prefix is refused, because a misspelt experiment would be ignored otherwise.

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
