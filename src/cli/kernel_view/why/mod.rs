//! `holdfast why`: what a container can see and what limits it, in plain words, each with the kernel's file that
//! says so.
//!
//! A fact is a topic, a sentence, and a source that a reader can open. What this module must never do: state
//! something that it has not read.

mod ended;
mod fact;
mod files;
mod limits;
mod namespaces;
mod rights;

use clap::Args;

use super::kernel_view_error::KernelViewError;
use super::procfs::{self, ProcError, Status};
use super::view::{self, Member, Pod, ViewError};
use crate::connect::Daemon;
use crate::out::{self, FormatArgs, PrintError, style};
use crate::select::NamespaceArgs;
use fact::{Document, Fact};

/// The command line of `holdfast why`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast why two-containers/a")]
pub struct WhyArgs {
    /// POD/CONTAINER, NAMESPACE/POD/CONTAINER or a container id; or POD, for the process that holds the namespaces of the
    /// pod.
    pub target: String,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Carries out `holdfast why`.
pub(crate) async fn why(mut daemon: Daemon, args: WhyArgs) -> Result<(), KernelViewError> {
    let document = match view::target(&mut daemon, &args.target, &args.within).await {
        Ok((pod, at)) => running(&pod, at)?,
        Err(ViewError::NotRunning(_)) => {
            ended::explain(&mut daemon, &args.target, &args.within).await?
        }
        Err(error) => return Err(error.into()),
    };
    Ok(out::print(args.format.output, &document, people)?)
}

fn running(pod: &Pod, at: usize) -> Result<Document, ProcError> {
    let member = &pod.members[at];
    let status = Status::read(member.pid)?;
    let mut facts = vec![process(member, &status)];
    facts.extend(namespaces::facts(pod, at, &status));
    facts.extend(limits::facts(member.pid));
    facts.extend(rights::facts(member.pid, &status));
    facts.extend(files::facts(member.pid)?);
    Ok(Document {
        name: member.name.clone(),
        pod: pod.title(),
        id: member.id.clone(),
        pid: Some(member.pid),
        facts,
    })
}

fn process(member: &Member, status: &Status) -> Fact {
    let command = procfs::command(member.pid, status);
    let pids = status.pids();
    let inside = pids.last().copied().unwrap_or_default();
    let statement = format!(
        "{command:?}: process {} on the node, {inside} inside, {} thread(s), {}",
        member.pid,
        status.get("Threads"),
        status.get("State"),
    );
    Fact::new("process", statement, member.pid.proc_file("status"))
}

fn people(document: &Document) -> Result<(), PrintError> {
    let title = format!("{}/{}", document.pod, document.name);
    out::line(&style::paint(style::STRONG, title))?;
    let mut topic = "";
    for fact in &document.facts {
        if fact.topic != topic {
            topic = fact.topic;
            out::line(&format!("\n{}", style::paint(style::STRONG, topic)))?;
        }
        let mut lines = fact.statement.lines();
        out::line(&format!("  {}", lines.next().unwrap_or_default()))?;
        for line in lines {
            out::line(&format!("    {line}"))?;
        }
        out::line(&format!(
            "      {}",
            style::paint(style::FAINT, &fact.source)
        ))?;
    }
    Ok(())
}
