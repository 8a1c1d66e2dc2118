//! systemd as the owner of pods' cgroups: one connection to its D-Bus interface (org.freedesktop.systemd1(5)).
//!
//! ```text
//!   slice of the kubelet                kubepods-burstable-podX.slice
//!     └─ scope, one a pod, Delegate     holdfast-ID.scope          ◀── StartTransientUnit, StopUnit
//!          ├─ shim                      keeps the scope from ever being empty while the pod lives
//!          ├─ pause                     groups of our own from here on
//!          └─ container …
//! ```
//!
//! A pod costs one unit, whatever runs in it: containers are groups inside the delegated scope, of which systemd
//! knows nothing. So systemd neither rewrites their limits nor removes the group of a container that has just ended,
//! before its last figures are read. Every call has a deadline: when systemd hangs, the pod fails and nothing else
//! waits.
//!
//! This module must never touch a cgroup itself, and knows nothing about pods.

mod slice;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use holdfast_kernel::fault;
use holdfast_kernel::sys::pid::Pid;
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, Variant};

pub(crate) use slice::{Slice, SliceError};

/// How long systemd may take for one unit. It needs milliseconds unless it is in trouble.
const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// How long systemd waits for the processes of a scope that it stops, in microseconds. Nothing but a shim that
/// hangs is left in it by then.
const STOP_TIMEOUT_US: u64 = 2_000_000;

/// Most D-Bus signals that are queued while a job is waited for. The daemon receives those of its own jobs only.
const SIGNALS: usize = 64;

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Name of systemd's error for a unit that does not exist.
const NO_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Why systemd did not carry out a call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemdError {
    /// The system's D-Bus cannot be reached.
    #[error("cannot connect to systemd over the system's D-Bus")]
    Connect(#[source] zbus::Error),
    /// systemd refused the call, or the connection broke.
    #[error("cannot call {method} of systemd for {unit}")]
    Call {
        /// Name of the D-Bus method.
        method: &'static str,
        unit: String,
        #[source]
        source: zbus::Error,
    },
    /// systemd did not answer within the deadline.
    #[error(
        "systemd did not finish {method} for {unit} within {CALL_DEADLINE:?}; see `systemctl status {unit}`"
    )]
    Deadline {
        /// Name of the D-Bus method.
        method: &'static str,
        unit: String,
    },
    /// The job ended otherwise than with `done`.
    #[error(
        "systemd's job {method} for {unit} ended with {result:?}; see `systemctl status {unit}`"
    )]
    Job {
        /// Name of the D-Bus method.
        method: &'static str,
        unit: String,
        /// systemd's word for it: `failed`, `canceled`, `timeout`, …
        result: String,
    },
}

/// A scope: a unit around processes that systemd did not start (systemd.scope(5)).
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    /// Name of the scope, with `.scope`.
    pub name: &'a str,
    /// The slice that contains the scope.
    pub slice: &'a Slice,
    /// The description that `systemctl` shows.
    pub description: &'a str,
    /// The process around which the scope is made.
    pub process: Pid,
}

/// Whether systemd runs this machine: sd_booted(3).
pub(crate) fn is_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The connection to systemd: made when it is first needed, and again after it broke. The lock is held for a moment only,
/// never while systemd is waited for.
#[derive(Debug, Default)]
pub(crate) struct Systemd {
    connection: Mutex<Option<Connection>>,
}

impl Systemd {
    /// Checks that systemd answers on D-Bus.
    ///
    /// # Errors
    /// [`SystemdError::Connect`] or [`SystemdError::Deadline`].
    pub(crate) async fn check(&self) -> Result<(), SystemdError> {
        let late = SystemdError::Deadline {
            method: "a connection",
            unit: "the manager".to_owned(),
        };
        match tokio::time::timeout(CALL_DEADLINE, self.connection()).await {
            Ok(connection) => connection.map(|_| ()),
            Err(_) => Err(late),
        }
    }

    /// Makes a scope around a process and waits until the process is in its cgroup. The scope's cgroup is
    /// ours from then on.
    ///
    /// # Errors
    /// [`SystemdError`]; the process is where it was.
    pub(crate) async fn start_scope(&self, scope: &Scope<'_>) -> Result<(), SystemdError> {
        const METHOD: &str = "StartTransientUnit";
        let _step = fault::mark("systemd.start-scope");
        let properties: Vec<(&str, Variant<'_>)> = vec![
            ("Description", Variant::from(scope.description)),
            ("Slice", Variant::from(scope.slice.name())),
            (
                "PIDs",
                Variant::from(vec![scope.process.as_raw().cast_unsigned()]),
            ),
            ("Delegate", Variant::from(true)),
            // Otherwise systemd ends pods before the kubelet when the machine goes down.
            ("DefaultDependencies", Variant::from(false)),
            // A default of systemd limits every unit to a share of the machine's tasks.
            ("TasksMax", Variant::from(u64::MAX)),
            ("CollectMode", Variant::from("inactive-or-failed")),
            ("TimeoutStopUSec", Variant::from(STOP_TIMEOUT_US)),
        ];
        let auxiliary: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let body = (scope.name, "fail", properties, auxiliary);
        let job = self.job(METHOD, scope.name, &body);
        self.bounded(METHOD, scope.name, job).await
    }

    /// Stops a unit with all processes that are left in it. A unit that does not exist counts as stopped.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub(crate) async fn stop(&self, unit: &str) -> Result<(), SystemdError> {
        const METHOD: &str = "StopUnit";
        let _step = fault::mark("systemd.stop");
        let body = (unit, "replace");
        let job = self.job(METHOD, unit, &body);
        match self.bounded(METHOD, unit, job).await {
            Err(error) if is_no_unit(&error) => Ok(()),
            other => other,
        }
    }

    async fn connection(&self) -> Result<Connection, SystemdError> {
        if let Some(connection) = self.cached_connection().as_ref() {
            return Ok(connection.clone());
        }
        // Two calls may connect at the same time: the first connection is kept, and the other ends with its call.
        let connection = Connection::system().await.map_err(SystemdError::Connect)?;
        Ok(self.cached_connection().get_or_insert(connection).clone())
    }

    fn cached_connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a call no longer than the deadline. A connection that failed is made anew the next time.
    async fn bounded<T>(
        &self,
        method: &'static str,
        unit: &str,
        call: impl Future<Output = Result<T, SystemdError>>,
    ) -> Result<T, SystemdError> {
        let outcome = match tokio::time::timeout(CALL_DEADLINE, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SystemdError::Deadline {
                method,
                unit: unit.to_owned(),
            }),
        };
        let refused = |source: &zbus::Error| {
            matches!(source, zbus::Error::MethodError(..) | zbus::Error::FDO(_))
        };
        let sound = match &outcome {
            Ok(_) | Err(SystemdError::Job { .. }) => true,
            Err(SystemdError::Call { source, .. }) => refused(source),
            Err(_) => false,
        };
        if !sound {
            *self.cached_connection() = None;
        }
        outcome
    }

    /// Asks for something that becomes a job, and waits for the job's end.
    async fn job<B>(&self, method: &'static str, unit: &str, body: &B) -> Result<(), SystemdError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let failed = |source| SystemdError::Call {
            method,
            unit: unit.to_owned(),
            source,
        };
        let connection = self.connection().await?;
        // Listening begins before the call: the job may end before its path is known here.
        let mut ended = jobs_removed(&connection).await.map_err(failed)?;
        let call = connection.call_method(Some(DESTINATION), PATH, Some(MANAGER), method, body);
        let reply = call.await.map_err(failed)?;
        let job: OwnedObjectPath = reply.body().deserialize().map_err(failed)?;
        while let Some(signal) = ended.next().await {
            match job_result(&signal.map_err(failed)?).map_err(failed)? {
                (path, result) if path == job && result == "done" => return Ok(()),
                (path, result) if path == job => {
                    let unit = unit.to_owned();
                    return Err(SystemdError::Job {
                        method,
                        unit,
                        result,
                    });
                }
                _ => {}
            }
        }
        Err(failed(zbus::Error::InvalidReply))
    }
}

/// The signals that tell the end of our jobs.
async fn jobs_removed(connection: &Connection) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(DESTINATION)
        .interface(MANAGER)
        .member("JobRemoved")
        .build()?;
    let queue = std::num::NonZeroUsize::new(SIGNALS);
    MessageStream::for_match_rule(rule, connection, queue).await
}

/// Path and result of a job: `JobRemoved(u id, o job, s unit, s result)`.
fn job_result(signal: &Message) -> zbus::Result<(OwnedObjectPath, String)> {
    let body = signal.body();
    let (_, path, _, result): (u32, OwnedObjectPath, String, String) = body.deserialize()?;
    Ok((path, result))
}

fn is_no_unit(error: &SystemdError) -> bool {
    match error {
        SystemdError::Call {
            source: zbus::Error::MethodError(name, ..),
            ..
        } => name.as_str() == NO_UNIT,
        _ => false,
    }
}
