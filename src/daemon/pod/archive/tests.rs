use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;
use crate::pod::node::Node;
use crate::pod::testing;
use crate::spec::{ContainerConfig, PodConfig};

/// A node, and a directory that goes with it.
struct Place {
    guard: tempfile::TempDir,
    node: Arc<Node>,
}

impl Place {
    fn new() -> Self {
        let (guard, node) = testing::node();
        Self { guard, node }
    }

    /// A pod of which the archive is told.
    fn pod(&self) -> PodRecord {
        let pod = testing::pod_of(&self.node, PodConfig::default());
        testing::known(&self.node, &pod);
        self.node.archive.changed(pod.id);
        pod
    }

    fn flush(&self) -> Result<(), PodError> {
        self.node.archive.flush(&self.node.index)
    }

    fn file(&self, id: PodId) -> PathBuf {
        self.guard.path().join(format!("root/pods/{id}.json"))
    }

    /// The archive as the next daemon reads it.
    fn reopened(&self) -> (Archive, BTreeMap<PodId, ArchivedPod>) {
        let root = Dir::open_root(&self.guard.path().join("root")).unwrap();
        let archive = Archive::open(&root).unwrap();
        let found = archive.load().unwrap();
        (archive, found)
    }
}

#[test]
fn the_next_daemon_reads_what_readers_saw_last() {
    let place = Place::new();
    let mut pod = place.pod();
    let container = testing::container(pod.id, ContainerConfig::default());
    pod.ips = vec!["10.0.0.7".parse().unwrap()];
    let entry = place.node.index.pod(&pod.id.to_string()).unwrap();
    entry.snapshot.store(testing::snapshot(&pod, &[&container]));
    place.flush().unwrap();
    let (_, found) = place.reopened();
    let archived = &found[&pod.id];
    assert_eq!(archived.pod.ips, pod.ips);
    assert_eq!(archived.containers[0].id, container.id);
    assert_eq!(found.len(), 1);
}

/// Each write of a file is a sync of the disk: a pod that is as it was costs none.
#[test]
fn what_has_not_changed_is_not_written_again() {
    let place = Place::new();
    let pod = place.pod();
    place.flush().unwrap();
    let inode = || std::fs::metadata(place.file(pod.id)).unwrap().ino();
    let first = inode();
    place.node.archive.changed(pod.id);
    place.flush().unwrap();
    assert_eq!(inode(), first, "a new file took the place of an equal one");
    let entry = place.node.index.pod(&pod.id.to_string()).unwrap();
    let mut ended = pod.clone();
    ended.phase = crate::pod::state::PodPhase::NotReady;
    entry.snapshot.store(testing::snapshot(&ended, &[]));
    place.flush().unwrap();
    assert_eq!(inode(), first, "nobody said that it has changed");
    place.node.archive.changed(pod.id);
    place.flush().unwrap();
    assert_eq!(place.reopened().1[&pod.id].pod.phase, ended.phase);
}

/// A test pod that is gone within the moment of gathering never touches the disk.
#[test]
fn a_pod_that_is_gone_before_the_write_has_no_file() {
    let place = Place::new();
    let (short, removed) = (place.pod(), place.pod());
    let mut metadata = short.config.metadata.clone();
    metadata.uid = short.id.to_string();
    let key = crate::pod::index::PodKey::from(&metadata);
    place.node.index.remove_pod(short.id, &key);
    place.flush().unwrap();
    assert!(!place.file(short.id).exists() && place.file(removed.id).exists());
    // A forgotten pod does not come back with a change that was told before.
    place.node.archive.changed(removed.id);
    place.node.archive.forget(removed.id).unwrap();
    place.node.archive.forget(removed.id).unwrap();
    place.flush().unwrap();
    assert!(!place.file(removed.id).exists());
    assert!(place.reopened().1.is_empty());
}

/// The pod's record in run_dir is gone by then: the file would bring the pod back at the next boot.
#[test]
fn a_pod_that_goes_while_it_has_a_file_loses_it_at_the_next_write() {
    let place = Place::new();
    let pod = place.pod();
    place.flush().unwrap();
    let mut metadata = pod.config.metadata.clone();
    metadata.uid = pod.id.to_string();
    let key = crate::pod::index::PodKey::from(&metadata);
    place.node.index.remove_pod(pod.id, &key);
    place.node.archive.changed(pod.id);
    place.flush().unwrap();
    assert!(!place.file(pod.id).exists());
}

/// A pod whose new file could not take the place of the old one was forgotten: the archive had what it was before until
/// something else happened to the pod.
#[test]
fn what_the_disk_refused_is_written_the_next_time() {
    let place = Place::new();
    let pods: Vec<_> = (0..3).map(|_| place.pod().id).collect();
    // No file replaces a directory.
    let refused = place.file(pods[1]);
    std::fs::create_dir(&refused).unwrap();
    place.flush().unwrap_err();
    place.flush().unwrap_err();
    std::fs::remove_dir(&refused).unwrap();
    place.flush().unwrap();
    let found: Vec<_> = place.reopened().1.into_keys().collect();
    let mut wanted = pods;
    wanted.sort();
    assert_eq!(found, wanted);
    assert!(place.node.archive.state().changed.is_empty());
}

/// A power failure tears files. One that cannot be read is deleted, unless a later release may be able to.
#[test]
fn a_torn_file_goes_and_one_of_a_later_release_stays() {
    let place = Place::new();
    let [whole, torn, other, later] = std::array::from_fn(|_| place.pod().id);
    place.flush().unwrap();
    let content = |id| std::fs::read(place.file(id)).unwrap();
    testing::write(&place.file(torn), &content(torn)[..40]);
    testing::write(&place.file(other), &content(whole));
    let text = String::from_utf8(content(later)).unwrap();
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert_ne!(newer, text);
    testing::write(&place.file(later), newer.as_bytes());
    testing::write(&place.guard.path().join("root/pods/notes.txt"), b"x");
    let (archive, found) = place.reopened();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), [whole]);
    for (id, stays) in [(whole, true), (torn, false), (other, false), (later, true)] {
        assert_eq!(place.file(id).exists(), stays, "{id}");
    }
    // The removal of a pod whose file is of a later release takes the file as well.
    archive.forget(later).unwrap();
    assert!(!place.file(later).exists());
}

/// The writer sleeps until something changes; a change that comes while it writes wakes it again.
#[tokio::test]
async fn the_first_change_wakes_the_writer() {
    let place = Place::new();
    let archive = &place.node.archive;
    let pod = place.pod();
    archive.wake.notified().await;
    place.flush().unwrap();
    archive.changed(pod.id);
    archive.wake.notified().await;
    super::flush_now(&place.node).await.unwrap();
    assert!(archive.state().changed.is_empty() && archive.state().writing.is_empty());
}
