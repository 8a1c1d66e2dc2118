//! CHECK of what every plugin makes that gives a pod an interface: its addresses and routes.

use std::net::IpAddr;

use serde_json::Value;

use super::error::NativeError;
use super::message::{self, Held};
use super::place::Routes;
use super::range::{is_network, plain_network};
use crate::cni::pod::INTERFACE;
use crate::link::{self, Link};

/// What a result says of a pod.
#[derive(Debug)]
pub(super) struct Joined<'a>(pub(super) &'a Value);

impl Joined<'_> {
    fn list(&self, key: &str) -> &[Value] {
        self.0
            .get(key)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The interfaces on the host, by name and MAC address.
    pub(super) fn on_host(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.list("interfaces").iter();
        let on_host = all.filter(|of| text(of, "sandbox").is_empty());
        on_host.map(|of| (text(of, "name"), text(of, "mac")))
    }

    /// The pod's interface: a veth with the MAC address that the result has. The socket is the pod's.
    ///
    /// # Errors
    /// [`NativeError`], also when it is another.
    pub(super) fn interface(&self, inside: &mut Routes) -> Result<Link, NativeError> {
        let wrong = |why: &str| Err(NativeError::State(format!("the pod's {INTERFACE} {why}")));
        let Some(eth0) = link::find(inside, INTERFACE)? else {
            return wrong("is gone");
        };
        if eth0.kind != "veth" {
            return wrong("is no end of a veth pair any more");
        }
        let all = self.list("interfaces").iter();
        let mut ours = all.filter(|of| text(of, "name") == INTERFACE);
        let mac = ours.find_map(|of| Some(text(of, "mac")).filter(|mac| !mac.is_empty()));
        if mac.is_some_and(|mac| mac != shown(&eth0.mac)) {
            return wrong("has another MAC address");
        }
        Ok(eth0)
    }

    /// The addresses and routes of the pod. The socket is the pod's.
    ///
    /// # Errors
    /// [`NativeError`], also when one is missing.
    pub(super) fn addresses(&self, inside: &mut Routes, eth0: &Link) -> Result<(), NativeError> {
        let missing = |what: String| NativeError::State(format!("the pod has lost {what}"));
        for family in [libc::AF_INET, libc::AF_INET6] {
            let is_v4 = family == libc::AF_INET;
            let held = message::addresses(inside, (eth0.index, INTERFACE), family)?;
            let routes = message::routes(inside, family)?;
            for ip in self.list("ips") {
                let Some((ip, prefix)) = plain_network(text(ip, "address")) else {
                    continue;
                };
                let address = Held { ip, prefix };
                if ip.is_ipv4() == is_v4 && !held.contains(&address) {
                    return Err(missing(format!("its address {address}")));
                }
            }
            for wanted in self.list("routes") {
                let to = plain_network(text(wanted, "dst")).filter(|to| is_network(*to));
                let Some((ip, prefix)) = to.filter(|(ip, _)| ip.is_ipv4() == is_v4) else {
                    continue;
                };
                let to = Held { ip, prefix };
                // Any default route will do, as for the programs.
                let gateway: Option<IpAddr> = text(wanted, "gw").parse().ok();
                let gateway = gateway.filter(|_| prefix > 0);
                let is_it = |route: &message::Route| {
                    route.to == to && (gateway.is_none() || route.gateway == gateway)
                };
                if !routes.iter().any(is_it) {
                    return Err(missing(format!("its route to {to}")));
                }
            }
        }
        Ok(())
    }
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A MAC address as people write it.
pub(super) fn shown(mac: &[u8]) -> String {
    let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}
