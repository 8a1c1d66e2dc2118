//! The images that a pod needs.

use clap::ValueEnum;
use cri_api::runtime::v1 as cri;

use super::manifest::{PlannedContainer, PodPlan, PullPolicy};
use crate::connect::Daemon;
use crate::images;
use crate::refusal::Refusal;

/// When a run pulls its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    /// Pull every image, each time.
    Always,
    /// Pull only images that the node lacks.
    Missing,
    /// Pull nothing; an image that the node lacks is an error.
    Never,
}

impl From<Pull> for PullPolicy {
    fn from(pull: Pull) -> Self {
        match pull {
            Pull::Always => Self::Always,
            Pull::Missing => Self::IfNotPresent,
            Pull::Never => Self::Never,
        }
    }
}

/// Why a pod cannot have its images.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProvideError {
    /// The daemon refused to pull an image or to look for it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A container that must not run as root would do so.
    #[error(
        "container {0:?} has runAsNonRoot, but would run as root; give runAsUser another number"
    )]
    Root(String),
}

/// Pulls what is to be pulled, each image once; `pull` wins over what the manifest says. A container that must
/// not run as root and would is refused.
pub(super) async fn images(
    daemon: &mut Daemon,
    plan: &PodPlan,
    pull: Option<Pull>,
) -> Result<(), ProvideError> {
    let mut pulled = Vec::new();
    let of_volumes = plan
        .images
        .iter()
        .map(|image| (&image.reference, image.pull, None));
    let of_containers = plan.containers.iter().filter_map(|container| {
        let image = container.config.image.as_ref()?;
        Some((&image.image, container.pull, Some(container)))
    });
    for (reference, policy, container) in of_volumes.chain(of_containers) {
        let policy = pull.map_or(policy, PullPolicy::from);
        let mut present = images::status(daemon, reference).await?;
        let wanted = match policy {
            PullPolicy::Always => !pulled.contains(&reference),
            PullPolicy::IfNotPresent => present.is_none(),
            // CreateContainer says that it is missing.
            PullPolicy::Never => false,
        };
        if wanted {
            images::fetch(daemon, reference).await?;
            pulled.push(reference);
            present = images::status(daemon, reference).await?;
        }
        if let (Some(container), Some(image)) = (container, present) {
            check_user(container, &image)?;
        }
    }
    Ok(())
}

fn check_user(container: &PlannedContainer, image: &cri::Image) -> Result<(), ProvideError> {
    if container.non_root && runs_as_root(&container.config, image) {
        return Err(ProvideError::Root(container.kept.name.clone()));
    }
    Ok(())
}

/// Whether the first process would have user id 0. A name other than root is taken at its word, since only
/// the image's files say what it means; the kubelet refuses names altogether.
fn runs_as_root(config: &cri::ContainerConfig, image: &cri::Image) -> bool {
    let context = config
        .linux
        .as_ref()
        .and_then(|linux| linux.security_context.as_ref());
    let requested = context.and_then(|context| context.run_as_user);
    match (requested, image.uid) {
        (Some(user), _) | (None, Some(user)) => user.value == 0,
        (None, None) => matches!(image.username.as_str(), "" | "root"),
    }
}
