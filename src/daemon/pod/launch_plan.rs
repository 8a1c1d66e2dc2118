//! The plan of a container's launch, which is compiled and sealed when the container is created.
//!
//! So a start only opens the container's cgroup and log, and sends what is ready. The plan is not recorded: a daemon that
//! was restarted compiles it again from the record. A memfd and one descriptor are held for each container that was
//! created and not started.

use std::os::fd::OwnedFd;

use oci_spec::runtime::Spec;

use super::error::PodError;
use super::node::Node;
use super::record::{ContainerRecord, PodRecord};
use super::sandbox::seal;
use super::seccomp::Suspect;
use crate::spec::{self, AppArmorChoice, PidMode};
use holdfast_wire::plan::{ContainerPlan, Hooks};

/// A launch plan as the shim gets it.
#[derive(Debug)]
pub(super) struct LaunchPlan {
    /// The plan as a sealed memfd, for the version that the pod's shim speaks.
    pub sealed: OwnedFd,
    /// The seccomp profile that may make the start fail.
    pub suspect: Option<Suspect>,
}

impl LaunchPlan {
    /// Seals a plan.
    ///
    /// # Errors
    /// Those of memfd_create(2), and the shim's protocol when it lacks a field that the plan needs.
    pub(super) fn seal(
        node: &Node,
        (pod, record): (&PodRecord, &ContainerRecord),
        spec: &Spec,
        plan: &ContainerPlan,
    ) -> Result<Self, PodError> {
        let choice = &record.config.security.seccomp;
        let base = spec::seccomp_base(choice, spec, &node.facts);
        Ok(Self {
            sealed: seal("container plan", pod, plan)?,
            suspect: Suspect::from_profile(choice, spec, base.as_ref()),
        })
    }
}

/// Whether a plan that is compiled at the creation is still right at the start. What else it is made of is in the records
/// of the pod and of the container; an update of the resources makes a new plan.
pub(super) fn outlasts_creation(record: &ContainerRecord, hooks: Option<&Hooks>) -> bool {
    let security = &record.config.security;
    // The target may have ended, and the kernel may have lost the profile: the start says so. The files for hooks are
    // written at the start.
    !matches!(security.pid, PidMode::Target(_))
        && !matches!(security.apparmor, AppArmorChoice::Localhost(_))
        && hooks.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing;
    use crate::spec::ContainerConfig;
    use holdfast_kernel::id::{ContainerId, PodId};

    #[test]
    fn a_plan_is_kept_unless_its_parts_may_be_gone_at_the_start() {
        let hooks = Hooks {
            bundle: c"/bundle".to_owned(),
            root: c"/bundle/rootfs".to_owned(),
            state_head: String::new(),
            state_tail: String::new(),
            hooks: Vec::new(),
        };
        let target = PidMode::Target(ContainerId::random().unwrap());
        let localhost = AppArmorChoice::Localhost("profile".to_owned());
        for (pid, apparmor, hooks, kept) in [
            (PidMode::Pod, AppArmorChoice::RuntimeDefault, None, true),
            (PidMode::Container, AppArmorChoice::Unconfined, None, true),
            (target, AppArmorChoice::RuntimeDefault, None, false),
            (PidMode::Pod, localhost, None, false),
            (
                PidMode::Pod,
                AppArmorChoice::RuntimeDefault,
                Some(hooks),
                false,
            ),
        ] {
            let mut config = ContainerConfig::default();
            config.security.pid = pid;
            config.security.apparmor = apparmor;
            let case = format!("{config:?} {hooks:?}");
            let record = testing::container(PodId::random().unwrap(), config);
            assert_eq!(outlasts_creation(&record, hooks.as_ref()), kept, "{case}");
        }
    }
}
