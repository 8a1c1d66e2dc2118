//! `holdfast logs`: the log files of containers, in the CRI format, merged by time.
//!
//! ```text
//!   name ── shown ──▶ containers ──▶ file, file, file ── merge by time ──▶ print
//!             ▲                        │  each followed across rotations
//!             └── looks again while following: a restart is a container of the same name
//! ```
//!
//! What this module must never do: lose a line or show one twice, whatever the kubelet does to the files
//! meanwhile; or change a byte of what a container has written.

mod arguments;
mod file;
mod line;
mod logs_error;
mod print;
mod show;
mod shown;
mod source;
mod tail;

pub(crate) use arguments::LogsArgs;
pub(super) use file::LogFile;
pub(super) use line::Line;
pub(super) use show::run;
