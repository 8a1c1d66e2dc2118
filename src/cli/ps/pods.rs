//! `holdfast pods`: the list of pods.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use cri_api::runtime::v1 as cri;
use serde::Serialize;

use super::filter::{Extent, Label, Pattern};
use crate::connect::Daemon;
use crate::out::PrintError;
use crate::out::style::{GOOD, WARN, paint};
use crate::out::{self, Format, FormatArgs, table, text};
use crate::request::RequestError;
use crate::select;

/// The command line of `holdfast pods`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast pods --state ready -o json")]
pub struct PodsArgs {
    /// How many pods are shown, and how.
    #[command(flatten)]
    pub extent: Extent,
    /// Show pods whose name matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub name: Option<Pattern>,
    /// Show pods in this state.
    #[arg(short, long, value_enum, ignore_case = true)]
    pub state: Option<State>,
    /// Show pods whose namespace matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub namespace: Option<Pattern>,
    /// Show pods that have this label; repeat it for several labels.
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<Label>,
    /// Show the pod whose id begins with ID.
    #[arg(long)]
    pub id: Option<String>,
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// The states of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// The pod can run containers.
    Ready,
    /// The pod was stopped or has died.
    #[value(name = "notready")]
    NotReady,
}

/// A pod as the list shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    name: String,
    namespace: String,
    uid: String,
    attempt: u32,
    state: &'static str,
    runtime_handler: String,
    created_at: i64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// Lists pods, the newest first.
pub(crate) async fn pods(mut daemon: Daemon, args: PodsArgs) -> Result<(), RequestError> {
    let all = select::pods(&mut daemon).await?.into_iter().rev();
    let all = all.filter(|pod| Label::fit(&args.label, &pod.labels));
    let wanted = |pod: &Listed| {
        let state = match args.state.filter(|_| !args.extent.any_state()) {
            None => true,
            Some(State::Ready) => pod.state == "ready",
            Some(State::NotReady) => pod.state == "notready",
        };
        state
            && Pattern::fits(args.name.as_ref(), &pod.name)
            && Pattern::fits(args.namespace.as_ref(), &pod.namespace)
            && args.id.as_ref().is_none_or(|id| pod.id.starts_with(id))
    };
    let mut shown: Vec<_> = all.map(listed).filter(wanted).collect();
    args.extent.cut(&mut shown);
    if args.extent.quiet && args.format.output == Format::Table {
        return Ok(out::lines(shown.iter().map(|pod| pod.id.as_str()))?);
    }
    Ok(out::print(args.format.output, &shown, |shown| {
        show(shown, &args.extent)
    })?)
}

fn listed(pod: cri::PodSandbox) -> Listed {
    let metadata = pod.metadata.clone().unwrap_or_default();
    Listed {
        state: state_name(pod.state()),
        id: pod.id,
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        attempt: metadata.attempt,
        runtime_handler: pod.runtime_handler,
        created_at: pod.created_at,
        labels: pod.labels.into_iter().collect(),
        annotations: pod.annotations.into_iter().collect(),
    }
}

fn show(pods: &[Listed], extent: &Extent) -> Result<(), PrintError> {
    let mut out = table::new(&[
        "POD ID",
        "CREATED",
        "STATE",
        "NAME",
        "NAMESPACE",
        "ATTEMPT",
        "RUNTIME",
    ]);
    for pod in pods {
        let state = match pod.state {
            "ready" => paint(GOOD, "Ready"),
            _ => paint(WARN, "NotReady"),
        };
        let runtime = match pod.runtime_handler.as_str() {
            "" => "(default)",
            named => named,
        };
        out.add_row([
            extent.id(&pod.id),
            &format!("{} ago", text::ago(pod.created_at)),
            &state,
            &pod.name,
            &pod.namespace,
            &pod.attempt.to_string(),
            runtime,
        ]);
    }
    table::print(&out)
}

/// The name of a state in JSON and YAML.
pub(crate) fn state_name(state: cri::PodSandboxState) -> &'static str {
    match state {
        cri::PodSandboxState::SandboxReady => "ready",
        cri::PodSandboxState::SandboxNotready => "notready",
    }
}
