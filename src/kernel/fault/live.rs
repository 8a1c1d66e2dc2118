//! The steps of a test build.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, getpid, unlinkat};

/// File with what is to happen.
const ARMED: &str = "armed";
/// File with what has been hit.
const TRACE: &str = "trace";
/// How often one that hangs looks whether it may go on.
const RELEASE_POLL_INTERVAL: Duration = Duration::from_millis(20);

static CONTROL: OnceLock<Control> = OnceLock::new();

/// The directory of this process' run.
#[derive(Debug)]
struct Control {
    process: &'static str,
    dir: OwnedFd,
    trace: File,
    /// Hits are counted one after the other.
    counting: Mutex<()>,
}

/// The fault that a test asks for.
#[derive(Debug, Clone, Copy)]
enum Action {
    Kill,
    Hang,
    Fail(Errno),
}

/// Lets tests decide about this process, which is called `process`, when `RUN_DIR/fault` exists.
pub fn attach(process: &'static str, run_dir: &Path) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if let Ok(dir) = open(&run_dir.join("fault"), flags, Mode::empty()) {
        take(process, dir);
    }
}

/// Does what [`attach`] does, from a pod's state directory.
pub fn attach_pod(process: &'static str, state: BorrowedFd<'_>) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if let Ok(dir) = openat(state, "../../fault", flags, Mode::empty()) {
        take(process, dir);
    }
}

fn take(process: &'static str, dir: OwnedFd) {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC;
    let Ok(trace) = openat(&dir, TRACE, flags, Mode::S_IRUSR | Mode::S_IWUSR) else {
        return;
    };
    // A second attempt changes nothing.
    let _ = CONTROL.set(Control {
        process,
        dir,
        trace: File::from(trace),
        counting: Mutex::new(()),
    });
}

/// Announces that a step begins; fails or ends the process when a test asks for it.
pub(super) fn begin(name: &'static str) -> Result<(), Errno> {
    CONTROL
        .get()
        .map_or(Ok(()), |control| control.hit(name, "before"))
}

/// Announces that a step has ended.
pub(super) fn end(name: &'static str) {
    if let Some(control) = CONTROL.get() {
        // A change that was made cannot fail any more.
        let _ = control.hit(name, "after");
    }
}

impl Control {
    fn hit(&self, name: &str, when: &str) -> Result<(), Errno> {
        // Nothing can be done about a trace that cannot be written: the suite misses the step and says so.
        let _ = (&self.trace).write_all(format!("{} {name} {when}\n", self.process).as_bytes());
        let action = {
            let _one = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
            self.due(name, when)
        };
        match action {
            None => Ok(()),
            Some(Action::Fail(errno)) => Err(errno),
            Some(Action::Kill) => {
                // As abrupt as anything can be: no destructor, no buffer written.
                let _ = kill(getpid(), Signal::SIGKILL);
                Ok(())
            }
            Some(Action::Hang) => {
                while self.armed().is_ok() {
                    std::thread::sleep(RELEASE_POLL_INTERVAL);
                }
                Ok(())
            }
        }
    }

    /// Counts the step and returns the fault that is due now.
    fn due(&self, name: &str, when: &str) -> Option<Action> {
        let text = self.armed().ok()?;
        let mut words = text.split_whitespace();
        let fits = words.next()? == self.process
            && match words.next()? {
                any if any.ends_with('*') => name.starts_with(any.trim_end_matches('*')),
                one => name == one,
            }
            && words.next()? == when;
        let count: u64 = words.next()?.parse().ok()?;
        let action = match (words.next()?, words.next()) {
            ("kill", _) => Action::Kill,
            ("hang", _) => Action::Hang,
            ("errno", Some(number)) => Action::Fail(Errno::from_raw(number.parse().ok()?)),
            _ => return None,
        };
        if !fits {
            return None;
        }
        match count {
            0 => Some(action),
            1 => {
                if matches!(action, Action::Kill) {
                    // Whoever sees the file gone may want to wait for the end of this process.
                    let _ = (&self.trace).write_all(format!("killed {}\n", getpid()).as_bytes());
                }
                // One that hangs does so until somebody takes the file away.
                if !matches!(action, Action::Hang) {
                    let _ = unlinkat(&self.dir, ARMED, UnlinkatFlags::NoRemoveDir);
                }
                Some(action)
            }
            _ => {
                let fewer = text.replacen(&format!(" {count} "), &format!(" {} ", count - 1), 1);
                let _ = self.rearm(&fewer);
                None
            }
        }
    }

    fn armed(&self) -> io::Result<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(self.dir.as_fd(), ARMED, flags, Mode::empty())?;
        let mut text = String::new();
        File::from(file).read_to_string(&mut text)?;
        Ok(text)
    }

    fn rearm(&self, text: &str) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let file = openat(self.dir.as_fd(), ARMED, flags, Mode::empty())?;
        File::from(file).write_all(text.as_bytes())
    }
}
