//! Handlers of Exec, Attach and PortForward: each answers with the URL of a stream.

use cri_api::runtime::v1 as cri;

use crate::cri::convert::FieldError;
use crate::cri::node::Node;
use crate::cri::observe::{Answer, observe};
use crate::pod::{PodError, Streams};
use crate::stream::Purpose;

/// Checks that the streams of a request can be served together.
fn streams(streams: Streams) -> Result<Streams, FieldError> {
    let Streams {
        stdin,
        stdout,
        stderr,
        terminal,
    } = streams;
    if terminal && stderr {
        let remedy = "a terminal has one output: leave stderr false, or tty";
        return Err(FieldError::invalid("stderr", true, remedy));
    }
    if !(stdin || stdout || stderr) {
        let remedy = "ask for one of stdin, stdout and stderr at least";
        return Err(FieldError::missing("stdin, stdout and stderr", remedy));
    }
    Ok(streams)
}

fn exec_streams(request: &cri::ExecRequest) -> Result<Streams, FieldError> {
    streams(Streams {
        stdin: request.stdin,
        stdout: request.stdout,
        stderr: request.stderr,
        terminal: request.tty,
    })
}

/// Checks that each port is a number that a port may have.
fn ports(ports: &[i32]) -> Result<Vec<u16>, FieldError> {
    let port = |port: &i32| {
        let valid = u16::try_from(*port).ok().filter(|port| *port > 0);
        valid.ok_or_else(|| FieldError::invalid("port", port, "give numbers from 1 to 65535"))
    };
    ports.iter().map(port).collect()
}

/// Returns the URL of a stream to a new process in a container.
pub(super) async fn exec(node: &Node, request: cri::ExecRequest) -> Answer<cri::ExecResponse> {
    let id = request.container_id.clone();
    observe("Exec", &id, async {
        let streams = exec_streams(&request)?;
        if request.cmd.first().is_none_or(String::is_empty) {
            return Err(PodError::Request(crate::pod::RequestError::EmptyCommand).into());
        }
        let url = node.streaming.url(Purpose::Exec {
            container: node.pods.running_container(&id)?,
            command: request.cmd,
            streams,
        })?;
        Ok(cri::ExecResponse { url })
    })
    .await
}

/// Returns the URL of a stream to the first process of a container.
pub(super) async fn attach(
    node: &Node,
    request: cri::AttachRequest,
) -> Answer<cri::AttachResponse> {
    let id = request.container_id;
    observe("Attach", &id, async {
        let streams = streams(Streams {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.tty,
        })?;
        let url = node.streaming.url(Purpose::Attach {
            container: node.pods.running_container(&id)?,
            streams,
        })?;
        Ok(cri::AttachResponse { url })
    })
    .await
}

/// Returns the URL of a stream to ports of a pod.
pub(super) async fn port_forward(
    node: &Node,
    request: cri::PortForwardRequest,
) -> Answer<cri::PortForwardResponse> {
    let id = request.pod_sandbox_id;
    observe("PortForward", &id, async {
        let ports = ports(&request.port)?;
        let url = node.streaming.url(Purpose::PortForward {
            pod: node.pods.ready_pod(&id)?,
            ports,
        })?;
        Ok(cri::PortForwardResponse { url })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams in the order of their numbers, and the terminal.
    fn requested_streams([stdin, stdout, stderr]: [bool; 3], terminal: bool) -> Streams {
        Streams {
            stdin,
            stdout,
            stderr,
            terminal,
        }
    }

    #[test]
    fn a_terminal_has_one_output() {
        let error = streams(requested_streams([true, true, true], true)).unwrap_err();
        assert!(error.to_string().contains("stderr"), "{error}");
        assert!(streams(requested_streams([true, true, false], true)).is_ok());
        assert!(streams(requested_streams([false, false, true], false)).is_ok());
    }

    #[test]
    fn one_stream_is_the_least() {
        for terminal in [false, true] {
            let error = streams(requested_streams([false, false, false], terminal)).unwrap_err();
            assert!(error.to_string().contains("stdin"), "{error}");
        }
    }

    #[test]
    fn ports_are_numbers_of_16_bits_and_not_0() {
        assert_eq!(ports(&[1, 80, 65_535]).unwrap(), [1, 80, 65_535]);
        assert!(ports(&[]).unwrap().is_empty());
        for wrong in [0, -1, 65_536, i32::MIN, i32::MAX] {
            let error = ports(&[80, wrong]).unwrap_err();
            assert!(error.to_string().contains(&wrong.to_string()), "{error}");
        }
    }
}
