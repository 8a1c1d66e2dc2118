//! Notifies the watchdog of the service manager, as long as the daemon answers its own calls.
//!
//! ```text
//!   a thread of its own ── every third of the time ──▶ connect ─▶ Version ─▶ ListPodSandbox ─▶ Status
//!          │                                            all workers of the runtime at once
//!          └── all of it within a third of the time ──▶ WATCHDOG=1, otherwise nothing
//! ```
//!
//! The thread shares nothing but the socket with the daemon's runtime. So it finds workers that are stuck, a server
//! that accepts no connection and a handler that never answers. A pod that hangs does not matter here: the calls are
//! answered whatever a plugin or a mount does.

use holdfast_kernel::error_chain;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cri_api::runtime::v1::runtime_service_client::RuntimeServiceClient;
use cri_api::runtime::v1::{ListPodSandboxRequest, StatusRequest, VersionRequest};
use hyper_util::rt::TokioIo;
use sd_notify::NotifyState;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Handle};
use tonic::transport::{Endpoint, Uri};
use tracing::{debug, error, warn};

/// The largest list of pods that is read, in bytes.
const LARGEST_LIST: usize = 64 << 20;
/// How long the first worker waits for the others: they only have to end what they are at.
const BARRIER_TIMEOUT: Duration = Duration::from_millis(50);
/// Time between two tries to have all workers together.
const BARRIER_RETRY_DELAY: Duration = Duration::from_millis(200);

/// Why the daemon is not healthy.
#[derive(Debug, thiserror::Error)]
enum HealthError {
    #[error("cannot connect to the daemon's own socket")]
    Connect(#[from] tonic::transport::Error),
    #[error("cannot call {call} on the daemon's own socket")]
    Call {
        call: &'static str,
        #[source]
        source: tonic::Status,
    },
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the threads of the daemon's runtime are stuck")]
    Workers,
}

/// Watches the daemon that serves on `socket` with the runtime of the caller, when the service manager wants it.
pub(super) fn start(socket: &Path) {
    let Some(time) = sd_notify::watchdog_enabled() else {
        return;
    };
    let (socket, workers) = (socket.to_owned(), Handle::current());
    let guard = move || guard(&socket, &workers, time / 3);
    let spawned = std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(guard);
    if let Err(error) = spawned {
        // The service manager will miss the notification and restart the daemon.
        error!(%error, "cannot start the watchdog's thread");
    }
}

fn guard(socket: &Path, workers: &Handle, period: Duration) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return error!(%error, "cannot start the watchdog's runtime"),
    };
    loop {
        let begun = Instant::now();
        let checked = runtime.block_on(async {
            tokio::time::timeout(period, check(socket, workers))
                .await
                .unwrap_or(Err(HealthError::Late(period)))
        });
        match checked {
            Ok(()) => {
                debug!(micros = begun.elapsed().as_micros(), "healthy");
                if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
                    warn!(%error, "cannot notify systemd's watchdog");
                }
            }
            Err(cause) => {
                error!(
                    error = error_chain(&cause),
                    "the daemon does not answer its own request; systemd's watchdog is not notified"
                );
            }
        }
        std::thread::sleep(period.saturating_sub(begun.elapsed()));
    }
}

/// Whether the daemon answers on a new connection, and all its workers work.
async fn check(socket: &Path, workers: &Handle) -> Result<(), HealthError> {
    let path = socket.to_owned();
    let connect = move |_: Uri| connect(path.clone());
    // The name is only what HTTP/2 wants to see as the authority.
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(connect))
        .await?;
    let mut runtime = RuntimeServiceClient::new(channel).max_decoding_message_size(LARGEST_LIST);
    let failed = |call| move |source| HealthError::Call { call, source };
    let version = runtime.version(VersionRequest::default()).await;
    version.map_err(failed("Version"))?;
    let list = runtime
        .list_pod_sandbox(ListPodSandboxRequest::default())
        .await;
    list.map_err(failed("ListPodSandbox"))?;
    let status = runtime.status(StatusRequest { verbose: false }).await;
    status.map_err(failed("Status"))?;
    while !workers_respond(workers).await? {
        tokio::time::sleep(BARRIER_RETRY_DELAY).await;
    }
    Ok(())
}

async fn connect(path: PathBuf) -> std::io::Result<TokioIo<UnixStream>> {
    UnixStream::connect(path).await.map(TokioIo::new)
}

/// A barrier for the workers of a runtime. A worker that arrives early waits for the others, and so occupies its thread.
#[derive(Debug, Default)]
struct WorkerBarrier {
    arrived: Mutex<usize>,
    all: Condvar,
}

impl WorkerBarrier {
    /// Whether `wanted` workers arrive in time.
    fn join(&self, wanted: usize) -> bool {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        *arrived += 1;
        self.all.notify_all();
        let waited = self
            .all
            .wait_timeout_while(arrived, BARRIER_TIMEOUT, |arrived| *arrived < wanted)
            .unwrap_or_else(PoisonError::into_inner);
        *waited.0 >= wanted
    }
}

/// Whether all workers of a runtime respond at the same time.
async fn workers_respond(workers: &Handle) -> Result<bool, HealthError> {
    let wanted = workers.metrics().num_workers();
    let barrier = Arc::new(WorkerBarrier::default());
    let join = || {
        let barrier = Arc::clone(&barrier);
        workers.spawn(async move { barrier.join(wanted) })
    };
    let tasks: Vec<_> = (0..wanted).map(|_| join()).collect();
    let mut all = true;
    for task in tasks {
        // The join fails only when the runtime ends.
        all &= task.await.map_err(|_| HealthError::Workers)?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().unwrap()
    }

    #[test]
    fn workers_that_work_meet_and_one_that_is_stuck_is_missed() {
        let watched = runtime();
        let own = Builder::new_current_thread().enable_all().build().unwrap();
        let met = own.block_on(async {
            for _ in 0..100 {
                if workers_respond(watched.handle()).await.unwrap() {
                    return true;
                }
            }
            false
        });
        assert!(met);

        let (stuck, free) = std::sync::mpsc::channel::<()>();
        let begun = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&begun);
        watched.spawn(async move {
            told.notify_one();
            let _ = free.recv();
        });
        let met = own.block_on(async {
            begun.notified().await;
            workers_respond(watched.handle()).await.unwrap()
        });
        assert!(!met, "one of the two is stuck");
        drop(stuck);
        watched.shutdown_background();
    }

    #[test]
    fn a_daemon_that_answers_is_healthy() {
        let watched = runtime();
        let own = Builder::new_current_thread().enable_all().build().unwrap();
        let path = Path::new("/nonexistent/holdfast.sock");
        let checked = own.block_on(check(path, watched.handle()));
        assert!(
            matches!(checked, Err(HealthError::Connect(_))),
            "{checked:?}"
        );
    }
}
