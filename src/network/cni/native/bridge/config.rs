//! What a configuration of `bridge` says.

use serde_json::{Map, Value};

use crate::cni::native::edition::Edition;
use crate::cni::native::fields;
use crate::cni::native::host_local::HostLocal;
use crate::cni::native::masquerade::Masquerading;
use crate::cni::native::range::only;
use crate::names;

/// The bridge of a configuration that names none.
const DEFAULT_NAME: &str = "cni0";
/// What may stand in a configuration; of the last ones only what changes nothing.
const KNOWN: [&str; 23] = [
    "type",
    "name",
    "cniVersion",
    "prevResult",
    "runtimeConfig",
    "capabilities",
    "ipam",
    "dns",
    "bridge",
    "isGateway",
    "isDefaultGateway",
    "forceAddress",
    "mtu",
    "hairpinMode",
    "promiscMode",
    "portIsolation",
    "ipMasq",
    "ipMasqBackend",
    "vlan",
    "preserveDefaultVlan",
    "macspoofchk",
    "enabledad",
    "disableContainerInterface",
];

/// A configuration of the plugin.
#[derive(Debug)]
pub(in crate::cni::native) struct Bridge {
    pub(super) edition: Edition,
    /// The name of the bridge.
    pub(super) name: String,
    /// The bridge has the gateway's addresses.
    pub(super) is_gateway: bool,
    /// The gateway is where the pod's default routes lead.
    pub(super) is_default_gateway: bool,
    /// Other addresses of the bridge give way.
    pub(super) forces_address: bool,
    pub(super) mtu: Option<u32>,
    pub(super) hairpin: bool,
    pub(super) promiscuous: bool,
    /// Ports of the bridge do not see each other.
    pub(super) isolated: bool,
    /// Resolvers that the pod is told of.
    pub(super) dns: Option<Value>,
    pub(super) leases: HostLocal,
    pub(super) masquerading: Option<Masquerading>,
}

impl Bridge {
    /// Reads a configuration, with the editions of `bridge` and `host-local`. None when it is not all known, or not right.
    pub(in crate::cni::native) fn of(
        config: &Map<String, Value>,
        (edition, of_leases): (Edition, Edition),
    ) -> Option<Bridge> {
        only(config, &KNOWN)?;
        let flag = |key: &str| fields::flag(config, key);
        for off in [
            "preserveDefaultVlan",
            "macspoofchk",
            "enabledad",
            "disableContainerInterface",
        ] {
            if flag(off)? {
                return None;
            }
        }
        if config.get("vlan").map_or(Some(0), Value::as_u64)? != 0 {
            return None;
        }
        let name = match config.get("bridge") {
            None => DEFAULT_NAME,
            Some(name) => name
                .as_str()
                .filter(|name| names::is_interface_name(name))?,
        };
        let is_default_gateway = flag("isDefaultGateway")?;
        let bridge = Bridge {
            edition,
            name: name.to_owned(),
            is_gateway: flag("isGateway")? || is_default_gateway,
            is_default_gateway,
            forces_address: flag("forceAddress")?,
            mtu: fields::mtu(config)?,
            hairpin: flag("hairpinMode")?,
            promiscuous: flag("promiscMode")?,
            isolated: flag("portIsolation")? && edition == Edition::Y2026,
            dns: fields::resolvers(config)?,
            masquerading: fields::masquerading(config, edition)?,
            leases: HostLocal::of(config, of_leases)?,
        };
        (!bridge.hairpin || !bridge.promiscuous).then_some(bridge)
    }

    /// Whether rules of iptables are written.
    pub(in crate::cni::native) fn has_rules(&self) -> bool {
        self.masquerading.is_some()
    }

    /// Whether it can be done for a pod.
    pub(in crate::cni::native) fn fits(&self, id: &str) -> bool {
        self.masquerading
            .as_ref()
            .is_none_or(|masquerading| masquerading.fits(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn held(more: Value) -> bool {
        let mut config = json!({ "type": "bridge", "name": "net", "cniVersion": "1.0.0",
            "ipam": { "type": "host-local", "subnet": "10.0.0.0/24" } });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        Bridge::of(
            config.as_object().unwrap(),
            (Edition::Y2026, Edition::Y2026),
        )
        .is_some()
    }

    #[test]
    fn what_is_not_known_is_left_to_the_program() {
        for known in [
            json!({}),
            json!({ "bridge": "br-1", "isDefaultGateway": true, "mtu": 1400, "hairpinMode": true }),
            json!({ "ipMasq": false, "vlan": 0, "promiscMode": true, "dns": { "nameservers": ["192.0.2.1"] } }),
            json!({ "runtimeConfig": { "ipRanges": [[{ "subnet": "10.1.0.0/24" }]] } }),
        ] {
            assert!(held(known.clone()), "{known}");
        }
        for other in [
            json!({ "ipMasq": true, "ipMasqBackend": "nftables" }),
            json!({ "ipMasq": "true" }),
            json!({ "vlan": 5 }),
            json!({ "vlanTrunk": [] }),
            json!({ "isgateway": true }),
            json!({ "isGateway": "true" }),
            json!({ "isGateway": null }),
            json!({ "mtu": -1 }),
            json!({ "mtu": 1400.0 }),
            json!({ "hairpinMode": true, "promiscMode": true }),
            json!({ "bridge": "a/b" }),
            json!({ "args": { "cni": { "mac": "02:00:00:00:00:01" } } }),
            json!({ "runtimeConfig": { "mac": "02:00:00:00:00:01" } }),
            json!({ "ipam": { "type": "static" } }),
            json!({ "ipam": {} }),
        ] {
            assert!(!held(other.clone()), "{other}");
        }
    }
}
