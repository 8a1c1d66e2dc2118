//! Fields that plugins have in common. None of a value that is not known, or not right.

use serde_json::{Map, Value};

use super::edition::Edition;
use super::masquerade::Masquerading;
use super::range::only;

/// A switch that is off where it is not set.
pub(super) fn flag(config: &Map<String, Value>, key: &str) -> Option<bool> {
    config.get(key).map_or(Some(false), Value::as_bool)
}

/// The size of packets, where one is set.
pub(super) fn mtu(config: &Map<String, Value>) -> Option<Option<u32>> {
    match config.get("mtu").map_or(Some(0), Value::as_u64)? {
        0 => Some(None),
        mtu => u32::try_from(mtu)
            .ok()
            .filter(|mtu| *mtu <= 65535)
            .map(Some),
    }
}

/// The masquerading that is asked for, if any.
pub(super) fn masquerading(
    config: &Map<String, Value>,
    edition: Edition,
) -> Option<Option<Masquerading>> {
    if !flag(config, "ipMasq")? {
        return Some(None);
    }
    // Release 1.1.1 has no choice.
    let backend = config
        .get("ipMasqBackend")
        .filter(|_| edition == Edition::Y2026);
    if backend.is_some_and(|backend| backend != "iptables") {
        return None;
    }
    let network = config.get("name")?.as_str()?;
    Some(Some(Masquerading::of(network, edition)))
}

/// The resolvers that pods are told of instead of those of the leases, if any.
pub(super) fn resolvers(config: &Map<String, Value>) -> Option<Option<Value>> {
    let Some(dns) = config.get("dns") else {
        return Some(None);
    };
    let fields = dns.as_object()?;
    only(fields, &["nameservers", "domain", "search", "options"])?;
    let texts = |list: &Value| {
        list.as_array()
            .is_some_and(|list| list.iter().all(Value::is_string))
    };
    let known = |(key, value): (&String, &Value)| match key.as_str() {
        "domain" => value.is_string(),
        _ => texts(value),
    };
    if !fields.iter().all(known) {
        return None;
    }
    let says = |(key, value): (&String, &Value)| key != "domain" || value != "";
    Some(fields.iter().any(says).then(|| dns.clone()))
}
