//! Every namespace of the node that pods use, as lsns(8) lists them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::kind::Kind;
use super::procfs::{self, Status};
use super::view::Pod;
use crate::out::{self, Format, PrintError, style, table};
use holdfast_kernel::sys::pid::Pid;

#[derive(Debug, Serialize)]
struct Document {
    namespaces: Vec<Listed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(rename = "type")]
    kind: Kind,
    inode: u64,
    /// How many processes of the node are in it.
    processes: usize,
    /// The lowest process number in it.
    pid: Pid,
    command: String,
    /// Who made it or keeps it: `machine`, POD/NAME.
    held_by: String,
    /// The file that it is bound to, when there is one: it outlives its processes.
    pinned_at: Option<String>,
    pods: BTreeSet<String>,
}

/// Who is in a namespace, of all processes of the node.
#[derive(Debug, Default)]
struct Census(BTreeMap<(Kind, u64), Vec<Pid>>);

impl Census {
    fn take() -> Self {
        let mut found: BTreeMap<_, Vec<Pid>> = BTreeMap::new();
        for pid in procfs::all() {
            for namespace in procfs::namespaces(pid) {
                found.entry(namespace).or_default().push(pid);
            }
        }
        Self(found)
    }
}

/// Shows the namespaces of all pods of the node.
pub(super) fn show(
    pods: &[Pod],
    machine: &BTreeMap<Kind, u64>,
    format: Format,
) -> Result<(), PrintError> {
    let document = Document {
        namespaces: list(pods, machine, &Census::take()),
    };
    out::print(format, &document, |document| people(&document.namespaces))
}

fn list(pods: &[Pod], machine: &BTreeMap<Kind, u64>, census: &Census) -> Vec<Listed> {
    let pins = pins(&procfs::read("/proc/self/mountinfo").unwrap_or_default());
    let mut found: BTreeMap<(Kind, u64), (String, BTreeSet<String>)> = BTreeMap::new();
    for pod in pods {
        for member in &pod.members {
            for (kind, inode) in &member.namespaces {
                let holder = if machine.get(kind) == Some(inode) {
                    "machine".to_owned()
                } else {
                    format!("{}/{}", pod.title(), member.name)
                };
                let entry = found.entry((*kind, *inode));
                let (_, pods) = entry.or_insert_with(|| (holder, BTreeSet::new()));
                pods.insert(pod.title());
            }
        }
    }
    let listed = |((kind, inode), (held_by, pods)): ((Kind, u64), (String, BTreeSet<String>))| {
        let members = census.0.get(&(kind, inode)).map(Vec::as_slice);
        let members = members.unwrap_or_default();
        let pid = members.first().copied().unwrap_or_default();
        let status = Status::read(pid).unwrap_or_default();
        Listed {
            kind,
            inode,
            processes: members.len(),
            pid,
            command: procfs::command(pid, &status),
            held_by,
            pinned_at: pins.get(&(kind, inode)).cloned(),
            pods,
        }
    };
    found.into_iter().map(listed).collect()
}

/// Namespaces that are bound to files: in a mount table their root is `KIND:[INODE]`.
fn pins(mountinfo: &str) -> BTreeMap<(Kind, u64), String> {
    let pin = |mount: procfs::Mount| {
        let (name, rest) = mount.root.split_once(":[")?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
        let inode = rest.strip_suffix(']')?.parse().ok()?;
        (mount.fs_type == "nsfs").then_some(((kind, inode), mount.target))
    };
    procfs::mounts(mountinfo)
        .into_iter()
        .filter_map(pin)
        .collect()
}

fn people(namespaces: &[Listed]) -> Result<(), PrintError> {
    /// Longest command that is shown, in letters.
    const COMMAND: usize = 32;
    let mut out = table::new(&["NS", "TYPE", "NPROCS", "PID", "COMMAND", "HELD BY", "PODS"]);
    for one in namespaces {
        let pods: Vec<_> = one.pods.iter().map(String::as_str).collect();
        let mut held_by = match one.held_by.as_str() {
            "machine" => style::paint(style::FAINT, "machine"),
            holder => holder.to_owned(),
        };
        if let Some(pin) = &one.pinned_at {
            held_by.push_str(&format!(", {pin}"));
        }
        let mut command: String = one.command.chars().take(COMMAND).collect();
        if command.len() < one.command.len() {
            command.push('…');
        }
        out.add_row([
            one.inode.to_string(),
            style::paint(one.kind.style(), one.kind),
            one.processes.to_string(),
            one.pid.to_string(),
            command,
            held_by,
            pods.join(" "),
        ]);
    }
    table::print(&out)
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;

    #[test]
    fn a_pinned_network_namespace() {
        let text = "301 25 0:4 net:[4026532567] /run/netns/hf-1 rw shared:1 - nsfs nsfs rw\n\
                    302 25 0:4 /a /b rw - ext4 net:[1] rw\n";
        let pins = super::pins(text);
        assert_eq!(pins.len(), 1);
        assert_eq!(pins[&(Kind::Net, 4_026_532_567)], "/run/netns/hf-1");
    }
}
