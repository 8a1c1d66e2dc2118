//! `holdfast images`, `pull`, `rmi` and `image import`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cri_api::holdfast::v1::import_image_request::Part;
use cri_api::holdfast::v1::{self as own, ImportImageHeader, ImportImageRequest};
use cri_api::runtime::v1 as cri;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::CliError;
use super::connect::Daemon;
use super::out::{self, FormatArgs, table, text};

mod archive;
mod progress;

pub use archive::ArchiveError;

/// Bytes of an archive in one message.
const CHUNK: usize = 256 << 10;
/// Messages that wait for the daemon.
const AHEAD: usize = 4;

/// Arguments of `images`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast images -o json")]
pub struct ListArgs {
    /// How to print.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Arguments of `pull`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast pull registry.k8s.io/pause:3.10")]
pub struct PullArgs {
    /// Reference.
    pub image: String,
}

/// Arguments of `rmi`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast rmi localhost/busybox:latest")]
pub struct RemoveArgs {
    /// References or ids.
    #[arg(required = true)]
    pub images: Vec<String>,
}

/// Making images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make an image from a directory or an archive.
    #[command(
        after_help = "Example: holdfast image import ./busybox-tree localhost/busybox:latest"
    )]
    Import {
        /// A directory that becomes the root file system, or a tar archive (a root file system, an OCI
        /// layout or a docker archive; plain, gzip or zstd), or - for an archive on standard input.
        source: PathBuf,
        /// Reference of the new image, such as localhost/busybox:latest.
        name: String,
    },
}

/// Carries out a command that makes images.
pub(super) async fn run(daemon: Daemon, command: ImageCommand) -> Result<(), CliError> {
    match command {
        ImageCommand::Import { source, name } => import(daemon, &source, name).await,
    }
}

fn spec(image: &str) -> Option<cri::ImageSpec> {
    Some(cri::ImageSpec {
        image: image.to_owned(),
        ..Default::default()
    })
}

/// Pulls an image and prints its id.
pub(super) async fn pull(mut daemon: Daemon, args: PullArgs) -> Result<(), CliError> {
    out::line(&fetch(&mut daemon, &args.image).await?)
}

/// Pulls an image, showing how far it is, and gives its id.
pub(super) async fn fetch(daemon: &mut Daemon, image: &str) -> Result<String, CliError> {
    let refused = || CliError::refused(format!("pull {image}"));
    let mut line = progress::Line::new(image);
    let request = own::PullImageRequest {
        image: image.to_owned(),
    };
    let reply = daemon.holdfast.pull_image(request).await;
    let mut messages = reply.map_err(refused())?.into_inner();
    let mut id = String::new();
    while let Some(message) = messages.message().await.map_err(refused())? {
        line.show(&message.layers);
        id = message.image_id;
    }
    Ok(id)
}

/// An image of the node, when it is there.
pub(super) async fn status(
    daemon: &mut Daemon,
    image: &str,
) -> Result<Option<cri::Image>, CliError> {
    let request = cri::ImageStatusRequest {
        image: spec(image),
        verbose: false,
    };
    let operation = format!("look for the image {image}");
    let reply = daemon
        .images
        .image_status(request)
        .await
        .map_err(CliError::refused(operation))?;
    Ok(reply.into_inner().image)
}

/// An image in the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    size: u64,
}

/// Lists images.
pub(super) async fn list(mut daemon: Daemon, args: ListArgs) -> Result<(), CliError> {
    let request = cri::ListImagesRequest::default();
    let reply = daemon
        .images
        .list_images(request)
        .await
        .map_err(CliError::refused("list images"))?;
    let listed = |image: cri::Image| Listed {
        id: image.id,
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        size: image.size,
    };
    let images: Vec<_> = reply.into_inner().images.into_iter().map(listed).collect();
    out::print(args.format.output, &images, |images| show(images))
}

fn show(images: &[Listed]) -> Result<(), CliError> {
    let mut out = table::new(&["IMAGE", "ID", "SIZE"]);
    for image in images {
        let names = if image.repo_tags.is_empty() {
            &image.repo_digests
        } else {
            &image.repo_tags
        };
        let names = if names.is_empty() {
            "<none>".to_owned()
        } else {
            names.join("\n")
        };
        let id = text::short(&image.id).to_owned();
        out.add_row([names, id, text::size(image.size)]);
    }
    table::print(&out)
}

/// Removes images.
pub(super) async fn remove(mut daemon: Daemon, args: RemoveArgs) -> Result<(), CliError> {
    for image in args.images {
        let request = cri::RemoveImageRequest {
            image: spec(&image),
        };
        let operation = format!("remove the image {image}");
        daemon
            .images
            .remove_image(request)
            .await
            .map_err(CliError::refused(operation))?;
    }
    Ok(())
}

async fn import(mut daemon: Daemon, source: &Path, name: String) -> Result<(), CliError> {
    let (sender, receiver) = mpsc::channel(AHEAD);
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
            return Err(CliError::Archive { source_name: source.display().to_string(), source: error });
        }
    };
    let image = reply
        .map_err(CliError::refused(format!("import {name}")))?
        .into_inner();
    out::line(&format!(
        "{} {} {}",
        image.name,
        text::short(&image.image_id),
        text::size(image.size)
    ))
}

/// Sends the header and then the archive.
fn read(
    source: &Path,
    header: ImportImageHeader,
    sender: &mpsc::Sender<ImportImageRequest>,
) -> Result<(), archive::ArchiveError> {
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
) -> Result<(), archive::ArchiveError> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut part = archive.by_ref().take(CHUNK as u64);
        part.read_to_end(&mut chunk)
            .map_err(archive::ArchiveError::Read)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let message = ImportImageRequest {
            part: Some(Part::Chunk(chunk)),
        };
        if sender.blocking_send(message).is_err() {
            return Ok(());
        }
    }
}
