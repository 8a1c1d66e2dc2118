//! Deletes interfaces in the background.
//!
//! Deleting an interface makes the kernel wait for two RCU grace periods, some 20 ms, whether it is one
//! interface or fifty. So a detached pod's interface is put into the interface group of those to be deleted, taken off
//! the bridge and down, which costs microseconds and ends its traffic; a thread then deletes the whole group
//! at once. The mark lives in the kernel: after a crash the next daemon deletes the group.
//!
//! ```text
//!   idle ──wake()──▶ gather 10 ms ──▶ delete the group ──▶ idle
//!                         ▲                  │ failed: wait 1 s
//!                         └──────────────────┘
//! ```

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;

use super::link;
use super::netlink::{Batch, NetlinkError, NetlinkSocket};

/// How long detached pods are gathered before the kernel is made to wait for them.
const GATHER: Duration = Duration::from_millis(10);
/// Pause after a refused deletion.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The thread's stack: it calls nothing deep.
const STACK_BYTES: usize = 64 << 10;

/// The next work of the thread.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Work {
    #[default]
    Idle,
    Delete,
    /// Delete the marked interfaces and end.
    Stop,
}

/// The background thread; dropping it deletes the marked interfaces and waits for that.
#[derive(Debug)]
pub(super) struct Reaper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

impl Reaper {
    /// Starts the thread. Without one (no memory, too many tasks) deletions are left to
    /// [`delete_marked`], which reconcile and teardown call.
    pub(super) fn start(socket: NetlinkSocket<OwnedFd>) -> Reaper {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("link-reaper".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || theirs.run(socket))
            .ok();
        Reaper { shared, thread }
    }

    /// Has the marked interfaces deleted soon.
    pub(super) fn wake(&self) {
        let mut work = self.shared.lock();
        if *work == Work::Idle {
            *work = Work::Delete;
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        *self.shared.lock() = Work::Stop;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; a panic in it leaves only what the next daemon deletes.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, mut socket: NetlinkSocket<OwnedFd>) {
        loop {
            let mut work = self.lock();
            while *work == Work::Idle {
                work = self
                    .changed
                    .wait(work)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let mut work = self.pause(work, GATHER);
            let last = *work == Work::Stop;
            if !last {
                // What was marked until now is in the group; what is marked from here on wakes again.
                *work = Work::Idle;
            }
            drop(work);
            let deleted = delete_marked(&mut socket);
            if last {
                return;
            }
            if deleted.is_err() {
                let mut work = self.lock();
                if *work == Work::Idle {
                    *work = Work::Delete;
                }
                drop(self.pause(work, RETRY_DELAY));
            }
        }
    }

    /// Waits, unless it is time to end.
    fn pause<'l>(&self, work: MutexGuard<'l, Work>, time: Duration) -> MutexGuard<'l, Work> {
        self.changed
            .wait_timeout_while(work, time, |work| *work != Work::Stop)
            .map_or_else(|poisoned| poisoned.into_inner().0, |(work, _)| work)
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes all interfaces marked for deletion of the socket's namespace, in one go.
pub(super) fn delete_marked(socket: &mut NetlinkSocket<OwnedFd>) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    link::push_delete_marked(&mut batch);
    match socket.run(batch) {
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
        other => other,
    }
}
