//! What ADD gives: the interfaces and addresses of a pod (CNI specification, section 5).

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

/// The parts of a result that are looked at; the whole of it goes to later plugins and to DEL as it is.
#[derive(Debug, Deserialize)]
struct Outcome {
    #[serde(default)]
    interfaces: Vec<Interface>,
    #[serde(default)]
    ips: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Interface {
    name: String,
    /// Empty for an interface of the host.
    #[serde(default)]
    sandbox: String,
}

#[derive(Debug, Deserialize)]
struct Address {
    /// With a prefix length.
    address: String,
    /// Which of the interfaces has it.
    interface: Option<usize>,
}

/// The addresses of a pod's interface, IPv4 first and otherwise in the order of the result. Addresses that
/// name no interface are the pod's.
///
/// # Errors
/// What the result lacks, in words.
pub(super) fn addresses(result: &Value, interface: &str) -> Result<Vec<IpAddr>, String> {
    let outcome = Outcome::deserialize(result).map_err(|error| error.to_string())?;
    let ours = |address: &&Address| {
        let Some(index) = address.interface else {
            return true;
        };
        let named = outcome.interfaces.get(index);
        named.is_some_and(|named| named.name == interface && !named.sandbox.is_empty())
    };
    let mut found = Vec::new();
    for Address { address, .. } in outcome.ips.iter().filter(ours) {
        let ip = address.split('/').next().unwrap_or_default();
        let ip: IpAddr = ip
            .parse()
            .map_err(|_| format!("{address:?} is no address"))?;
        if !found.contains(&ip) {
            found.push(ip);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    Ok(found)
}

/// What a plugin wrote, as a result.
///
/// # Errors
/// Why it is none, in words.
pub(super) fn parse(stdout: &[u8]) -> Result<Value, String> {
    let wrote = || super::call::excerpt(stdout);
    if stdout.iter().all(u8::is_ascii_whitespace) {
        return Err("it wrote nothing".to_owned());
    }
    let value: Value = serde_json::from_slice(stdout)
        .map_err(|error| format!("{error}; it wrote: {:?}", wrote()))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(format!("no JSON object; it wrote: {:?}", wrote()))
    }
}
