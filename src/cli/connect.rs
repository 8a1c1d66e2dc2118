//! The connection to the daemon: one gRPC client for each of its services.

use std::path::{Path, PathBuf};

use cri_api::holdfast::v1::holdfast_client::HoldfastClient;
use cri_api::runtime::v1::image_service_client::ImageServiceClient;
use cri_api::runtime::v1::runtime_service_client::RuntimeServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::exit::FailureKind;
use super::failure::VerbError;

/// The largest answer, in bytes: two streams of ExecSync at their limits.
const LARGEST_MESSAGE: usize = 36 << 20;

/// Nobody answers at the daemon's socket.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot connect to the daemon at {}; is holdfastd running, and may you use its socket?",
    socket.display()
)]
pub(crate) struct ConnectError {
    socket: PathBuf,
    #[source]
    source: tonic::transport::Error,
}

impl VerbError for ConnectError {
    fn kind(&self) -> FailureKind {
        FailureKind::Unreachable
    }
}

/// Clients of the daemon's three services over one connection.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    /// Path of the daemon's socket.
    pub socket: PathBuf,
    /// Client for pods and containers.
    pub runtime: RuntimeServiceClient<Channel>,
    /// Client for the image service.
    pub images: ImageServiceClient<Channel>,
    /// Client for what the CRI lacks.
    pub holdfast: HoldfastClient<Channel>,
}

impl Daemon {
    /// Connects to a socket.
    ///
    /// # Errors
    /// [`ConnectError`] when nobody listens there.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let path = socket.to_owned();
        let connect = move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        };
        // The name is only what HTTP/2 wants to see as the authority.
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(tower::service_fn(connect))
            .await
            .map_err(|source| ConnectError {
                socket: socket.to_owned(),
                source,
            })?;
        Ok(Self {
            socket: socket.to_owned(),
            runtime: RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_MESSAGE),
            images: ImageServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_MESSAGE),
            holdfast: HoldfastClient::new(channel),
        })
    }
}
