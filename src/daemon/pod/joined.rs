//! Pods in the network namespace of another pod.
//!
//! ```text
//!   owner   READY ─────────────────────────▶ stopped: its interface, addresses and ports go
//!                     │ namespace, by the descriptor of the owner's shim
//!   joiner            └─▶ READY ──────────────────▶ READY, with the loopback interface only ──▶ stopped
//! ```
//!
//! A joiner has nothing of the network that would have to be released: no address, no interface, no pin. The
//! kernel keeps the namespace for as long as a process is in it. That a joiner's addresses are its owner's is
//! never recorded: readers get what holds at the moment ([`shown`]), whatever daemons and boots did meanwhile.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::entry::PodSnapshot;
use super::error::{ExperimentRefusal, LaunchError, PodError, RequestError};
use super::launch_error::{shim, unexpected};
use super::link::{LinkError, ShimLink};
use super::node::Node;
use super::record::PodRecord;

use super::state::PodPhase;
use crate::spec::experiments::PodReference;
use crate::spec::{NetMode, PodConfig};
use holdfast_kernel::id::PodId;
use holdfast_wire::{Reply, Request};

/// The operation, for errors.
const DOING: &str = "get the network namespace of the pod that is to be joined";

/// The pod that owns the network namespace which a request asks to join; none when it asks for none.
///
/// # Errors
/// [`ExperimentRefusal`]: there is no such pod, there are several, it is not ready, or has the host's network.
pub(super) fn owner(node: &Node, config: &PodConfig) -> Result<Option<PodId>, PodError> {
    let Some(wanted) = &config.experiments.join_network else {
        return Ok(None);
    };
    let refused = |reason| refused(wanted, reason);
    let mut found = find(node, wanted)?;
    if let Some(id) = found.pod.network_owner {
        // Its namespace is that of a third pod.
        let gone = || refused("the pod whose network it joined itself has ended");
        let entry = node.index.pod(&id.to_string()).map_err(|_| gone())?;
        found = entry.snapshot.load_full();
        if found.pod.phase != PodPhase::Ready {
            return Err(gone());
        }
    }
    if found.pod.config.namespaces.network == NetMode::Node {
        return Err(refused(
            "it has the node's network; ask for that with hostNetwork (namespace_options.network: NODE)",
        ));
    }
    Ok(Some(found.pod.id))
}

fn refused(wanted: &PodReference, reason: &'static str) -> PodError {
    let wanted = wanted.to_string();
    PodError::Request(RequestError::Experiment(ExperimentRefusal::Join {
        wanted,
        reason,
    }))
}

/// The ready pod that a reference means.
fn find(node: &Node, wanted: &PodReference) -> Result<Arc<PodSnapshot>, PodError> {
    let refused = |reason| refused(wanted, reason);
    match wanted {
        PodReference::Id(id) => {
            let unknown = |error| {
                PodError::Request(RequestError::Experiment(ExperimentRefusal::JoinId {
                    wanted: id.clone(),
                    source: error,
                }))
            };
            let entry = node.index.pod(id).map_err(unknown)?;
            let found = entry.snapshot.load_full();
            if found.pod.phase != PodPhase::Ready {
                return Err(refused("it is not ready; run it first"));
            }
            Ok(found)
        }
        PodReference::Name { namespace, name } => {
            let entries = node.index.pods();
            let ready = entries.iter().map(|entry| entry.snapshot.load_full());
            let mut named: Vec<_> = ready
                .filter(|pod| {
                    let metadata = &pod.pod.config.metadata;
                    pod.pod.phase == PodPhase::Ready
                        && metadata.namespace == *namespace
                        && metadata.name == *name
                })
                .collect();
            match (named.pop(), named.len()) {
                (Some(found), 0) => Ok(found),
                (Some(_), _) => Err(refused(
                    "several ready pods have that name; give the id of one",
                )),
                (None, _) => Err(refused("no ready pod has that name; run it first")),
            }
        }
    }
}

/// The network namespace that a pod joins, as the shim of its owner has it.
///
/// # Errors
/// The owner has ended meanwhile.
pub(super) async fn namespace(node: &Node, pod: &PodRecord) -> Result<Option<OwnedFd>, PodError> {
    let Some(owner) = pod.network_owner else {
        return Ok(None);
    };
    let entry = node.index.pod(&owner.to_string())?;
    let link: Option<Arc<ShimLink>> = entry.link.load_full();
    let link = link.ok_or(PodError::Launch(LaunchError::Shim {
        doing: DOING,
        source: LinkError::Closed,
    }))?;
    let mut answer = link
        .ask(Request::Inventory, &[])
        .await
        .map_err(shim(DOING))?;
    match (&answer.body, answer.descriptors.pop()) {
        (Reply::Inventory { pause: Some(_), .. }, Some(namespace)) => Ok(Some(namespace)),
        _ => Err(unexpected(DOING, &answer).into()),
    }
}

/// Whether the network namespace that a pod joined is connected to anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Its owner is ready.
    Up,
    /// Its owner has ended: there is the loopback interface, and nothing else.
    Lost,
}

/// Returns whether the pod that owns the network is ready, and its addresses.
pub(super) fn connected(node: &Node, owner: PodId) -> (Connection, Vec<IpAddr>) {
    let found = node.index.pod(&owner.to_string());
    let snapshot = found.map(|entry| entry.snapshot.load_full());
    match snapshot {
        Ok(owner) if owner.pod.phase == PodPhase::Ready => (Connection::Up, owner.pod.ips.clone()),
        _ => (Connection::Lost, Vec::new()),
    }
}

/// A pod as readers are to see it: with the addresses that its network namespace has now.
pub(super) fn shown(node: &Node, snapshot: Arc<PodSnapshot>) -> Arc<PodSnapshot> {
    let Some(owner) = snapshot.pod.network_owner else {
        return snapshot;
    };
    let mut pod = (*snapshot.pod).clone();
    if pod.phase == PodPhase::Ready {
        pod.ips = connected(node, owner).1;
    }
    Arc::new(PodSnapshot {
        pod: Arc::new(pod),
        containers: snapshot.containers.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::pod::error::ErrorKind;
    use crate::pod::testing::{self, Shim};
    use crate::spec::PodMetadata;
    use holdfast_kernel::error_chain;
    use holdfast_kernel::sys::pid::Pid;
    use holdfast_wire::PauseReport;

    fn named(namespace: &str, name: &str) -> PodConfig {
        PodConfig {
            metadata: PodMetadata {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                ..PodMetadata::default()
            },
            ..PodConfig::default()
        }
    }

    fn joiner(wanted: PodReference) -> PodConfig {
        let mut config = named("default", "joiner");
        config.experiments.join_network = Some(wanted);
        config
    }

    fn by_name(name: &str) -> PodReference {
        PodReference::Name {
            namespace: "default".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn the_network_of_one_ready_pod_can_be_joined() {
        let (_guard, node) = testing::node();
        let make = |name: &str, change: fn(&mut PodRecord)| {
            let mut pod = testing::pod_of(&node, named("default", name));
            change(&mut pod);
            testing::known(&node, &pod);
            pod.id
        };
        let web = make("web", |_| {});
        // Only a ready one counts: pods of earlier attempts have the same name.
        make("web", |pod| pod.phase = PodPhase::NotReady);
        let ended = make("ended", |pod| pod.phase = PodPhase::Stopping);
        make("host", |pod| {
            Arc::make_mut(&mut pod.config).namespaces.network = NetMode::Node;
        });
        make("twin", |_| {});
        make("twin", |_| {});
        let other = testing::pod_of(&node, named("elsewhere", "far"));
        testing::known(&node, &other);
        let cases = [
            (by_name("web"), Ok(web)),
            (PodReference::Id(web.to_string()), Ok(web)),
            (PodReference::Id(web.to_string()[..20].to_owned()), Ok(web)),
            (
                by_name("twin"),
                Err("several ready pods have that name; give the id of one"),
            ),
            (
                by_name("ended"),
                Err("no ready pod has that name; run it first"),
            ),
            (
                by_name("far"),
                Err("no ready pod has that name; run it first"),
            ),
            (
                PodReference::Id(ended.to_string()),
                Err("it is not ready; run it first"),
            ),
            (
                PodReference::Id("f".repeat(64)),
                Err("cannot find that pod: pod sandbox"),
            ),
            (
                PodReference::Id(String::new()),
                Err("id is empty; give the full id"),
            ),
            (
                by_name("host"),
                Err("it has the node's network; ask for that with hostNetwork"),
            ),
        ];
        assert_eq!(owner(&node, &named("default", "alone")).unwrap(), None);
        for (wanted, outcome) in cases {
            let shown = format!("{:?}", wanted.to_string());
            match (owner(&node, &joiner(wanted)), outcome) {
                (Ok(found), Ok(id)) => assert_eq!(found, Some(id), "{shown}"),
                (Err(error), Err(reason)) => {
                    let text = error_chain(&error);
                    assert!(text.contains(reason) && text.contains(&shown), "{text}");
                    assert!(text.starts_with("annotation "), "{text}");
                    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{text}");
                }
                (found, wanted) => panic!("{shown}: {found:?} and not {wanted:?}"),
            }
        }
    }

    /// Whoever joins a joiner gets the namespace of the pod that owns it, as long as that is there.
    #[test]
    fn a_joiner_can_be_joined_as_long_as_the_owner_is_ready() {
        let (_guard, node) = testing::node();
        let owning = testing::pod_of(&node, named("default", "owner"));
        let mut joining = testing::pod_of(&node, named("default", "first"));
        joining.network_owner = Some(owning.id);
        testing::known(&node, &joining);
        let gone = "the pod whose network it joined itself has ended";
        let refused = || {
            let error = owner(&node, &joiner(by_name("first"))).unwrap_err();
            assert!(error.to_string().contains(gone), "{error}");
        };
        refused();
        let entry = testing::known(&node, &owning);
        assert_eq!(
            owner(&node, &joiner(by_name("first"))).unwrap(),
            Some(owning.id)
        );
        let mut ended = owning;
        ended.phase = PodPhase::Stopping;
        entry.snapshot.store(testing::snapshot(&ended, &[]));
        refused();
    }

    /// The addresses of a joiner are never recorded: they are what the owner has at the moment.
    #[test]
    fn a_joiner_is_shown_with_the_addresses_of_its_owner() {
        let (_guard, node) = testing::node();
        let address: IpAddr = "10.0.0.7".parse().unwrap();
        let mut owning = testing::pod_of(&node, named("default", "owner"));
        owning.ips = vec![address];
        let mut joining = testing::pod_of(&node, named("default", "joiner"));
        joining.network_owner = Some(owning.id);
        let ips = |pod: &PodRecord| shown(&node, testing::snapshot(pod, &[])).pod.ips.clone();
        assert_eq!(ips(&owning), [address], "nobody else's addresses");
        assert_eq!(connected(&node, owning.id), (Connection::Lost, Vec::new()));
        assert!(ips(&joining).is_empty(), "the owner is not known");
        let entry = testing::known(&node, &owning);
        assert_eq!(connected(&node, owning.id), (Connection::Up, vec![address]));
        assert_eq!(ips(&joining), [address]);
        joining.phase = PodPhase::NotReady;
        assert!(ips(&joining).is_empty(), "a stopped pod has no address");
        joining.phase = PodPhase::Ready;
        owning.phase = PodPhase::NotReady;
        entry.snapshot.store(testing::snapshot(&owning, &[]));
        assert_eq!(connected(&node, owning.id), (Connection::Lost, Vec::new()));
        assert!(ips(&joining).is_empty(), "the owner has ended");
    }

    #[tokio::test]
    async fn the_namespace_comes_from_the_owners_shim() {
        let (_guard, node) = testing::node();
        let owning = testing::pod_of(&node, named("default", "owner"));
        let mut joining = testing::pod_of(&node, named("default", "joiner"));
        assert!(namespace(&node, &joining).await.unwrap().is_none());
        joining.network_owner = Some(owning.id);
        let error = namespace(&node, &joining).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let entry = testing::known(&node, &owning);
        let error = namespace(&node, &joining).await.unwrap_err();
        assert!(
            error_chain(&error).contains("the pod's shim has ended"),
            "{error:?}"
        );
        let (shim, link, _events) = Shim::pair();
        entry.link.store(Some(Arc::new(link)));
        let inventory = |pause| Reply::Inventory {
            pause,
            containers: Vec::new(),
        };
        let running = PauseReport {
            pid: Pid::from_raw(1),
            start_ticks: 2,
            shim_pid: Pid::from_raw(3),
            shim_start_ticks: 4,
        };
        let files = ["/proc/self/stat", "/proc/self/ns/net"];
        let [pidfd, netns] = files.map(|path| std::fs::File::open(path).unwrap());
        let both = [pidfd.as_fd(), netns.as_fd()];
        // A pause that has ended, and one without its namespace.
        for (pause, descriptors) in [(None, &both[..]), (Some(running.clone()), &[])] {
            let answer = shim.answer(inventory(pause), descriptors);
            let (found, _) = tokio::join!(namespace(&node, &joining), answer);
            let text = error_chain(&found.unwrap_err());
            assert!(
                text.contains(DOING) && text.contains("another kind"),
                "{text}"
            );
        }
        let answer = shim.answer(inventory(Some(running)), &both);
        let (found, _) = tokio::join!(namespace(&node, &joining), answer);
        let found = nix::sys::stat::fstat(found.unwrap().unwrap()).unwrap();
        assert_eq!(found.st_ino, nix::sys::stat::fstat(&netns).unwrap().st_ino);
    }
}
