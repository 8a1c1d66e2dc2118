//! Work that waits for the kernel, on threads made for it.

use super::error::{PodError, Refusal};

/// Runs blocking work on the thread pool made for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PodError> + Send + 'static,
) -> Result<T, PodError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The work panicked, or the daemon is going down.
        Err(_) => Err(PodError::Refused(Refusal::Gone)),
    }
}
