//! The keeper in the foreground: until all containers run, or to the end of the pod.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::arguments::RunArgs;
use super::drive::{Keeper, Step, TakeError, ask_to_yield, find_sandbox};
use super::follow::Logs;
use super::interrupt::Interrupt;
use super::keep::{DetachError, detach};
use super::keeper::{Index, News, Outcome, Role};
use super::manifest::PodPlan;
use super::prepare::{PrepareError, Prepared};
use super::report::Names;
use super::screen::Screen;
use crate::connect::Daemon;
use crate::exit::FailureKind;
use crate::failure::VerbError;
use crate::out::{self, PrintError};
use crate::refusal::Refusal;

/// How often logs are looked at.
const POLL: Duration = Duration::from_millis(200);
/// How many lines of the log of an init container that failed are shown.
const LAST_LINES: usize = 10;

/// Why a run ended before all containers of the pod ran.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The person pressed Ctrl-C, or sent SIGTERM.
    #[error("interrupted before all containers ran")]
    Interrupted,
    /// A container could not be started.
    #[error("cannot run the container {container}: {why}")]
    Start {
        /// Name of the container.
        container: String,
        /// The answer of the daemon.
        why: String,
    },
    /// An init container failed, and the manifest wants it tried once.
    #[error(
        "the init container {container} exited with {code}; use restartPolicy OnFailure to have it tried again"
    )]
    Init {
        /// Name of the container.
        container: String,
        /// Exit code of the container.
        code: i32,
    },
    /// The pod was stopped or removed meanwhile.
    #[error("the pod {0} was stopped or removed before all its containers ran")]
    Ended(String),
    /// The pod runs, but nobody restarts or probes its containers.
    #[error(transparent)]
    Detach(#[from] DetachError),
    /// The keeper cannot listen for those who stop the pod.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// The manifest cannot be run with the pod's addresses.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The daemon refused a call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The pod's id or a log cannot be shown.
    #[error(transparent)]
    Print(#[from] PrintError),
}

impl VerbError for SessionError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Prepare(error) => error.kind(),
            Self::Interrupted
            | Self::Start { .. }
            | Self::Init { .. }
            | Self::Ended(_)
            | Self::Detach(_)
            | Self::Take(_)
            | Self::Refused(_)
            | Self::Print(_) => FailureKind::Failed,
        }
    }
}

/// A run in the foreground.
pub(super) struct Session<'a> {
    daemon: Daemon,
    args: &'a RunArgs,
    prepared: &'a Prepared,
    socket: &'a Path,
    interrupt: Interrupt,
    screen: Screen,
    names: Names,
    logs: Option<Logs>,
    /// Whether a start that fails ends the session: its error says so then, and nothing is tried again.
    starting: bool,
}

/// The event that woke the session.
enum Woken {
    News(Vec<News>),
    Logs,
    Interrupted,
    Yield,
}

/// How far the start of a pod came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    /// All containers have been started.
    Up,
    /// An init container is tried again later, by the keeper.
    Later,
    /// Another keeper has the pod.
    Elsewhere,
}

/// How a session ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// With the pod as it was to be.
    Done(ExitCode),
    /// Another keeper took the pod, which is its affair now.
    Elsewhere(ExitCode),
}

impl<'a> Session<'a> {
    /// A session that has not begun.
    pub(super) fn new(
        daemon: Daemon,
        args: &'a RunArgs,
        (prepared, socket): (&'a Prepared, &'a Path),
        interrupt: Interrupt,
    ) -> Self {
        let names = Names::new(&prepared.plan);
        let logs = || Logs::new(log_directory(prepared), names.clone());
        Self {
            logs: args.watch.then(logs),
            daemon,
            args,
            prepared,
            socket,
            interrupt,
            screen: Screen::new(),
            names,
            starting: true,
        }
    }

    /// Starts the containers of a pod, and does what was asked for afterwards.
    pub(super) async fn run(&mut self, id: &str) -> Result<End, SessionError> {
        let looked = find_sandbox(&self.daemon, id).await;
        let looked = looked.map_err(Refusal::to("inspect the pod"))?;
        let sandbox = looked.ok_or_else(|| self.ended())?;
        let plan = self.prepared.with_addresses(&sandbox.ips)?;
        let waits = self.args.watch || self.args.rm;
        if waits {
            ask_to_yield(id).await;
        }
        let needs_keeping = plan.needs_keeping();
        let grace = self.prepared.grace();
        let taken = Keeper::take(self.daemon.clone(), &sandbox, plan, grace).await?;
        let Some(mut keeper) = taken else {
            // Its keeper does the rest.
            out::line(id)?;
            return Ok(End::Elsewhere(ExitCode::SUCCESS));
        };
        let begun = self.bring_up(&mut keeper).await?;
        self.screen.end();
        out::line(id)?;
        if begun == Begun::Elsewhere {
            return Ok(End::Elsewhere(ExitCode::SUCCESS));
        }
        if waits {
            return self.watch(keeper, id).await;
        }
        let over = keeper.outcome().is_some();
        drop(keeper);
        if begun == Begun::Later || (needs_keeping && !over) {
            self.detach(id).await?;
        }
        Ok(End::Done(ExitCode::SUCCESS))
    }

    /// Leaves the pod to a keeper of its own.
    pub(super) async fn detach(&self, id: &str) -> Result<(), DetachError> {
        detach(self.socket, id, self.prepared, &self.args.roots).await
    }

    /// Waits until all containers run, and fails when one of them does not.
    async fn bring_up(&mut self, keeper: &mut Keeper) -> Result<Begun, SessionError> {
        let waits = self.args.watch || self.args.rm;
        let mut failed = None;
        loop {
            let news = match self.wait(keeper).await {
                Woken::Interrupted => return Err(SessionError::Interrupted),
                Woken::Yield => return Ok(Begun::Elsewhere),
                Woken::Logs => continue,
                Woken::News(news) => news,
            };
            let mut begun = None;
            for one in &news {
                match one {
                    News::Up => begun = Some(Begun::Up),
                    News::StartFailed(index, why, _) => return Err(self.not_started(*index, why)),
                    News::Exited(index, exit, after) if self.role(*index) == Some(Role::Init) => {
                        match after {
                            None if exit.code != 0 => failed = Some((*index, exit.code)),
                            Some(wait) if !wait.is_zero() && !waits => begun = Some(Begun::Later),
                            _ => {}
                        }
                    }
                    _ => {}
                }
            }
            match (begun, keeper.outcome(), failed) {
                (Some(begun), ..) => return Ok(begun),
                (None, None, _) => {}
                (None, Some(Outcome::Failed), Some((index, code))) => {
                    return Err(self.init_failed(index, code));
                }
                (None, Some(_), _) => return Err(self.ended()),
            }
        }
    }

    /// Shows logs and news until the pod is over.
    async fn watch(&mut self, mut keeper: Keeper, id: &str) -> Result<End, SessionError> {
        let mut stopping = false;
        self.starting = false;
        while keeper.outcome().is_none() {
            match self.wait(&mut keeper).await {
                Woken::News(_) | Woken::Logs => {}
                Woken::Yield => {
                    out::note("another holdfast run watches the pod now");
                    return Ok(End::Elsewhere(ExitCode::FAILURE));
                }
                Woken::Interrupted if !self.args.rm => {
                    drop(keeper);
                    out::note("the pod keeps running; `holdfast rm` removes it");
                    if self.prepared.plan.needs_keeping() {
                        self.detach(id).await?;
                    }
                    return Ok(End::Done(ExitCode::FAILURE));
                }
                // Whoever asks twice does not want to wait: the removal kills.
                Woken::Interrupted if stopping => break,
                Woken::Interrupted => {
                    stopping = true;
                    let news = keeper.stop(None);
                    self.tell(&news);
                }
            }
        }
        self.show_logs()?;
        Ok(End::Done(match keeper.outcome() {
            Some(Outcome::Succeeded) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }))
    }

    /// Waits for something, and shows it.
    async fn wait(&mut self, keeper: &mut Keeper) -> Woken {
        let follows = self.logs.is_some();
        let woken = tokio::select! {
            step = keeper.next() => match step {
                Step::News(news) => Woken::News(news),
                Step::Yield => Woken::Yield,
            },
            () = self.interrupt.next() => Woken::Interrupted,
            () = tokio::time::sleep(POLL), if follows => Woken::Logs,
        };
        if let Woken::News(news) = &woken {
            self.tell(news);
        } else {
            // A reader that has gone ends nothing: the pod is kept on.
            let _ = self.show_logs();
        }
        woken
    }

    fn tell(&mut self, news: &[News]) {
        for one in news {
            if self.starting && matches!(one, News::StartFailed(..)) {
                continue;
            }
            if let (News::Started(index, attempt), Some(logs)) = (one, &mut self.logs) {
                logs.follow(*index, *attempt);
            }
            // What a container wrote comes before what became of it.
            let _ = self.show_logs();
            self.screen.tell(one, &self.names);
        }
    }

    fn show_logs(&mut self) -> Result<(), PrintError> {
        let Some(logs) = &mut self.logs else {
            return Ok(());
        };
        let lines = logs.lines();
        if lines.is_empty() {
            return Ok(());
        }
        self.screen.print(|| out::line(&lines.join("\n")))
    }

    fn role(&self, index: Index) -> Option<Role> {
        self.names.role(index)
    }

    fn ended(&self) -> SessionError {
        SessionError::Ended(self.prepared.metadata().name)
    }

    fn not_started(&self, index: Index, why: &str) -> SessionError {
        let container = self.names.get(index).to_owned();
        let why = why.to_owned();
        SessionError::Start { container, why }
    }

    /// The pod and its logs are removed then, so the end of the log is shown.
    fn init_failed(&mut self, index: Index, code: i32) -> SessionError {
        if self.logs.is_none() {
            let mut logs = Logs::new(log_directory(self.prepared), self.names.clone());
            logs.follow(index, 0);
            let lines = logs.lines();
            for line in lines.iter().skip(lines.len().saturating_sub(LAST_LINES)) {
                self.screen.print(|| out::note(line));
            }
        }
        let container = self.names.get(index).to_owned();
        SessionError::Init { container, code }
    }
}

fn log_directory(prepared: &Prepared) -> PathBuf {
    let plan: &PodPlan = &prepared.plan;
    PathBuf::from(&plan.sandbox.log_directory)
}
