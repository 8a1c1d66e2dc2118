//! One call of a plugin: a process with the parameters in its environment, its configuration on standard
//! input and its answer on standard output (CNI specification, section 2).
//!
//! A plugin that hangs is killed with its process group and with everything else that still carries the
//! call's environment, which children inherit whatever group or session they put themselves into.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};

use super::error::CniError;
use super::leftover;
use super::number;
use super::verb::Verb;
use holdfast_disk::json_text;
use holdfast_kernel::fault;
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::process;

/// Largest answer; a result has a few KiB.
const ANSWER_LIMIT: usize = 1 << 20;
/// How much of the standard error is kept: its end, where the reason stands.
const STDERR_KEPT: usize = 4 << 10;
/// How much of a plugin's words goes into an error.
const EXCERPT: usize = 1 << 10;
/// How long what a plugin left running may hold its pipes open after it ended.
const DRAIN: Duration = Duration::from_millis(500);

/// Longest wait for a plugin's file that is being written; libcni tries five times, a second apart.
const WRITING: Duration = Duration::from_secs(5);
/// Between two looks at such a file.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// A call to be made.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) plugin: PathBuf,
    /// The parameters beside the verb: `CNI_CONTAINERID` and so on.
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) stdin: Value,
    pub(super) deadline: Duration,
}

impl Call {
    /// The value of one of its parameters.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut all = self.environment.iter();
        let (_, value) = all.find(|(key, _)| *key == name)?;
        Some(value)
    }
}

/// The output of a plugin.
#[derive(Debug, Default)]
struct Written {
    stdout: Vec<u8>,
    /// The end of it.
    stderr: Vec<u8>,
}

/// Makes a call and gives what the plugin wrote to its standard output.
///
/// # Errors
/// [`CniError::Process`], [`CniError::Deadline`], [`CniError::TooMuch`], [`CniError::Failed`].
pub(super) async fn run(call: &Call) -> Result<Vec<u8>, CniError> {
    let failed = |source| CniError::Process {
        verb: call.verb,
        plugin: call.plugin.clone(),
        source,
    };
    let _step = fault::step(call.verb.step()).map_err(|errno| failed(errno.into()))?;
    let mut child = start_written(call).await.map_err(failed)?;
    let group = child.id().and_then(|pid| Pid::try_from(pid).ok());
    let mut written = Written::default();
    let talk = converse(&mut child, number::text(&call.stdin), &mut written);
    let outcome = timeout(call.deadline, talk).await;
    let error = match outcome {
        Ok(Ok(Some(status))) if status.success() => return Ok(written.stdout),
        Ok(Ok(Some(status))) => {
            return Err(CniError::Failed {
                verb: call.verb,
                plugin: call.plugin.clone(),
                message: reason(&written, status),
            });
        }
        Ok(Ok(None)) => CniError::TooMuch {
            verb: call.verb,
            plugin: call.plugin.clone(),
            limit: ANSWER_LIMIT,
        },
        Ok(Err(source)) => failed(source),
        Err(_) => CniError::Deadline {
            verb: call.verb,
            plugin: call.plugin.clone(),
            seconds: call.deadline.as_secs_f32(),
        },
    };
    end(&mut child, group, call).await;
    Err(error)
}

/// Starts the plugin; waits while its file is being written, because installers copy over the old one.
async fn start_written(call: &Call) -> io::Result<Child> {
    let last = Instant::now() + call.deadline.min(WRITING);
    loop {
        match start(call) {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < last =>
            {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Starts the plugin as the leader of a process group of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where plugins are started"
)]
fn start(call: &Call) -> io::Result<Child> {
    let mut command = std::process::Command::new(&call.plugin);
    command
        .env("CNI_COMMAND", call.verb.as_str())
        .envs(call.environment.iter().map(|(key, value)| (key, value)))
        // The service manager listens to the daemon alone.
        .env_remove("NOTIFY_SOCKET")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if std::env::var_os("PATH").is_none() {
        // Plugins call programs such as iptables.
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.env("PATH", path);
    }
    Command::from(command).process_group(0).spawn()
}

/// Writes the configuration and reads until the plugin has ended. None when it writes too much.
async fn converse(
    child: &mut Child,
    stdin: Vec<u8>,
    written: &mut Written,
) -> io::Result<Option<ExitStatus>> {
    let (mut input, mut output, mut errors) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut input) = input.take() {
            // A plugin that does not read its configuration (EPIPE) says by its answer what that means.
            let _ = input.write_all(&stdin).await;
        }
    };
    tokio::pin!(feed);
    let (mut fed, mut out_open, mut err_open) = (false, true, true);
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        let drained = ended.map_or_else(Instant::now, |(_, until)| until);
        tokio::select! {
            () = &mut feed, if !fed => fed = true,
            count = read(&mut output, &mut written.stdout), if out_open => out_open = count? > 0,
            count = read(&mut errors, &mut written.stderr), if err_open => {
                err_open = count? > 0;
                let spare = written.stderr.len().saturating_sub(STDERR_KEPT);
                written.stderr.drain(..spare);
            }
            status = child.wait(), if ended.is_none() => ended = Some((status?, Instant::now() + DRAIN)),
            () = sleep_until(drained), if ended.is_some() => (out_open, err_open) = (false, false),
        }
        if written.stdout.len() > ANSWER_LIMIT {
            return Ok(None);
        }
        if let (Some((status, _)), false, false) = (ended, out_open, err_open) {
            return Ok(Some(status));
        }
    }
}

async fn read<R: AsyncRead + Unpin>(
    pipe: &mut Option<R>,
    buffer: &mut Vec<u8>,
) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read_buf(buffer).await,
        None => Ok(0),
    }
}

/// Kills what a call has started.
async fn end(child: &mut Child, group: Option<Pid>, call: &Call) {
    // The leader has not been waited for, unless it ended by itself, so the number is still its group's.
    if let (Some(group), Some(_)) = (group, child.id()) {
        // ESRCH: it has just ended.
        let _ = process::kill_group(group);
    }
    let id = call.environment.iter();
    if let Some((_, id)) = id.into_iter().find(|(key, _)| *key == leftover::KEY) {
        let id = id.clone();
        let ended = tokio::task::spawn_blocking(move || leftover::end(&id));
        // Leftover processes that cannot be killed are nothing that a caller could do anything about.
        let _ = ended.await;
    }
    // Killed: it ends at once, unless the kernel itself is stuck, and then the runtime reaps it later.
    let _ = timeout(DRAIN, child.wait()).await;
}

/// Why a plugin failed, in its own words: the error that it wrote (section 5 of the specification), or the
/// end of its standard error.
fn reason(written: &Written, status: ExitStatus) -> String {
    let error: Option<Value> = serde_json::from_str(&json_text(&written.stdout)).ok();
    let text = |key: &str| {
        let text = error.as_ref()?.get(key)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let told = [text("msg"), text("details")];
    let told: Vec<String> = told.into_iter().flatten().collect();
    let stderr = excerpt(&written.stderr);
    match (told.is_empty(), stderr.is_empty()) {
        (false, true) => told.join("; "),
        (false, false) => format!("{}; standard error: {stderr}", told.join("; ")),
        (true, false) => format!("{status}; standard error: {stderr}"),
        (true, true) => format!("{status}; it wrote: {:?}", excerpt(&written.stdout)),
    }
}

/// The end of what a plugin wrote, as far as it goes into an error.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let kept = &bytes[bytes.len().saturating_sub(EXCERPT)..];
    String::from_utf8_lossy(kept).trim().to_owned()
}
