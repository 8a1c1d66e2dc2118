//! Events of pods and containers, and their delivery to all listeners.
//!
//! ```text
//!   Task ── emit ──▶ Events ──▶ queue of listener A ──▶ EventStream::next
//!                       └─────▶ queue of listener B (slow: only the latest event of each pod is kept)
//! ```
//!
//! An event carries the snapshot that readers got with it, so it never says less than a status that was read
//! before it. Stamps of events and of statuses come from one clock that only goes forward: what has the later
//! stamp is never the older state. Nobody who tells waits for anybody who listens.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use super::clock::now;
use super::entry::PodSnapshot;
use super::error::{PodError, Refusal};
use holdfast_kernel::id::PodId;

/// Most events that wait for one listener before they are thinned out.
const QUEUE_LIMIT: usize = 1024;

/// Most listeners: there is one kubelet on a node, and a person or two.
const LISTENER_LIMIT: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Created,
    Started,
    Stopped,
    Deleted,
}

/// Something happened to a pod or to a container of it.
#[derive(Debug, Clone)]
pub(crate) struct PodEvent {
    pub kind: EventKind,
    /// Identifier of the container, or of the pod itself.
    pub object: String,
    /// When: nanoseconds since the epoch, later than every earlier event's.
    pub at: i64,
    /// The pod right after it.
    pub pod: Arc<PodSnapshot>,
}

/// Why a stream of events ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamEnd {
    #[error("the daemon ends; ask again when it answers")]
    Closed,
    /// The listener is so slow that not even the latest event of each pod can be kept for it.
    #[error(
        "events were not read fast enough to keep them; list pods and containers, then ask for events again"
    )]
    TooSlow,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<PodEvent>,
    end: Option<StreamEnd>,
}

/// Events that wait for one listener.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: PodEvent) {
        let mut waiting = self.waiting();
        if waiting.end.is_some() {
            return;
        }
        waiting.events.push_back(event);
        if waiting.events.len() > QUEUE_LIMIT {
            keep_latest(&mut waiting.events);
            // Thinning out again and again would cost the one who tells.
            if waiting.events.len() > QUEUE_LIMIT / 2 {
                waiting.end = Some(StreamEnd::TooSlow);
                waiting.events.clear();
            }
        }
        drop(waiting);
        self.news.notify_one();
    }

    fn end(&self, end: StreamEnd) {
        self.waiting().end.get_or_insert(end);
        self.news.notify_one();
    }
}

/// Drops all events of a pod but its latest, which has the state after all of them.
fn keep_latest(events: &mut VecDeque<PodEvent>) {
    let mut seen: HashSet<PodId> = HashSet::new();
    let mut kept: VecDeque<PodEvent> = VecDeque::with_capacity(events.len());
    while let Some(event) = events.pop_back() {
        if seen.insert(event.pod.pod.id) {
            kept.push_front(event);
        }
    }
    *events = kept;
}

/// All listeners, and the clock.
#[derive(Debug, Default)]
pub(super) struct Events {
    listeners: Mutex<Vec<Weak<Queue>>>,
    last: AtomicI64,
}

impl Events {
    fn listeners(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment later than every one given before, and not before the wall clock: nanoseconds since the epoch.
    fn stamp(&self) -> i64 {
        let now = now();
        let next = |last: i64| Some(now.max(last.saturating_add(1)));
        let before = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        // The closure always has a value, so there is no error to tell.
        let (Ok(before) | Err(before)) = before;
        now.max(before.saturating_add(1))
    }

    /// Tells everybody. The snapshot has to be published already, or its stamp would be too early.
    pub(super) fn emit(&self, kind: EventKind, object: String, pod: Arc<PodSnapshot>) {
        let mut listeners = self.listeners();
        if listeners.is_empty() {
            return;
        }
        // Stamped under the lock: the order in a queue is that of the stamps.
        let at = self.stamp();
        listeners.retain(|listener| {
            let Some(queue) = listener.upgrade() else {
                return false;
            };
            queue.push(PodEvent {
                kind,
                object: object.clone(),
                at,
                pod: Arc::clone(&pod),
            });
            true
        });
    }

    /// Listens from now on.
    pub(super) fn listen(&self) -> Result<EventStream, PodError> {
        let mut listeners = self.listeners();
        listeners.retain(|listener| listener.strong_count() > 0);
        if listeners.len() >= LISTENER_LIMIT {
            return Err(PodError::Refused(Refusal::TooManyListeners(LISTENER_LIMIT)));
        }
        let queue = Arc::new(Queue::default());
        listeners.push(Arc::downgrade(&queue));
        Ok(EventStream { queue })
    }

    /// Ends all streams: each listener gets what waits for it first.
    pub(super) fn close(&self) {
        for queue in self.listeners().drain(..).filter_map(|one| one.upgrade()) {
            queue.end(StreamEnd::Closed);
        }
    }
}

/// Events from the moment of listening on. Dropping it stops listening.
#[derive(Debug)]
pub(crate) struct EventStream {
    queue: Arc<Queue>,
}

impl EventStream {
    /// The next event, as soon as there is one.
    ///
    /// # Errors
    /// [`StreamEnd`]; there are no more events then.
    pub(crate) async fn next(&mut self) -> Result<PodEvent, StreamEnd> {
        loop {
            {
                let mut waiting = self.queue.waiting();
                if let Some(event) = waiting.events.pop_front() {
                    return Ok(event);
                }
                if let Some(end) = waiting.end {
                    return Err(end);
                }
            }
            // A word that came between the two is kept for this.
            self.queue.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::pod::PodSnapshot;
    use crate::pod::testing;
    use crate::spec::PodConfig;

    fn pod() -> Arc<PodSnapshot> {
        Arc::new(PodSnapshot {
            pod: Arc::new(testing::pod(PodConfig::default())),
            containers: BTreeMap::new(),
        })
    }

    fn drain(stream: &EventStream) -> Vec<String> {
        let mut waiting = stream.queue.waiting();
        waiting.events.drain(..).map(|event| event.object).collect()
    }

    #[tokio::test]
    async fn everybody_gets_everything_in_order_from_the_moment_of_listening() {
        let (events, pod) = (Events::default(), pod());
        events.emit(EventKind::Created, "before".into(), Arc::clone(&pod));
        let (mut a, mut b) = (events.listen().unwrap(), events.listen().unwrap());
        events.emit(EventKind::Started, "1".into(), Arc::clone(&pod));
        events.emit(EventKind::Stopped, "2".into(), Arc::clone(&pod));
        let first = a.next().await.unwrap();
        let second = a.next().await.unwrap();
        assert_eq!(
            (first.object.as_str(), first.kind),
            ("1", EventKind::Started)
        );
        assert!(first.at < second.at && second.at < events.stamp());
        drop(a);
        events.emit(EventKind::Deleted, "3".into(), pod);
        assert_eq!(drain(&b), ["1", "2", "3"]);
        events.close();
        assert_eq!(b.next().await.unwrap_err(), StreamEnd::Closed);
    }

    #[test]
    fn a_slow_listener_keeps_the_latest_event_of_each_pod() {
        let (events, a, b) = (Events::default(), pod(), pod());
        let stream = events.listen().unwrap();
        for number in 0..QUEUE_LIMIT {
            events.emit(EventKind::Started, format!("a{number}"), Arc::clone(&a));
        }
        events.emit(EventKind::Started, "b".into(), b);
        assert_eq!(drain(&stream), [&format!("a{}", QUEUE_LIMIT - 1), "b"]);
    }

    #[tokio::test]
    async fn one_that_is_too_slow_for_that_is_told_so() {
        let events = Events::default();
        let mut stream = events.listen().unwrap();
        for number in 0..=QUEUE_LIMIT {
            events.emit(EventKind::Started, number.to_string(), pod());
        }
        assert_eq!(stream.next().await.unwrap_err(), StreamEnd::TooSlow);
    }

    #[test]
    fn listeners_are_bounded_and_those_that_went_do_not_count() {
        let events = Events::default();
        let streams: Vec<_> = (0..LISTENER_LIMIT)
            .map(|_| events.listen().unwrap())
            .collect();
        let error = events.listen().unwrap_err();
        assert!(matches!(
            error,
            PodError::Refused(Refusal::TooManyListeners(LISTENER_LIMIT))
        ));
        drop(streams);
        events.listen().unwrap();
    }
}
