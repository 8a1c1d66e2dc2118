//! `holdfast image import`: a directory or an archive, sent to the daemon.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Subcommand;
use cri_api::holdfast::v1::import_image_request::Part;
use cri_api::holdfast::v1::{ImportImageHeader, ImportImageRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::archive::{self, ArchiveError};
use crate::connect::Daemon;
use crate::exit::FailureKind;
use crate::failure::VerbError;
use crate::out::PrintError;
use crate::out::{self, text};
use crate::refusal::Refusal;

/// Bytes of an archive in one message.
const CHUNK: usize = 256 << 10;
/// Messages that wait for the daemon.
const MAX_QUEUED_MESSAGES: usize = 4;
/// How often progress is shown.
const TICK: Duration = Duration::from_millis(100);

/// The ways to make an image.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make an image from a directory or an archive.
    #[command(
        after_help = "Example: holdfast image import ./busybox-tree localhost/busybox:latest"
    )]
    Import {
        /// A directory that is a root file system, an OCI layout or skopeo's dir:; a tar archive of such a directory; or
        /// an archive made by docker save. Archives may be plain, gzip or zstd. With -, the archive comes from standard
        /// input.
        source: PathBuf,
        /// Reference of the new image, such as localhost/busybox:latest.
        name: String,
    },
}

/// Why an image cannot be made from a directory or an archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The directory or archive cannot be read.
    #[error("cannot make an archive of {}", origin.display())]
    Archive {
        /// The directory or file.
        origin: PathBuf,
        /// The error of the archive.
        #[source]
        source: ArchiveError,
    },
    /// The daemon refused the archive.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The new image cannot be shown.
    #[error(transparent)]
    Print(#[from] PrintError),
}

impl VerbError for ImportError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Archive { .. } | Self::Refused(_) | Self::Print(_) => FailureKind::Failed,
        }
    }
}

/// Carries out a command that makes images.
pub(crate) async fn run(daemon: Daemon, command: ImageCommand) -> Result<(), ImportError> {
    match command {
        ImageCommand::Import { source, name } => import(daemon, &source, name).await,
    }
}

async fn import(mut daemon: Daemon, source: &Path, name: String) -> Result<(), ImportError> {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_MESSAGES);
    let header = ImportImageHeader { name: name.clone() };
    let owned = source.to_owned();
    let reader = tokio::task::spawn_blocking(move || match read(&owned, header, &sender) {
        Ok(()) => Ok(()),
        Err(error) => {
            // The stream must not end in good order: what was sent so far could pass for a whole archive.
            // It breaks off when this process ends, and the daemon then keeps nothing.
            std::mem::forget(sender);
            Err(error)
        }
    });
    let sent = async {
        match reader.await {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => std::future::pending().await,
        }
    };
    let reply = tokio::select! {
        reply = daemon.holdfast.import_image(ReceiverStream::new(receiver)) => reply,
        error = sent => {
            return Err(ImportError::Archive { origin: source.to_owned(), source: error });
        }
    };
    let image = reply
        .map_err(Refusal::to(format!("import {name}")))?
        .into_inner();
    out::line(&format!(
        "{} {} {}",
        image.name,
        text::short(&image.image_id),
        text::size(image.size)
    ))?;
    Ok(())
}

/// Sends the header and then the archive.
fn read(
    source: &Path,
    header: ImportImageHeader,
    sender: &mpsc::Sender<ImportImageRequest>,
) -> Result<(), ArchiveError> {
    let mut archive = archive::open(source)?;
    let first = ImportImageRequest {
        part: Some(Part::Header(header)),
    };
    if sender.blocking_send(first).is_ok() {
        send(&mut archive, sender)?;
    }
    archive.finish()
}

/// Sends an archive in chunks until it ends or the daemon has had enough.
fn send(
    archive: &mut impl Read,
    sender: &mpsc::Sender<ImportImageRequest>,
) -> Result<(), ArchiveError> {
    let mut progress = Progress::new();
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut part = archive.by_ref().take(CHUNK as u64);
        part.read_to_end(&mut chunk).map_err(ArchiveError::Read)?;
        if chunk.is_empty() {
            return Ok(());
        }
        progress.add(chunk.len());
        let message = ImportImageRequest {
            part: Some(Part::Chunk(chunk)),
        };
        if sender.blocking_send(message).is_err() {
            return Ok(());
        }
    }
}

/// How much was sent, in a line that is wiped at the end. Nothing is shown without a terminal.
struct Progress {
    bytes: u64,
    shown: Option<Instant>,
    visible: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            bytes: 0,
            shown: None,
            visible: io::stderr().is_terminal(),
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.visible && self.shown.is_none_or(|shown| shown.elapsed() >= TICK) {
            self.shown = Some(Instant::now());
            self.line(&format!("{} sent", text::size(self.bytes)));
        }
    }

    fn line(&self, text: &str) {
        // Nobody is left to be told when standard error is gone.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            self.line("");
        }
    }
}
