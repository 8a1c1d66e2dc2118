//! `holdfast rmi`: removing images.

use std::collections::HashSet;

use clap::Args;
use cri_api::runtime::v1 as cri;

use super::status;
use crate::connect::Daemon;
use crate::refusal::Refusal;
use crate::request::RequestError;
use crate::{out, select};

/// The command line of `holdfast rmi`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast rmi localhost/busybox:latest")]
pub struct RemoveArgs {
    /// Images by reference or id; an image is removed with all its names.
    #[arg(value_name = "IMAGE", required_unless_present_any = ["all", "prune"])]
    pub images: Vec<String>,
    /// Remove all images of the node.
    #[arg(short, long, conflicts_with_all = ["images", "prune"])]
    pub all: bool,
    /// Remove images that no container uses and that are not pinned.
    #[arg(short = 'q', long, conflicts_with = "images")]
    pub prune: bool,
}

/// Removes images, and prints the names that are gone.
pub(crate) async fn remove(mut daemon: Daemon, args: RemoveArgs) -> Result<(), RequestError> {
    let daemon = &mut daemon;
    let images = if args.all || args.prune {
        listed(daemon, &args).await?
    } else {
        named(daemon, &args.images).await?
    };
    if images.is_empty() {
        out::note("there are no images to remove");
    }
    for image in images {
        let request = cri::RemoveImageRequest {
            image: status::spec(&image.id),
        };
        let names = if image.repo_tags.is_empty() {
            &image.repo_digests
        } else {
            &image.repo_tags
        };
        let name = names.first().unwrap_or(&image.id);
        match daemon.images.remove_image(request).await {
            Ok(_) => {}
            // A container may have come to use it meanwhile.
            Err(_) if args.prune => continue,
            Err(status) => {
                let operation = format!("remove the image {name}");
                return Err(Refusal::to(operation)(status).into());
            }
        }
        let names = if names.is_empty() {
            std::slice::from_ref(&image.id)
        } else {
            names
        };
        for name in names {
            out::line(&format!("Deleted: {name}"))?;
        }
    }
    Ok(())
}

/// Lists all images, or those that no container uses.
async fn listed(daemon: &mut Daemon, args: &RemoveArgs) -> Result<Vec<cri::Image>, RequestError> {
    let request = cri::ListImagesRequest::default();
    let reply = daemon.images.list_images(request).await;
    let reply = reply.map_err(Refusal::to("list images"))?;
    let mut images = reply.into_inner().images;
    if args.prune {
        let containers = select::containers(daemon).await?.into_iter();
        let used: HashSet<_> = containers
            .flat_map(|container| [container.image_id, container.image_ref])
            .collect();
        images.retain(|image| !image.pinned && !used.contains(&image.id));
    }
    Ok(images)
}

/// Finds images by their names, each once. Fails before anything is removed when a name means no image.
async fn named(daemon: &mut Daemon, names: &[String]) -> Result<Vec<cri::Image>, RequestError> {
    let mut images: Vec<cri::Image> = Vec::new();
    for name in names {
        let image = status::named(daemon, name).await?;
        if images.iter().all(|other| other.id != image.id) {
            images.push(image);
        }
    }
    Ok(images)
}
