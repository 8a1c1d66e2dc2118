//! Why a container does not run.

use cri_api::runtime::v1 as cri;

use super::super::view::ViewError;
use super::fact::{Document, Fact};
use crate::connect::Daemon;
use crate::out::text;
use crate::refusal::Refusal;
use crate::select::{self, NamespaceArgs};

const SOURCE: &str = "ContainerStatus of the daemon";

/// Explains a container that does not run.
pub(super) async fn explain(
    daemon: &mut Daemon,
    name: &str,
    within: &NamespaceArgs,
) -> Result<Document, ViewError> {
    let container = select::container(daemon, within.name(name)).await?;
    let request = cri::ContainerStatusRequest {
        container_id: container.id.clone(),
        verbose: false,
    };
    let reply = daemon.runtime.container_status(request).await;
    let reply = reply.map_err(Refusal::to(format!("inspect the container {name}")))?;
    let status = reply.into_inner().status.unwrap_or_default();
    let pods = select::pods(daemon).await?;
    let pod = pods.iter().find(|pod| pod.id == container.pod_sandbox_id);
    Ok(Document {
        name: select::container_name(&container),
        pod: pod.map(select::pod_name).unwrap_or_default(),
        id: container.id,
        pid: None,
        facts: facts(&status),
    })
}

fn facts(status: &cri::ContainerStatus) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |statement: String| facts.push(Fact::new("process", statement, SOURCE));
    match status.state() {
        cri::ContainerState::ContainerCreated => add("it was created and never started".to_owned()),
        cri::ContainerState::ContainerExited => {
            add(format!(
                "it ended {} ago{}",
                text::ago(status.finished_at),
                code(status.exit_code)
            ));
            if status.reason == "OOMKilled" {
                add("the kernel killed it because it wanted more memory than its limit".to_owned());
            } else if !status.reason.is_empty() {
                add(format!("the reason is {}", status.reason));
            }
            if !status.message.is_empty() {
                add(status.message.clone());
            }
        }
        cri::ContainerState::ContainerRunning | cri::ContainerState::ContainerUnknown => {
            add("its state is not known".to_owned());
        }
    }
    facts
}

/// Explains an exit code by the convention of shells.
fn code(code: i32) -> String {
    match code {
        0 => " with exit code 0: all was well".to_owned(),
        126 => " with exit code 126: its command could not be executed".to_owned(),
        127 => " with exit code 127: its command was not found".to_owned(),
        129..=192 => {
            let number = code - 128;
            let name = nix::sys::signal::Signal::try_from(number);
            let name =
                name.map_or_else(|_| number.to_string(), |signal| signal.as_str().to_owned());
            format!(" by {name} (exit code {code})")
        }
        code => format!(" with exit code {code}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn exit_codes_in_words() {
        assert_eq!(super::code(137), " by SIGKILL (exit code 137)");
        assert_eq!(super::code(143), " by SIGTERM (exit code 143)");
        assert_eq!(super::code(3), " with exit code 3");
        assert!(super::code(127).contains("not found"));
    }
}
