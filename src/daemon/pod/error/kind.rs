//! Kinds of failures, by who has to do something about them.

/// The kind of a failure, from which the gRPC code follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The object does not exist.
    NotFound,
    /// The request is wrong in every state of the node.
    InvalidArgument,
    /// Another object has the name.
    AlreadyExists,
    /// The request does not fit the present state.
    FailedPrecondition,
    /// The operation took too long.
    DeadlineExceeded,
    /// Space, addresses or output are used up.
    ResourceExhausted,
    /// The same request may succeed later.
    Unavailable,
    /// The machine or Holdfast is at fault.
    Internal,
}
