//! The progress of a pull as a stream of messages.

use std::time::Duration;

use cri_api::holdfast::v1 as api;
use tonic::Status;
use tonic::codegen::BoxStream;

use super::status::of_pull;
use holdfast_image::{LayerProgress, Pulling};

/// How often the progress of a pull is reported: often enough for a progress bar.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The state of a stream of progress messages.
enum Watch {
    /// The pull is under way; the list is the progress that was sent last.
    Running(Pulling, Vec<LayerProgress>),
    /// The last message was sent.
    Over,
}

/// Streams a message whenever the progress has changed, and at the end a message with the image or the error.
pub(super) fn pull(pulling: Pulling) -> BoxStream<api::PullImageProgress> {
    let begin = Watch::Running(pulling, Vec::new());
    Box::pin(futures_util::stream::unfold(begin, next))
}

async fn next(watch: Watch) -> Option<(Result<api::PullImageProgress, Status>, Watch)> {
    let Watch::Running(pulling, said) = watch else {
        return None;
    };
    loop {
        let ended = tokio::time::timeout(PROGRESS_INTERVAL, pulling.end())
            .await
            .ok();
        let layers = pulling.layers();
        match ended {
            Some(Ok(image)) => {
                let last = message(&layers, image.id.to_string());
                return Some((Ok(last), Watch::Over));
            }
            Some(Err(error)) => return Some((Err(of_pull(error)), Watch::Over)),
            None if layers == said => {}
            None => {
                let progress = message(&layers, String::new());
                return Some((Ok(progress), Watch::Running(pulling, layers)));
            }
        }
    }
}

fn message(layers: &[LayerProgress], image_id: String) -> api::PullImageProgress {
    let layer = |layer: &LayerProgress| api::LayerProgress {
        digest: layer.digest.to_string(),
        size: layer.size,
        done: layer.done,
        present: layer.present,
    };
    api::PullImageProgress {
        layers: layers.iter().map(layer).collect(),
        image_id,
    }
}
