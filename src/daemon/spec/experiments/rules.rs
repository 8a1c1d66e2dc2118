//! What an experiment does not go together with: fields of the same request, and the kernel.

use super::experiment::Experiment;
use crate::spec::{HostFacts, NetMode, PodConfig, SpecError};

/// Checks the experiments of a pod against the rest of its request and the machine's facts.
///
/// # Errors
/// [`SpecError`] names the field.
pub(in crate::spec) fn check(pod: &PodConfig, host: &HostFacts) -> Result<(), SpecError> {
    if pod.experiments.time_offsets.is_some() && !host.time_namespaces {
        return Err(SpecError::unsupported(
            Experiment::TimeOffsets.annotation(),
            "a time namespace (Linux 5.6 with CONFIG_TIME_NS; /proc/self/ns/time is missing)",
        ));
    }
    if pod.experiments.join_network.is_some() {
        check_joined(pod)?;
    }
    Ok(())
}

/// What a pod has in the network namespace of another one is that one's to say.
fn check_joined(pod: &PodConfig) -> Result<(), SpecError> {
    let options = "linux.security_context.namespace_options";
    let refused = |field: &str, reason: &str| {
        let reason = format!("{reason}, and {}", Experiment::JoinNetwork.annotation());
        let reason = format!("{reason} puts this pod into that of another one; leave one out");
        Err(SpecError::invalid(field, reason))
    };
    if pod.namespaces.network == NetMode::Node {
        return refused(
            &format!("{options}.network"),
            "it asks for the node's network",
        );
    }
    if pod.namespaces.userns.is_some() {
        // Each pod's is another one, and only the owner of a network namespace may mount its sysfs.
        return refused(
            &format!("{options}.userns_options"),
            "it asks for a user namespace that has no rights over another pod's network namespace",
        );
    }
    let led =
        |(index, port): (usize, &crate::spec::PortMapping)| (port.host_port != 0).then_some(index);
    if let Some(index) = pod.port_mappings.iter().enumerate().find_map(led) {
        return refused(
            &format!("port_mappings[{index}].host_port"),
            "a port of the host leads to the pod that owns a network namespace",
        );
    }
    let network = |key: &&String| key.starts_with("net.") || key.starts_with("net/");
    if let Some(key) = pod.sysctls.keys().find(network) {
        return refused(
            &format!("linux.sysctls[{key:?}]"),
            "it belongs to the network namespace",
        );
    }
    Ok(())
}
