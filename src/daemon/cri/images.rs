//! Handlers of the CRI's `ImageService`.

use std::collections::HashMap;
use std::sync::Arc;

use cri_api::runtime::v1 as cri;
use cri_api::runtime::v1::image_service_server::ImageService;
use serde_json::json;
use tonic::codegen::BoxStream;
use tonic::{Request, Response};

use super::node::Node;
use super::observe::{Answer, observe};
use super::{batch, convert, profiles, status};
use holdfast_disk::json_text;
use holdfast_image::{Image, PullRequest};

/// The image service of the CRI.
pub(super) struct Images(pub Node);

#[tonic::async_trait]
impl ImageService for Images {
    async fn list_images(
        &self,
        request: Request<cri::ListImagesRequest>,
    ) -> Answer<cri::ListImagesResponse> {
        let images = self.list(request.into_inner().filter);
        Ok(Response::new(cri::ListImagesResponse { images }))
    }

    async fn stream_images(
        &self,
        request: Request<cri::StreamImagesRequest>,
    ) -> Answer<BoxStream<cri::StreamImagesResponse>> {
        let images = self.list(request.into_inner().filter);
        Ok(Response::new(batch::stream(images, |images| {
            cri::StreamImagesResponse { images }
        })))
    }

    async fn image_status(
        &self,
        request: Request<cri::ImageStatusRequest>,
    ) -> Answer<cri::ImageStatusResponse> {
        let request = request.into_inner();
        let reference = convert::image_reference(request.image.as_ref())?;
        let found = self.0.images.resolve(&reference);
        let info = found
            .as_deref()
            .filter(|_| request.verbose)
            .map(info)
            .unwrap_or_default();
        let image = found.as_deref().map(convert::image_message);
        Ok(Response::new(cri::ImageStatusResponse { image, info }))
    }

    async fn pull_image(
        &self,
        request: Request<cri::PullImageRequest>,
    ) -> Answer<cri::PullImageResponse> {
        let request = request.into_inner();
        let reference = convert::image_reference(request.image.as_ref())?;
        let wanted = PullRequest {
            reference: reference.clone(),
            credentials: convert::credentials(request.auth.as_ref())?,
        };
        observe("PullImage", &reference, async {
            let pulled = self.0.images.pull(wanted).await;
            let image_ref = pulled.map_err(status::of_pull)?.id.to_string();
            Ok(cri::PullImageResponse { image_ref })
        })
        .await
    }

    async fn pull_security_profile(
        &self,
        request: Request<cri::PullSecurityProfileRequest>,
    ) -> Answer<cri::PullSecurityProfileResponse> {
        profiles::pull(&self.0, request.into_inner()).await
    }

    async fn list_security_profiles(
        &self,
        _: Request<cri::ListSecurityProfilesRequest>,
    ) -> Answer<cri::ListSecurityProfilesResponse> {
        Ok(Response::new(profiles::list(&self.0)))
    }

    async fn remove_security_profile(
        &self,
        request: Request<cri::RemoveSecurityProfileRequest>,
    ) -> Answer<cri::RemoveSecurityProfileResponse> {
        profiles::remove(&self.0, request.into_inner()).await
    }

    async fn remove_image(
        &self,
        request: Request<cri::RemoveImageRequest>,
    ) -> Answer<cri::RemoveImageResponse> {
        let reference = convert::image_reference(request.into_inner().image.as_ref())?;
        observe("RemoveImage", &reference, async {
            self.0
                .images
                .remove(&reference)
                .await
                .map_err(status::of_store)?;
            Ok(cri::RemoveImageResponse {})
        })
        .await
    }

    async fn image_fs_info(
        &self,
        _: Request<cri::ImageFsInfoRequest>,
    ) -> Answer<cri::ImageFsInfoResponse> {
        let written = self.0.pods.written().await;
        let images = self.0.images.fs_usage();
        let directory = &self.0.facts.containers_dir;
        Ok(Response::new(convert::image_fs(
            &images, directory, written,
        )))
    }
}

impl Images {
    /// Lists all images, or the image that a filter names. The list is empty when no image has that name.
    fn list(&self, filter: Option<cri::ImageFilter>) -> Vec<cri::Image> {
        let wanted = filter
            .and_then(|filter| filter.image)
            .map(|image| image.image);
        let images: Vec<Arc<Image>> = match wanted.filter(|image| !image.is_empty()) {
            Some(reference) => self.0.images.resolve(&reference).into_iter().collect(),
            None => self.0.images.list(),
        };
        images
            .iter()
            .map(|image| convert::image_message(image))
            .collect()
    }
}

/// The verbose part: the configuration as published, and what the layers make up.
fn info(image: &Image) -> HashMap<String, String> {
    let text = json_text(image.config_json.as_bytes());
    let spec: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let info = json!({ "chainID": image.chain_id(), "imageSpec": spec });
    HashMap::from([("info".to_owned(), info.to_string())])
}
