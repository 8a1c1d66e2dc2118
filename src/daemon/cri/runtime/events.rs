//! The handler of `GetContainerEvents`.

use cri_api::runtime::v1 as cri;
use tonic::codegen::BoxStream;
use tonic::{Response, Status};

use crate::cri::convert;
use crate::cri::node::Node;
use crate::cri::observe::Answer;
use crate::pod::{EventStream, StreamEnd};

/// Opens a stream of the events of containers.
pub(super) async fn listen(
    node: &Node,
    _: cri::GetEventsRequest,
) -> Answer<BoxStream<cri::ContainerEventResponse>> {
    let events = node.pods.listen()?;
    let messages = futures_util::stream::unfold(Some(events), next);
    Ok(Response::new(Box::pin(messages)))
}

/// The next message, and the stream while there may be more.
async fn next(
    events: Option<EventStream>,
) -> Option<(
    Result<cri::ContainerEventResponse, Status>,
    Option<EventStream>,
)> {
    let mut events = events?;
    match events.next().await {
        Ok(event) => Some((Ok(convert::event(&event)), Some(events))),
        Err(StreamEnd::Closed) => None,
        Err(end @ StreamEnd::TooSlow) => Some((Err(end.into()), None)),
    }
}
