//! When the image of a container or a volume is pulled.

use super::manifest_error::ManifestError;
use super::planned::PullPolicy;

/// When to pull an image.
pub(super) fn pull_policy(field: &str, policy: Option<&str>) -> Result<PullPolicy, ManifestError> {
    match policy {
        None | Some("IfNotPresent") => Ok(PullPolicy::IfNotPresent),
        Some("Always") => Ok(PullPolicy::Always),
        Some("Never") => Ok(PullPolicy::Never),
        Some(other) => Err(ManifestError::field(
            field,
            other,
            "give IfNotPresent, Always or Never",
        )),
    }
}
