//! `holdfast ns`: a pod's matrix of processes and namespaces, as a table, a document or a picture; without a pod,
//! the namespaces of the node that pods use.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::kernel_view_error::KernelViewError;
use super::kind::Kind;
use super::view::{self, Member, Part, Pod, ViewError, Whose, full_name, whose};
use super::{dot, node, picture, procfs};
use crate::connect::Daemon;
use crate::out::{self, Format, PrintError, style, table, text};
use crate::select::NamespaceArgs;
use holdfast_kernel::sys::pid::Pid;

/// The command line of `holdfast ns`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: holdfast ns                                    all namespaces that pods use
          holdfast ns two-containers                     who shares what
          holdfast ns two-containers -o svg > pod.svg    the same as a picture"
)]
pub struct NsArgs {
    /// Pods as POD, NAMESPACE/POD or by id. Without a pod, the output lists all namespaces of the node that pods use.
    pub pods: Vec<String>,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: NsFormat,
}

/// How namespaces are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NsFormat {
    /// Text for people to read.
    Table,
    /// JSON, as docs/json.md describes it.
    Json,
    /// The same as YAML.
    Yaml,
    /// A graph for Graphviz' dot(1).
    Dot,
    /// A picture in SVG format.
    Svg,
}

/// The document: pods with their processes.
#[derive(Debug, Serialize)]
struct Document<'a> {
    pods: Vec<PodDocument<'a>>,
}

#[derive(Debug, Serialize)]
struct PodDocument<'a> {
    id: &'a str,
    name: &'a str,
    namespace: &'a str,
    ip: &'a str,
    processes: Vec<ProcessDocument<'a>>,
}

#[derive(Debug, Serialize)]
struct ProcessDocument<'a> {
    role: Part,
    name: &'a str,
    id: &'a str,
    image: &'a str,
    pid: Pid,
    namespaces: BTreeMap<Kind, NamespaceDocument>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceDocument {
    inode: u64,
    /// `machine`, `own`, `pause`, or POD/NAME of whoever has it.
    #[serde(rename = "of")]
    owner: String,
    /// Who else is in it, POD/NAME each.
    shared_with: Vec<String>,
}

/// Carries out `holdfast ns`.
pub(crate) async fn ns(mut daemon: Daemon, args: NsArgs) -> Result<(), KernelViewError> {
    let pods = view::pods(&mut daemon, &args.pods, &args.within)
        .await
        .map_err(ViewError::from)?;
    let machine = procfs::of_machine();
    let format = match args.output {
        NsFormat::Dot | NsFormat::Svg if pods.is_empty() => {
            let name = if args.output == NsFormat::Dot {
                "dot"
            } else {
                "svg"
            };
            return Err(KernelViewError::NeedsPod(name));
        }
        NsFormat::Dot => return Ok(out::line(dot::graph(&pods, &machine).trim_end())?),
        NsFormat::Svg => return Ok(out::line(picture::draw(&pods, &machine).trim_end())?),
        NsFormat::Table => Format::Table,
        NsFormat::Json => Format::Json,
        NsFormat::Yaml => Format::Yaml,
    };
    if args.pods.is_empty() {
        return Ok(node::show(&pods, &machine, format)?);
    }
    let document = document(&pods, &machine);
    Ok(out::print(format, &document, |_| matrix(&pods, &machine))?)
}

fn document<'a>(pods: &'a [Pod], machine: &BTreeMap<Kind, u64>) -> Document<'a> {
    let process = |at: (usize, usize), member: &'a Member| ProcessDocument {
        role: member.role,
        name: &member.name,
        id: &member.id,
        image: &member.image,
        pid: member.pid,
        namespaces: member
            .namespaces
            .iter()
            .map(|(kind, inode)| (*kind, namespace(pods, at, (*kind, *inode), machine)))
            .collect(),
    };
    let pod = |(number, pod): (usize, &'a Pod)| PodDocument {
        id: &pod.id,
        name: &pod.name,
        namespace: &pod.namespace,
        ip: &pod.ip,
        processes: pod
            .members
            .iter()
            .enumerate()
            .map(|(at, member)| process((number, at), member))
            .collect(),
    };
    Document {
        pods: pods.iter().enumerate().map(pod).collect(),
    }
}

fn namespace(
    pods: &[Pod],
    at: (usize, usize),
    (kind, inode): (Kind, u64),
    machine: &BTreeMap<Kind, u64>,
) -> NamespaceDocument {
    let owner = match whose(pods, at, kind, machine) {
        Some(Whose::Machine) => "machine".to_owned(),
        Some(Whose::Pause) => "pause".to_owned(),
        Some(Whose::Other(pod, member)) => full_name(pods, (pod, member)),
        Some(Whose::Own) | None => "own".to_owned(),
    };
    let all = pods.iter().enumerate().flat_map(|(pod, of)| {
        let numbered = of.members.iter().enumerate();
        numbered.map(move |(member, one)| ((pod, member), one))
    });
    let shared_with = all
        .filter(|(other, one)| *other != at && one.namespaces.get(&kind) == Some(&inode))
        .map(|(other, _)| full_name(pods, other))
        .collect();
    NamespaceDocument {
        inode,
        owner,
        shared_with,
    }
}

/// The tables for people: one a pod.
fn matrix(pods: &[Pod], machine: &BTreeMap<Kind, u64>) -> Result<(), PrintError> {
    for (number, pod) in pods.iter().enumerate() {
        if number > 0 {
            out::line("")?;
        }
        let id = text::short(&pod.id);
        let title = style::paint(style::STRONG, format!("pod {}", pod.title()));
        out::line(format!("{title}  {id}  {}", pod.ip).trim_end())?;
        let mut headings = vec!["PROCESS", "PID"];
        headings.extend(Kind::ALL.map(Kind::name));
        let mut table = table::new(&headings);
        for (at, member) in pod.members.iter().enumerate() {
            let mut row = vec![member.name.clone(), member.pid.to_string()];
            row.extend(Kind::ALL.map(|kind| cell(pods, (number, at), kind, machine)));
            table.add_row(row);
        }
        table::print(&table)?;
    }
    out::line(
        "\n=: shared with the pause    =NAME: shared with NAME    host: the machine's    bare number: its own",
    )
}

fn cell(pods: &[Pod], at: (usize, usize), kind: Kind, machine: &BTreeMap<Kind, u64>) -> String {
    let Some(inode) = pods[at.0].members[at.1].namespaces.get(&kind) else {
        return "-".to_owned();
    };
    match whose(pods, at, kind, machine) {
        Some(Whose::Machine) => style::paint(style::FAINT, format!("{inode} host")),
        Some(Whose::Pause) => style::paint(kind.style(), format!("{inode} =")),
        Some(Whose::Other(pod, member)) => {
            let name = if pod == at.0 {
                pods[pod].members[member].name.clone()
            } else {
                full_name(pods, (pod, member))
            };
            style::paint(kind.style(), format!("{inode} ={name}"))
        }
        Some(Whose::Own) if at.1 == 0 && is_shared(&pods[at.0], kind, *inode) => {
            style::paint(kind.style(), inode)
        }
        Some(Whose::Own) | None => style::paint(style::STRONG, inode),
    }
}

fn is_shared(pod: &Pod, kind: Kind, inode: u64) -> bool {
    let same = |member: &&Member| member.namespaces.get(&kind) == Some(&inode);
    pod.members.iter().filter(same).count() > 1
}
