//! The plugin `portmap` for pods without host ports: it hands on the result that it gets.

use serde_json::{Map, Value};

use super::range::only;

/// What may stand in a configuration that is served.
const KNOWN: [&str; 9] = [
    "type",
    "name",
    "cniVersion",
    "prevResult",
    "capabilities",
    "snat",
    "masqAll",
    "markMasqBit",
    "backend",
];

/// Whether this is all that a configuration says, with no port to map.
pub(super) fn holds(config: &Map<String, Value>) -> bool {
    let is_flag = |key: &str| config.get(key).is_none_or(Value::is_boolean);
    let bit = config.get("markMasqBit").map_or(Some(0), Value::as_u64);
    let backend = config
        .get("backend")
        .map_or(Some("iptables"), Value::as_str);
    only(config, &KNOWN).is_some()
        && is_flag("snat")
        && is_flag("masqAll")
        && bit.is_some_and(|bit| bit <= 31)
        && backend.is_some_and(|backend| ["iptables", "nftables"].contains(&backend))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_and_what_is_not_known_are_left_to_the_program() {
        let held = |config: Value| holds(config.as_object().unwrap());
        assert!(held(
            json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true })
        ));
        for other in [
            json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 80, "containerPort": 80 }] } }),
            json!({ "conditionsV4": ["-s", "10.0.0.0/8"] }),
            json!({ "externalSetMarkChain": "X" }),
            json!({ "markMasqBit": 32 }),
            json!({ "backend": "pf" }),
            json!({ "snat": "yes" }),
        ] {
            assert!(!held(other.clone()), "{other}");
        }
    }
}
