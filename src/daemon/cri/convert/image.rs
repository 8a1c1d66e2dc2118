//! Converts image references and registry credentials of requests, and images to messages.

use cri_api::runtime::v1 as cri;

use super::FieldError;
use super::field::{sorted, unsorted};
use super::handler::runtime_handler;
use crate::spec::ImageSpec;
use holdfast_image::{Credentials, Image};

/// The image of a container or a volume; which one it is, is resolved later.
pub(super) fn image_spec(
    field: &str,
    spec: Option<&cri::ImageSpec>,
) -> Result<ImageSpec, FieldError> {
    let spec = spec.filter(|spec| !spec.image.is_empty());
    let remedy = "give an image reference or an image id";
    let spec = spec.ok_or_else(|| FieldError::missing(format!("{field}.image"), remedy))?;
    Ok(ImageSpec {
        image: spec.image.clone(),
        user_specified_image: spec.user_specified_image.clone(),
        runtime_handler: runtime_handler(
            &format!("{field}.runtime_handler"),
            &spec.runtime_handler,
        )?,
        annotations: sorted(&spec.annotations),
    })
}

/// An image as statuses echo it.
pub(super) fn image_spec_message(spec: &ImageSpec) -> cri::ImageSpec {
    cri::ImageSpec {
        image: spec.image.clone(),
        annotations: unsorted(&spec.annotations),
        user_specified_image: spec.user_specified_image.clone(),
        runtime_handler: spec.runtime_handler.clone(),
        image_ref: String::new(),
    }
}

/// The reference in a request of the image service.
///
/// # Errors
/// [`FieldError`] for a missing reference and an unknown runtime handler.
pub(crate) fn image_reference(spec: Option<&cri::ImageSpec>) -> Result<String, FieldError> {
    image_spec("image", spec).map(|spec| spec.image)
}

/// The credentials of a pull; `None` when all fields are empty. No error shows them.
///
/// # Errors
/// [`FieldError`] when `auth` is not base64 of USER:PASSWORD.
pub(crate) fn credentials(
    auth: Option<&cri::AuthConfig>,
) -> Result<Option<Credentials>, FieldError> {
    let Some(auth) = auth else { return Ok(None) };
    let credentials = if !auth.registry_token.is_empty() {
        Credentials::registry_token(auth.registry_token.as_str())
    } else if !auth.identity_token.is_empty() {
        Credentials::identity_token(auth.identity_token.as_str())
    } else if !auth.auth.is_empty() {
        let remedy = "give base64 of USER:PASSWORD";
        Credentials::encoded(&auth.auth)
            .map_err(|_| FieldError::invalid("auth.auth", "(secret)", remedy))?
    } else if !auth.username.is_empty() || !auth.password.is_empty() {
        Credentials::password(auth.username.as_str(), auth.password.as_str())
    } else {
        return Ok(None);
    };
    Ok(Some(credentials.for_server(&auth.server_address)))
}

/// An image of the store.
pub(crate) fn image_message(image: &Image) -> cri::Image {
    let user = image.user().split(':').next().unwrap_or_default();
    let number = user
        .parse::<u32>()
        .ok()
        .map(|uid| cri::Int64Value { value: uid.into() });
    cri::Image {
        id: image.id.to_string(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size: image.size.max(1),
        username: if number.is_some() {
            String::new()
        } else {
            user.to_owned()
        },
        // Without a user the image runs as root, and says so: clients take two empty fields for a mistake.
        uid: number.or_else(|| user.is_empty().then_some(cri::Int64Value { value: 0 })),
        spec: Some(cri::ImageSpec {
            image: image
                .repo_tags
                .first()
                .cloned()
                .unwrap_or_else(|| image.id.to_string()),
            annotations: image.annotations.iter().cloned().collect(),
            ..Default::default()
        }),
        pinned: image.pinned,
    }
}
