//! Handlers of the CRI's `ImageService` for security profiles (KEP-6061).

use cri_api::runtime::v1 as cri;
use tonic::Status;

use super::convert;
use super::node::Node;
use super::observe::{Answer, observe};
use super::status::{invalid_profile, of_profile, unknown_profile_kind};
use holdfast_image::PullRequest;

/// Pulls a security profile and checks that the node can apply it.
pub(super) async fn pull(
    node: &Node,
    request: cri::PullSecurityProfileRequest,
) -> Answer<cri::PullSecurityProfileResponse> {
    let image = request.image.as_ref();
    let reference = convert::image_reference(image).map_err(|error| invalid_profile(&error))?;
    observe("PullSecurityProfile", &reference, async {
        let wanted = pull_request(&request, &reference)?;
        let pods = node.pods.clone();
        let check = move |text: &str| pods.check_profile(text);
        let pulled = node.images.pull_profile(wanted, check).await;
        let cached = pulled.map_err(of_profile)?;
        Ok(cri::PullSecurityProfileResponse { cached })
    })
    .await
}

/// Converts a request for a profile, whose kind must be one that this version knows.
fn pull_request(
    request: &cri::PullSecurityProfileRequest,
    reference: &str,
) -> Result<PullRequest, Status> {
    convert::profile_kind(request.profile_kind).map_err(|error| unknown_profile_kind(&error))?;
    Ok(PullRequest {
        reference: reference.to_owned(),
        credentials: convert::credentials(request.auth.as_ref())?,
    })
}

/// Lists the security profiles of the node.
pub(super) fn list(node: &Node) -> cri::ListSecurityProfilesResponse {
    let profiles = node.images.profiles();
    let info = profiles.iter().map(|profile| cri::SecurityProfileInfo {
        digest: profile.digest.to_string(),
        refs: profile.refs.iter().cloned().collect(),
        size: profile.text.len() as u64,
    });
    cri::ListSecurityProfilesResponse {
        profiles: info.collect(),
    }
}

/// Removes the security profile with a digest.
pub(super) async fn remove(
    node: &Node,
    request: cri::RemoveSecurityProfileRequest,
) -> Answer<cri::RemoveSecurityProfileResponse> {
    let digest = request.digest;
    observe("RemoveSecurityProfile", &digest, async {
        node.images
            .remove_profile(&digest)
            .await
            .map_err(of_profile)?;
        Ok(cri::RemoveSecurityProfileResponse {})
    })
    .await
}
