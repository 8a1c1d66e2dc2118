//! Explains what a container sees because of each namespace.

use std::os::fd::AsFd;

use super::super::kind::Kind;
use super::super::procfs::{self, Status};
use super::super::view::{Member, Pod, Whose, full_name, whose};
use super::fact::Fact;
use holdfast_kernel::sys;
use holdfast_kernel::sys::pid::Pid;

/// The name of the pause.
const PAUSE: &str = "pause";

/// Returns a fact for each namespace.
pub(super) fn facts(pod: &Pod, at: usize, status: &Status) -> Vec<Fact> {
    let machine = procfs::of_machine();
    let pods = std::slice::from_ref(pod);
    let member = &pod.members[at];
    let fact = |kind: Kind| {
        let inode = member.namespaces.get(&kind)?;
        let whose = whose(pods, (0, at), kind, &machine)?;
        let others = sharers(pod, at, kind);
        let mut statement = format!("{kind}: {}", sharing(pods, &whose, &others));
        if let Some(more) = sees(kind, member, status, &whose) {
            statement.push('\n');
            statement.push_str(&more);
        }
        let source = format!(
            "/proc/{}/ns/{kind} is {kind}:[{inode}]{}",
            member.pid,
            file(kind, member.pid)
        );
        Some(Fact::new("namespaces", statement, source))
    };
    Kind::ALL.into_iter().filter_map(fact).collect()
}

/// Names of those in the same namespace.
fn sharers(pod: &Pod, at: usize, kind: Kind) -> Vec<&str> {
    let inode = pod.members[at].namespaces.get(&kind);
    let others = pod.members.iter().enumerate();
    others
        .filter(|(other, member)| *other != at && member.namespaces.get(&kind) == inode)
        .map(|(_, member)| member.name.as_str())
        .collect()
}

fn sharing(pods: &[Pod], whose: &Whose, others: &[&str]) -> String {
    let with = others.join(", ");
    let containers: Vec<_> = others
        .iter()
        .filter(|name| **name != PAUSE)
        .copied()
        .collect();
    match whose {
        Whose::Machine => "the machine's own".to_owned(),
        Whose::Own if others.is_empty() => "its own, shared with nobody".to_owned(),
        Whose::Own => format!("its own, in which are also {with}"),
        Whose::Pause if containers.is_empty() => "the pod's, held by the pause".to_owned(),
        Whose::Pause => format!(
            "the pod's, held by the pause, shared with {}",
            containers.join(", ")
        ),
        Whose::Other(pod, member) => format!("that of {}", full_name(pods, (*pod, *member))),
    }
}

/// The file beside the namespace itself that the explanation is from.
fn file(kind: Kind, pid: Pid) -> String {
    match kind {
        Kind::Net => format!("; /proc/{pid}/net/dev"),
        Kind::Pid => format!("; NSpid of /proc/{pid}/status"),
        Kind::User => format!("; /proc/{pid}/uid_map"),
        Kind::Time => format!("; /proc/{pid}/timens_offsets"),
        Kind::Mnt => format!("; /proc/{pid}/mountinfo"),
        Kind::Cgroup => format!("; /proc/{pid}/cgroup"),
        Kind::Uts => "; gethostname(2) in it".to_owned(),
        Kind::Ipc => String::new(),
    }
}

/// Explains what the container sees because of a namespace.
fn sees(kind: Kind, member: &Member, status: &Status, whose: &Whose) -> Option<String> {
    match kind {
        Kind::Net => Some(interfaces(member.pid)),
        Kind::Uts => hostname(member.pid).map(|name| format!("its host name is {name:?}")),
        Kind::Ipc => Some(
            "System V segments, semaphores, message queues and POSIX queues are seen by all in it"
                .to_owned(),
        ),
        Kind::Pid => Some(pids(member, status)),
        Kind::Mnt => {
            let table = procfs::text(member.pid, "mountinfo").ok()?;
            let count = procfs::mounts(&table).len();
            Some(format!(
                "it has {count} mounts; nothing that is mounted elsewhere appears in it"
            ))
        }
        Kind::Cgroup => match whose {
            Whose::Machine => Some("it sees the paths of its groups as the node does".to_owned()),
            Whose::Own | Whose::Pause | Whose::Other(..) => {
                Some("its own group looks like the root of the tree to it".to_owned())
            }
        },
        Kind::User => Some(users(member.pid, whose)),
        Kind::Time => offsets(member.pid),
    }
}

fn interfaces(pid: Pid) -> String {
    let devices = procfs::text(pid, "net/dev").unwrap_or_default();
    let name = |line: &str| Some(line.split_once(':')?.0.trim().to_owned());
    let names: Vec<_> = devices.lines().skip(2).filter_map(name).collect();
    format!(
        "it has the interfaces {}; whoever shares it is reached at 127.0.0.1 and cannot use the same ports",
        names.join(", ")
    )
}

/// The host name of another UTS namespace, asked by a thread that enters it and ends.
fn hostname(pid: Pid) -> Option<String> {
    let namespace = std::fs::File::open(pid.proc_file("ns/uts")).ok()?;
    let ask = move || {
        sys::namespace::join(namespace.as_fd(), Kind::Uts.flag()).ok()?;
        let name = nix::unistd::gethostname().ok()?;
        Some(name.to_string_lossy().into_owned())
    };
    std::thread::spawn(ask).join().ok()?
}

fn pids(member: &Member, status: &Status) -> String {
    let inode = member.namespaces.get(&Kind::Pid);
    let is = |pid: &Pid| procfs::namespaces(*pid).get(&Kind::Pid) == inode;
    let count = procfs::all().into_iter().filter(is).count();
    let inside = status.pids().last().copied().unwrap_or_default();
    if inside == 1 {
        format!("it is process 1 of {count}: when it ends, the kernel ends all of them")
    } else {
        format!("it is process {inside} of {count}, and sees and may signal the others")
    }
}

fn users(pid: Pid, whose: &Whose) -> String {
    if *whose == Whose::Machine {
        return "its root is the machine's root, bounded by capabilities alone".to_owned();
    }
    let map = procfs::id_map(&procfs::text(pid, "uid_map").unwrap_or_default());
    let range = |range: &procfs::IdRange| {
        format!(
            "users {} to {} inside are {} to {} on the node",
            range.inside,
            range.inside + range.count.saturating_sub(1),
            range.outside,
            range.outside + range.count.saturating_sub(1),
        )
    };
    map.iter().map(range).collect::<Vec<_>>().join("; ")
}

fn offsets(pid: Pid) -> Option<String> {
    let text = procfs::text(pid, "timens_offsets").ok()?;
    let clock = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, "0", "0"] | [] => None,
            [clock, seconds, nanos] => Some(format!("{clock} is moved by {seconds} s {nanos} ns")),
            _ => None,
        }
    };
    let moved: Vec<_> = text.lines().filter_map(clock).collect();
    (!moved.is_empty()).then(|| moved.join("; "))
}
