//! ADD: a pod joins the bridge.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::{Value, json};

use super::config::Bridge;
use crate::cni::native::edition::Edition;
use crate::cni::native::error::NativeError;
use crate::cni::native::host_local::{Lease, Leased};
use crate::cni::native::joined::shown;
use crate::cni::native::message::{self, Held, Port, Veth};
use crate::cni::native::place::{self, Routes};
use crate::cni::native::pod::Pod;
use crate::cni::native::rules::Rules;
use crate::cni::native::veth;
use crate::cni::pod::INTERFACE;
use crate::link::{self, Link};
use crate::netlink::Batch;

/// IF_OPER_UNKNOWN, and IF_OPER_UP: the port forwards.
const UNKNOWN: u8 = 0;
const OPERATIONAL: u8 = 6;
/// How long the port may take to be up, in steps of microseconds that begin short: the kernel tells in the background.
const PORT_WAITS: [u64; 15] = [
    0, 100, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 400_000, 1_000_000,
    1_000_000,
];

/// Connects a pod, and gives the result.
///
/// # Errors
/// [`NativeError`]; DEL takes back what was made.
pub(in crate::cni::native) fn add(
    config: &Bridge,
    pod: &Pod,
    (deadline, rules): (Instant, &Rules),
) -> Result<Value, NativeError> {
    let mut host = place::socket()?;
    let bridge = ensure(config, &mut host)?;
    let namespace = place::open(&pod.netns)?;
    let leased = config.leases.lease(pod, deadline)?;
    let pins = config.is_gateway && gateways(config, (&mut host, &bridge), &leased)?;
    let pinned = if pins {
        own_mac(config, &bridge)?
    } else {
        None
    };
    let name = connect(config, (&mut host, &bridge), &namespace, pinned)?;
    if let Some(masquerading) = &config.masquerading {
        masquerading.add((&pod.id, pod.is_new), &leased.leases, rules)?;
    }
    // Only where IPv6 is turned off there is no such file.
    let _ = place::set(&format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "0");
    let mut inside = place::enter(&namespace, &pod.netns)?;
    let routes = with_default_routes(config, &leased);
    let mac = configure(config, &mut inside, &leased, &routes)?;
    let port = forwarding(&mut host, &name)?;
    let bridge = operational(config, &mut host)?;
    let interfaces = json!([
        { "name": config.name, "mac": shown(&bridge.mac) },
        { "name": name, "mac": shown(&port.mac) },
        { "name": INTERFACE, "mac": shown(&mac), "sandbox": pod.netns },
    ]);
    let ip = |lease: &Lease| {
        let address = format!("{}/{}", lease.ip, lease.prefix);
        json!({ "address": address, "gateway": lease.gateway, "interface": 2 })
    };
    let ips: Vec<Value> = leased.leases.iter().map(ip).collect();
    let dns = config.dns.clone().unwrap_or(leased.dns);
    Ok(
        json!({ "cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips, "routes": routes, "dns": dns }),
    )
}

/// Makes the bridge and brings it up, as far as that is not so.
fn ensure(config: &Bridge, host: &mut Routes) -> Result<Link, NativeError> {
    let name = &config.name;
    let mut bridge = link::find(host, name)?;
    if bridge.is_none() {
        let mut batch = Batch::new();
        message::push_bridge(&mut batch, name, config.mtu);
        match host.run(batch) {
            // Another pod came first.
            Err(error) if error.errno() == Some(Errno::EEXIST) => {}
            made => made?,
        }
        bridge = link::find(host, name)?;
    }
    let bridge = match bridge {
        Some(bridge) => bridge,
        None => veth::found(host, name)?,
    };
    if bridge.kind != "bridge" {
        let kind = &bridge.kind;
        return Err(NativeError::State(format!(
            "interface {name} is a `{kind}` and not a bridge; choose another name for the bridge"
        )));
    }
    if bridge.accepts_ra != Some(false) {
        let _ = place::set(&format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "0");
    }
    let wanted = link::UP
        | if config.promiscuous {
            message::PROMISCUOUS
        } else {
            0
        };
    if bridge.flags & wanted != wanted {
        let mut batch = Batch::new();
        message::push_flags(&mut batch, (bridge.index, name), wanted);
        host.run(batch)?;
    }
    Ok(bridge)
}

/// Gives the bridge the gateways' addresses, and lets the host forward. Says whether the bridge is to have a MAC address
/// of its own from now on.
fn gateways(
    config: &Bridge,
    (host, bridge): (&mut Routes, &Link),
    leased: &Leased,
) -> Result<bool, NativeError> {
    let mut pins = config.edition == Edition::Y2026;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let ours = |lease: &&Lease| lease.ip.is_ipv4() == (family == libc::AF_INET);
        let gateways: Vec<Held> = leased.leases.iter().filter(ours).map(gateway).collect();
        if gateways.is_empty() {
            continue;
        }
        let mut held = message::addresses(host, (bridge.index, &config.name), family)?;
        for gateway in gateways {
            let gives_way = others(&held, gateway);
            if let Some(other) = gives_way.first().filter(|_| !config.forces_address) {
                return Err(NativeError::State(format!(
                    "bridge {} has the address {other} and should have {gateway}; remove it or set forceAddress",
                    config.name
                )));
            }
            let mut change = Batch::new();
            for other in &gives_way {
                message::push_address_off(&mut change, (bridge.index, &config.name), *other);
            }
            if !held.contains(&gateway) {
                message::push_address(&mut change, (bridge.index, &config.name), gateway);
                pins = true;
            }
            match host.run(change) {
                // Another pod came first.
                Err(error) if error.errno() == Some(Errno::EEXIST) => {}
                made => made?,
            }
            held.retain(|of| !gives_way.contains(of));
            held.push(gateway);
        }
        place::forward(host, family)?;
    }
    Ok(pins)
}

/// The MAC address that a bridge keeps, so that it does not take that of a port. A bridge that has lost its last port
/// has none.
fn own_mac(config: &Bridge, bridge: &Link) -> Result<Option<Vec<u8>>, NativeError> {
    let is_none = bridge.mac.iter().all(|byte| *byte == 0);
    match config.edition {
        Edition::Y2022 if is_none => Ok(None),
        Edition::Y2026 if is_none => message::random_mac().map(|mac| Some(mac.to_vec())),
        _ => Ok(Some(bridge.mac.clone())),
    }
}

fn gateway(lease: &Lease) -> Held {
    Held {
        ip: lease.gateway,
        prefix: lease.prefix,
    }
}

/// The addresses that a gateway's cannot stand beside, as far as they come before it.
fn others(held: &[Held], gateway: Held) -> Vec<Held> {
    let before = held.iter().take_while(|of| **of != gateway);
    let clash = |of: &&Held| of.ip.is_ipv4() || of.contains(gateway.ip) || gateway.contains(of.ip);
    before.filter(clash).copied().collect()
}

/// Makes the veth pair, one end of it in the pod, the other a port of the bridge. Gives the name of the host's end.
fn connect(
    config: &Bridge,
    (host, bridge): (&mut Routes, &Link),
    namespace: &File,
    pinned: Option<Vec<u8>>,
) -> Result<String, NativeError> {
    veth::pair(host, |batch, name| {
        if let Some(mac) = &pinned {
            message::push_mac(batch, (bridge.index, &config.name), mac);
        }
        let veth = Veth {
            host: name,
            peer: INTERFACE,
            bridge: Some(bridge.index),
            namespace,
            mtu: config.mtu,
            peer_without_queue: config.edition == Edition::Y2022,
        };
        message::push_veth(batch, &veth);
        let port = Port {
            hairpin: config.hairpin,
            isolated: config.isolated,
        };
        if port != Port::default() {
            message::push_port(batch, name, port);
        }
    })
}

/// Sets up the pod's end: addresses, up, routes. The thread is in the pod's namespace. Gives its MAC address.
fn configure(
    config: &Bridge,
    inside: &mut Routes,
    leased: &Leased,
    routes: &[Value],
) -> Result<Vec<u8>, NativeError> {
    let leases = &leased.leases;
    let setting = |family: &str, interface: &str, key: &str| {
        format!("/proc/sys/net/{family}/conf/{interface}/{key}")
    };
    // Where IPv6 is turned off in the kernel there is no such file.
    let _ = place::set(&setting("ipv6", INTERFACE, "accept_dad"), "0");
    if leases.iter().any(|lease| lease.ip.is_ipv6()) {
        for interface in ["lo", INTERFACE] {
            let path = setting("ipv6", interface, "disable_ipv6");
            if std::fs::exists(&path).unwrap_or(false) {
                place::set(&path, "0")?;
            }
        }
        if config.edition == Edition::Y2026 {
            place::set(&setting("ipv6", INTERFACE, "keep_addr_on_down"), "1")?;
        }
    }
    let eth0 = veth::found(inside, INTERFACE)?;
    let place = (eth0.index, INTERFACE);
    let mut batch = Batch::new();
    message::push_arp_notify(&mut batch, place);
    for lease in leases {
        let held = Held {
            ip: lease.ip,
            prefix: lease.prefix,
        };
        message::push_address(&mut batch, place, held);
    }
    message::push_flags(&mut batch, place, link::UP);
    for route in leased.set(routes) {
        message::push_route(&mut batch, eth0.index, route);
    }
    inside.run(batch)?;
    Ok(eth0.mac)
}

/// The routes of the configuration, and default routes where the gateway is to be one.
fn with_default_routes(config: &Bridge, leased: &Leased) -> Vec<Value> {
    let mut routes = leased.routes.clone();
    if !config.is_default_gateway {
        return routes;
    }
    for lease in &leased.leases {
        let destination = if lease.ip.is_ipv4() {
            "0.0.0.0/0"
        } else {
            "::/0"
        };
        let is_one = |route: &Value| route["dst"] == destination && route.get("gw").is_some();
        if !routes.iter().any(is_one) {
            routes.push(json!({ "dst": destination, "gw": lease.gateway }));
        }
    }
    routes
}

/// Waits until the host's end is up as a port of the bridge.
fn forwarding(host: &mut Routes, name: &str) -> Result<Link, NativeError> {
    let mut state = 0;
    for wait in PORT_WAITS {
        std::thread::sleep(Duration::from_micros(wait));
        let port = veth::found(host, name)?;
        if port.state == OPERATIONAL {
            return Ok(port);
        }
        state = port.state;
    }
    Err(NativeError::State(format!(
        "port {name} of the bridge does not come up: its state is {state}"
    )))
}

/// The bridge, whose state is known from its first port on. The kernel leaves it unknown when the port is up at once.
fn operational(config: &Bridge, host: &mut Routes) -> Result<Link, NativeError> {
    let bridge = veth::found(host, &config.name)?;
    if bridge.state == UNKNOWN {
        let mut batch = Batch::new();
        message::push_state(&mut batch, (bridge.index, &config.name), OPERATIONAL);
        host.run(batch)?;
    }
    Ok(bridge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(text: &str) -> Held {
        let (ip, prefix) = text.split_once('/').unwrap();
        Held {
            ip: ip.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    /// IPv4 addresses exclude each other, IPv6 addresses only those of the same subnet.
    #[test]
    fn addresses_of_a_bridge_that_a_gateway_excludes() {
        let excluded = |of: &[&str], gateway: &str| {
            let all: Vec<Held> = of.iter().map(|text| held(text)).collect();
            let found = others(&all, held(gateway));
            found.iter().map(Held::to_string).collect::<Vec<_>>()
        };
        assert!(excluded(&["10.0.0.1/24"], "10.0.0.1/24").is_empty());
        assert_eq!(excluded(&["10.9.0.1/24"], "10.0.0.1/24"), ["10.9.0.1/24"]);
        assert_eq!(excluded(&["10.0.0.1/16"], "10.0.0.1/24"), ["10.0.0.1/16"]);
        // What stands behind the one that is there is not looked at.
        assert!(excluded(&["10.0.0.1/24", "10.9.0.1/24"], "10.0.0.1/24").is_empty());
        let six = ["fe80::1/64", "fd01::1/64", "fd00::9/64"];
        assert_eq!(excluded(&six, "fd00::1/64"), ["fd00::9/64"]);
    }
}
