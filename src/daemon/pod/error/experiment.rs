//! Allowing a pod the experiments that its annotations ask for.

use super::LookupError;
use crate::spec::experiments::Experiment;

/// Why a pod cannot have the experiments that it asks for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExperimentRefusal {
    /// The node does not allow one of them.
    #[error(
        "annotation {annotation} = {value:?} asks for an experiment that this node does not allow; put \
         {experiment:?} into experiments.allow of its configuration",
        experiment = experiment.as_str()
    )]
    Forbidden {
        experiment: Experiment,
        /// Key of the annotation.
        annotation: String,
        value: String,
    },
    /// The network namespace of that pod cannot be joined.
    #[error("annotation {} = {wanted:?}: {reason}", Experiment::JoinNetwork.annotation())]
    Join {
        /// The value of the request.
        wanted: String,
        /// Why not, and what would do.
        reason: &'static str,
    },
    /// There is no one pod with the id whose network namespace is to be joined.
    #[error("annotation {} = {wanted:?}: cannot find that pod", Experiment::JoinNetwork.annotation())]
    JoinId {
        /// The value of the request.
        wanted: String,
        #[source]
        source: LookupError,
    },
}
