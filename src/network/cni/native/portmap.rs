//! The plugin `portmap`: leads ports of the host to a pod, and hands on the result that it gets.
//!
//! It asks `iptables` for rules, which are put into nf_tables from here.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Map, Value};

use super::edition::Edition;
use super::error::NativeError;
use super::message;
use super::place;
use super::pod::Pod;
use super::range::{only, plain_address};
use super::rules::{self, Rules};
use crate::cni::pod::INTERFACE;
use crate::conntrack;
use crate::hostport::{HostPort, Protocol};
use crate::link;
use crate::nft::xtables::{self, Mark, Masked, OwnChain, PortRules, TO_PODS};
use holdfast_kernel::error_chain;

/// The keys of a configuration that the daemon serves.
const KNOWN: [&str; 13] = [
    "type",
    "name",
    "cniVersion",
    "prevResult",
    "capabilities",
    "runtimeConfig",
    "snat",
    "masqAll",
    "markMasqBit",
    "externalSetMarkChain",
    "conditionsV4",
    "conditionsV6",
    "backend",
];
/// The bit that marks packets unless a configuration says otherwise.
const DEFAULT_BIT: u8 = 13;
/// The last bit of a packet's mark.
const LAST_BIT: u8 = 31;
/// Longest name of a chain of iptables.
const CHAIN_LIMIT: usize = 28;
/// Where rules led to the chains of releases before 0.7.
const OLD_TO_PODS: &str = "CNI-HOSTPORT-SNAT";

/// A configuration of the plugin.
#[derive(Debug)]
pub(super) struct Portmap {
    edition: Edition,
    network: String,
    ports: Vec<HostPort>,
    mark: Option<MarkBy>,
    masquerades_all: bool,
    /// The pod's addresses of which the ports lead to one a family; known for ADD.
    pods: Vec<Masked>,
}

/// What marks packets that have to be masqueraded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum MarkBy {
    Bit(u8),
    Chain(String),
}

impl Portmap {
    /// Reads a configuration. None when it is not all known, or not right.
    pub(super) fn of(config: &Map<String, Value>, edition: Edition) -> Option<Portmap> {
        only(config, &KNOWN)?;
        let flag = |key: &str, default: bool| config.get(key).map_or(Some(default), Value::as_bool);
        let marks = mark(config)?;
        let (snat, masquerades_all) = (flag("snat", true)?, flag("masqAll", false)?);
        let backend = config
            .get("backend")
            .map_or(Some("iptables"), Value::as_str)?;
        let ports = ports(config.get("runtimeConfig"))?;
        let is_held = match backend {
            "iptables" => true,
            // Release 1.1.1 has no choice, and without a port it makes no difference.
            "nftables" => edition == Edition::Y2022 || ports.is_empty(),
            _ => false,
        };
        let pods = match config.get("prevResult") {
            Some(result) if !ports.is_empty() => addresses(result)?,
            _ => Vec::new(),
        };
        (is_held && is_unconditional(config)).then_some(())?;
        Some(Portmap {
            edition,
            network: config.get("name")?.as_str()?.to_owned(),
            ports,
            mark: snat.then_some(marks),
            masquerades_all: masquerades_all && edition == Edition::Y2026,
            pods,
        })
    }

    /// Whether a pod has ports of the host, so that rules of iptables are written.
    pub(super) fn has_rules(&self) -> bool {
        !self.ports.is_empty()
    }

    /// Whether it can be done for a pod.
    pub(super) fn fits(&self, id: &str) -> bool {
        rules::is_comment(&self.comment(id)) && rules::are_plain(&[id, &self.network])
    }

    fn comment(&self, id: &str) -> String {
        format!(r#"dnat name: "{}" id: "{id}""#, self.network)
    }

    /// The rules of a pod.
    fn rules<'a>(&'a self, (chain, comment): (&'a str, &'a str)) -> PortRules<'a> {
        PortRules {
            chain,
            comment,
            ports: &self.ports,
            mark: self.mark.as_ref().map(|by| match by {
                MarkBy::Bit(bit) => Mark::Bit(*bit),
                MarkBy::Chain(chain) => Mark::Chain(chain),
            }),
            masquerades_all: self.masquerades_all,
        }
    }

    /// Looks whether the ports lead to a pod still.
    ///
    /// # Errors
    /// [`NativeError`], also with the rule that is missing.
    pub(super) fn check(&self, pod: &Pod, known: &Rules) -> Result<(), NativeError> {
        let chain = rules::chain_name("CNI-DN-", &self.network, &pod.id);
        let comment = self.comment(&pod.id);
        let rules = self.rules((&chain, &comment));
        for address in &self.pods {
            if let Some(missing) = known.work(|_, socket| rules.missing(socket, *address))? {
                return Err(NativeError::State(missing));
            }
        }
        Ok(())
    }

    /// Leads the ports to a pod.
    ///
    /// # Errors
    /// [`NativeError`]; DEL takes back what was made.
    pub(super) fn add(&self, pod: &Pod, known: &Rules) -> Result<(), NativeError> {
        let chain = rules::chain_name("CNI-DN-", &self.network, &pod.id);
        let comment = self.comment(&pod.id);
        let rules = self.rules((&chain, &comment));
        if !pod.is_new {
            self.remove(&chain, known)?;
        }
        for (ip, prefix) in &self.pods {
            self.require_mark(*ip, known)?;
            known.work(|book, socket| {
                let added = rules.add(socket, (*ip, *prefix), &mut book.shared)?;
                let numbers = book.numbers.entry(chain.clone());
                numbers.or_default().extend(added);
                Ok(())
            })?;
            self.end_flows(ip.is_ipv4());
            if ip.is_ipv4() && self.mark.is_some() {
                route_loopback(*ip)?;
            }
        }
        Ok(())
    }

    /// Another's chain that marks packets has to be there.
    fn require_mark(&self, ip: IpAddr, known: &Rules) -> Result<(), NativeError> {
        let Some(MarkBy::Chain(chain)) = &self.mark else {
            return Ok(());
        };
        if known.work(|_, socket| xtables::has_chain(socket, ip, chain))? {
            return Ok(());
        }
        let tables = if ip.is_ipv4() {
            "iptables"
        } else {
            "ip6tables"
        };
        Err(NativeError::State(format!(
            "externalSetMarkChain: invalid value {chain:?}: table nat of {tables} has no such chain; let its owner make it first"
        )))
    }

    /// Takes the ports back, as far as they lead to a pod.
    ///
    /// # Errors
    /// [`NativeError::Netlink`].
    pub(super) fn del(&self, pod: &Pod, known: &Rules) -> Result<(), NativeError> {
        let chain = rules::chain_name("CNI-DN-", &self.network, &pod.id);
        self.remove(&chain, known)?;
        let old = rules::chain_name("CNI-SN-", &self.network, &pod.id);
        let old = OwnChain {
            name: &old,
            parent: OLD_TO_PODS,
        };
        // A chain that nobody of today has made is no reason to keep a pod.
        let _ = known.work(|_, socket| old.remove(socket, &[]));
        if self.edition == Edition::Y2026 {
            self.end_flows(true);
            self.end_flows(false);
        }
        Ok(())
    }

    fn remove(&self, chain: &str, known: &Rules) -> Result<(), NativeError> {
        let own = OwnChain {
            name: chain,
            parent: TO_PODS,
        };
        known.work(|book, socket| {
            own.remove(socket, book.numbers_of(chain))?;
            book.numbers.remove(chain);
            Ok(())
        })
    }

    /// Ends flows that go where the ports led before. Flows end by themselves as well, so failures are told only.
    fn end_flows(&self, is_v4: bool) {
        let of_udp = |port: &&HostPort| port.protocol == Protocol::Udp;
        let ports = self.ports.iter().filter(of_udp);
        let ports: Vec<u16> = ports.map(|port| port.host_port).collect();
        if ports.is_empty() {
            return;
        }
        if let Err(error) = conntrack::end_all_flows(is_v4, &ports) {
            let network = self.network.as_str();
            let error = error_chain(&error);
            tracing::debug!(
                network,
                error,
                "cannot end the UDP flows to ports of a network"
            );
        }
    }
}

/// Has the interface by which a pod is reached route packets of 127.0.0.0/8.
fn route_loopback(pod: IpAddr) -> Result<(), NativeError> {
    let mut host = place::socket()?;
    let Some(index) = message::route_to(&mut host, pod) else {
        return Ok(());
    };
    let Some(interface) = link::find_index(&mut host, index)? else {
        return Ok(());
    };
    let name = interface.name;
    place::set(
        &format!("/proc/sys/net/ipv4/conf/{name}/route_localnet"),
        "1",
    )
}

fn mark(config: &Map<String, Value>) -> Option<MarkBy> {
    let bit = config.get("markMasqBit");
    let Some(chain) = config.get("externalSetMarkChain") else {
        let bit = bit.map_or(Some(u64::from(DEFAULT_BIT)), Value::as_u64)?;
        let bit = u8::try_from(bit).ok().filter(|bit| *bit <= LAST_BIT)?;
        return Some(MarkBy::Bit(bit));
    };
    let chain = chain.as_str()?;
    // A target of iptables may have any name, but none of them has a hyphen.
    let is_chain = chain.contains('-') && chain.len() <= CHAIN_LIMIT && !chain.starts_with('-');
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_right = bit.is_none() && is_chain && chain.bytes().all(is_known);
    is_right.then(|| MarkBy::Chain(chain.to_owned()))
}

/// Whether no conditions are given: they are arguments of iptables.
fn is_unconditional(config: &Map<String, Value>) -> bool {
    let mut all = ["conditionsV4", "conditionsV6"].into_iter();
    let is_empty = |list: &Value| list.as_array().is_some_and(Vec::is_empty);
    all.all(|key| config.get(key).is_none_or(is_empty))
}

/// The ports of a pod. None when they are not all known, or not right.
fn ports(runtime: Option<&Value>) -> Option<Vec<HostPort>> {
    let Some(runtime) = runtime else {
        return Some(Vec::new());
    };
    let runtime = runtime.as_object()?;
    only(runtime, &["portMappings"])?;
    let Some(ports) = runtime.get("portMappings") else {
        return Some(Vec::new());
    };
    ports.as_array()?.iter().map(port).collect()
}

fn port(value: &Value) -> Option<HostPort> {
    let fields = value.as_object()?;
    only(fields, &["hostPort", "containerPort", "protocol", "hostIP"])?;
    let number = |key: &str| {
        let number = fields.get(key)?.as_u64()?;
        u16::try_from(number).ok().filter(|number| *number > 0)
    };
    let protocol = fields.get("protocol")?.as_str()?;
    let mut all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter();
    let at = fields.get("hostIP").map_or(Some(""), Value::as_str)?;
    Some(HostPort {
        protocol: all.find(|of| of.as_str() == protocol)?,
        host_ip: match at {
            "" => None,
            at => Some(address(at)?),
        },
        host_port: number("hostPort")?,
        pod_port: number("containerPort")?,
    })
}

/// An address that every reader takes for the same one. Of the old forms of IPv4 in IPv6 these two are none.
fn address(text: &str) -> Option<IpAddr> {
    match text {
        "::" => Some(Ipv6Addr::UNSPECIFIED.into()),
        "::1" => Some(Ipv6Addr::LOCALHOST.into()),
        text => plain_address(text),
    }
}

/// The first address of each family that a pod has inside, IPv4 first. None when one is not right.
fn addresses(result: &Value) -> Option<Vec<Masked>> {
    let none = Vec::new();
    let list = |key: &str| match result.get(key) {
        None => Some(&none),
        Some(list) => list.as_array(),
    };
    let (interfaces, mut found) = (list("interfaces")?, [None, None]);
    let is_ours = |interface: &Value| {
        let text = |key: &str| interface.get(key).and_then(Value::as_str);
        text("name") == Some(INTERFACE) && text("sandbox").is_some_and(|of| !of.is_empty())
    };
    for ip in list("ips")? {
        let (address, prefix) = ip.get("address")?.as_str()?.split_once('/')?;
        let (address, prefix) = (plain_address(address)?, prefix.parse().ok()?);
        let place = ip.get("interface").and_then(Value::as_u64);
        let place = place.and_then(|place| interfaces.get(usize::try_from(place).ok()?));
        let first = &mut found[usize::from(address.is_ipv6())];
        if first.is_none() && place.is_none_or(is_ours) {
            *first = Some((address, prefix));
        }
    }
    Some(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(more: Value, edition: Edition) -> Option<Portmap> {
        let mut config = json!({ "type": "portmap", "name": "net" });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        Portmap::of(config.as_object().unwrap(), edition)
    }

    fn with_port(more: Value) -> Value {
        let mut port = json!({ "hostPort": 80, "containerPort": 8080, "protocol": "tcp" });
        for (key, value) in more.as_object().unwrap() {
            port[key] = value.clone();
        }
        json!({ "runtimeConfig": { "portMappings": [port] } })
    }

    #[test]
    fn what_is_not_known_is_left_to_the_program() {
        for known in [
            json!({ "capabilities": { "portMappings": true }, "snat": true, "conditionsV4": [] }),
            json!({ "backend": "nftables", "masqAll": true }),
            json!({ "externalSetMarkChain": "KUBE-MARK-MASQ" }),
            with_port(json!({ "hostIP": "::1" })),
            with_port(json!({ "hostIP": "" })),
        ] {
            assert!(read(known.clone(), Edition::Y2026).is_some(), "{known}");
        }
        for other in [
            json!({ "conditionsV4": ["-s", "10.0.0.0/8"] }),
            json!({ "externalSetMarkChain": "MASQUERADE" }),
            json!({ "externalSetMarkChain": "A-B", "markMasqBit": 3 }),
            json!({ "markMasqBit": 32 }),
            json!({ "backend": "pf" }),
            json!({ "snat": "yes" }),
            json!({ "runtimeConfig": { "bandwidth": {} } }),
            with_port(json!({ "hostPort": 0 })),
            with_port(json!({ "containerPort": 65536 })),
            with_port(json!({ "protocol": "TCP" })),
            with_port(json!({ "hostIP": "::ffff:192.0.2.1" })),
            with_port(json!({ "note": "mine" })),
        ] {
            assert!(read(other.clone(), Edition::Y2026).is_none(), "{other}");
        }
        // Release 1.1.1 knows no backend, and 1.10.0 asks `nft` when it is told so.
        let mut nft = with_port(json!({}));
        nft["backend"] = json!("nftables");
        assert!(read(nft.clone(), Edition::Y2022).is_some());
        assert!(read(nft, Edition::Y2026).is_none());
    }

    #[test]
    fn ports_lead_to_the_addresses_inside() {
        let found = addresses(&json!({
            "interfaces": [{ "name": "cni0" }, { "name": "eth0", "sandbox": "/x" }, { "name": "eth0" }],
            "ips": [
                { "address": "192.0.2.1/24", "interface": 0 },
                { "address": "192.0.2.2/24", "interface": 2 },
                { "address": "fd00::2/64", "interface": 1 },
                { "address": "10.0.0.2/16", "interface": 1 },
                { "address": "10.0.0.3/16" },
            ],
        }));
        let found: Vec<String> = found
            .unwrap()
            .iter()
            .map(|(ip, of)| format!("{ip}/{of}"))
            .collect();
        assert_eq!(found, ["10.0.0.2/16", "fd00::2/64"]);
        // A result that names no interfaces has the pod's.
        let plain = json!({ "ips": [{ "address": "10.0.0.2/16", "interface": 0 }] });
        assert_eq!(addresses(&plain).unwrap().len(), 1);
        assert_eq!(addresses(&json!({})), Some(Vec::new()));
        assert_eq!(
            addresses(&json!({ "ips": [{ "address": "10.0.0.2" }] })),
            None
        );
    }
}
