//! Takes over the pods that an earlier daemon left.
//!
//! A record on disk is [`Unverified`] until it was compared with the kernel's truth and the shim's answer;
//! what comes out is a pod under its task, or an undo.
//!
//! ```text
//!   archive ─┐   (of another boot only; the runtime is ready when all of those are released)
//!   record ──┼─ other boot, or Creating ───────────▶ nothing of it runs: release, keep what has ended
//!            ├─ shim answers ─▶ inventory ─────────▶ Ready, containers as the shim says
//!            ├─ shim is unknown ─▶ /proc ──────────▶ Ready, containers as the kernel says
//!            └─ shim is gone ─▶ exit files ────────▶ release, containers ended
//!   unreadable ────────────────────────────────────▶ logged, and everything of it stays as it is
//! ```

use holdfast_kernel::error_chain;
use holdfast_kernel::sys::pid::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::archive::ArchivedPod;
use super::blocking::blocking;
use super::clock::now;
use super::connect;
use super::container;
use super::entry::{PodEntry, PodSnapshot};
use super::error::PodError;
use super::index::PodKey;
use super::link::{LinkError, ShimLink};
use super::new_entry;
use super::node::Node;
use super::process::ProcessIdentity;
use super::record::{self, ContainerRecord, PodRecord, PodResources, StateError};
use super::sandbox;
use super::state::{ContainerPhase, Exit, Goal, PodPhase, Run};
use super::task::{KILLED_CODE, Task, exit_of};
use holdfast_disk::{Dir, FileName};
use holdfast_kernel::id::{ContainerId, PodId};
use holdfast_wire::{self as wire, ContainerReport, Event, Phase, Protocols, Reply, Request};

/// How long a shim may take to answer a new daemon.
const INVENTORY_DEADLINE: Duration = Duration::from_secs(5);

/// Largest exit record of a shim.
const EXIT_LIMIT: usize = 64 << 10;

/// Records of a pod that were not yet compared with the machine.
struct Unverified {
    pod: PodRecord,
    containers: Vec<ContainerRecord>,
    /// Containers whose making was cut off.
    intents: Vec<ContainerId>,
    dir: Dir,
}

/// Pods and containers whose records this release cannot read. The pods may run.
#[derive(Default)]
struct UnreadableRecords {
    pods: BTreeSet<PodId>,
    containers: BTreeSet<ContainerId>,
}

impl UnreadableRecords {
    fn take(&mut self, id: PodId, dir: &Dir, error: &StateError) -> Result<(), PodError> {
        tracing::error!(
            pod = %id,
            error = error_chain(error),
            "a pod's record cannot be read; the pod is not served, and stays as it is"
        );
        self.pods.insert(id);
        self.containers.extend(record::container_ids(dir)?);
        Ok(())
    }
}

/// A shim that lives.
struct LiveShim {
    link: ShimLink,
    events: mpsc::UnboundedReceiver<Event>,
    pause: Option<ProcessIdentity>,
    containers: BTreeMap<ContainerId, Phase>,
}

/// Takes over everything that is on disk. Returns when every pod is served again.
pub(super) async fn recover_all(node: &Arc<Node>) -> Result<(), PodError> {
    for pod in node.debts.of_other_boots(&node.boot_id) {
        node.readiness.add_unreleased_pod(pod);
    }
    let owner = Arc::clone(node);
    let (found, unread) = blocking(move || load(&owner)).await?;
    let mut known = unread.pods.clone();
    known.extend(found.iter().map(|found| found.pod.id));
    let mut pending = Vec::new();
    for unverified in found {
        let held = !matches!(
            unverified.pod.phase,
            PodPhase::NotReady | PodPhase::Removing
        );
        if held && unverified.pod.boot_id != node.boot_id {
            node.readiness.add_unreleased_pod(unverified.pod.id);
        }
        let hangs = unverified.pod.phase == PodPhase::Creating
            && node.cni.is_attached(&unverified.pod.id.to_string())?;
        let work = tokio::spawn(recover_pod(Arc::clone(node), unverified));
        // A plugin that hangs must not hold up the start.
        if !hangs {
            pending.push(work);
        }
    }
    for pod in pending {
        // A pod whose recovery panicked is logged by the runtime; the others go on.
        let _ = pod.await;
    }
    release_unrecorded(node, &known)?;
    let owner = Arc::clone(node);
    blocking(move || sweep(&owner, &unread)).await?;
    tokio::spawn(connect::collect_and_check_networks(Arc::clone(node)));
    Ok(())
}

/// Releases pods of which network plugins still keep something though their records are gone, with the run
/// directory at the machine's start for example.
fn release_unrecorded(node: &Arc<Node>, known: &BTreeSet<PodId>) -> Result<(), PodError> {
    for id in node.cni.attached()? {
        let Ok(id) = id.parse::<PodId>() else {
            continue;
        };
        if known.contains(&id) || node.debts.is_owed(id) {
            continue;
        }
        node.readiness.add_unreleased_pod(id);
        let pod = unnamed_record(node, id)?;
        // A plugin that hangs must not hold up the start.
        tokio::spawn(undo(Arc::clone(node), pod, None));
    }
    Ok(())
}

/// Makes a record with which a pod can be released of which nothing but its id is known.
fn unnamed_record(node: &Node, id: PodId) -> Result<PodRecord, PodError> {
    Ok(PodRecord {
        id,
        config: Arc::default(),
        phase: PodPhase::Creating,
        created_at: now(),
        boot_id: node.boot_id.clone(),
        pause: None,
        shim: None,
        ips: Vec::new(),
        cgroup: node.pod_cgroup(id, None)?.to_string(),
        resources: PodResources::default(),
        protocols: Protocols::OWN,
        localhost_seccomp: None,
        network_owner: None,
    })
}

/// Reads all records: those of this boot from the run directory, those of another from there or, where it is
/// emptied with the machine's start, from the archive.
fn load(node: &Node) -> Result<(Vec<Unverified>, UnreadableRecords), PodError> {
    let mut archived = node.archive.load()?;
    let mut found = Vec::new();
    let mut unread = UnreadableRecords::default();
    for (id, dir) in node.pod_dirs()? {
        let kept = archived.remove(&id);
        found.extend(in_run_dir(node, (id, dir), kept, &mut unread)?);
    }
    for (id, kept) in archived {
        if kept.pod.boot_id == node.boot_id {
            // It was removed, and the daemon died on the way.
            node.archive.forget(id)?;
            continue;
        }
        found.push(restored(kept, node.make_pod_dir(id)?));
    }
    Ok((found, unread))
}

/// Reads the records of a pod in the run directory. `kept` has those of the archive.
fn in_run_dir(
    node: &Node,
    (id, dir): (PodId, Dir),
    kept: Option<ArchivedPod>,
    unread: &mut UnreadableRecords,
) -> Result<Option<Unverified>, PodError> {
    let kept = kept.filter(|kept| kept.pod.boot_id != node.boot_id);
    let torn = match record::load_pod(&dir) {
        Ok(Some(pod)) if pod.id == id => {
            dir.sweep_temporaries()?;
            let containers = match record::load_containers(&dir) {
                Ok(containers) => containers,
                Err(error) => {
                    unread.take(id, &dir, &error)?;
                    return Ok(None);
                }
            };
            let mut found = Unverified {
                intents: record::intended_containers(&dir)?,
                containers,
                pod,
                dir,
            };
            if let Some(kept) = kept {
                found.complete(kept);
            }
            return Ok(Some(found));
        }
        // The daemon died before the intent was on disk: nothing was made yet.
        Ok(None) if kept.is_none() => {
            node.delete_pod_dir(id)?;
            return Ok(None);
        }
        Err(error) if !error.is_damaged() => {
            // Of a later release, or the disk fails: it is left where it is.
            unread.take(id, &dir, &error)?;
            return Ok(None);
        }
        Ok(_) => "it is missing or of another pod".to_owned(),
        Err(error) => error_chain(&error),
    };
    tracing::error!(pod = %id, error = torn, "cannot read the record of a pod");
    Ok(Some(match kept {
        Some(kept) => restored(kept, dir),
        None => Unverified {
            pod: unnamed_record(node, id)?,
            containers: Vec::new(),
            intents: Vec::new(),
            dir,
        },
    }))
}

/// A pod of another boot as the archive has it.
fn restored(kept: ArchivedPod, dir: Dir) -> Unverified {
    let containers = kept.containers.into_iter();
    Unverified {
        pod: Arc::unwrap_or_clone(kept.pod),
        containers: containers.map(Arc::unwrap_or_clone).collect(),
        intents: Vec::new(),
        dir,
    }
}

impl Unverified {
    /// Takes from the archive what a run directory on a disk that lost power lacks.
    fn complete(&mut self, kept: ArchivedPod) {
        for kept in kept.containers {
            let known = self.containers.iter_mut().find(|known| known.id == kept.id);
            match known {
                None => self.containers.push(Arc::unwrap_or_clone(kept)),
                Some(known) if known.phase.is_alive() => known.phase = kept.phase.clone(),
                Some(_) => {}
            }
        }
    }
}

async fn recover_pod(node: Arc<Node>, unverified: Unverified) {
    let Unverified {
        mut pod,
        mut containers,
        intents,
        dir,
    } = unverified;
    let same_boot = pod.boot_id == node.boot_id;
    let living = if same_boot && pod.phase != PodPhase::NotReady {
        query_shim(&node, &pod, &containers, &dir).await
    } else {
        None
    };
    if matches!(pod.phase, PodPhase::Creating | PodPhase::Removing) {
        return undo(node, pod, living).await;
    }
    for id in intents {
        take_back(&node, &pod, id).await;
    }
    containers = without_removed(&node, &pod, containers).await;
    for container in &mut containers {
        verify(container, living.as_ref(), &dir, same_boot);
    }
    let stop = living.as_ref().is_none_or(|living| living.pause.is_none());
    if stop && pod.phase == PodPhase::Ready {
        pod.phase = PodPhase::Stopping;
    }
    pod.boot_id.clone_from(&node.boot_id);
    serve(&node, pod, containers, living, stop);
}

/// Deletes the containers whose removal was under way: whoever was told that they are gone sees none again.
async fn without_removed(
    node: &Arc<Node>,
    pod: &PodRecord,
    containers: Vec<ContainerRecord>,
) -> Vec<ContainerRecord> {
    let removed = |one: &ContainerRecord| one.phase == ContainerPhase::Removing;
    let (gone, rest): (Vec<_>, Vec<_>) = containers.into_iter().partition(removed);
    let gone: Vec<ContainerId> = gone.iter().map(|one| one.id).collect();
    if gone.is_empty() {
        return rest;
    }
    let (owner, copy, ids) = (Arc::clone(node), pod.clone(), gone.clone());
    let deleted = blocking(move || {
        let failures = ids.iter().map(|id| container::delete(&owner, &copy, *id));
        Ok(failures.flatten().collect())
    });
    let failures: Vec<PodError> = deleted.await.unwrap_or_else(|error| vec![error]);
    node.debts.record_debts(pod, &gone, failures);
    rest
}

/// The shim of a pod, if it lives and answers.
async fn query_shim(
    node: &Node,
    pod: &PodRecord,
    containers: &[ContainerRecord],
    dir: &Dir,
) -> Option<LiveShim> {
    let (link, events) = ShimLink::connect(dir.as_fd(), pod).ok()?;
    let asked = tokio::time::timeout(INVENTORY_DEADLINE, link.ask(Request::Inventory, &[])).await;
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error @ LinkError::UnknownProtocol(_))) => {
            tracing::error!(pod = %pod.id, error = error_chain(&error), "left a pod of another release as it is");
            return Some(served_by_foreign_shim(pod, containers, (link, events)));
        }
        Ok(Err(_)) | Err(_) => {
            tracing::error!(pod = %pod.id, "the pod's shim does not answer; its processes are being ended");
            return None;
        }
    };
    let Reply::Inventory { pause, containers } = answer.body else {
        return None;
    };
    if pod.config.owns_network()
        && let Some(netns) = answer.descriptors.get(1)
    {
        // The pin may have been lost with the daemon before it was made.
        let _ = node.pin(pod.id, netns.as_fd());
    }
    let containers = containers
        .into_iter()
        .map(|ContainerReport { container, phase }| (container, phase))
        .collect();
    let pause = pause.map(|report| ProcessIdentity {
        pid: report.pid,
        start_ticks: report.start_ticks,
    });
    Some(LiveShim {
        link,
        events,
        pause,
        containers,
    })
}

/// A pod whose shim cannot be asked: the kernel says what runs of what was recorded.
fn served_by_foreign_shim(
    pod: &PodRecord,
    containers: &[ContainerRecord],
    (link, events): (ShimLink, mpsc::UnboundedReceiver<Event>),
) -> LiveShim {
    let running = |record: &ContainerRecord| match &record.phase {
        ContainerPhase::Running(Run { process, .. }, _) if process.exists() => {
            let (pid, start_ticks) = (process.pid, process.start_ticks);
            Some((record.id, Phase::Running { pid, start_ticks }))
        }
        _ => None,
    };
    LiveShim {
        link,
        events,
        pause: pod.pause.filter(ProcessIdentity::exists),
        containers: containers.iter().filter_map(running).collect(),
    }
}

/// Makes a container's record true.
fn verify(container: &mut ContainerRecord, living: Option<&LiveShim>, dir: &Dir, same_boot: bool) {
    let reported = living.and_then(|living| living.containers.get(&container.id));
    let id = container.id;
    let ended = |started_at: i64| {
        let exit = exit_record(dir, id).unwrap_or_else(|| unknown_exit(same_boot));
        ContainerPhase::Exited(Exit { started_at, ..exit })
    };
    let goal = match container.phase {
        ContainerPhase::Starting(goal) => goal,
        _ => Goal::Run,
    };
    container.phase = match (container.phase.clone(), reported) {
        (phase @ (ContainerPhase::Exited(_) | ContainerPhase::Removing), _) => phase,
        (ContainerPhase::Running(run, goal), Some(_)) => ContainerPhase::Running(run, goal),
        (ContainerPhase::Running(run, _), None) => ended(run.started_at),
        // The shim knows better: a start whose result was not recorded.
        (_, Some(Phase::Running { pid, start_ticks })) => {
            ContainerPhase::Running(found_run(container, *pid, *start_ticks), goal)
        }
        // The event with the exit comes again.
        (_, Some(Phase::Exited)) => {
            ContainerPhase::Running(found_run(container, Pid::NONE, 0), goal)
        }
        // The start is gone on with.
        (_, Some(Phase::Launching)) => ContainerPhase::Starting(goal),
        // The shim was not asked, or its start failed.
        (ContainerPhase::Starting(_), None) if living.is_some() => ContainerPhase::Created,
        // It may have run.
        (ContainerPhase::Starting(_), None) => ended(container.started_at),
        (ContainerPhase::Created, None) => ContainerPhase::Created,
    };
}

/// A process of whose start the record has the intent alone.
fn found_run(container: &ContainerRecord, pid: Pid, start_ticks: u64) -> Run {
    Run {
        process: ProcessIdentity { pid, start_ticks },
        started_at: container.started_at,
    }
}

/// The end of a container of which nobody kept the end.
fn unknown_exit(same_boot: bool) -> Exit {
    let (code, reason, message) = if same_boot {
        (
            KILLED_CODE,
            "ShimLost",
            "the pod's shim died with the daemon; the container was killed and its exit code is not known",
        )
    } else {
        (
            255,
            "NodeRebooted",
            "the machine was started anew; the container's exit code is not known",
        )
    };
    Exit {
        code,
        finished_at: now(),
        started_at: 0,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

/// The exit that a shim wrote for a container before it told the daemon.
pub(super) fn exit_record(dir: &Dir, id: ContainerId) -> Option<Exit> {
    let name = FileName::new(format!("exit.{id}")).ok()?;
    let bytes = dir.read_file(&name, EXIT_LIMIT).ok()??;
    match wire::decode_exit(&bytes).ok()? {
        Event::Exited {
            container,
            status,
            at_unix_nanos,
            oom_killed,
            ..
        } if container == id => Some(exit_of(status, at_unix_nanos, oom_killed)),
        _ => None,
    }
}

/// A container whose making was cut off is taken back: nobody was told its id.
async fn take_back(node: &Arc<Node>, pod: &PodRecord, id: ContainerId) {
    let (owner, record) = (Arc::clone(node), pod.clone());
    let deleted = blocking(move || Ok(container::delete(&owner, &record, id))).await;
    let failures = deleted.unwrap_or_else(|error| vec![error]);
    node.debts.record_debts(pod, &[id], failures);
}

/// A pod whose making was cut off is taken back: nobody was told its id.
async fn undo(node: Arc<Node>, pod: PodRecord, living: Option<LiveShim>) {
    let failures =
        sandbox::release(&node, &pod, Vec::new(), living.map(|living| living.link)).await;
    node.debts.record_debts(&pod, &[], failures);
    node.readiness.released(pod.id);
    let (owner, id) = (Arc::clone(&node), pod.id);
    let forgotten = blocking(move || owner.delete_pod_dir(id)).await;
    node.debts
        .record_debts(&pod, &[], forgotten.err().into_iter().collect());
}

/// Puts a verified pod under its task.
fn serve(
    node: &Arc<Node>,
    pod: PodRecord,
    containers: Vec<ContainerRecord>,
    living: Option<LiveShim>,
    stop: bool,
) {
    let key = PodKey::from(&pod.config.metadata);
    let snapshot = PodSnapshot {
        pod: Arc::new(pod.clone()),
        containers: BTreeMap::new(),
    };
    let (entry, mailbox, made) = new_entry(snapshot);
    let claimed: Result<Arc<PodEntry>, _> = node.index.claim(key, || entry);
    let Ok(entry) = claimed else {
        tracing::error!(pod = %pod.id, "two pods on disk have the same name; this one is left alone");
        return;
    };
    let mut task = Task::new(Arc::clone(node), entry, mailbox, made);
    for container in containers {
        task.take_container(container);
    }
    if let Some(living) = living {
        task.connect(living.link, living.events);
    }
    task.resume(pod, stop);
    tokio::spawn(task.serve());
}

/// Deletes the layers of containers that no record knows, and lets the image store and the network do the
/// same with theirs.
fn sweep(node: &Node, unread: &UnreadableRecords) -> Result<(), PodError> {
    for id in node.layers()? {
        let known = node.index.container(&id.to_string()).is_ok();
        if !known && !unread.containers.contains(&id) {
            node.delete_layer(id)?;
        }
    }
    connect::reconcile(node, &unread.pods)?;
    if unread.pods.is_empty() {
        node.images.collect();
    } else {
        tracing::warn!("unused layers are kept: pods whose records cannot be read may use them");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pod::testing::{self, Shim};
    use crate::spec::{ContainerConfig, PodConfig};

    fn verified(phase: ContainerPhase, same_boot: bool) -> ContainerPhase {
        let (_guard, dir) = testing::dir();
        let mut container =
            testing::container(PodId::random().unwrap(), ContainerConfig::default());
        container.phase = phase;
        container.started_at = 5;
        verify(&mut container, None, &dir, same_boot);
        container.phase
    }

    /// The table of a pod without a shim: what ran has ended, and what had ended or never ran stays as it is.
    #[test]
    fn without_a_shim_nothing_runs() {
        let exit = unknown_exit(true);
        let exited = ContainerPhase::Exited(exit.clone());
        assert_eq!(
            verified(ContainerPhase::Created, true),
            ContainerPhase::Created
        );
        assert_eq!(verified(exited.clone(), true), exited);
        assert_eq!(
            verified(ContainerPhase::Removing, true),
            ContainerPhase::Removing
        );
        for alive in [
            ContainerPhase::Running(testing::run(), Goal::Run),
            ContainerPhase::Running(testing::run(), Goal::Stop),
            ContainerPhase::Starting(Goal::Run),
        ] {
            for (same_boot, reason, code) in [(true, "ShimLost", 137), (false, "NodeRebooted", 255)]
            {
                let ContainerPhase::Exited(exit) = verified(alive.clone(), same_boot) else {
                    panic!("{alive:?} goes on");
                };
                assert_eq!((exit.reason.as_str(), exit.code), (reason, code));
                assert_eq!(exit.started_at, 5, "{alive:?}");
            }
        }
    }

    /// The archive is from a moment ago: what the run directory says of an end counts more, what it lacks is added.
    #[test]
    fn the_archive_adds_what_a_torn_run_directory_lacks() {
        let (_guard, dir) = testing::dir();
        let pod = testing::pod(PodConfig::default());
        let container = || testing::container(pod.id, ContainerConfig::default());
        let (mut alive, mut ended, missing) = (container(), container(), container());
        alive.phase = ContainerPhase::Running(testing::run(), Goal::Run);
        ended.phase = ContainerPhase::Exited(unknown_exit(true));
        let mut found = Unverified {
            pod: pod.clone(),
            containers: vec![alive.clone(), ended.clone()],
            intents: Vec::new(),
            dir,
        };
        let archived = |record: &ContainerRecord, phase: ContainerPhase| {
            Arc::new(ContainerRecord {
                phase,
                ..record.clone()
            })
        };
        let exit = ContainerPhase::Exited(unknown_exit(false));
        found.complete(ArchivedPod {
            pod: Arc::new(pod),
            containers: vec![
                archived(&alive, exit.clone()),
                archived(&ended, ContainerPhase::Created),
                archived(&missing, ContainerPhase::Created),
            ],
        });
        let phases: Vec<_> = found
            .containers
            .iter()
            .map(|one| one.phase.clone())
            .collect();
        assert_eq!(phases, [exit, ended.phase, ContainerPhase::Created]);
        assert_eq!(found.containers[2].id, missing.id);
    }

    #[test]
    fn an_exit_file_of_another_container_or_a_torn_one_tells_nothing() {
        let (guard, dir) = testing::dir();
        let id = ContainerId::random().unwrap();
        assert!(exit_record(&dir, id).is_none());
        let other = Event::Exited {
            sequence: 1,
            container: ContainerId::random().unwrap(),
            status: wire::ExitStatus::Code(3),
            at_unix_nanos: 11,
            oom_killed: false,
        };
        let bytes = wire::encode_exit(&other).unwrap();
        let path = guard.path().join(format!("exit.{id}"));
        testing::write(&path, &bytes);
        assert!(exit_record(&dir, id).is_none());
        testing::write(&path, &bytes[..bytes.len() / 2]);
        assert!(exit_record(&dir, id).is_none());
    }

    /// The record of a later release, or what a power failure made of a record.
    fn spoil(path: &Path, later: bool) {
        let text = std::fs::read_to_string(path).unwrap();
        let spoilt = if later {
            text.replacen("\"version\":1", "\"version\":9", 1)
        } else {
            text[..text.len() / 2].to_owned()
        };
        assert_ne!(spoilt, text);
        testing::write(path, spoilt.as_bytes());
    }

    /// A pod in the run directory, with one container.
    fn on_disk(node: &Node, change: impl FnOnce(&mut PodRecord)) -> (PodRecord, ContainerId, Dir) {
        let mut pod = testing::pod_of(node, PodConfig::default());
        change(&mut pod);
        let dir = node.make_pod_dir(pod.id).unwrap();
        record::store_pod(&dir, &pod).unwrap();
        let container = testing::container(pod.id, ContainerConfig::default());
        record::store_container(&dir, &container).unwrap();
        (pod, container.id, dir)
    }

    /// A pod in the archive, and in the run directory nothing.
    fn archived(node: &Node, boot: &str) -> PodRecord {
        let mut pod = testing::pod_of(node, PodConfig::default());
        pod.boot_id = boot.to_owned();
        let entry = testing::known(node, &pod);
        let container = testing::container(pod.id, ContainerConfig::default());
        let snapshot = testing::snapshot(&pod, &[&container]);
        entry.snapshot.store(snapshot);
        node.archive.changed(pod.id);
        node.archive.flush(&node.index).unwrap();
        pod
    }

    /// What is found of each pod: its phase, its containers and its intents; none when nothing is.
    #[test]
    fn each_pod_is_found_once_in_the_run_directory_or_in_the_archive() {
        let (_guard, node) = testing::node();
        let pod_file = |dir: &Dir| dir.path().join("pod.json");
        let (whole, _, dir) = on_disk(&node, |_| {});
        let cut_off = testing::container(whole.id, ContainerConfig::default());
        record::intend_container(&dir, &cut_off).unwrap();
        let (torn, _, dir) = on_disk(&node, |_| {});
        spoil(&pod_file(&dir), false);
        let (foreign, _, dir) = on_disk(&node, |_| {});
        record::store_pod(&dir, &whole).unwrap();
        let (empty, restored, old, own) = (
            PodId::random().unwrap(),
            archived(&node, "another"),
            archived(&node, "another"),
            archived(&node, "one"),
        );
        node.make_pod_dir(empty).unwrap();
        // Its copy is of this boot: what runs of the pod is not known, and so the copy says nothing.
        let both = archived(&node, "one");
        let dir = node.make_pod_dir(both.id).unwrap();
        record::store_pod(&dir, &both).unwrap();
        spoil(&pod_file(&dir), false);
        // The machine lost power, and the record in the run directory with it.
        node.make_pod_dir(old.id).unwrap();
        let (found, unread) = load(&node).unwrap();
        assert!(unread.pods.is_empty() && unread.containers.is_empty());
        let facts = |id: PodId| {
            let mut found = found.iter().filter(|found| found.pod.id == id);
            let fact = found.next().map(|found| {
                let (containers, intents) = (found.containers.len(), found.intents.len());
                (found.pod.phase, containers, intents)
            });
            assert!(found.next().is_none(), "it is found twice");
            fact
        };
        assert_eq!(facts(whole.id), Some((PodPhase::Ready, 1, 1)));
        // Whatever was made of it has a name that follows from its id: it is undone.
        assert_eq!(facts(torn.id), Some((PodPhase::Creating, 0, 0)));
        assert_eq!(facts(foreign.id), Some((PodPhase::Creating, 0, 0)));
        assert_eq!(facts(restored.id), Some((PodPhase::Ready, 1, 0)));
        assert_eq!(facts(old.id), Some((PodPhase::Ready, 1, 0)));
        assert!(node.pod_dir(restored.id).unwrap().is_some());
        assert_eq!(facts(both.id), Some((PodPhase::Creating, 0, 0)));
        // Nothing was made yet, and it was removed: there is nothing left to do.
        assert_eq!((facts(empty), facts(own.id)), (None, None));
        assert!(node.pod_dir(empty).unwrap().is_none());
        assert!(!node.archive.load().unwrap().contains_key(&own.id));
    }

    /// A later release wrote it, and its pod may run: neither the pod nor a layer of its containers is touched.
    #[test]
    fn what_cannot_be_read_stays_as_it_is() {
        let (_guard, node) = testing::node();
        let (pod, first, dir) = on_disk(&node, |_| {});
        spoil(&dir.path().join("pod.json"), true);
        let (other, second, dir) = on_disk(&node, |_| {});
        spoil(&dir.path().join(format!("container.{second}.json")), true);
        let (found, unread) = load(&node).unwrap();
        assert!(found.is_empty());
        assert_eq!(unread.pods, BTreeSet::from([pod.id, other.id]));
        assert_eq!(unread.containers, BTreeSet::from([first, second]));
        let stray = ContainerId::random().unwrap();
        for id in [first, second, stray] {
            node.make_layer(id, testing::user()).unwrap();
        }
        sweep(&node, &unread).unwrap();
        let left: BTreeSet<_> = node.layers().unwrap().into_iter().collect();
        assert_eq!(left, unread.containers);
        assert!(
            node.pod_dir(pod.id).unwrap().is_some() && node.pod_dir(other.id).unwrap().is_some()
        );
    }

    /// The shim knows best what runs; what it does not know has ended or was never started.
    #[tokio::test]
    async fn a_shim_makes_the_records_true() {
        let (_shim, link, events) = Shim::pair();
        let mut living = LiveShim {
            link,
            events,
            pause: None,
            containers: BTreeMap::new(),
        };
        let starting = ContainerPhase::Starting;
        let running = |goal| ContainerPhase::Running(testing::run(), goal);
        let reported = Phase::Running {
            pid: Pid::from_raw(7),
            start_ticks: 9,
        };
        let unseen = |goal| {
            let process = ProcessIdentity {
                pid: Pid::NONE,
                start_ticks: 0,
            };
            let run = Run {
                process,
                started_at: 5,
            };
            ContainerPhase::Running(run, goal)
        };
        let exited = ContainerPhase::Exited(unknown_exit(true));
        let cases = [
            (ContainerPhase::Created, None, ContainerPhase::Created),
            (starting(Goal::Run), None, ContainerPhase::Created),
            (
                starting(Goal::Stop),
                Some(Phase::Launching),
                starting(Goal::Stop),
            ),
            (
                starting(Goal::Run),
                Some(reported.clone()),
                running(Goal::Run),
            ),
            (
                starting(Goal::Remove),
                Some(reported.clone()),
                running(Goal::Remove),
            ),
            // The event with its exit comes again, and finds it running.
            (starting(Goal::Run), Some(Phase::Exited), unseen(Goal::Run)),
            (
                running(Goal::Stop),
                Some(reported.clone()),
                running(Goal::Stop),
            ),
            (running(Goal::Run), Some(Phase::Exited), running(Goal::Run)),
            (exited.clone(), Some(reported), exited),
            (
                ContainerPhase::Removing,
                Some(Phase::Exited),
                ContainerPhase::Removing,
            ),
        ];
        let (_guard, dir) = testing::dir();
        for (phase, report, wanted) in cases {
            let pod = PodId::random().unwrap();
            let mut container = testing::container(pod, ContainerConfig::default());
            (container.phase, container.started_at) = (phase.clone(), 5);
            living.containers = report
                .iter()
                .map(|phase| (container.id, phase.clone()))
                .collect();
            verify(&mut container, Some(&living), &dir, true);
            assert_eq!(container.phase, wanted, "{phase:?} {report:?}");
        }
    }

    /// What the shim wrote before it died is the exit, with the time of the start that the record has.
    #[test]
    fn an_exit_file_tells_how_a_container_ended() {
        let (guard, dir) = testing::dir();
        let mut container =
            testing::container(PodId::random().unwrap(), ContainerConfig::default());
        container.phase = ContainerPhase::Running(testing::run(), Goal::Run);
        let event = Event::Exited {
            sequence: 1,
            container: container.id,
            status: wire::ExitStatus::Code(3),
            at_unix_nanos: 11,
            oom_killed: true,
        };
        let path = guard.path().join(format!("exit.{}", container.id));
        testing::write(&path, &wire::encode_exit(&event).unwrap());
        verify(&mut container, None, &dir, true);
        let ContainerPhase::Exited(exit) = container.phase else {
            panic!("it goes on");
        };
        let found = (
            exit.code,
            exit.reason.as_str(),
            exit.finished_at,
            exit.started_at,
        );
        assert_eq!(found, (3, "OOMKilled", 11, 5));
    }

    async fn recovered(node: &Arc<Node>, id: PodId) -> Option<Arc<PodSnapshot>> {
        let (found, _) = load(node).unwrap();
        for found in found {
            recover_pod(Arc::clone(node), found).await;
        }
        let entry = node.index.pod(&id.to_string()).ok()?;
        Some(entry.snapshot.load_full())
    }

    #[tokio::test]
    async fn a_pod_of_another_boot_is_shown_with_how_its_containers_ended() {
        let (_guard, node) = testing::node();
        let (pod, created, dir) = on_disk(&node, |pod| pod.boot_id = "another".to_owned());
        let mut ran = testing::container(pod.id, ContainerConfig::default());
        ran.phase = ContainerPhase::Running(testing::run(), Goal::Run);
        let mut gone = testing::container(pod.id, ContainerConfig::default());
        gone.phase = ContainerPhase::Removing;
        for record in [&ran, &gone] {
            record::store_container(&dir, record).unwrap();
            node.make_layer(record.id, testing::user()).unwrap();
        }
        let cut_off = testing::container(pod.id, ContainerConfig::default());
        record::intend_container(&dir, &cut_off).unwrap();
        node.make_layer(cut_off.id, testing::user()).unwrap();
        let shown = recovered(&node, pod.id).await.unwrap();
        assert_eq!(shown.pod.phase, PodPhase::Stopping, "it is released next");
        assert_eq!(shown.pod.boot_id, node.boot_id);
        let mut ids = [created, ran.id];
        ids.sort();
        assert!(
            shown.containers.keys().eq(&ids),
            "{:?}",
            shown.containers.keys()
        );
        let ContainerPhase::Exited(exit) = &shown.containers[&ran.id].phase else {
            panic!("it goes on");
        };
        assert_eq!((exit.code, exit.reason.as_str()), (255, "NodeRebooted"));
        assert_eq!(shown.containers[&created].phase, ContainerPhase::Created);
        assert_eq!(
            node.layers().unwrap(),
            [ran.id],
            "what was cut off or removed is gone"
        );
        assert!(node.index.container(&gone.id.to_string()).is_err());
    }

    /// Nobody was told its id: nothing of it is shown, and nothing stays.
    #[tokio::test]
    async fn a_pod_whose_making_or_removal_was_cut_off_is_undone() {
        for phase in [PodPhase::Creating, PodPhase::Removing] {
            let (_guard, node) = testing::node();
            let (pod, ..) = on_disk(&node, |pod| pod.phase = phase);
            node.readiness.add_unreleased_pod(pod.id);
            node.readiness.collected();
            assert!(recovered(&node, pod.id).await.is_none(), "{phase:?}");
            assert!(node.pod_dir(pod.id).unwrap().is_none(), "{phase:?}");
            assert_eq!(node.readiness.problem(), None, "{phase:?}");
            assert!(node.debts.list().is_empty(), "{phase:?}");
        }
    }

    /// A stopped pod holds nothing: its shim is not looked for, and it stays as it was.
    #[tokio::test]
    async fn a_stopped_pod_stays_stopped() {
        let (_guard, node) = testing::node();
        let (pod, ..) = on_disk(&node, |pod| pod.phase = PodPhase::NotReady);
        let shown = recovered(&node, pod.id).await.unwrap();
        assert_eq!(shown.pod.phase, PodPhase::NotReady);
        assert_eq!(shown.containers.len(), 1);
    }

    #[tokio::test]
    async fn of_two_pods_with_one_name_the_first_is_served() {
        let (_guard, node) = testing::node();
        on_disk(&node, |_| {});
        on_disk(&node, |_| {});
        let unknown = PodId::random().unwrap();
        assert!(recovered(&node, unknown).await.is_none());
        assert_eq!(node.index.pods().len(), 1);
        assert_eq!(
            node.pod_dirs().unwrap().len(),
            2,
            "the other one is left alone"
        );
    }

    /// Without an answer of the shim the kernel says what runs of what was recorded.
    #[tokio::test]
    async fn of_a_foreign_shim_only_what_exists_runs() {
        let (_shim, link, events) = Shim::pair();
        let program = testing::Program::run();
        let process = program.identity();
        let gone = ProcessIdentity {
            start_ticks: process.start_ticks + 1,
            ..process
        };
        let mut pod = testing::pod(PodConfig::default());
        pod.pause = Some(gone);
        let container = |phase| {
            let mut record = testing::container(pod.id, ContainerConfig::default());
            record.phase = phase;
            record
        };
        let running = |process| {
            let run = Run {
                process,
                started_at: 5,
            };
            container(ContainerPhase::Running(run, Goal::Run))
        };
        let records = [
            running(process),
            running(gone),
            container(ContainerPhase::Created),
            container(ContainerPhase::Starting(Goal::Run)),
        ];
        let living = served_by_foreign_shim(&pod, &records, (link, events));
        let (pid, start_ticks) = (process.pid, process.start_ticks);
        let runs = Phase::Running { pid, start_ticks };
        assert_eq!(living.containers, BTreeMap::from([(records[0].id, runs)]));
        assert_eq!(living.pause, None);
    }
}
