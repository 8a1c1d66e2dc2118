//! Ends requests at the client's deadline with the code that gRPC demands.
//!
//! tonic reads the header too and ends a late request, but with CANCELLED. This layer lies inside of tonic's timer
//! and starts its own timer first, so that DEADLINE_EXCEEDED is answered before. The operation itself goes on: it
//! does not depend on the request that began it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tower::Service;
use tower_layer::Layer;

use super::status;

/// Header of a deadline: "gRPC over HTTP2", Requests.
const HEADER: &str = "grpc-timeout";

/// Most digits of the header's number, by the same specification.
const MOST_DIGITS: usize = 8;

/// Puts a [`Deadline`] around services.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline(inner)
    }
}

/// A service whose requests end at the deadline of their header.
#[derive(Debug, Clone)]
pub(crate) struct Deadline<S>(S);

impl<S, B> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The timer starts here, not at the first poll: before the one outside.
        let late = timeout(request.headers()).map(tokio::time::sleep);
        let answer = self.0.call(request);
        let Some(late) = late else {
            return Box::pin(answer);
        };
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = answer => answer,
                () = late => Ok(status::deadline_exceeded().into_http()),
            }
        })
    }
}

/// Reads the deadline of a request. `None` when the header is missing or malformed.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || number.len() > MOST_DIGITS {
        return None;
    }
    let number = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(3600 * number)),
        "M" => Some(Duration::from_secs(60 * number)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline_of(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, text.parse().unwrap());
        timeout(&headers)
    }

    #[test]
    fn every_unit_is_known() {
        assert_eq!(deadline_of("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(deadline_of("3M"), Some(Duration::from_secs(180)));
        assert_eq!(deadline_of("4S"), Some(Duration::from_secs(4)));
        assert_eq!(deadline_of("5m"), Some(Duration::from_millis(5)));
        assert_eq!(deadline_of("6u"), Some(Duration::from_micros(6)));
        assert_eq!(
            deadline_of("99999999n"),
            Some(Duration::from_nanos(99_999_999))
        );
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_no_timeout_is_none() {
        for text in ["", "S", "5", "-1S", "1.5S", "5x", "999999999S", "5\u{e9}"] {
            assert_eq!(deadline_of(text), None, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_late_answer_is_deadline_exceeded() {
        let slow = tower::service_fn(|_: Request<()>| async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Ok::<_, std::convert::Infallible>(Response::new(Body::default()))
        });
        let mut service = DeadlineLayer.layer(slow);
        let request = Request::builder().header(HEADER, "1m").body(()).unwrap();
        let answer = service.call(request).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "4");
    }
}
