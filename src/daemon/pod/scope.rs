//! A pod's systemd scope: the unit in which its cgroups are made, and in which its shim lives.
//!
//! ```text
//!   shim runs ──▶ StartTransientUnit around it ──▶ shim moves to a group of its own below ──▶ pause, containers
//! ```
//!
//! The shim stays in the scope for as long as the pod lives: so the scope is never empty, and systemd takes
//! away nothing that is still counted. It also leaves the daemon's own service with it, so that whatever is
//! done to that service reaches no pod.

use std::sync::Arc;

use super::blocking::blocking;
use super::cgroups;
use super::error::PodError;
use super::launch_error::{shim, unexpected};
use super::link::ShimLink;
use super::node::Node;
use super::record::PodRecord;
use crate::systemd::{Scope, Slice};
use holdfast_kernel::cgroup::{Cgroup, CgroupPath, Limits};
use holdfast_wire::{Reply, Request};

/// Group of the shim within its scope.
const SHIM: &str = "shim";

/// Makes the scope around the pod's shim, and the pause's cgroup in it.
pub(super) async fn enter(
    node: &Arc<Node>,
    pod: &PodRecord,
    link: &ShimLink,
) -> Result<Cgroup, PodError> {
    const DOING: &str = "ask the pod's shim for its process id";
    let answer = link
        .ask(Request::Identify, &[])
        .await
        .map_err(shim(DOING))?;
    let Reply::Identity(process) = answer.body else {
        return Err(unexpected(DOING, &answer).into());
    };
    if u32::try_from(process).is_err() {
        return Err(unexpected(DOING, &answer).into());
    }
    let metadata = &pod.config.metadata;
    let scope = Scope {
        name: &cgroups::scope_name(pod.id),
        slice: &Slice::parse(cgroups::slice(pod).unwrap_or_default())?,
        description: &format!("pod {}/{}", metadata.namespace, metadata.name),
        process,
    };
    node.systemd.start_scope(&scope).await?;
    let (node, pod) = (Arc::clone(node), pod.clone());
    blocking(move || {
        let cgroups = &node.cgroups;
        // A group with processes cannot hand controllers to others, so the shim goes aside first.
        let own = CgroupPath::new(&pod.cgroup)?.join(SHIM)?;
        cgroups.set_aside(&own, process)?;
        Ok(cgroups.create(&cgroups::of_pause(&pod)?, &Limits::default())?)
    })
    .await
}

/// Ends the scope with what is left in it. May be repeated.
pub(super) async fn leave(node: &Arc<Node>, pod: &PodRecord) -> Result<(), PodError> {
    if cgroups::slice(pod).is_none() {
        return Ok(());
    }
    node.systemd.stop(&cgroups::scope_name(pod.id)).await?;
    let (node, path) = (Arc::clone(node), CgroupPath::new(&pod.cgroup)?);
    blocking(move || cgroups::kill_and_remove(&node.cgroups, &path)).await
}
