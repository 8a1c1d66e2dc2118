//! Work on paths that others name: log directories, devices, profiles. Any of them may be on a file system that
//! never answers, and a thread that asks it is lost until it does. So such work has threads of its own, which
//! nothing else waits for, and an end of the patience with it.
//!
//! ```text
//!   patiently(work) ──▶ a thread ──▶ result
//!            └────────── deadline ──▶ error; the thread ends whenever the path answers
//! ```
//!
//! A thread waits some seconds for further work before it ends: making one takes longer than most paths do.
//!
//! Work that was given up may still come to its end: it must change nothing that has an owner.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::{HostPathError, PodError, Refusal};

/// How long a path may take to answer, below the time that kubelets wait for a start.
pub(super) const DEADLINE: Duration = Duration::from_secs(100);

/// Threads that may wait for paths at the same time: several for each pod of a full node.
const MAX_THREADS: usize = 1024;

/// Stack of such a thread, in bytes.
const STACK_BYTES: usize = 512 << 10;

/// How many threads stay idle, and for how long.
const MAX_IDLE_THREADS: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Threads that wait now.
static BUSY_THREADS: AtomicUsize = AtomicUsize::new(0);

/// Counts a thread for as long as it lives.
struct ThreadPermit;

impl ThreadPermit {
    fn take() -> Option<Self> {
        let add_one = |busy: usize| (busy < MAX_THREADS).then_some(busy + 1);
        BUSY_THREADS
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add_one)
            .ok()
            .map(|_| Self)
    }
}

impl Drop for ThreadPermit {
    fn drop(&mut self) {
        BUSY_THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Does work on a thread of its own and waits for it until a deadline. `path` is for the error.
///
/// # Errors
/// That of the work; [`HostPathError::Hangs`] when there is no answer, or too many others wait for one.
pub(super) async fn patiently<T: Send + 'static>(
    path: &str,
    deadline: Duration,
    work: impl FnOnce() -> Result<T, PodError> + Send + 'static,
) -> Result<T, PodError> {
    let hangs = || {
        PodError::HostPath(HostPathError::Hangs {
            path: path.to_owned(),
            deadline,
        })
    };
    let permit = ThreadPermit::take().ok_or_else(hangs)?;
    let (done, result) = oneshot::channel();
    hand_over(Box::new(move || {
        let _place = permit;
        // Whoever waited may have given up.
        let _ = done.send(work());
    }))
    .map_err(|source| PodError::System {
        doing: "start a thread",
        source,
    })?;
    match tokio::time::timeout(deadline, result).await {
        Ok(Ok(result)) => result,
        // The work panicked.
        Ok(Err(_)) => Err(PodError::Refused(Refusal::Gone)),
        Err(_) => Err(hangs()),
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A thread that has nothing to do, and the way to it.
type Idle = (ThreadId, mpsc::Sender<Work>);

/// Gives work to a thread that is idle, or to a new one.
fn hand_over(mut work: Work) -> io::Result<()> {
    loop {
        let next = idle().pop();
        let Some((_, thread)) = next else { break };
        match thread.send(work) {
            Ok(()) => return Ok(()),
            Err(mpsc::SendError(unsent)) => work = unsent,
        }
    }
    let thread = thread::Builder::new()
        .name("holdfastd-path".to_owned())
        .stack_size(STACK_BYTES);
    thread.spawn(move || serve(work)).map(drop)
}

/// The threads that have nothing to do. Nothing that can panic runs under this lock.
fn idle() -> MutexGuard<'static, Vec<Idle>> {
    static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does work until none has come for a while, or enough others are idle.
fn serve(mut work: Work) {
    let own = thread::current().id();
    loop {
        work();
        let (sender, receiver) = mpsc::channel();
        {
            let mut idle = idle();
            if idle.len() >= MAX_IDLE_THREADS {
                return;
            }
            idle.push((own, sender));
        }
        work = match receiver.recv_timeout(IDLE_TIMEOUT) {
            Ok(next) => next,
            Err(_) => {
                let mut idle = idle();
                if let Some(at) = idle.iter().position(|(thread, _)| *thread == own) {
                    idle.swap_remove(at);
                    return;
                }
                drop(idle);
                // Somebody has taken the way to this thread, and sends.
                let Ok(next) = receiver.recv() else { return };
                next
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_hangs_is_given_up_and_counted_until_it_ends() {
        assert_eq!(patiently("/a", DEADLINE, || Ok(7)).await.unwrap(), 7);
        let (release, hang) = std::sync::mpsc::channel::<()>();
        let late = Duration::from_millis(20);
        let stuck = patiently("/dead/mount", late, move || {
            let _ = hang.recv();
            Ok(())
        });
        let error = stuck.await.unwrap_err();
        assert!(error.to_string().contains("/dead/mount"), "{error}");
        let busy = BUSY_THREADS.load(Ordering::Relaxed);
        assert!(busy >= 1);
        // Work that comes meanwhile does not get the thread that is stuck.
        assert_eq!(patiently("/b", DEADLINE, || Ok(8)).await.unwrap(), 8);
        drop(release);
        while BUSY_THREADS.load(Ordering::Relaxed) >= busy {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
