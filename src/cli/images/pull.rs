//! `holdfast pull`: pulling an image from its registry.

use clap::Args;
use cri_api::holdfast::v1 as api;

use super::progress;
use crate::connect::Daemon;
use crate::out;
use crate::refusal::Refusal;
use crate::request::RequestError;

/// The command line of `holdfast pull`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast pull registry.k8s.io/pause:3.10")]
pub struct PullArgs {
    /// Reference of the image, such as registry.k8s.io/pause:3.10.
    pub image: String,
}

/// Pulls an image and prints its id.
pub(crate) async fn pull(mut daemon: Daemon, args: PullArgs) -> Result<(), RequestError> {
    let id = fetch(&mut daemon, &args.image).await?;
    Ok(out::line(&id)?)
}

/// Pulls an image, shows how far the pull is, and returns the image's id.
pub(crate) async fn fetch(daemon: &mut Daemon, image: &str) -> Result<String, Refusal> {
    let refused = || Refusal::to(format!("pull {image}"));
    let mut line = progress::Line::new(image);
    let request = api::PullImageRequest {
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
