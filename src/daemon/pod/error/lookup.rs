//! Finding a pod or a container by its id.

use super::ErrorKind;

/// Why an id does not name one pod or one container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// There is no such pod.
    #[error("pod sandbox {0:?} is not known")]
    UnknownPod(String),
    /// There is no such container.
    #[error("container {0:?} is not known")]
    UnknownContainer(String),
    /// The id is empty, which would be a prefix of every id.
    #[error("the {0} id is empty; give the full id or a unique prefix of it")]
    EmptyId(&'static str),
    /// Several ids start with these digits.
    #[error("{what} id {prefix:?} is ambiguous: {candidates}; give more digits")]
    Ambiguous {
        /// The kind of the object.
        what: &'static str,
        /// The digits of the request.
        prefix: String,
        /// Some of the ids that match, and how many more there are.
        candidates: String,
    },
}

impl LookupError {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownPod(_) | Self::UnknownContainer(_) => ErrorKind::NotFound,
            Self::EmptyId(_) | Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
        }
    }
}
