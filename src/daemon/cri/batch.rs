//! The Stream variants of the List calls: the same items in messages of bounded size.

use tonic::Status;
use tonic::codegen::BoxStream;

/// Items in one message. A container has some KiB of labels and annotations, so a message stays well
/// below what clients take by default.
const ITEMS_PER_MESSAGE: usize = 256;

/// Items in one message when each has a pod's metrics, some hundred KiB for a pod of many containers.
pub(super) const METRICS_PER_MESSAGE: usize = 16;

/// A stream of items, a batch a message. An empty list is an empty stream.
pub(super) fn stream<T, M>(
    items: Vec<T>,
    message: impl Fn(Vec<T>) -> M + Send + 'static,
) -> BoxStream<M>
where
    T: Send + 'static,
    M: Send + 'static,
{
    stream_by(ITEMS_PER_MESSAGE, items, message)
}

/// Streams items as [`stream`] does, with `size` items in each message.
pub(super) fn stream_by<T, M>(
    size: usize,
    items: Vec<T>,
    message: impl Fn(Vec<T>) -> M + Send + 'static,
) -> BoxStream<M>
where
    T: Send + 'static,
    M: Send + 'static,
{
    let mut items = items.into_iter();
    let batches = std::iter::from_fn(move || {
        let batch: Vec<_> = items.by_ref().take(size).collect();
        (!batch.is_empty()).then(|| Ok::<_, Status>(message(batch)))
    });
    Box::pin(tokio_stream::iter(batches))
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    #[tokio::test]
    async fn every_item_comes_once_and_in_order() {
        let batches: Vec<_> = super::stream((0..600).collect(), |batch| batch)
            .collect()
            .await;
        let batches: Vec<Vec<i32>> = batches.into_iter().map(Result::unwrap).collect();
        assert_eq!(
            batches.iter().map(Vec::len).collect::<Vec<_>>(),
            [256, 256, 88]
        );
        assert!(batches.concat().into_iter().eq(0..600));
    }
}
