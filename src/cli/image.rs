//! `holdfast image`.

use std::io::Read;
use std::path::Path;

use cri_api::holdfast::v1::import_image_request::Part;
use cri_api::holdfast::v1::{ImportImageHeader, ImportImageRequest};
use cri_api::runtime::v1 as cri;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::args::ImageCommand;
use super::connect::Daemon;
use super::{CliError, archive, table};

/// Bytes of an archive in one message.
const CHUNK: usize = 256 << 10;
/// Messages that wait for the daemon.
const AHEAD: usize = 4;

/// Carries out a command on images.
pub(super) async fn run(daemon: Daemon, command: ImageCommand) -> Result<(), CliError> {
    match command {
        ImageCommand::Import { source, name } => import(daemon, &source, name).await,
        ImageCommand::Ls => list(daemon).await,
        ImageCommand::Rm { images } => remove(daemon, images).await,
        ImageCommand::Pull { image } => table::line(&pull(&mut daemon.clone(), &image).await?),
    }
}

fn spec(image: &str) -> Option<cri::ImageSpec> {
    Some(cri::ImageSpec {
        image: image.to_owned(),
        ..Default::default()
    })
}

/// Pulls an image and gives its id.
pub(super) async fn pull(daemon: &mut Daemon, image: &str) -> Result<String, CliError> {
    let request = cri::PullImageRequest {
        image: spec(image),
        ..Default::default()
    };
    let reply = daemon
        .images
        .pull_image(request)
        .await
        .map_err(CliError::refused(format!("pull {image}")))?;
    Ok(reply.into_inner().image_ref)
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

async fn list(mut daemon: Daemon) -> Result<(), CliError> {
    let request = cri::ListImagesRequest::default();
    let reply = daemon
        .images
        .list_images(request)
        .await
        .map_err(CliError::refused("list images"))?;
    let mut out = table::new(&["IMAGE", "ID", "SIZE"]);
    for image in reply.into_inner().images {
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
        out.add_row([
            names,
            table::short(&image.id).to_owned(),
            table::size(image.size),
        ]);
    }
    table::print(&out)
}

async fn remove(mut daemon: Daemon, images: Vec<String>) -> Result<(), CliError> {
    for image in images {
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
    table::line(&format!(
        "{} {} {}",
        image.name,
        table::short(&image.image_id),
        table::size(image.size)
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
