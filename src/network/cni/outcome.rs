//! What ADD gives: the interfaces, addresses and routes of a pod (CNI specification, section 5), read in the version
//! that the plugin answers in and written in the one that the next reader wants.
//!
//! A plugin answers in its list's version, but not always: multus hands on what its delegate answers. libcni 1.3.1
//! reads such a result by its own version and brings it to the list's for CHECK and DEL; so do we, and for the next
//! plugin of the list as well, which refuses another version.

use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::field::Object;
use super::version::{self, CniVersion};
use holdfast_disk::json_text;

/// A result, with all that any version of it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The version that it was read in.
    version: CniVersion,
    interfaces: Vec<Interface>,
    ips: Vec<Address>,
    routes: Vec<Route>,
    dns: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface {
    name: String,
    /// Empty for an interface of the host.
    sandbox: String,
    /// What is only handed on.
    rest: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    address: Cidr,
    gateway: Option<IpAddr>,
    /// Which of the interfaces has it. Plugins of the time of libcni 0.5 write -1 where they mean none.
    interface: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    destination: Cidr,
    gateway: Option<IpAddr>,
    /// What is only handed on.
    rest: Map<String, Value>,
}

/// An address with the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cidr {
    ip: IpAddr,
    prefix: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// What a plugin wrote, as a result. One that names no version is of `version`.
///
/// # Errors
/// Why a text is not a result, in words.
pub(super) fn parse(stdout: &[u8], version: CniVersion) -> Result<Outcome, String> {
    if stdout.iter().all(u8::is_ascii_whitespace) {
        return Err("it wrote nothing".to_owned());
    }
    let wrote = |reason: String| format!("{reason}; it wrote: {:?}", super::call::excerpt(stdout));
    let text = json_text(stdout);
    let value: Value = serde_json::from_str(&text).map_err(|error| wrote(error.to_string()))?;
    read(&value, version).map_err(wrote)
}

/// Reads a result. One that names no version is of `version`.
///
/// # Errors
/// The path of a field that is wrong, and why.
pub(super) fn read(value: &Value, version: CniVersion) -> Result<Outcome, String> {
    let result = Object::document(value)?;
    // Only this key counts here, in this case, and what is not a text is as if it were missing.
    let version = match value.get("cniVersion").and_then(Value::as_str) {
        None | Some("") => version,
        Some(named) => CniVersion::parse(named).ok_or_else(|| {
            format!(
                "cniVersion: invalid value {named:?}: {} is expected",
                version::KNOWN
            )
        })?,
    };
    let mut outcome = Outcome {
        version,
        interfaces: Vec::new(),
        ips: Vec::new(),
        routes: Vec::new(),
        dns: dns(&result)?,
    };
    if version < CniVersion::V0_3_0 {
        for key in ["ip4", "ip6"] {
            if let Some(family) = result.object_field(key)? {
                outcome.ips.push(address(&family, "ip")?);
                outcome.routes.extend(routes(&family)?);
            }
        }
        return Ok(outcome);
    }
    for entry in result.objects("interfaces")? {
        outcome.interfaces.push(interface(&entry, version)?);
    }
    for entry in result.objects("ips")? {
        outcome.ips.push(address(&entry, "address")?);
    }
    outcome.routes = routes(&result)?;
    Ok(outcome)
}

fn interface(entry: &Object<'_>, version: CniVersion) -> Result<Interface, String> {
    let mut rest = Map::new();
    put_text(&mut rest, entry, "mac")?;
    if version >= CniVersion::V1_0_0 {
        put_text(&mut rest, entry, "socketPath")?;
        put_text(&mut rest, entry, "pciID")?;
        put_number(&mut rest, entry, "mtu")?;
    }
    Ok(Interface {
        name: entry.text("name")?.to_owned(),
        sandbox: entry.text("sandbox")?.to_owned(),
        rest,
    })
}

fn address(entry: &Object<'_>, key: &str) -> Result<Address, String> {
    let given = cidr(entry, key)?;
    Ok(Address {
        address: given.ok_or_else(|| format!("{}: it is missing", entry.path(key)))?,
        gateway: ip(entry, "gateway")?,
        interface: entry.integer("interface")?,
    })
}

/// The routes of an object. One without a destination says nothing and is left out.
fn routes(object: &Object<'_>) -> Result<Vec<Route>, String> {
    let mut found = Vec::new();
    for entry in object.objects("routes")? {
        let gateway = ip(&entry, "gw")?;
        let mut rest = Map::new();
        for key in ["mtu", "advmss", "priority"] {
            put_number(&mut rest, &entry, key)?;
        }
        for key in ["table", "scope"] {
            if let Some(number) = entry.integer(key)? {
                rest.insert(key.to_owned(), json!(number));
            }
        }
        if let Some(destination) = cidr(&entry, "dst")? {
            found.push(Route {
                destination,
                gateway,
                rest,
            });
        }
    }
    Ok(found)
}

fn dns(result: &Object<'_>) -> Result<Map<String, Value>, String> {
    let mut out = Map::new();
    let Some(dns) = result.object_field("dns")? else {
        return Ok(out);
    };
    put_text(&mut out, &dns, "domain")?;
    for key in ["nameservers", "search", "options"] {
        let texts = dns.texts(key)?;
        if !texts.is_empty() {
            out.insert(key.to_owned(), json!(texts));
        }
    }
    Ok(out)
}

fn put_text(into: &mut Map<String, Value>, from: &Object<'_>, key: &str) -> Result<(), String> {
    let text = from.text(key)?;
    if !text.is_empty() {
        into.insert(key.to_owned(), json!(text));
    }
    Ok(())
}

fn put_number(into: &mut Map<String, Value>, from: &Object<'_>, key: &str) -> Result<(), String> {
    if let Some(number) = from.integer(key)?.filter(|number| *number != 0) {
        into.insert(key.to_owned(), json!(number));
    }
    Ok(())
}

fn ip(object: &Object<'_>, key: &str) -> Result<Option<IpAddr>, String> {
    let text = object.text(key)?;
    if text.is_empty() {
        return Ok(None);
    }
    let ip: Result<IpAddr, _> = text.parse();
    match ip {
        Ok(ip) => Ok(Some(ip.to_canonical())),
        Err(_) => Err(format!(
            "{}: invalid value {text:?}: an IP address is expected",
            object.path(key)
        )),
    }
}

fn cidr(object: &Object<'_>, key: &str) -> Result<Option<Cidr>, String> {
    if object.get(key).is_none() {
        return Ok(None);
    }
    let text = object.text(key)?;
    let wrong = || {
        format!(
            "{}: invalid value {text:?}: an address with a prefix length such as 10.1.2.3/24 is expected",
            object.path(key)
        )
    };
    let (ip, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    if prefix > if ip.is_ipv4() { 32 } else { 128 } {
        return Err(wrong());
    }
    let canonical = ip.to_canonical();
    // An IPv4 address in the form of IPv6 counts 96 bits more.
    let spare = if canonical == ip { 0 } else { 96 };
    Ok(Some(Cidr {
        ip: canonical,
        prefix: prefix.saturating_sub(spare),
    }))
}

impl Outcome {
    /// The version that it was read in.
    pub(super) fn version(&self) -> CniVersion {
        self.version
    }

    /// The addresses of a pod's interface, the first IPv4 one before the others. Addresses that name no interface
    /// are the pod's. Interfaces go by their name; one of the same name that is not in a sandbox is the host's, when
    /// another one is.
    ///
    /// # Errors
    /// An address names an interface that there is not.
    pub(super) fn addresses(&self, interface: &str) -> Result<Vec<IpAddr>, String> {
        let named = |of: &&Interface| of.name == interface;
        let mut all = self.interfaces.iter().filter(named);
        let inside = all.any(|of| !of.sandbox.is_empty());
        let mut found = Vec::new();
        for (index, of) in self.ips.iter().enumerate() {
            // Plugins that make one interface need not name it.
            let place = of.interface.and_then(|place| usize::try_from(place).ok());
            if let Some(place) = place.filter(|_| !self.interfaces.is_empty()) {
                let Some(holder) = self.interfaces.get(place) else {
                    let count = self.interfaces.len();
                    return Err(format!(
                        "ips[{index}].interface: invalid value {place}: there are {count} interfaces, counted from 0"
                    ));
                };
                if holder.name != interface || (inside && holder.sandbox.is_empty()) {
                    continue;
                }
            }
            if !found.contains(&of.address.ip) {
                found.push(of.address.ip);
            }
        }
        if let Some(first) = found.iter().position(IpAddr::is_ipv4) {
            found[..=first].rotate_right(1);
        }
        Ok(found)
    }

    /// The result in the version that it was read in.
    pub(super) fn whole(&self) -> Value {
        // Only another version can lack the words for it.
        self.in_version(self.version).unwrap_or_default()
    }

    /// The result as a version has it.
    ///
    /// # Errors
    /// 0.2.0 and before need an address.
    pub(super) fn in_version(&self, version: CniVersion) -> Result<Value, String> {
        let mut out = Map::new();
        out.insert("cniVersion".to_owned(), json!(version.as_str()));
        // Since 1.0.0 it is left out where it is empty.
        if version < CniVersion::V1_0_0 || !self.dns.is_empty() {
            out.insert("dns".to_owned(), json!(self.dns));
        }
        if version < CniVersion::V0_3_0 {
            self.put_families(&mut out);
            if self.version >= CniVersion::V0_3_0 && self.ips.is_empty() {
                let version = version.as_str();
                return Err(format!("a result of CNI {version} needs an IP address"));
            }
            return Ok(Value::Object(out));
        }
        let mut put = |key: &str, entries: Vec<Value>| {
            if !entries.is_empty() {
                out.insert(key.to_owned(), Value::Array(entries));
            }
        };
        let interfaces = self.interfaces.iter();
        put(
            "interfaces",
            interfaces.map(|of| of.in_version(version)).collect(),
        );
        let ips = self.ips.iter();
        put("ips", ips.map(|of| of.in_version(version)).collect());
        put("routes", self.routes.iter().map(Route::whole).collect());
        Ok(Value::Object(out))
    }

    /// One address of each family with the routes of that family: all that 0.2.0 can say.
    fn put_families(&self, out: &mut Map<String, Value>) {
        let newer = self.version >= CniVersion::V0_3_0;
        for (key, is_ours) in [
            ("ip4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
            ("ip6", IpAddr::is_ipv6),
        ] {
            let Some(of) = self.ips.iter().find(|of| is_ours(&of.address.ip)) else {
                continue;
            };
            let mut family = Map::from_iter([("ip".to_owned(), json!(of.address.to_string()))]);
            put_ip(&mut family, "gateway", of.gateway);
            let routes = self.routes.iter().filter(|of| is_ours(&of.destination.ip));
            let routes: Vec<Value> = routes
                .map(|of| if newer { of.short() } else { of.whole() })
                .collect();
            if !routes.is_empty() {
                family.insert("routes".to_owned(), Value::Array(routes));
            }
            out.insert(key.to_owned(), Value::Object(family));
        }
    }
}

fn put_ip(into: &mut Map<String, Value>, key: &str, ip: Option<IpAddr>) {
    if let Some(ip) = ip {
        into.insert(key.to_owned(), json!(ip.to_string()));
    }
}

impl Interface {
    fn in_version(&self, version: CniVersion) -> Value {
        let mut out = self.rest.clone();
        if version < CniVersion::V1_0_0 {
            out.retain(|key, _| key == "mac");
        }
        out.insert("name".to_owned(), json!(self.name));
        if !self.sandbox.is_empty() {
            out.insert("sandbox".to_owned(), json!(self.sandbox));
        }
        Value::Object(out)
    }
}

impl Address {
    fn in_version(&self, version: CniVersion) -> Value {
        let mut out = Map::from_iter([("address".to_owned(), json!(self.address.to_string()))]);
        put_ip(&mut out, "gateway", self.gateway);
        if let Some(interface) = self.interface {
            out.insert("interface".to_owned(), json!(interface));
        }
        if version < CniVersion::V1_0_0 {
            let family = if self.address.ip.is_ipv4() { "4" } else { "6" };
            out.insert("version".to_owned(), json!(family));
        }
        Value::Object(out)
    }
}

impl Route {
    /// The destination and the gateway.
    fn short(&self) -> Value {
        let mut out = Map::from_iter([("dst".to_owned(), json!(self.destination.to_string()))]);
        put_ip(&mut out, "gw", self.gateway);
        Value::Object(out)
    }

    /// The whole result, with all its fields.
    fn whole(&self) -> Value {
        let mut out = self.rest.clone();
        if let Value::Object(short) = self.short() {
            out.extend(short);
        }
        Value::Object(out)
    }
}
