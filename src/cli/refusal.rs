//! The daemon's answer to a call that it does not carry out.

/// The daemon refused a call, or the connection broke before it answered.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {} ({:?})", status.message(), status.code())]
pub(crate) struct Refusal {
    /// The operation, as an infinitive with its object.
    operation: String,
    status: Box<tonic::Status>,
}

impl Refusal {
    /// Makes the error of an attempt to do `operation` from the daemon's answer.
    pub(crate) fn to(operation: impl Into<String>) -> impl FnOnce(tonic::Status) -> Self {
        let operation = operation.into();
        move |status| Self {
            operation,
            status: Box::new(status),
        }
    }

    /// The gRPC code of the daemon's answer.
    pub(crate) fn code(&self) -> tonic::Code {
        self.status.code()
    }
}
