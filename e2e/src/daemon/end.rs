//! The end of a test's daemon: remove, terminate, compare, and clean up whatever is left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Child;
use std::time::{Duration, Instant};

use super::Daemon;
use crate::leaks::{self, Snapshot};

/// How long the machine may take to be as before: cgroups go away a little later than the processes in them,
/// and the layers of an image are deleted in the background.
const SETTLE: Duration = Duration::from_secs(30);

/// How long the server of the shims may take to end after its daemon.
const SERVER: Duration = Duration::from_secs(5);

/// Most lines of what was left behind that are shown.
const SHOWN: usize = 40;

impl Drop for Daemon {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        // A second panic while the first one unwinds would abort, and leave everything behind.
        let leaked = catch_unwind(AssertUnwindSafe(|| self.end())).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            vec![format!(
                "the clean-up panicked: {}",
                text.unwrap_or_default()
            )]
        });
        let report = leaked[..leaked.len().min(SHOWN)].join("\n");
        if failed || !leaked.is_empty() {
            eprintln!("--- the daemon's last words ---\n{}", self.log_tail());
        }
        leaks::clean(&self.place);
        if !leaked.is_empty() {
            assert!(failed, "left behind:\n{report}");
            eprintln!("--- left behind by the failed test ---\n{report}");
        }
    }
}

impl Daemon {
    /// Removes everything, and gives what is left then.
    fn end(&self) -> Vec<String> {
        if self
            .process()
            .as_mut()
            .is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
        {
            self.restart();
        }
        let mut problems = self.remove_all();
        problems.extend(self.compare());
        let code = self.terminate();
        if code != 0 {
            problems.push(format!("the daemon's exit code after SIGTERM is {code}"));
        }
        // The server of the shims ends when it sees that the daemon has.
        let until = Instant::now() + SERVER;
        let mut left = leaks::survivors(&self.place);
        while !left.is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
            left = leaks::survivors(&self.place);
        }
        problems.extend(left.into_iter().map(|left| format!("process {left}")));
        problems
    }

    fn remove_all(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for pod in self.pods() {
            let id = pod.id;
            let done = self
                .try_stop_pod(&id)
                .and_then(|()| self.try_remove_pod(&id));
            problems.extend(
                done.err()
                    .map(|status| format!("remove the pod {id}: {status}")),
            );
        }
        for image in self.images() {
            let done = self.try_remove_image(&image.id);
            problems.extend(
                done.err()
                    .map(|status| format!("remove an image: {status}")),
            );
        }
        problems
    }

    fn compare(&self) -> Vec<String> {
        let start = Instant::now();
        loop {
            let left = self.before.difference(&Snapshot::take(&self.place));
            if left.is_empty() || start.elapsed() > SETTLE {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives up a daemon that is expected to have ended by itself.
    pub fn forget_process(&self) -> Option<Child> {
        self.process().take()
    }
}
