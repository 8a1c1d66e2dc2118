//! Resource limits as CRI asks for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// CRI `LinuxContainerResources`. Zero means unspecified, as in the protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resources {
    /// CFS period in microseconds.
    pub cpu_period: i64,
    /// CFS quota in microseconds; -1: unlimited.
    pub cpu_quota: i64,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: i64,
    /// Memory limit in bytes.
    pub memory_limit: i64,
    /// Memory plus swap limit in bytes; -1: unlimited.
    pub memory_swap_limit: i64,
    /// The value to write to /proc/PID/oom_score_adj.
    pub oom_score_adj: i64,
    /// CPUs, in the list format of cpuset(7).
    pub cpuset_cpus: String,
    /// Memory nodes, in the list format.
    pub cpuset_mems: String,
    /// Huge page limits: (page size such as `2MB`, bytes).
    pub hugepage_limits: Vec<(String, u64)>,
    /// Files of cgroup v2 and their values.
    pub unified: BTreeMap<String, String>,
}
