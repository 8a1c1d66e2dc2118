//! The plugin `bandwidth` for pods without limits: it hands on the result that it gets.

use serde_json::{Map, Value};

use super::range::only;

/// What may stand in a configuration that is served; of the last ones only what limits nothing.
const KNOWN: [&str; 10] = [
    "type",
    "name",
    "cniVersion",
    "prevResult",
    "capabilities",
    "runtimeConfig",
    "ingressRate",
    "ingressBurst",
    "egressRate",
    "egressBurst",
];

/// Whether this is all that a configuration says, without a limit.
pub(super) fn holds(config: &Map<String, Value>) -> bool {
    let limits_nothing = |fields: &Map<String, Value>| {
        let mut limits = KNOWN[6..].iter().filter_map(|key| fields.get(*key));
        limits.all(|value| value.as_u64() == Some(0))
    };
    let is_idle = |runtime: &Value| {
        let runtime = runtime.as_object();
        runtime.is_some_and(Map::is_empty)
    };
    only(config, &KNOWN).is_some()
        && limits_nothing(config)
        && config.get("runtimeConfig").is_none_or(is_idle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_and_what_is_not_known_are_left_to_the_program() {
        let held = |config: Value| holds(config.as_object().unwrap());
        for known in [
            json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } }),
            json!({ "ingressRate": 0, "ingressBurst": 0 }),
        ] {
            assert!(held(known.clone()), "{known}");
        }
        for other in [
            json!({ "runtimeConfig": { "bandwidth": { "ingressRate": 0 } } }),
            json!({ "egressRate": 1000, "egressBurst": 1000 }),
            json!({ "ingressRate": "0" }),
            json!({ "unshapedSubnets": [] }),
        ] {
            assert!(!held(other.clone()), "{other}");
        }
    }
}
