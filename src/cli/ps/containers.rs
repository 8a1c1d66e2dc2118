//! `holdfast ps`: the list of containers.

use std::collections::HashMap;

use clap::{Args, ValueEnum};
use cri_api::runtime::v1 as cri;
use serde::Serialize;

use super::filter::{Extent, Label, Pattern};
use crate::connect::Daemon;
use crate::out::PrintError;
use crate::out::style::{BAD, FAINT, GOOD, WARN, paint};
use crate::out::{self, Format, FormatArgs, table, text};
use crate::request::RequestError;
use crate::{images, select};

/// The command line of `holdfast ps`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast ps --all --pod two-containers")]
pub struct PsArgs {
    /// Show containers in all states, not only running ones.
    #[arg(short, long)]
    pub all: bool,
    /// How many containers are shown, and how.
    #[command(flatten)]
    pub extent: Extent,
    /// Show containers whose name matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub name: Option<Pattern>,
    /// Show containers in this state.
    #[arg(short, long, value_enum, ignore_case = true)]
    pub state: Option<State>,
    /// Show containers of this pod, given as POD, NAMESPACE/POD or an id.
    #[arg(short, long)]
    pub pod: Option<String>,
    /// Show containers of pods whose namespace matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub namespace: Option<Pattern>,
    /// Show containers that have this label; repeat it for several labels.
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<Label>,
    /// Show containers of this image, given by reference or id.
    #[arg(long)]
    pub image: Option<String>,
    /// Show the container whose id begins with ID.
    #[arg(long)]
    pub id: Option<String>,
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// The states of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// The container was created and not started.
    Created,
    /// The first process of the container runs.
    Running,
    /// The first process of the container has ended.
    Exited,
    /// The daemon cannot tell the state.
    Unknown,
}

impl State {
    fn wire(self) -> cri::ContainerState {
        match self {
            Self::Created => cri::ContainerState::ContainerCreated,
            Self::Running => cri::ContainerState::ContainerRunning,
            Self::Exited => cri::ContainerState::ContainerExited,
            Self::Unknown => cri::ContainerState::ContainerUnknown,
        }
    }
}

/// A container as the list shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    name: String,
    attempt: u32,
    state: &'static str,
    pod: String,
    pod_id: String,
    namespace: String,
    image: String,
    image_id: String,
    created_at: i64,
    labels: std::collections::BTreeMap<String, String>,
}

/// Lists containers, the newest first.
pub(crate) async fn containers(mut daemon: Daemon, args: PsArgs) -> Result<(), RequestError> {
    let daemon = &mut daemon;
    let pods = select::pods(daemon).await?;
    let pods: HashMap<_, _> = pods.iter().map(|pod| (pod.id.as_str(), pod)).collect();
    let pod = match &args.pod {
        Some(name) => Some(select::pod(daemon, name).await?.id),
        None => None,
    };
    let image = match &args.image {
        Some(name) => Some(images::named(daemon, name).await?.id),
        None => None,
    };
    let all = select::containers(daemon).await?.into_iter().rev();
    let wanted = |container: &cri::Container| {
        let namespace = pods.get(container.pod_sandbox_id.as_str());
        let namespace = namespace.and_then(|pod| pod.metadata.as_ref());
        state_fits(&args, container.state())
            && pod
                .as_ref()
                .is_none_or(|id| *id == container.pod_sandbox_id)
            && image.as_ref().is_none_or(|id| *id == image_id(container))
            && args
                .id
                .as_ref()
                .is_none_or(|id| container.id.starts_with(id))
            && Pattern::fits(args.name.as_ref(), &select::container_name(container))
            && Pattern::fits(
                args.namespace.as_ref(),
                namespace.map_or("", |metadata| &metadata.namespace),
            )
            && Label::fit(&args.label, &container.labels)
    };
    let mut shown: Vec<_> = all.filter(wanted).collect();
    args.extent.cut(&mut shown);
    let shown: Vec<_> = shown
        .into_iter()
        .map(|container| listed(container, &pods))
        .collect();
    if args.extent.quiet && args.format.output == Format::Table {
        return Ok(out::lines(
            shown.iter().map(|container| container.id.as_str()),
        )?);
    }
    Ok(out::print(args.format.output, &shown, |shown| {
        show(shown, &args.extent)
    })?)
}

/// Whether a container in this state is shown: only running ones are, unless a flag says otherwise.
fn state_fits(args: &PsArgs, state: cri::ContainerState) -> bool {
    if args.extent.any_state() {
        return true;
    }
    match args.state {
        Some(wanted) => wanted.wire() == state,
        None => args.all || state == cri::ContainerState::ContainerRunning,
    }
}

fn image_id(container: &cri::Container) -> &str {
    if container.image_id.is_empty() {
        &container.image_ref
    } else {
        &container.image_id
    }
}

fn listed(container: cri::Container, pods: &HashMap<&str, &cri::PodSandbox>) -> Listed {
    let pod = pods.get(container.pod_sandbox_id.as_str());
    let pod = pod.and_then(|pod| pod.metadata.clone()).unwrap_or_default();
    let image_id = image_id(&container).to_owned();
    let spec = container.image.clone().unwrap_or_default();
    let image = if spec.user_specified_image.is_empty() {
        spec.image
    } else {
        spec.user_specified_image
    };
    let metadata = container.metadata.clone().unwrap_or_default();
    Listed {
        state: state_name(container.state()),
        id: container.id,
        name: metadata.name,
        attempt: metadata.attempt,
        pod: pod.name,
        pod_id: container.pod_sandbox_id,
        namespace: pod.namespace,
        image,
        image_id,
        created_at: container.created_at,
        labels: container.labels.into_iter().collect(),
    }
}

fn show(containers: &[Listed], extent: &Extent) -> Result<(), PrintError> {
    let mut out = table::new(&[
        "CONTAINER",
        "IMAGE",
        "CREATED",
        "STATE",
        "NAME",
        "ATTEMPT",
        "POD ID",
        "POD",
        "NAMESPACE",
    ]);
    for one in containers {
        let image = if one.image.starts_with("sha256:") {
            extent.id(&one.image)
        } else {
            &one.image
        };
        out.add_row([
            extent.id(&one.id),
            image,
            &format!("{} ago", text::ago(one.created_at)),
            &coloured(one.state),
            &one.name,
            &one.attempt.to_string(),
            extent.id(&one.pod_id),
            &one.pod,
            &one.namespace,
        ]);
    }
    table::print(&out)
}

/// The name of a state in JSON and YAML.
pub(crate) fn state_name(state: cri::ContainerState) -> &'static str {
    match state {
        cri::ContainerState::ContainerCreated => "created",
        cri::ContainerState::ContainerRunning => "running",
        cri::ContainerState::ContainerExited => "exited",
        cri::ContainerState::ContainerUnknown => "unknown",
    }
}

/// The name of a state in tables, coloured.
fn coloured(state: &str) -> String {
    match state {
        "running" => paint(GOOD, "Running"),
        "created" => paint(WARN, "Created"),
        "exited" => paint(FAINT, "Exited"),
        _ => paint(BAD, "Unknown"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use cri_api::runtime::v1::ContainerState;

    use super::{PsArgs, state_fits};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: PsArgs,
    }

    #[test]
    fn only_what_runs_is_shown_unless_asked() {
        use ContainerState::{ContainerExited as Exited, ContainerRunning as Running};
        for (flags, exited, running) in [
            (&[][..], false, true),
            (&["-a"], true, true),
            (&["--state", "Exited"], true, false),
            (&["-l"], true, true),
            (&["-n", "2"], true, true),
        ] {
            let line = Line::parse_from([&["ps"], flags].concat());
            assert_eq!(state_fits(&line.args, Exited), exited, "{flags:?}");
            assert_eq!(state_fits(&line.args, Running), running, "{flags:?}");
        }
    }
}
