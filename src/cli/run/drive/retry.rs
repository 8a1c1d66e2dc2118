//! Calls that outlast a restart of the daemon.

use std::time::Duration;

/// Tries a call again while the daemon cannot be reached, for a minute.
pub(super) async fn until_reachable<T, F>(mut call: impl FnMut() -> F) -> Result<T, tonic::Status>
where
    F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    const RETRY_DELAY: Duration = Duration::from_millis(300);
    const MAX_RETRIES: u32 = 200;
    let mut tries = 0;
    loop {
        tries += 1;
        match call().await {
            Err(status) if is_lost(&status) && tries < MAX_RETRIES => {
                tokio::time::sleep(RETRY_DELAY).await
            }
            reply => return reply.map(tonic::Response::into_inner),
        }
    }
}

/// Whether a call failed because of the connection: what the daemon answers has no cause on this side.
fn is_lost(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::Unavailable || std::error::Error::source(status).is_some()
}
