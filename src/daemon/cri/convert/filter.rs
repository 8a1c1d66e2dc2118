//! Filters of the List calls. All conditions have to hold; a missing filter lets everything through.

use std::collections::{BTreeMap, HashMap};

use cri_api::runtime::v1 as cri;

use super::FieldError;

/// The pods that a List call selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodQuery {
    id: String,
    state: Option<cri::PodSandboxState>,
    labels: HashMap<String, String>,
}

impl PodQuery {
    /// The query of a request.
    ///
    /// # Errors
    /// [`FieldError`] for a state that does not exist.
    pub(crate) fn new(filter: Option<cri::PodSandboxFilter>) -> Result<Self, FieldError> {
        let Some(filter) = filter else {
            return Ok(Self::default());
        };
        let state = |value: cri::PodSandboxStateValue| {
            let remedy = "give SANDBOX_READY (0) or SANDBOX_NOTREADY (1)";
            cri::PodSandboxState::try_from(value.state)
                .map_err(|_| FieldError::invalid("filter.state.state", value.state, remedy))
        };
        Ok(Self {
            id: filter.id,
            state: filter.state.map(state).transpose()?,
            labels: filter.label_selector,
        })
    }

    /// The query of a request for statistics, which has no state.
    pub(crate) fn of_stats(filter: Option<cri::PodSandboxStatsFilter>) -> Self {
        filter.map_or_else(Self::default, |filter| Self {
            id: filter.id,
            state: None,
            labels: filter.label_selector,
        })
    }

    /// Whether the filter selects this pod.
    pub(crate) fn matches(
        &self,
        id: &str,
        state: cri::PodSandboxState,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        id.starts_with(&self.id)
            && self.state.is_none_or(|wanted| wanted == state)
            && selects(&self.labels, labels)
    }
}

/// The containers that a List call selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerQuery {
    id: String,
    pod: String,
    state: Option<cri::ContainerState>,
    labels: HashMap<String, String>,
}

impl ContainerQuery {
    /// The query of a request.
    ///
    /// # Errors
    /// [`FieldError`] for a state that does not exist.
    pub(crate) fn new(filter: Option<cri::ContainerFilter>) -> Result<Self, FieldError> {
        let Some(filter) = filter else {
            return Ok(Self::default());
        };
        let state = |value: cri::ContainerStateValue| {
            let remedy = "give a number from 0 (CONTAINER_CREATED) to 3 (CONTAINER_UNKNOWN)";
            cri::ContainerState::try_from(value.state)
                .map_err(|_| FieldError::invalid("filter.state.state", value.state, remedy))
        };
        Ok(Self {
            id: filter.id,
            pod: filter.pod_sandbox_id,
            state: filter.state.map(state).transpose()?,
            labels: filter.label_selector,
        })
    }

    /// The query of a request for statistics, which has no state.
    pub(crate) fn of_stats(filter: Option<cri::ContainerStatsFilter>) -> Self {
        filter.map_or_else(Self::default, |filter| Self {
            id: filter.id,
            pod: filter.pod_sandbox_id,
            state: None,
            labels: filter.label_selector,
        })
    }

    /// Whether the filter can select containers of this pod.
    pub(crate) fn matches_pod(&self, pod: &str) -> bool {
        pod.starts_with(&self.pod)
    }

    /// Whether the filter selects a container, if it selects its pod.
    pub(crate) fn matches(
        &self,
        id: &str,
        state: cri::ContainerState,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        id.starts_with(&self.id)
            && self.state.is_none_or(|wanted| wanted == state)
            && selects(&self.labels, labels)
    }
}

fn selects(selector: &HashMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
