//! Checks which fields of a request and which kernels an experiment cannot be combined with.

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
            "time namespaces (Linux 5.6 with CONFIG_TIME_NS; /proc/self/ns/time is missing)",
        ));
    }
    if pod.experiments.join_network.is_some() {
        check_joined(pod)?;
    }
    Ok(())
}

/// Refuses requests about the network of a pod that joins another pod's network: the other pod decides them.
fn check_joined(pod: &PodConfig) -> Result<(), SpecError> {
    let options = "linux.security_context.namespace_options";
    let refused = |field: &str, reason: &str| {
        let annotation = Experiment::JoinNetwork.annotation();
        let reason = format!(
            "{reason}, but {annotation} puts this pod into the network of another pod; leave one out"
        );
        Err(SpecError::invalid(field, reason))
    };
    if pod.namespaces.network == NetMode::Node {
        return refused(
            &format!("{options}.network"),
            "the pod asks for the node's network",
        );
    }
    if pod.namespaces.userns.is_some() {
        // Each pod has a user namespace of its own, and only the owner of a network namespace may mount its sysfs.
        return refused(
            &format!("{options}.userns_options"),
            "the pod asks for a user namespace, which has no rights over another pod's network namespace",
        );
    }
    let mut ports = pod.port_mappings.iter();
    if let Some(index) = ports.position(|port| port.host_port != 0) {
        return refused(
            &format!("port_mappings[{index}].host_port"),
            "ports of the host are mapped to the pod that owns a network namespace",
        );
    }
    let network = |key: &&String| key.starts_with("net.") || key.starts_with("net/");
    if let Some(key) = pod.sysctls.keys().find(network) {
        return refused(
            &format!("linux.sysctls[{key:?}]"),
            "the parameter belongs to the network namespace",
        );
    }
    Ok(())
}
