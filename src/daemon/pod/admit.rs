//! Whether a request may go ahead in the state that there is. Pure: no clock, no machine.
//!
//! A name is an idempotency key, never a reservation: the same request again joins the first one or gets
//! what it made, and only a different request for the same name is refused.

use super::error::{PodError, Refusal};
use super::index::PodKey;
use super::record::{ContainerRecord, PodRecord};
use super::state::{ContainerPhase, PodPhase};
use crate::spec::{ContainerConfig, PodConfig};
use holdfast_kernel::id::ContainerId;

/// The decision about a request to create a container.
#[derive(Debug)]
pub(super) enum Admission {
    Create,
    /// The container has been created already, or is being created.
    Same(ContainerId),
}

/// Whether the pod that has a name is what a request for that name asks for.
///
/// # Errors
/// [`Refusal::PodExists`] when it is another one, or is over.
pub(super) fn same_pod(taken: &PodRecord, config: &PodConfig) -> Result<(), PodError> {
    let exists = |why| {
        let key = PodKey::from(&config.metadata).to_string();
        Err(PodError::Refused(Refusal::PodExists {
            key,
            id: taken.id,
            why,
        }))
    };
    if *taken.config != *config {
        return exists("with another config");
    }
    match taken.phase {
        PodPhase::Creating | PodPhase::Ready => Ok(()),
        PodPhase::Stopping | PodPhase::NotReady | PodPhase::Removing => exists("and is stopped"),
    }
}

/// Whether a container may be created in a pod. `stopping` says that somebody wants the pod to end.
///
/// # Errors
/// The pod is not ready, or another container has the name.
pub(super) fn container<'a>(
    pod: &PodRecord,
    stopping: Stopping,
    mut containers: impl Iterator<Item = &'a ContainerRecord>,
    config: &ContainerConfig,
) -> Result<Admission, PodError> {
    if pod.phase != PodPhase::Ready || stopping == Stopping::Yes {
        return Err(PodError::Refused(Refusal::PodPhase {
            id: pod.id,
            phase: "not ready",
            wanted: "a container needs a ready sandbox; run a new one",
        }));
    }
    let Some(taken) = containers.find(|taken| taken.config.metadata == config.metadata) else {
        return Ok(Admission::Create);
    };
    let same = *taken.config == *config;
    if same && taken.phase == ContainerPhase::Created {
        return Ok(Admission::Same(taken.id));
    }
    Err(PodError::Refused(Refusal::ContainerExists {
        key: format!(
            "{} (attempt {})",
            config.metadata.name, config.metadata.attempt
        ),
        id: taken.id,
        why: if same {
            "and has been started"
        } else {
            "with another config"
        },
    }))
}

/// Whether somebody has asked for the pod's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    /// Yes: nothing new begins.
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::error::ErrorKind;
    use crate::pod::state::Goal;
    use crate::pod::testing;

    fn named(name: &str, attempt: u32) -> ContainerConfig {
        let mut config = ContainerConfig::default();
        config.metadata.name = name.to_owned();
        config.metadata.attempt = attempt;
        config
    }

    /// CRI lets a kubelet repeat RunPodSandbox: it gets the pod that it asked for, as long as that pod is of use.
    #[test]
    fn a_pod_is_the_same_as_long_as_it_may_get_ready() {
        let config = PodConfig::default();
        let other = PodConfig {
            hostname: "other".to_owned(),
            ..PodConfig::default()
        };
        for (phase, is_same) in [
            (PodPhase::Creating, true),
            (PodPhase::Ready, true),
            (PodPhase::Stopping, false),
            (PodPhase::NotReady, false),
            (PodPhase::Removing, false),
        ] {
            let mut taken = testing::pod(config.clone());
            taken.phase = phase;
            assert_eq!(same_pod(&taken, &config).is_ok(), is_same, "{phase:?}");
            let error = same_pod(&taken, &other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{phase:?}");
            let id = taken.id.to_string();
            assert!(error.to_string().contains(&id), "{error}");
        }
    }

    #[test]
    fn a_container_is_created_in_a_ready_pod_that_nobody_stops() {
        let mut pod = testing::pod(PodConfig::default());
        let admit =
            |pod: &PodRecord, stopping| container(pod, stopping, [].into_iter(), &named("c", 0));
        assert!(matches!(admit(&pod, Stopping::No), Ok(Admission::Create)));
        let refused = admit(&pod, Stopping::Yes).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::FailedPrecondition);
        for phase in [PodPhase::Creating, PodPhase::Stopping, PodPhase::NotReady] {
            pod.phase = phase;
            let refused = admit(&pod, Stopping::No).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::FailedPrecondition, "{phase:?}");
        }
    }

    /// The name and the attempt are the key; the rest has to be the same, and nobody may have started the container.
    #[test]
    fn a_repeated_creation_finds_what_the_first_made() {
        let pod = testing::pod(PodConfig::default());
        let created = testing::container(pod.id, named("c", 1));
        let mut started = testing::container(pod.id, named("d", 0));
        started.phase = ContainerPhase::Starting(Goal::Run);
        let records = [created.clone(), started];
        let admit =
            |config: &ContainerConfig| container(&pod, Stopping::No, records.iter(), config);
        let Ok(Admission::Same(found)) = admit(&named("c", 1)) else {
            panic!("the same request makes another container");
        };
        assert_eq!(found, created.id);
        assert!(matches!(admit(&named("c", 2)), Ok(Admission::Create)));
        let mut other = named("c", 1);
        other.tty = true;
        for (config, why) in [(other, "another config"), (named("d", 0), "been started")] {
            let error = admit(&config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
