//! Whether a pod may have the experiments that its annotations ask for, and what they need.

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

use super::error::{ExperimentRefusal, PodError, RequestError};
use super::node::Node;
use crate::spec::experiments::{Experiment, TimeOffsets};
use crate::spec::{PodConfig, SpecError};
use holdfast_network::Bandwidth;

/// Checks what a pod asks for against what the node allows and can do.
///
/// # Errors
/// [`PodError`] names the annotation.
pub(super) fn check(node: &Node, config: &PodConfig) -> Result<(), PodError> {
    if config.experiments.is_empty() {
        return Ok(());
    }
    for (key, value) in &config.annotations {
        let Some(experiment) = Experiment::of_annotation(key) else {
            continue;
        };
        if !node.settings.experiments.contains(&experiment) {
            return Err(PodError::Request(RequestError::Experiment(
                ExperimentRefusal::Forbidden {
                    experiment,
                    annotation: key.clone(),
                    value: value.clone(),
                },
            )));
        }
    }
    config.experiments.time_offsets.map_or(Ok(()), check_clocks)
}

/// The kernel has no clock before its zero (kernel/time/namespace.c: ERANGE).
fn check_clocks(offsets: TimeOffsets) -> Result<(), PodError> {
    let clocks = [ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_BOOTTIME];
    for ((name, offset), clock) in offsets.clocks().into_iter().zip(clocks) {
        let now = clock_gettime(clock).map_or(0, |time| time.num_nanoseconds());
        if offset.saturating_add(now) < 0 {
            let seconds = now / 1_000_000_000;
            let reason = format!(
                "{name} would be before 0, as the node has run for {seconds} s; give at least {name}=-{seconds}s"
            );
            let field = Experiment::TimeOffsets.annotation();
            return Err(SpecError::invalid(field, reason).into());
        }
    }
    Ok(())
}

/// Traffic is limited at the interface, which is another pod's.
pub(super) fn check_bandwidth(limits: Bandwidth) -> Result<(), PodError> {
    if limits.is_unlimited() {
        return Ok(());
    }
    let reason = "the interface is that of the pod that is joined; limit the traffic there";
    let field = match limits.ingress {
        Some(_) => "annotation kubernetes.io/ingress-bandwidth",
        None => "annotation kubernetes.io/egress-bandwidth",
    };
    Err(SpecError::invalid(field, reason).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_kernel::error_chain;

    #[test]
    fn a_clock_cannot_be_set_before_its_zero() {
        let clocks = |monotonic, boottime| {
            let offsets = TimeOffsets {
                monotonic,
                boottime,
            };
            check_clocks(offsets)
        };
        assert!(clocks(0, -1).is_ok());
        let text = error_chain(&clocks(0, i64::MIN / 2).unwrap_err());
        assert!(
            text.contains("time-offsets") && text.contains("boottime=-"),
            "{text}"
        );
    }

    #[test]
    fn a_joiners_traffic_is_not_its_own() {
        assert!(check_bandwidth(Bandwidth::default()).is_ok());
        let limits = Bandwidth {
            egress: Some(1_000_000),
            ..Bandwidth::default()
        };
        let text = error_chain(&check_bandwidth(limits).unwrap_err());
        assert!(text.contains("kubernetes.io/egress-bandwidth"), "{text}");
    }
}
