//! The plugins that can be served without their program.

use serde::{Deserialize, Serialize};

/// A plugin of the CNI project that the daemon can serve itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NativePlugin {
    /// Brings the loopback interface up.
    Loopback,
    /// Joins pods by a bridge of the host.
    Bridge,
    /// Joins a pod to the host alone.
    Ptp,
    /// Leases addresses for other plugins.
    HostLocal,
    /// Leads ports of the host into pods.
    Portmap,
    /// Limits what pods send and receive.
    Bandwidth,
}

impl NativePlugin {
    /// All of them, in the order of their documentation.
    pub(super) const ALL: [NativePlugin; 6] = [
        NativePlugin::Loopback,
        NativePlugin::Bridge,
        NativePlugin::Ptp,
        NativePlugin::HostLocal,
        NativePlugin::Portmap,
        NativePlugin::Bandwidth,
    ];

    /// The name of its program, which is the type in a configuration.
    pub(super) fn program(self) -> &'static str {
        match self {
            NativePlugin::Loopback => "loopback",
            NativePlugin::Bridge => "bridge",
            NativePlugin::Ptp => "ptp",
            NativePlugin::HostLocal => "host-local",
            NativePlugin::Portmap => "portmap",
            NativePlugin::Bandwidth => "bandwidth",
        }
    }

    /// The directory of its source, by which its program is known.
    pub(super) fn source(self) -> &'static str {
        match self {
            NativePlugin::Loopback => "main/loopback",
            NativePlugin::Bridge => "main/bridge",
            NativePlugin::Ptp => "main/ptp",
            NativePlugin::HostLocal => "ipam/host-local",
            NativePlugin::Portmap => "meta/portmap",
            NativePlugin::Bandwidth => "meta/bandwidth",
        }
    }

    /// The plugin of a program's name.
    pub(super) fn named(program: &str) -> Option<NativePlugin> {
        let mut all = NativePlugin::ALL.into_iter();
        all.find(|plugin| plugin.program() == program)
    }
}
