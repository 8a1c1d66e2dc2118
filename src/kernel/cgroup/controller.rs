//! The kernel's cgroup controllers, by the names this runtime needs to tell apart.

use std::fmt;

/// A cgroup controller, or a v1 hierarchy that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Controller {
    /// CPU bandwidth and weight.
    Cpu,
    /// CPU time accounting; v1 only, a part of every v2 group.
    Cpuacct,
    /// Which CPUs and memory nodes may be used.
    Cpuset,
    /// Memory limits and accounting.
    Memory,
    /// The number of tasks.
    Pids,
    /// Device access; v1 only, an eBPF program on v2.
    Devices,
    /// Stopping a whole group; v1 only, a part of every v2 group.
    Freezer,
    /// Block I/O: `blkio` on v1, `io` on v2.
    Io,
    /// Huge pages, by their size.
    Hugetlb,
    /// A controller this runtime sets nothing on (`net_cls`, `perf_event`, …) or a named v1 hierarchy such
    /// as systemd's. Groups are created there so that processes are tracked in it.
    Other,
}

impl Controller {
    /// Every controller that a v2 parent is asked to switch on for its children.
    pub(super) const ON_V2: [Controller; 6] = [
        Controller::Cpuset,
        Controller::Cpu,
        Controller::Io,
        Controller::Memory,
        Controller::Hugetlb,
        Controller::Pids,
    ];

    /// The controller of a name in `/proc/self/mountinfo`'s options or in `cgroup.controllers`.
    pub(super) fn from_name(name: &str) -> Controller {
        match name {
            "cpu" => Controller::Cpu,
            "cpuacct" => Controller::Cpuacct,
            "cpuset" => Controller::Cpuset,
            "memory" => Controller::Memory,
            "pids" => Controller::Pids,
            "devices" => Controller::Devices,
            "freezer" => Controller::Freezer,
            "blkio" | "io" => Controller::Io,
            "hugetlb" => Controller::Hugetlb,
            _ => Controller::Other,
        }
    }

    /// The name that v2's `cgroup.controllers` uses.
    pub(super) fn v2_name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
            Controller::Io => "io",
            Controller::Hugetlb => "hugetlb",
            Controller::Other => "other",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.v2_name())
    }
}
