//! Looks up images of the node by their names.

use cri_api::runtime::v1 as cri;

use crate::connect::Daemon;
use crate::refusal::Refusal;
use crate::select::SelectError;

/// Names an image in a request of the CRI.
pub(super) fn spec(image: &str) -> Option<cri::ImageSpec> {
    Some(cri::ImageSpec {
        image: image.to_owned(),
        ..Default::default()
    })
}

/// Asks for an image of the node; None when the node does not have it.
pub(crate) async fn status(
    daemon: &mut Daemon,
    image: &str,
) -> Result<Option<cri::Image>, Refusal> {
    let request = cri::ImageStatusRequest {
        image: spec(image),
        verbose: false,
    };
    let operation = format!("look for the image {image}");
    let reply = daemon
        .images
        .image_status(request)
        .await
        .map_err(Refusal::to(operation))?;
    Ok(reply.into_inner().image)
}

/// Finds the image that a person named.
///
/// # Errors
/// [`SelectError::NoImage`] when the node does not have it.
pub(crate) async fn named(daemon: &mut Daemon, name: &str) -> Result<cri::Image, SelectError> {
    let image = status(daemon, name).await?;
    image.ok_or_else(|| SelectError::NoImage(name.to_owned()))
}
