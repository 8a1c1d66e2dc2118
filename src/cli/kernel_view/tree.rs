//! `holdfast tree`: the processes of a pod, with their numbers outside and inside.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::kernel_view_error::KernelViewError;
use super::procfs::{self, Status, id_map, inside};
use super::view::{self, Member, Part, Pod, ViewError};
use crate::connect::Daemon;
use crate::out::{self, FormatArgs, PrintError, style, table};
use crate::select::{self, NamespaceArgs};
use holdfast_kernel::sys::pid::Pid;

/// The command line of `holdfast tree`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast tree two-containers")]
pub struct TreeArgs {
    /// Pod as POD, NAMESPACE/POD or an id.
    pub pod: String,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// A process and its children.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    pid: Pid,
    /// Its number in its own pid namespace.
    pid_inside: u64,
    /// Its effective user outside.
    uid: u64,
    /// The same in its own user namespace; missing when it has none there.
    uid_inside: Option<u64>,
    /// The letter of ps(1): R, S, D, Z, T …
    state: String,
    /// Name of the container; `pause` for the pause, empty for the shim.
    container: String,
    command: String,
    children: Vec<Process>,
}

/// Carries out `holdfast tree`.
pub(crate) async fn tree(mut daemon: Daemon, args: TreeArgs) -> Result<(), KernelViewError> {
    let sandbox = select::pod(&mut daemon, args.within.name(&args.pod))
        .await
        .map_err(ViewError::from)?;
    let pods = view::pods(&mut daemon, &[sandbox.id], &args.within).await;
    let pod = pods.map_err(ViewError::from)?.pop();
    let missing = || ViewError::NotRunning(args.pod.clone());
    let pod = pod.ok_or_else(missing)?;
    let pause = pod.members.first().ok_or_else(missing)?;
    view::verify(pause)?;
    let shim = Status::read(pause.pid)?.parent();
    let processes = all_statuses();
    let root = process_tree(shim, &pod, &processes).ok_or_else(missing)?;
    Ok(out::print(args.format.output, &root, people)?)
}

/// All processes of the node.
fn all_statuses() -> BTreeMap<Pid, Status> {
    let status = |pid: Pid| Some((pid, Status::read(pid).ok()?));
    procfs::all().into_iter().filter_map(status).collect()
}

/// A process with all that descend from it. A process whose parent has died belongs to the first process of its
/// pid namespace or to the shim, so all of a pod is found.
fn process_tree(pid: Pid, pod: &Pod, all: &BTreeMap<Pid, Status>) -> Option<Process> {
    let status = all.get(&pid)?;
    let uid = status.numbers("Uid").get(1).copied().unwrap_or_default();
    let map = id_map(&procfs::text(pid, "uid_map").unwrap_or_default());
    let children = all.iter().filter(|(_, other)| other.parent() == pid);
    Some(Process {
        pid,
        pid_inside: status.pids().last().copied().unwrap_or_default(),
        uid,
        uid_inside: inside(&map, uid),
        state: status.get("State").chars().take(1).collect(),
        container: container(pid, pod),
        command: procfs::command(pid, status),
        children: children
            .filter_map(|(child, _)| process_tree(*child, pod, all))
            .collect(),
    })
}

/// Whose a process is: a container's has the container's id in the path of its cgroup, whoever started it.
fn container(pid: Pid, pod: &Pod) -> String {
    let groups = procfs::text(pid, "cgroup").unwrap_or_default();
    let is = |member: &&Member| match member.role {
        Part::Pause => member.pid == pid,
        Part::Container => member.pid == pid || groups.contains(&member.id),
    };
    let member = pod.members.iter().find(is);
    member.map(|member| member.name.clone()).unwrap_or_default()
}

fn people(root: &Process) -> Result<(), PrintError> {
    let headings = [
        "PID",
        "INSIDE",
        "UID",
        "INSIDE",
        "STAT",
        "CONTAINER",
        "COMMAND",
    ];
    let mut out = table::new(&headings);
    rows(root, "", "", &mut |row| {
        out.add_row(row);
    });
    table::print(&out)
}

/// Adds a process and its children; `lead` stands before its own command, `below` before theirs.
fn rows(process: &Process, lead: &str, below: &str, add: &mut impl FnMut([String; 7])) {
    let faint = |same: bool, text: String| {
        if same {
            style::paint(style::FAINT, text)
        } else {
            text
        }
    };
    let uid_inside = match process.uid_inside {
        Some(uid) => uid.to_string(),
        None => "nobody".to_owned(),
    };
    let same_pid =
        i64::from(process.pid.as_raw()) == i64::try_from(process.pid_inside).unwrap_or(-1);
    add([
        process.pid.to_string(),
        faint(same_pid, process.pid_inside.to_string()),
        process.uid.to_string(),
        faint(process.uid_inside == Some(process.uid), uid_inside),
        process.state.clone(),
        process.container.clone(),
        format!("{lead}{}", process.command),
    ]);
    for (number, child) in process.children.iter().enumerate() {
        let (branch, trunk) = if number + 1 == process.children.len() {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        let lead = format!("{below}{branch}");
        rows(child, &lead, &format!("{below}{trunk}"), add);
    }
}
