//! What pods may ask for that CRI has no field for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::pod::Experiment;

/// Experiments: nobody has them unless they are named here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExperimentsConfig {
    /// Those that pods may ask for by annotations.
    pub allow: BTreeSet<Experiment>,
}
