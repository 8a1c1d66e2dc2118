//! Image references and registry credentials inwards.

use cri_api::runtime::v1 as cri;

use super::FieldError;
use super::field::{sorted, unsorted};
use super::pod::runtime_handler;
use crate::spec::ImageSpec;

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
pub fn image_spec_message(spec: &ImageSpec) -> cri::ImageSpec {
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
pub fn image_reference(spec: Option<&cri::ImageSpec>) -> Result<String, FieldError> {
    image_spec("image", spec).map(|spec| spec.image)
}
