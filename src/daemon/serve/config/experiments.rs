//! Experiments: what pods may ask for by annotations, because CRI has no field for it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::pod::Experiment;

/// The table `experiments`: no experiment is allowed unless it is named here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExperimentsConfig {
    /// Experiments that pods may ask for by annotations.
    pub allow: BTreeSet<Experiment>,
}
