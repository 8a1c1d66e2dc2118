//! Logs each request with its method, object, duration and outcome, and never its content.

use std::fmt;
use std::future::Future;
use std::time::Instant;

use tonic::{Code, Response, Status};
use tracing::{debug, info, warn};

/// The return type of handlers.
pub(super) type Answer<T> = Result<Response<T>, Status>;

/// Carries out a request and logs how it went.
pub(super) async fn observe<T>(
    method: &'static str,
    object: impl fmt::Display,
    work: impl Future<Output = Result<T, Status>>,
) -> Answer<T> {
    let started = Instant::now();
    let result = work.await;
    let micros = started.elapsed().as_micros();
    match &result {
        Ok(_) => debug!(method, %object, micros, "served"),
        Err(status) => failed(method, &object, micros, status),
    }
    result.map(Response::new)
}

/// A failure of ours or of the machine is a warning, a request that cannot be met is information.
fn failed(method: &str, object: &dyn fmt::Display, micros: u128, status: &Status) {
    let code = status.code();
    let error = status.message();
    match code {
        Code::Internal
        | Code::Unknown
        | Code::DataLoss
        | Code::Unavailable
        | Code::ResourceExhausted => {
            warn!(method, %object, micros, ?code, error, "failed");
        }
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => {
            info!(method, %object, micros, ?code, error, "refused");
        }
    }
}
