//! The plugin `ptp`: a pod alone with the host, with an IPv4 address of `host-local`.
//!
//! ```text
//!   ADD: lease ─▶ veth pair ─▶ gateway's address and route to the pod on the host's end ─▶ rules
//!        ─▶ [pod] address, up, routes ─▶ [pod] all but the gateway goes through the gateway
//!   DEL: rules ─▶ veth pair, deleted in the background ─▶ lease
//! ```
//!
//! IPv6 is left to the program, which waits until the kernel has looked for others with the pod's address.

use std::net::IpAddr;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::edition::Edition;
use super::error::NativeError;
use super::fields;
use super::host_local::{HostLocal, Lease, Leased};
use super::joined::{Joined, shown};
use super::masquerade::Masquerading;
use super::message::{self, Held, NewRoute, Veth};
use super::place::{self, Routes};
use super::pod::Pod;
use super::range::only;
use super::rules::Rules;
use super::veth;
use crate::cni::pod::INTERFACE;
use crate::link;
use crate::netlink::Batch;

/// The keys of a configuration that the daemon serves.
const KNOWN: [&str; 11] = [
    "type",
    "name",
    "cniVersion",
    "prevResult",
    "runtimeConfig",
    "capabilities",
    "ipam",
    "dns",
    "mtu",
    "ipMasq",
    "ipMasqBackend",
];

/// A configuration of the plugin.
#[derive(Debug)]
pub(super) struct Ptp {
    edition: Edition,
    mtu: Option<u32>,
    dns: Option<Value>,
    leases: HostLocal,
    masquerading: Option<Masquerading>,
}

impl Ptp {
    /// Reads a configuration, with the editions of `ptp` and `host-local`. None when it is not all known, or not right.
    pub(super) fn of(
        config: &Map<String, Value>,
        (edition, of_leases): (Edition, Edition),
    ) -> Option<Ptp> {
        only(config, &KNOWN)?;
        let leases = HostLocal::of(config, of_leases)?;
        leases.is_one_v4().then_some(())?;
        Some(Ptp {
            edition,
            mtu: fields::mtu(config)?,
            dns: fields::resolvers(config)?,
            masquerading: fields::masquerading(config, edition)?,
            leases,
        })
    }

    /// Whether rules of iptables are written.
    pub(super) fn has_rules(&self) -> bool {
        self.masquerading.is_some()
    }

    /// Whether it can be done for a pod.
    pub(super) fn fits(&self, id: &str) -> bool {
        let masquerading = self.masquerading.as_ref();
        masquerading.is_none_or(|masquerading| masquerading.fits(id))
    }

    /// Connects a pod, and gives the result.
    ///
    /// # Errors
    /// [`NativeError`]; DEL takes back what was made.
    pub(super) fn add(
        &self,
        pod: &Pod,
        (deadline, rules): (Instant, &Rules),
    ) -> Result<Value, NativeError> {
        let mut host = place::socket()?;
        let namespace = place::open(&pod.netns)?;
        let leased = self.leases.lease(pod, deadline)?;
        place::forward(&mut host, libc::AF_INET)?;
        let name = veth::pair(&mut host, |batch, name| {
            let veth = Veth {
                host: name,
                peer: INTERFACE,
                bridge: None,
                namespace: &namespace,
                mtu: self.mtu,
                peer_without_queue: self.edition == Edition::Y2022,
            };
            message::push_veth(batch, &veth);
        })?;
        // Only where IPv6 is turned off there is no such file.
        let _ = place::set(&format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "0");
        let end = veth::found(&mut host, &name)?;
        let mut batch = Batch::new();
        for lease in &leased.leases {
            message::push_address(&mut batch, (end.index, &name), alone(lease.gateway));
            let to_pod = NewRoute {
                scope: libc::RT_SCOPE_HOST,
                ..NewRoute::through(alone(lease.ip), None)
            };
            message::push_route(&mut batch, end.index, to_pod);
        }
        host.run(batch)?;
        if let Some(masquerading) = &self.masquerading {
            masquerading.add((&pod.id, pod.is_new), &leased.leases, rules)?;
        }
        let mut inside = place::enter(&namespace, &pod.netns)?;
        let mac = configure(&mut inside, &leased)?;
        let interfaces = json!([
            { "name": name, "mac": shown(&end.mac) },
            { "name": INTERFACE, "mac": shown(&mac), "sandbox": pod.netns },
        ]);
        let ip = |lease: &Lease| {
            let address = format!("{}/{}", lease.ip, lease.prefix);
            json!({ "address": address, "gateway": lease.gateway, "interface": 1 })
        };
        let ips: Vec<Value> = leased.leases.iter().map(ip).collect();
        let dns = self.dns.clone().unwrap_or(leased.dns);
        Ok(
            json!({ "cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips, "routes": leased.routes, "dns": dns }),
        )
    }

    /// Looks whether a pod is connected as its result says.
    ///
    /// # Errors
    /// [`NativeError`], also with what has changed.
    pub(super) fn check(
        &self,
        (pod, result): (&Pod, &Value),
        deadline: Instant,
    ) -> Result<(), NativeError> {
        self.leases.check(pod, deadline)?;
        let joined = Joined(result);
        let mut inside = place::enter(&place::open(&pod.netns)?, &pod.netns)?;
        let eth0 = joined.interface(&mut inside)?;
        joined.addresses(&mut inside, &eth0)
    }

    /// Disconnects a pod, and says whether interfaces are left for the background to delete.
    ///
    /// # Errors
    /// [`NativeError`]; it can be repeated.
    pub(super) fn del(
        &self,
        pod: &Pod,
        (deadline, rules): (Instant, &Rules),
    ) -> Result<bool, NativeError> {
        // First, as long as the thread is in the host's namespace.
        if let Some(masquerading) = &self.masquerading {
            masquerading.remove(&pod.id, rules)?;
        }
        let marked = if pod.is_gone() {
            false
        } else {
            veth::disconnect(pod)?
        };
        self.leases.release(pod, deadline)?;
        Ok(marked)
    }
}

/// An address in a network of its own.
fn alone(ip: IpAddr) -> Held {
    let prefix = if ip.is_ipv4() { 32 } else { 128 };
    Held { ip, prefix }
}

/// Sets up the pod's end, whose only neighbour is the gateway. Gives its MAC address.
fn configure(inside: &mut Routes, leased: &Leased) -> Result<Vec<u8>, NativeError> {
    let eth0 = veth::found(inside, INTERFACE)?;
    let place = (eth0.index, INTERFACE);
    let mut batch = Batch::new();
    for lease in &leased.leases {
        let (ip, prefix) = (lease.ip, lease.prefix);
        message::push_address(&mut batch, place, Held { ip, prefix });
    }
    message::push_flags(&mut batch, place, link::UP);
    for route in leased.set(&leased.routes) {
        message::push_route(&mut batch, eth0.index, route);
    }
    for lease in &leased.leases {
        let network = lease.network();
        // The kernel has made this one with the address.
        message::push_route_off(&mut batch, eth0.index, network);
        let source = Some(lease.ip);
        let to_gateway = NewRoute {
            scope: libc::RT_SCOPE_LINK,
            source,
            ..NewRoute::through(alone(lease.gateway), None)
        };
        message::push_route(&mut batch, eth0.index, to_gateway);
        let to_network = NewRoute {
            source,
            ..NewRoute::through(network, Some(lease.gateway))
        };
        message::push_route(&mut batch, eth0.index, to_network);
    }
    inside.run(batch)?;
    Ok(eth0.mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_to_the_program() {
        let held = |more: Value| {
            let mut config = json!({ "type": "ptp", "name": "net", "cniVersion": "1.0.0",
                "ipam": { "type": "host-local", "subnet": "10.0.0.0/24" } });
            for (key, value) in more.as_object().unwrap() {
                config[key] = value.clone();
            }
            let editions = (Edition::Y2026, Edition::Y2026);
            Ptp::of(config.as_object().unwrap(), editions).is_some()
        };
        for known in [
            json!({}),
            json!({ "ipMasq": true, "mtu": 1400, "dns": { "nameservers": ["192.0.2.1"] } }),
        ] {
            assert!(held(known.clone()), "{known}");
        }
        let ranges = |ranges: Value| json!({ "ipam": { "type": "host-local", "ranges": ranges } });
        for other in [
            json!({ "ipMasq": true, "ipMasqBackend": "nftables" }),
            json!({ "isGateway": true }),
            json!({ "mtu": "1400" }),
            json!({ "ipam": { "type": "static" } }),
            ranges(json!([[{ "subnet": "fd00::/64" }]])),
            ranges(json!([[{ "subnet": "10.0.0.0/24" }], [{ "subnet": "fd00::/64" }]])),
        ] {
            assert!(!held(other.clone()), "{other}");
        }
    }
}
