//! The CRI v1 services and holdfast.v1, over the domain of this node.
//!
//! ```text
//!   gRPC request ── convert ──▶ domain value ── one call ──▶ pod · image ── convert ──▶ gRPC reply
//!                      │                            │
//!                      └── FieldError ── status ────┴── PodError, PullError, … ──▶ code and text
//! ```
//!
//! - `convert`: messages ⇄ domain values, pure.
//! - `status`: the only place that chooses a gRPC code.
//! - `observe`: the only place that logs requests.
//! - `runtime`, `images`, `own`: the handlers of the three services.
//!
//! This module must never decide anything about a pod. A handler converts, makes one call of the domain and converts
//! back. Calls that are not supported answer UNIMPLEMENTED, which clients handle.

mod batch;
pub(crate) mod convert;
mod deadline;
mod holdfast_service;
mod images;
mod info;
mod node;
mod observe;
mod profiles;
mod runtime;
mod status;
mod upload;
mod watch;

use std::sync::Arc;

use cri_api::holdfast::v1::holdfast_server::HoldfastServer;
use cri_api::runtime::v1::image_service_server::ImageServiceServer;
use cri_api::runtime::v1::runtime_service_server::RuntimeServiceServer;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower_layer::{Identity, Stack};

use self::deadline::DeadlineLayer;
pub(crate) use self::node::Facts;
use self::node::Node;
use crate::pod::Pods;
use crate::stream::Streaming;
use holdfast_image::ImageStore;

/// The largest request, in bytes: kubelets and crictl send no more.
const LARGEST_REQUEST: usize = 16 << 20;

/// The largest reply, in bytes: of a list, for clients that take as much. ExecSync fits any client.
const LARGEST_REPLY: usize = 2 * crate::pod::OUTPUT_LIMIT + (1 << 20);

/// The largest message of an import, in bytes: a chunk of 1 MiB and what is around it.
const LARGEST_CHUNK: usize = (1 << 20) + (64 << 10);

/// All services, ready to be served on a socket.
pub(crate) fn router(
    pods: Pods,
    images: ImageStore,
    streaming: Streaming,
    facts: Facts,
) -> Router<Stack<DeadlineLayer, Identity>> {
    let node = Node {
        pods,
        images,
        streaming,
        facts: Arc::new(facts),
    };
    Server::builder()
        .layer(DeadlineLayer)
        .add_service(
            RuntimeServiceServer::new(runtime::Runtime(node.clone()))
                .max_decoding_message_size(LARGEST_REQUEST)
                .max_encoding_message_size(LARGEST_REPLY),
        )
        .add_service(
            ImageServiceServer::new(images::Images(node.clone()))
                .max_decoding_message_size(LARGEST_REQUEST)
                .max_encoding_message_size(LARGEST_REPLY),
        )
        .add_service(
            HoldfastServer::new(holdfast_service::HoldfastService(node))
                .max_decoding_message_size(LARGEST_CHUNK),
        )
}
