//! Handlers of holdfast.v1, the service for what the CRI lacks.

use cri_api::holdfast::v1 as api;
use cri_api::holdfast::v1::holdfast_server::Holdfast;
use cri_api::holdfast::v1::import_image_request::Part;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert::FieldError;
use super::node::Node;
use super::observe::{Answer, observe};
use super::upload::upload;
use super::{status, watch};
use crate::pod::{Debt, PodSnapshot, ProcessNamespaces, Role};
use holdfast_image::PullRequest;

/// Handlers of the service `holdfast.v1`.
pub(super) struct HoldfastService(pub Node);

#[tonic::async_trait]
impl Holdfast for HoldfastService {
    async fn import_image(
        &self,
        request: Request<Streaming<api::ImportImageRequest>>,
    ) -> Answer<api::ImportImageResponse> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|message| message.part);
        let Some(Part::Header(header)) = first else {
            return Err(FieldError::missing("header", "send it in the first message").into());
        };
        observe(
            "ImportImage",
            &header.name,
            self.import(&header.name, messages),
        )
        .await
    }

    async fn pull_image(
        &self,
        request: Request<api::PullImageRequest>,
    ) -> Answer<BoxStream<api::PullImageProgress>> {
        let reference = request.into_inner().image;
        if reference.is_empty() {
            return Err(FieldError::missing("image", "give a reference").into());
        }
        observe("PullImage", &reference.clone(), async {
            let request = PullRequest {
                reference,
                credentials: None,
            };
            let pull = self.0.images.begin_pull(request);
            Ok(watch::pull(pull.map_err(status::of_pull)?))
        })
        .await
    }

    async fn pod_namespaces(
        &self,
        request: Request<api::PodNamespacesRequest>,
    ) -> Answer<api::PodNamespacesResponse> {
        let id = request.into_inner().pod_sandbox_id;
        observe("PodNamespaces", &id, async {
            let pod = self.0.pods.pod(&id)?;
            let mut processes = self.0.pods.namespaces(&id)?;
            processes.sort_by_key(|process| created_at(&pod, process));
            let processes = processes.into_iter().map(process).collect();
            Ok(api::PodNamespacesResponse { processes })
        })
        .await
    }

    async fn debts(&self, _: Request<api::DebtsRequest>) -> Answer<api::DebtsResponse> {
        let debts = self.0.pods.debts().into_iter().map(debt).collect();
        Ok(Response::new(api::DebtsResponse { debts }))
    }

    async fn health(&self, _: Request<api::HealthRequest>) -> Answer<api::HealthResponse> {
        let pods = self.0.pods.pods();
        let containers: usize = pods.iter().map(|pod| pod.containers.len()).sum();
        Ok(Response::new(api::HealthResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.0.facts.boot_id.clone(),
            pods: pods.len() as u64,
            containers: containers as u64,
            uptime_seconds: self.0.facts.started.elapsed().as_secs(),
        }))
    }
}

impl HoldfastService {
    async fn import(
        &self,
        name: &str,
        messages: Streaming<api::ImportImageRequest>,
    ) -> Result<api::ImportImageResponse, Status> {
        let (upload, reader) = upload();
        let import = self.0.images.import(name, reader);
        tokio::pin!(import);
        let image = tokio::select! {
            result = &mut import => result.map_err(status::of_import)?,
            fed = upload.feed(messages) => {
                fed?;
                import.await.map_err(status::of_import)?
            }
        };
        Ok(api::ImportImageResponse {
            image_id: image.id.to_string(),
            name: named(&image.repo_tags, name),
            size: image.size,
        })
    }
}

/// When the container of a process was created; 0 for the pause, so that the pause comes first.
fn created_at(pod: &PodSnapshot, process: &ProcessNamespaces) -> i64 {
    let mut records = pod.containers.values();
    let record = records.find(|record| record.id.to_string() == process.id);
    record.map_or(0, |record| record.created_at)
}

/// The image's own spelling of a name that it was given.
fn named(tags: &[String], name: &str) -> String {
    let same = |tag: &&String| tag.ends_with(name) || tag.ends_with(&format!("{name}:latest"));
    tags.iter()
        .find(same)
        .or(tags.first())
        .cloned()
        .unwrap_or_else(|| name.to_owned())
}

fn process(process: ProcessNamespaces) -> api::ProcessNamespaces {
    let role = match process.role {
        Role::Pause => api::process_namespaces::Role::Pause,
        Role::Container => api::process_namespaces::Role::Container,
    };
    api::ProcessNamespaces {
        role: role.into(),
        id: process.id,
        name: process.name,
        pid: process.pid.as_raw().into(),
        inodes: process.inodes.into_iter().collect(),
    }
}

fn debt(debt: Debt) -> api::Debt {
    api::Debt {
        object: debt.pod.to_string(),
        kind: debt.kind.to_string(),
        reason: debt.reason,
        since_unix_nanos: debt.since,
        attempts: debt.attempts,
        next_attempt_unix_nanos: debt.next_attempt,
    }
}
