//! The order in which the containers of a manifest start, and what each is for.

use super::manifest_error::ManifestError;
use super::schema::{Container, PodSpec};
use crate::run::keeper::Role;

impl PodSpec {
    /// The containers in the order of starting, with their fields and what they are for.
    pub(super) fn in_order(&self) -> Result<Vec<(String, &Container, Role)>, ManifestError> {
        let mut all = Vec::new();
        for (index, container) in self.init_containers.iter().enumerate() {
            let field = format!("spec.initContainers[{index}]");
            let role = match container.restart_policy.as_deref() {
                None => Role::Init,
                Some("Always") => Role::Sidecar,
                Some(other) => {
                    let field = format!("{field}.restartPolicy");
                    let remedy = "give Always for a sidecar, or nothing";
                    return Err(ManifestError::field(field, other, remedy));
                }
            };
            all.push((field, container, role));
        }
        for (index, container) in self.containers.iter().enumerate() {
            let field = format!("spec.containers[{index}]");
            if let Some(policy) = &container.restart_policy {
                let field = format!("{field}.restartPolicy");
                let remedy = "only init containers have one of their own: use spec.restartPolicy";
                return Err(ManifestError::field(field, policy, remedy));
            }
            all.push((field, container, Role::App));
        }
        for (index, container) in self.ephemeral_containers.iter().enumerate() {
            let field = format!("spec.ephemeralContainers[{index}]");
            all.push((field, container, Role::Ephemeral));
        }
        Ok(all)
    }
}
