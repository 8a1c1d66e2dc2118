//! Writing the archive in the background.

use std::sync::Arc;
use std::time::Duration;

use holdfast_kernel::error_chain;

use crate::pod::blocking::blocking;
use crate::pod::error::PodError;
use crate::pod::node::Node;

/// How long changes are gathered. Longer than a pod that only runs a test lives.
const WRITE_DELAY: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const WRITE_RETRY_DELAY: Duration = Duration::from_secs(10);

/// Writes what changes for as long as the daemon lives.
pub(in crate::pod) async fn keep(node: Arc<Node>) {
    loop {
        node.archive.wake.notified().await;
        tokio::time::sleep(WRITE_DELAY).await;
        if let Err(error) = flush_now(&node).await {
            tracing::error!(
                error = error_chain(&error),
                "cannot keep pods for the next boot; Holdfast tries again"
            );
            tokio::time::sleep(WRITE_RETRY_DELAY).await;
            node.archive.wake.notify_one();
        }
    }
}

/// Calls [`Archive::flush`] on a thread for work that waits for the disk.
pub(in crate::pod) async fn flush_now(node: &Arc<Node>) -> Result<(), PodError> {
    let owner = Arc::clone(node);
    blocking(move || owner.archive.flush(&owner.index)).await
}
