//! Calls over the socket, from tests that are plain functions.

use std::future::Future;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cri_api::holdfast::v1::holdfast_client::HoldfastClient;
use cri_api::runtime::v1::image_service_client::ImageServiceClient;
use cri_api::runtime::v1::runtime_service_client::RuntimeServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Response, Status};

/// No call of these tests may take longer: whoever waits for ever tells nothing.
const DEADLINE: Duration = Duration::from_secs(90);

/// The largest answer in bytes: two streams of ExecSync at their limits.
const LARGEST_MESSAGE: usize = 40 << 20;

/// All tests of a process share one, so that a connection outlives the test that made it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Runtime::new().unwrap_or_else(|error| panic!("start the asynchronous runtime: {error}"))
});

/// Clients of the daemon's three services.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Pods and containers.
    pub runtime: RuntimeServiceClient<Channel>,
    /// Images.
    pub images: ImageServiceClient<Channel>,
    /// What the CRI lacks.
    pub holdfast: HoldfastClient<Channel>,
}

impl Clients {
    /// Clients of whoever listens on a socket, now or at the time of the call: they connect again by
    /// themselves.
    pub fn new(socket: &Path) -> Self {
        let _inside = RUNTIME.enter();
        let path = socket.to_owned();
        let connect = move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        };
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(connect));
        Self {
            runtime: RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_MESSAGE),
            images: ImageServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_MESSAGE),
            holdfast: HoldfastClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE),
        }
    }
}

/// Waits for one call, at most the deadline of all tests.
///
/// # Errors
/// What the daemon answered.
pub fn call<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    let bounded = async { tokio::time::timeout(DEADLINE, answer).await };
    match RUNTIME.block_on(bounded) {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(status),
        Err(_) => panic!("no answer within {DEADLINE:?}"),
    }
}

/// The answer to a call that has to succeed.
#[track_caller]
pub fn must<T>(what: &str, result: Result<T, Status>) -> T {
    match result {
        Ok(value) => value,
        Err(status) => panic!("{what}: {:?}: {}", status.code(), status.message()),
    }
}

/// The text of a call that has to fail with a code, and in words that say all of `words`.
#[track_caller]
pub fn fails<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, words: &[&str]) -> String {
    let status = match result {
        Ok(value) => panic!("succeeded with {value:?}; {code:?} was to come"),
        Err(status) => status,
    };
    let text = status.message();
    assert_eq!(status.code(), code, "the text is: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    text.to_owned()
}

/// Asks again and again until there is an answer; panics with `what` when there is none in time.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
