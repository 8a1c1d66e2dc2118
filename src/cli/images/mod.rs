//! `holdfast images`, `pull`, `rmi` and `image import`.

use clap::Args;
use cri_api::holdfast::v1 as own;
use cri_api::runtime::v1 as cri;

use super::CliError;
use super::connect::Daemon;
use super::out;

mod archive;
mod import;
mod list;
mod progress;
mod remove;

pub(crate) use archive::ArchiveError;
pub(crate) use import::ImageCommand;
pub(crate) use list::ListArgs;
pub(crate) use remove::RemoveArgs;

pub(super) use import::run;
pub(super) use list::list;
pub(super) use remove::remove;

/// Arguments of `pull`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast pull registry.k8s.io/pause:3.10")]
pub struct PullArgs {
    /// Reference.
    pub image: String,
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
