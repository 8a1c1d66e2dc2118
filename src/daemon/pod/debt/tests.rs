use std::time::Duration;

use super::*;
use crate::pod::error::PlacementError;
use crate::pod::state::PodPhase;
use crate::pod::testing;
use crate::spec::PodConfig;

fn pod() -> PodRecord {
    PodRecord {
        phase: PodPhase::NotReady,
        ..testing::pod(PodConfig::default())
    }
}

fn failure() -> PodError {
    PodError::Connect(ConnectError::NoNetwork("made up"))
}

#[test]
fn pauses_grow_to_five_minutes() {
    assert_eq!(pause(0), Duration::from_secs(2));
    assert_eq!(pause(3), Duration::from_secs(16));
    assert_eq!(pause(8), LONGEST_PAUSE);
    assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
}

#[test]
fn a_debt_says_what_is_stuck() {
    let dir = holdfast_disk::DirError::MountPoint { path: "/m".into() };
    let cgroup = PodError::Placement(PlacementError::Cgroup(
        holdfast_kernel::cgroup::CgroupError::NoHierarchy,
    ));
    let items = items(&[
        PodError::Storage(StorageError::Dir(dir)),
        cgroup,
        failure(),
        failure(),
    ]);
    let kinds: Vec<_> = items.keys().copied().collect();
    let wanted = [DebtKind::Mount, DebtKind::Cgroup, DebtKind::Other];
    assert_eq!(kinds, wanted);
    assert_eq!(items[&DebtKind::Other].matches("made up").count(), 2);
}

#[test]
fn each_debt_has_its_own_pause_and_a_new_daemon_tries_at_once() {
    let (_temporary, root) = testing::dir();
    let debts = Debts::open(&root).unwrap();
    let (old, new) = (pod(), pod());
    debts.record_debts(&old, &[], vec![failure()]);
    assert!(
        debts.take_due(Instant::now(), 8).is_empty(),
        "it has just failed"
    );
    for attempts in 1..5 {
        let due = debts.take_due(Instant::now() + pause(attempts - 1), 8);
        assert_eq!(due.len(), 1, "attempt {attempts}");
        let busy = debts.take_due(Instant::now() + LONGEST_PAUSE, 8);
        assert!(busy.is_empty(), "it is being tried");
        debts.note_attempt(&due[0], &[failure()], "two");
    }
    // The new one does not wait for the old one's pause, nor the other way round.
    debts.record_debts(&new, &[], vec![failure()]);
    let due = debts.take_due(Instant::now() + FIRST_PAUSE, 8);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].pod.id, new.id);
    assert_eq!(debts.attempts(), 4);
    drop(debts);

    let debts = Debts::open(&root).unwrap();
    assert_eq!(debts.take_due(Instant::now(), 8).len(), 2);
    assert_eq!(debts.of_other_boots("two"), [new.id]);
    let shown = debts.list();
    assert_eq!((shown[0].pod, shown[0].attempts), (old.id, 4));
}

#[test]
fn what_came_on_top_while_it_was_tried_is_still_owed() {
    let (_temporary, root) = testing::dir();
    let debts = Debts::open(&root).unwrap();
    let pod = pod();
    debts.record_debts(&pod, &[], vec![failure()]);
    let due = debts.take_due(Instant::now() + FIRST_PAUSE, 1);
    debts.record_debts(&pod, &[ContainerId::random().unwrap()], vec![failure()]);
    debts.note_attempt(&due[0], &[], "one");
    assert!(debts.is_owed(pod.id));
    let due = debts.take_due(Instant::now() + LONGEST_PAUSE, 1);
    debts.note_attempt(&due[0], &[], "one");
    assert!(!debts.is_owed(pod.id));
    assert!(debts.list().is_empty() && Debts::open(&root).unwrap().list().is_empty());
}

/// A pod was recorded as stopped while the disk had refused its debt: the next daemon knew of neither.
#[test]
fn what_the_disk_refuses_is_not_secure_until_it_takes_it() {
    let (_temporary, root) = testing::dir();
    let debts = Debts::open(&root).unwrap();
    let pod = pod();
    assert!(debts.secure(pod.id).is_ok(), "nothing is owed");
    // No file replaces a directory.
    let names = ["debts".to_owned(), pod.id.to_string()];
    let [dir, name] = names.map(|name| FileName::new(name).unwrap());
    let dir = root.subdir(&dir).unwrap();
    dir.create_subdir(&name, 0o700).unwrap();
    debts.record_debts(&pod, &[], vec![failure()]);
    assert!(debts.is_owed(pod.id) && debts.secure(pod.id).is_err());
    dir.remove_tree(&name).unwrap();
    assert!(debts.secure(pod.id).is_ok());
    assert!(Debts::open(&root).unwrap().is_owed(pod.id));
}

/// The record of a paid debt stayed until the next daemon paid it again.
#[test]
fn a_debt_is_owed_until_its_record_is_gone() {
    let (_temporary, root) = testing::dir();
    let debts = Debts::open(&root).unwrap();
    let pod = pod();
    let names = ["debts".to_owned(), pod.id.to_string()];
    let [dir, name] = names.map(|name| FileName::new(name).unwrap());
    let dir = root.subdir(&dir).unwrap();
    debts.record_debts(&pod, &[], vec![failure()]);
    let pay = || {
        let due = debts.take_due(Instant::now() + LONGEST_PAUSE, 1);
        debts.note_attempt(&due[0], &[], "one");
    };
    // No directory is deleted as a file is.
    dir.remove_file(&name).unwrap();
    dir.create_subdir(&name, 0o700).unwrap();
    pay();
    assert_eq!(debts.list()[0].kind, DebtKind::Files);
    dir.remove_tree(&name).unwrap();
    pay();
    assert!(!debts.is_owed(pod.id));
}
