//! Goes through the stops of the tour: shows each, waits, runs its commands and cleans up.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use cri_api::runtime::v1 as cri;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::image::{self, TourImageError};
use super::script::{self, Line, Stop};
use crate::connect::Daemon;
use crate::images;
use crate::out::{self, PrintError, style};
use crate::refusal::Refusal;

/// Why a stop of the tour cannot be shown or run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuideError {
    /// A file, a process or the terminal that the tour needs cannot be used.
    #[error("cannot {operation}")]
    Io {
        /// The operation, as an infinitive.
        operation: String,
        #[source]
        source: std::io::Error,
    },
    /// The image of the tour cannot be made.
    #[error(transparent)]
    Image(#[from] TourImageError),
    /// The daemon refused a call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Standard output takes nothing.
    #[error(transparent)]
    Print(#[from] PrintError),
}

impl GuideError {
    fn io(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }
}

/// Where the tour is and how it goes.
struct Guide {
    /// Directory with pods/, in which the commands run.
    place: PathBuf,
    /// Search path with this program's directory in front.
    path: std::ffi::OsString,
    socket: PathBuf,
    waits: bool,
    failed: u32,
}

/// The wish of the person at the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    On,
    NextStop,
    Quit,
}

/// The tour's directory, which goes with it.
struct ScratchDirectory(PathBuf);

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // Manifests in a directory for temporary files: nobody misses what cannot be deleted.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Goes through the stops. Exit code 1 when a command has failed.
pub(super) async fn go(
    mut daemon: Daemon,
    stops: &[Stop],
    yes: bool,
) -> Result<ExitCode, GuideError> {
    let place = ScratchDirectory(directory()?);
    write_manifests(&place.0)?;
    let mut guide = Guide {
        path: search_path(),
        socket: daemon.socket.clone(),
        place: place.0.clone(),
        waits: !yes,
        failed: 0,
    };
    guide.provide_image(&mut daemon).await?;
    let allowed = experiments(&mut daemon).await;
    for (number, stop) in stops.iter().enumerate() {
        title(stop, number + 1, stops.len())?;
        if let Some(reason) = missing(&mut daemon, stop, &allowed).await? {
            out::line(&style::paint(style::WARN, reason))?;
            continue;
        }
        if guide.stop(stop).await? == Wish::Quit {
            break;
        }
    }
    match guide.failed {
        0 => Ok(ExitCode::SUCCESS),
        count => {
            out::note(&format!("holdfast: {count} command(s) of the tour failed"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Writes the manifests where the commands look for them.
fn write_manifests(directory: &Path) -> Result<(), GuideError> {
    use std::io::Write;
    let write = || {
        let directory = directory.join("pods");
        std::fs::create_dir(&directory)?;
        for stop in script::stops() {
            let file = directory.join(format!("{}.yaml", stop.name));
            std::fs::File::create_new(file)?.write_all(stop.manifest.as_bytes())?;
        }
        Ok(())
    };
    write().map_err(GuideError::io("write the manifests of the tour"))
}

/// A new directory for the manifests.
fn directory() -> Result<PathBuf, GuideError> {
    let directory = std::env::temp_dir().join(format!("holdfast-tour.{}", std::process::id()));
    // Not recursive: one that is there already is somebody else's.
    std::fs::create_dir(&directory).map_err(GuideError::io("create a directory for the tour"))?;
    Ok(directory)
}

fn search_path() -> std::ffi::OsString {
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = own.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(all).unwrap_or(path)
}

fn title(stop: &Stop, number: usize, of: usize) -> Result<(), PrintError> {
    let title = format!("{number}/{of}  {}", stop.title);
    out::line(&format!("\n{}", style::paint(style::STRONG, title)))?;
    for line in &stop.prose {
        out::line(line)?;
    }
    out::line("")
}

/// The experiments that the node allows.
async fn experiments(daemon: &mut Daemon) -> Vec<String> {
    let reply = daemon
        .runtime
        .status(cri::StatusRequest { verbose: true })
        .await;
    let info = reply
        .map(|reply| reply.into_inner().info)
        .unwrap_or_default();
    let config = info
        .get("config")
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let config = config.unwrap_or_default();
    let allowed = config
        .pointer("/experiments/allow")
        .and_then(Value::as_array);
    let names = allowed.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// Why a stop is left out.
async fn missing(
    daemon: &mut Daemon,
    stop: &Stop,
    allowed: &[String],
) -> Result<Option<String>, Refusal> {
    let denied: Vec<_> = stop.experiments();
    let denied = denied
        .iter()
        .find(|name| !allowed.iter().any(|experiment| experiment == *name));
    if let Some(name) = denied {
        return Ok(Some(format!(
            "Skipped: this node does not allow the experiment {name:?}. To allow it, configure [experiments] allow = [{name:?}]"
        )));
    }
    for image in stop.images() {
        if images::status(daemon, image).await?.is_none() {
            let how: Vec<_> = stop.before.iter().map(|line| line.command).collect();
            return Ok(Some(format!(
                "Skipped: there is no image {image}. To make it, run: {}",
                how.join("; ")
            )));
        }
    }
    Ok(None)
}

impl Guide {
    /// Makes the image of the tour when the node does not have it, in front of everybody.
    async fn provide_image(&mut self, daemon: &mut Daemon) -> Result<(), GuideError> {
        if images::status(daemon, image::BUSYBOX).await?.is_some() {
            return Ok(());
        }
        image::tree(&self.place.join("busybox"))?;
        out::line("An image is a directory. This one has the machine's static busybox:")?;
        const IMPORT: Line = Line {
            command: "holdfast image import busybox localhost/busybox:latest",
            explanation: "",
        };
        self.run(&IMPORT).await
    }

    /// Shows one stop of the tour. Everything that the stop has made is removed, however it ends.
    async fn stop(&mut self, stop: &Stop) -> Result<Wish, GuideError> {
        let Some((remove, lines)) = stop.lines.split_last() else {
            return Ok(Wish::On);
        };
        let mut wish = Wish::On;
        let mut runs = false;
        for line in lines {
            wish = self.wish(line).await?;
            if wish != Wish::On {
                break;
            }
            runs = true;
            tokio::select! {
                result = self.run(line) => result?,
                // The command has had the signal of the terminal as well.
                _ = tokio::signal::ctrl_c() => {
                    wish = Wish::Quit;
                    break;
                }
            }
        }
        if runs {
            show(remove)?;
            self.run_quietly(remove).await?;
        }
        Ok(wish)
    }

    /// Shows a command and waits until it is wanted.
    async fn wish(&self, line: &Line) -> Result<Wish, GuideError> {
        if !self.waits {
            return Ok(Wish::On);
        }
        show(line)?;
        out::note(&style::paint(
            style::FAINT,
            "Press Enter to run it, s for the next stop, q to end the tour",
        ));
        let mut text = String::new();
        let read = BufReader::new(tokio::io::stdin())
            .read_line(&mut text)
            .await;
        let count = read.map_err(GuideError::io("read from the terminal"))?;
        Ok(match text.trim() {
            _ if count == 0 => Wish::Quit,
            "q" => Wish::Quit,
            "s" => Wish::NextStop,
            _ => Wish::On,
        })
    }

    async fn run(&mut self, line: &Line) -> Result<(), GuideError> {
        if !self.waits {
            show(line)?;
        }
        self.run_quietly(line).await?;
        Ok(out::line("")?)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the commands of the tour are lines for a shell"
    )]
    async fn run_quietly(&mut self, line: &Line) -> Result<(), GuideError> {
        let mut command = tokio::process::Command::new("sh");
        command
            .args(["-c", line.command])
            .current_dir(&self.place)
            .env("PATH", &self.path)
            .env("HOLDFAST_SOCKET", &self.socket)
            .stdin(Stdio::null());
        let status = command.status().await;
        let status = status.map_err(GuideError::io(format!("run {:?}", line.command)))?;
        if !status.success() {
            self.failed += 1;
            out::line(&style::paint(style::BAD, format!("({status})")))?;
        }
        Ok(())
    }
}

fn show(line: &Line) -> Result<(), PrintError> {
    let command = style::paint(style::GOOD, format!("$ {}", line.command));
    if line.explanation.is_empty() {
        return out::line(&command);
    }
    let explanation = style::paint(style::FAINT, format!("# {}", line.explanation));
    out::line(&format!("{command}   {explanation}"))
}
