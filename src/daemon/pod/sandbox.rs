//! Making a pod sandbox and releasing it.
//!
//! ```text
//!   record intent → shim → files → cgroup ─┬▶ netns → pin it → network ─┬▶ sysctls of it → record result
//!                                          └▶ pause, which joins netns ─┘
//! ```
//!
//! In a pod with a user namespace the pause makes the network namespace, and the network follows it.
//!
//! Everything made here has a name that follows from the pod's id, so [`release`] undoes all of it whatever
//! was reached: it is the rollback, the stop and the recovery. Each of its steps may be repeated.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::blocking::blocking;
use super::cgroups;
use super::connect;
use super::error::{PodError, RequestError};
use super::experiments;
use super::files;
use super::joined;
use super::launch_error::{self, LaunchError, shim, unexpected};
use super::link::{LinkError, ShimLink};
use super::node::Node;
use super::process::ProcessIdentity;
use super::record::{self, PodRecord};
use super::scope;
use super::seccomp;
use super::sysctls;
use crate::plan;
use crate::spec::{self, PodConfig, PodSpecRequest};
use holdfast_disk::Dir;
use holdfast_kernel::cgroup::{Cgroup, CgroupPath, Limits};
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::memfd;
use holdfast_wire::plan::PausePlan;
use holdfast_wire::{self as wire, Event, Growing, PauseReport, Reply, Request};

/// How long a shim may take to end everything and itself.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// A sandbox whose pause runs.
#[derive(Debug)]
pub(super) struct StartedSandbox {
    pub link: ShimLink,
    /// Events that the shim reports.
    pub events: mpsc::UnboundedReceiver<Event>,
    pub pause: ProcessIdentity,
    pub shim: ProcessIdentity,
    pub ips: Vec<IpAddr>,
}

/// The OCI runtime Spec of a pod's pause.
pub(super) fn pause_spec(
    node: &Node,
    pod: &PodRecord,
) -> Result<oci_spec::runtime::Spec, PodError> {
    // Until the other pod is found, its name is only one that fits.
    let joins = pod.config.experiments.join_network.is_some();
    let network = joins.then(|| node.netns_path(pod.network_owner.unwrap_or(pod.id)));
    Ok(spec::build_pod(&PodSpecRequest {
        pod_id: &pod.id,
        pod: &pod.config,
        host: &node.facts,
        node_hostname: &node.hostname,
        cgroups_path: cgroups::of_pause(pod)?.as_str(),
        localhost_seccomp: pod.localhost_seccomp.as_deref(),
        joined_network: network.as_deref(),
    })?)
}

fn pause_plan(node: &Node, pod: &PodRecord) -> Result<PausePlan, PodError> {
    let spec = pause_spec(node, pod)?;
    let choice = &pod.config.security.seccomp;
    let base = spec::seccomp_base(choice, &spec, &node.facts);
    plan::pause(&spec, base.as_ref(), &node.filters).map_err(seccomp::of_plan(choice))
}

/// Makes everything of a pod. On failure the caller calls [`release`].
pub(super) async fn make(node: &Arc<Node>, pod: &PodRecord) -> Result<StartedSandbox, PodError> {
    let mut plan = pause_plan(node, pod)?;
    let late = sysctls::take_late(&mut plan, &pod.config);
    let ahead = make_network_ahead(&mut plan, &pod.config);
    let joined = joined::namespace(node, pod).await?;
    let (dir, cgroup, plan) = prepare(node, pod, plan).await?;
    let (link, events) =
        ShimLink::connect(dir.as_fd(), pod).map_err(shim("connect to the pod's shim"))?;
    let cgroup = match cgroup {
        Some(cgroup) => cgroup,
        None => scope::enter(node, pod, &link).await?,
    };
    let pause = async {
        let started = start_pause(node, &link, &cgroup, &plan, joined).await;
        started.map_err(|error| launch_error::with_limits(error, &pod.config))
    };
    let (report, ips) = if ahead {
        // Both go on to their end: what is undone must not be made any more. The shim gets the requests in this order.
        let network = connect::attach(node, pod, &link, None);
        let (ips, started) = tokio::join!(network, pause);
        let ips = ips?;
        (started?.0, ips)
    } else {
        let (report, netns) = pause.await?;
        let ips = connect::attach(node, pod, &link, Some(netns)).await?;
        (report, ips)
    };
    sysctls::set_late(&link, late).await?;
    let (pause, shim) = identities(&report);
    Ok(StartedSandbox {
        link,
        events,
        pause,
        shim,
        ips,
    })
}

/// Decides whether the network namespace is made before the pause, which then joins it. One that belongs to the pod's
/// user namespace is made with that.
fn make_network_ahead(plan: &mut PausePlan, config: &PodConfig) -> bool {
    let ahead = config.owns_network() && plan.new_net && plan.user.is_none();
    if ahead {
        (plan.new_net, plan.join_net) = (false, true);
    }
    ahead
}

/// Intent, shim, files and cgroup. A scope of systemd is made around the shim later.
async fn prepare(
    node: &Arc<Node>,
    pod: &PodRecord,
    plan: PausePlan,
) -> Result<(Dir, Option<Cgroup>, OwnedFd), PodError> {
    let (node, pod) = (Arc::clone(node), pod.clone());
    blocking(move || {
        let dir = node.make_pod_dir(pod.id)?;
        record::store_pod(&dir, &pod)?;
        // It is forked and sets itself up while the rest is made here.
        node.spawner.shim(dir.as_fd())?;
        files::write(&dir, &pod.config, &node.hostname)?;
        let cgroup = match cgroups::slice(&pod) {
            Some(_) => None,
            None => Some(
                node.cgroups
                    .create(&cgroups::of_pause(&pod)?, &Limits::default())?,
            ),
        };
        Ok((dir, cgroup, seal("pause plan", &pod, &plan)?))
    })
    .await
}

/// A plan as a sealed memfd, for the version that the pod's shim speaks.
pub(super) fn seal<T: Growing>(
    doing: &'static str,
    pod: &PodRecord,
    plan: &T,
) -> Result<OwnedFd, PodError> {
    let shim = |source| PodError::Launch(LaunchError::Shim { doing, source });
    let protocol = pod.protocols.common();
    let protocol =
        protocol.map_err(|unspoken| shim(LinkError::UnknownProtocol(Arc::new(unspoken.into()))))?;
    let bytes = wire::encode_plan(protocol, plan).map_err(|error| shim(error.into()))?;
    memfd::create_sealed(c"holdfast-plan", &bytes)
        .map_err(|source| PodError::System { doing, source })
}

async fn start_pause(
    node: &Node,
    link: &ShimLink,
    cgroup: &Cgroup,
    plan: &OwnedFd,
    joined: Option<OwnedFd>,
) -> Result<(PauseReport, OwnedFd), LaunchError> {
    const DOING: &str = "start the pod's pause process";
    let (slots, directories) = cgroups::slots(cgroup);
    let mut descriptors = vec![plan.as_fd(), node.spawner.mount_namespace()];
    descriptors.extend(joined.as_ref().map(AsFd::as_fd));
    descriptors.extend(directories);
    let request = Request::StartPause { cgroup: slots };
    let answer = link.ask(request, &descriptors).await;
    let mut answer = answer.map_err(|error| launch_error::of_pod(DOING, error))?;
    match (&answer.body, answer.descriptors.pop()) {
        (Reply::PauseStarted(report), Some(netns)) => Ok((report.clone(), netns)),
        _ => Err(unexpected(DOING, &answer)),
    }
}

fn identities(report: &PauseReport) -> (ProcessIdentity, ProcessIdentity) {
    let pause = ProcessIdentity {
        pid: report.pid,
        start_ticks: report.start_ticks,
    };
    let shim = ProcessIdentity {
        pid: report.shim_pid,
        start_ticks: report.shim_start_ticks,
    };
    (pause, shim)
}

/// Releases everything that a pod holds of the machine, in any state of it. Every step is tried; the
/// failures come back. Files on disk stay: the status is still to be read.
pub(super) async fn release(
    node: &Arc<Node>,
    pod: &PodRecord,
    containers: Vec<ContainerId>,
    link: Option<ShimLink>,
) -> Vec<PodError> {
    if let Some(link) = link {
        // What the shim does not end within the deadline is killed through the cgroups.
        let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, link.ask(Request::Shutdown, &[])).await;
    }
    let (owner, record) = (Arc::clone(node), pod.clone());
    let ended = blocking(move || {
        let mut failures: Vec<_> = end_shim(&owner, &record).err().into_iter().collect();
        failures.extend(end_processes(&owner, &record, &containers));
        Ok((failures, connect::detach_now(&owner, &record)))
    });
    let (mut failures, detached) = match ended.await {
        Ok(ended) => ended,
        Err(error) => (vec![error], None),
    };
    failures.extend(match detached {
        Some(failures) => failures,
        None => connect::detach(node, pod).await,
    });
    failures.extend(scope::leave(node, pod).await.err());
    failures
}

/// Ends a shim that does not end by itself, or whose socket is lost: one that hangs in a write to a dead mount ends
/// no other way. It is in no cgroup of the pod. A number of another boot is another process.
fn end_shim(node: &Node, pod: &PodRecord) -> Result<(), PodError> {
    let same_boot = pod.boot_id == node.boot_id;
    let ended = pod.shim.filter(|_| same_boot).map(|shim| shim.kill());
    ended.unwrap_or(Ok(())).map_err(|source| PodError::System {
        doing: "end the pod's shim",
        source,
    })
}

fn end_processes(node: &Node, pod: &PodRecord, containers: &[ContainerId]) -> Vec<PodError> {
    let mut failures = Vec::new();
    for id in containers {
        failures.extend(cgroups::release(&node.cgroups, pod, *id).err());
    }
    failures.extend(release_pause(node, pod).err());
    failures
}

fn release_pause(node: &Node, pod: &PodRecord) -> Result<(), PodError> {
    let path = cgroups::of_pause(pod)?;
    cgroups::kill_and_remove(&node.cgroups, &path)?;
    if pod.config.cgroup_parent.is_none() && cgroups::slice(pod).is_none() {
        // The pod's own group; our parent stays for the next pod.
        node.cgroups.remove(&CgroupPath::new(&pod.cgroup)?)?;
    }
    Ok(())
}

/// Checks a request before anything is made: what is wrong with it is known without the machine.
pub(super) fn validate(node: &Node, config: &PodConfig, pod: &PodRecord) -> Result<(), PodError> {
    match config.runtime_handler.as_str() {
        "" | "holdfast" => {}
        other => {
            return Err(PodError::Request(RequestError::UnknownHandler(
                other.to_owned(),
            )));
        }
    }
    experiments::check(node, config)?;
    pause_plan(node, pod)?;
    connect::validate(node, config)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;
    use crate::pod::error::ErrorKind;
    use crate::pod::record::load_pod;
    use crate::pod::state::PodPhase;
    use crate::pod::testing::{self, Program, Shim};
    use holdfast_kernel::error_chain;
    use holdfast_wire::Protocols;
    use holdfast_wire::plan::PausePlan;

    /// A number of another boot is another process.
    #[tokio::test]
    async fn a_release_kills_the_shim_of_this_boot_and_nobody_else() {
        for same_boot in [true, false] {
            let (_guard, node) = testing::node();
            let mut program = Program::run();
            let mut pod = testing::pod_of(&node, PodConfig::default());
            pod.shim = Some(program.identity());
            if !same_boot {
                pod.boot_id = "another".to_owned();
            }
            let failures = release(&node, &pod, vec![ContainerId::random().unwrap()], None).await;
            assert!(failures.is_empty(), "{failures:?}");
            if same_boot {
                assert_eq!(program.killed_by(), Some(libc::SIGKILL));
            } else {
                assert!(program.answers(), "a process of this boot was killed");
            }
        }
    }

    #[tokio::test]
    async fn a_shim_is_asked_to_end_before_it_is_killed() {
        let (_guard, node) = testing::node();
        let pod = testing::pod_of(&node, PodConfig::default());
        let (shim, link, _events) = Shim::pair();
        let asked = shim.serve(|_| Reply::Failed(testing::failure()));
        let failures = release(&node, &pod, Vec::new(), Some(link)).await;
        assert!(
            failures.is_empty(),
            "a shim that refuses is killed: {failures:?}"
        );
        assert_eq!(*asked.lock().unwrap(), [Request::Shutdown]);
    }

    /// What is stuck comes back, each part of it, and the rest is released all the same.
    #[tokio::test]
    async fn a_release_goes_on_past_what_is_stuck() {
        let (_guard, node) = testing::node();
        let mut program = Program::run();
        let mut pod = testing::pod_of(&node, PodConfig::default());
        // No cgroup has such a path.
        pod.cgroup = "/a/../b".to_owned();
        pod.shim = Some(program.identity());
        let pin = node.netns_path(pod.id);
        std::fs::create_dir_all(pin.parent().unwrap()).unwrap();
        // Only root unpins.
        if testing::user().0 == 0 {
            testing::write(&pin, b"");
        }
        let containers = [(); 2].map(|()| ContainerId::random().unwrap());
        let failures = release(&node, &pod, containers.to_vec(), None).await;
        let texts: Vec<_> = failures.iter().map(|error| error_chain(error)).collect();
        assert_eq!(texts.len(), 3, "two containers and the pause: {texts:?}");
        assert!(
            texts.iter().all(|text| text.contains("/a/../b")),
            "{texts:?}"
        );
        assert_eq!(program.killed_by(), Some(libc::SIGKILL));
        assert!(!pin.exists(), "the pin of the network namespace stayed");
    }

    /// The record is the intent: without it the next daemon would not know what to undo.
    #[tokio::test]
    async fn the_intent_is_on_disk_when_the_shim_cannot_be_started() {
        if testing::user().0 != 0 {
            println!("skipped: only root makes the files of a pod");
            return;
        }
        let (_guard, node) = testing::node();
        let mut pod = testing::pod_of(&node, PodConfig::default());
        pod.phase = PodPhase::Creating;
        // The cgroup of a pod with a scope is made when its shim runs.
        let slice = crate::systemd::Slice::parse("holdfast.slice").unwrap();
        pod.cgroup = cgroups::of_scope(pod.id, &slice).unwrap().to_string();
        let error = make(&node, &pod).await.unwrap_err();
        assert!(matches!(error, PodError::Spawn(_)), "{error:?}");
        let dir = node.pod_dir(pod.id).unwrap().unwrap();
        let found = load_pod(&dir).unwrap().unwrap();
        assert_eq!((found.id, found.phase), (pod.id, PodPhase::Creating));
    }

    /// A pod that joins another one's network, which has ended meanwhile, makes nothing.
    #[tokio::test]
    async fn nothing_is_made_for_a_pod_whose_network_owner_is_gone() {
        let (_guard, node) = testing::node();
        let mut pod = testing::pod_of(&node, PodConfig::default());
        pod.network_owner = Some(holdfast_kernel::id::PodId::random().unwrap());
        let error = make(&node, &pod).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(node.pod_dir(pod.id).unwrap().is_none());
    }

    #[test]
    fn a_plan_is_sealed_for_the_shim_that_reads_it() {
        let (_guard, node) = testing::node();
        let mut pod = testing::pod_of(&node, PodConfig::default());
        let plan = pause_plan(&node, &pod).unwrap();
        let mut sealed = std::fs::File::from(seal("pause plan", &pod, &plan).unwrap());
        let mut bytes = Vec::new();
        sealed.rewind().unwrap();
        sealed.read_to_end(&mut bytes).unwrap();
        let found: PausePlan = wire::decode_plan(&bytes).unwrap();
        assert_eq!(found, plan);
        std::io::Write::write_all(&mut sealed, b"x").unwrap_err();
        pod.protocols = Protocols::default();
        let text = error_chain(&seal("pause plan", &pod, &plan).unwrap_err());
        assert!(text.contains("the pod's shim is not understood"), "{text}");
    }

    #[test]
    fn a_request_is_checked_before_anything_is_made() {
        let (_guard, node) = testing::node();
        let handler = |name: &str| PodConfig {
            runtime_handler: name.to_owned(),
            ..PodConfig::default()
        };
        let mut joins = PodConfig::default();
        let wanted = crate::spec::experiments::PodReference::Id("a".to_owned());
        let key = crate::spec::experiments::Experiment::JoinNetwork.annotation();
        joins.annotations.insert(key, "a".to_owned());
        joins.experiments.join_network = Some(wanted);
        for (config, wanted) in [
            (handler(""), None),
            (handler("holdfast"), None),
            (
                handler("runc"),
                Some((ErrorKind::InvalidArgument, "runtime handler \"runc\"")),
            ),
            (
                joins,
                Some((ErrorKind::FailedPrecondition, "does not allow")),
            ),
        ] {
            let pod = testing::pod_of(&node, config);
            let checked = validate(&node, &pod.config, &pod);
            match (checked, wanted) {
                (Ok(()), None) => {}
                (Err(error), Some((kind, text))) => {
                    assert_eq!(error.kind(), kind, "{error}");
                    assert!(error.to_string().contains(text), "{error}");
                }
                (checked, wanted) => panic!("{checked:?} and not {wanted:?}"),
            }
            assert!(node.pod_dirs().unwrap().is_empty());
        }
    }
}
