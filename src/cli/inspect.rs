//! `holdfast inspect`: everything that the daemon says of one pod or one container.

use std::collections::{BTreeMap, HashMap};

use clap::{Args, ValueEnum};
use cri_api::runtime::v1 as cri;
use serde::Serialize;
use serde_json::Value;

use super::connect::Daemon;
use super::out::{self, Format};
use super::ps;
use super::select::{self, NamespaceArgs, Target};
use crate::out::PrintError;
use crate::refusal::Refusal;
use crate::request::RequestError;

/// The command line of `holdfast inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast inspect two-containers/a")]
pub struct InspectArgs {
    /// Pod or container: POD, NAMESPACE/POD, POD/CONTAINER, NAMESPACE/POD/CONTAINER, or an id.
    pub name: String,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Format of the output.
    #[arg(short, long, value_enum, default_value = "json")]
    pub output: Form,
}

/// Output formats of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// JSON, as docs/json.md describes it.
    Json,
    /// The same as YAML.
    Yaml,
}

/// A pod as `inspect` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    id: String,
    name: String,
    namespace: String,
    uid: String,
    attempt: u32,
    state: &'static str,
    created_at: i64,
    runtime_handler: String,
    ips: Vec<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    info: BTreeMap<String, Value>,
}

/// A container as `inspect` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    id: String,
    name: String,
    attempt: u32,
    pod_id: String,
    state: &'static str,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    exit_code: Option<i32>,
    reason: String,
    message: String,
    image: String,
    image_id: String,
    log_path: String,
    mounts: Vec<Mount>,
    user: Option<User>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    info: BTreeMap<String, Value>,
}

/// A mount of a container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    container_path: String,
    host_path: String,
    image: Option<String>,
    read_only: bool,
}

/// The user of a container's first process.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    uid: i64,
    gid: i64,
    supplemental_groups: Vec<i64>,
}

/// Prints the document of one pod or container.
pub(super) async fn run(mut daemon: Daemon, args: InspectArgs) -> Result<(), RequestError> {
    let daemon = &mut daemon;
    match select::target(daemon, args.within.name(&args.name)).await? {
        Target::Pod(pod) => print(args.output, &inspect_pod(daemon, pod).await?)?,
        Target::Container(container) => {
            print(args.output, &inspect_container(daemon, container).await?)?;
        }
    }
    Ok(())
}

fn print<T: Serialize>(form: Form, document: &T) -> Result<(), PrintError> {
    let format = match form {
        Form::Json => Format::Json,
        Form::Yaml => Format::Yaml,
    };
    out::print(format, document, |_| Ok(()))
}

/// Asks the daemon for the status of a container.
pub(super) async fn container_status(
    daemon: &mut Daemon,
    id: &str,
) -> Result<cri::ContainerStatus, Refusal> {
    let request = cri::ContainerStatusRequest {
        container_id: id.to_owned(),
        verbose: false,
    };
    let reply = daemon.runtime.container_status(request).await;
    let reply = reply.map_err(Refusal::to("inspect the container"))?;
    Ok(reply.into_inner().status.unwrap_or_default())
}

/// The info that the daemon adds to a verbose status: JSON where it can be parsed, otherwise text.
fn info(info: HashMap<String, String>) -> BTreeMap<String, Value> {
    let value = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    let mut parts = BTreeMap::new();
    for (key, text) in info {
        match value(text) {
            // The daemon answers with one entry of this name, as other runtimes do; its fields are the info.
            Value::Object(fields) if key == "info" => parts.extend(fields),
            part => {
                parts.insert(key, part);
            }
        }
    }
    parts
}

/// A time in Unix nanoseconds; None when it has not come yet.
fn nonzero(time: i64) -> Option<i64> {
    (time > 0).then_some(time)
}

async fn inspect_pod(daemon: &mut Daemon, pod: cri::PodSandbox) -> Result<Pod, Refusal> {
    let request = cri::PodSandboxStatusRequest {
        pod_sandbox_id: pod.id,
        verbose: true,
    };
    let reply = daemon.runtime.pod_sandbox_status(request).await;
    let reply = reply.map_err(Refusal::to("inspect the pod"))?;
    let reply = reply.into_inner();
    let status = reply.status.unwrap_or_default();
    let state = ps::pod_state_name(status.state());
    let metadata = status.metadata.unwrap_or_default();
    let network = status.network.unwrap_or_default();
    let further = network.additional_ips.into_iter().map(|ip| ip.ip);
    let ips = std::iter::once(network.ip).chain(further);
    Ok(Pod {
        id: status.id,
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        attempt: metadata.attempt,
        state,
        created_at: status.created_at,
        runtime_handler: status.runtime_handler,
        ips: ips.filter(|ip| !ip.is_empty()).collect(),
        labels: status.labels.into_iter().collect(),
        annotations: status.annotations.into_iter().collect(),
        info: info(reply.info),
    })
}

async fn inspect_container(
    daemon: &mut Daemon,
    container: cri::Container,
) -> Result<Container, Refusal> {
    let request = cri::ContainerStatusRequest {
        container_id: container.id,
        verbose: true,
    };
    let reply = daemon.runtime.container_status(request).await;
    let reply = reply.map_err(Refusal::to("inspect the container"))?;
    let reply = reply.into_inner();
    let status = reply.status.unwrap_or_default();
    let state = status.state();
    let metadata = status.metadata.unwrap_or_default();
    let image = status.image.unwrap_or_default();
    let user = status.user.and_then(|user| user.linux);
    Ok(Container {
        id: status.id,
        name: metadata.name,
        attempt: metadata.attempt,
        pod_id: container.pod_sandbox_id,
        state: ps::state_name(state),
        created_at: status.created_at,
        started_at: nonzero(status.started_at),
        finished_at: nonzero(status.finished_at),
        exit_code: (state == cri::ContainerState::ContainerExited).then_some(status.exit_code),
        reason: status.reason,
        message: status.message,
        image: image.image,
        image_id: if status.image_id.is_empty() {
            status.image_ref
        } else {
            status.image_id
        },
        log_path: status.log_path,
        mounts: status.mounts.into_iter().map(mount).collect(),
        user: user.map(|user| User {
            uid: user.uid,
            gid: user.gid,
            supplemental_groups: user.supplemental_groups,
        }),
        labels: status.labels.into_iter().collect(),
        annotations: status.annotations.into_iter().collect(),
        info: info(reply.info),
    })
}

fn mount(mount: cri::Mount) -> Mount {
    Mount {
        container_path: mount.container_path,
        host_path: mount.host_path,
        image: mount.image.map(|image| image.image),
        read_only: mount.readonly,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    #[test]
    fn what_is_json_is_shown_as_such() {
        let text = HashMap::from([
            ("info".to_owned(), r#"{"pid": 7}"#.to_owned()),
            ("note".to_owned(), "plain words".to_owned()),
        ]);
        let info = super::info(text);
        assert_eq!(info["pid"], json!(7));
        assert_eq!(info["note"], json!("plain words"));
    }
}
