//! Connects a pod's network namespace, and disconnects it: by the plugins that are installed on the machine or
//! by the built-in bridge.
//!
//! ```text
//!   attach: pin the namespace ─▶ loopback only
//!                             ├▶ bridge: lease, veth pair, ports of the host
//!                             └▶ CNI: loopback, then the plugins
//!   detach: whatever there is of all of them; which one it was needs no record
//! ```

use holdfast_kernel::error_chain;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::blocking::blocking;
use super::error::{ConnectError, PodError};
use super::experiments;
use super::launch_error::{self, unexpected};
use super::link::ShimLink;
use super::node::Node;
use super::record::PodRecord;
use super::settings::CniUse;

use super::state::PodPhase;
use crate::spec::{self, NetMode, PodConfig};
use holdfast_kernel::id::PodId;
use holdfast_network::cni::{CniError, CniPod, NetworkList};
use holdfast_network::{self as network, Bandwidth, HostPort, Protocol, Published, Subnet};
use holdfast_wire::Request;

/// How a pod is to be connected.
enum NetworkChoice {
    Loopback,
    Bridge,
    Cni(Box<NetworkList>),
}

/// How far a pod was connected without waiting for plugins.
enum Step {
    Done(Vec<IpAddr>),
    Plugins(Box<NetworkList>),
}

/// Checks what a request asks of the network, as far as that is known without the machine.
pub(super) fn validate(node: &Node, config: &PodConfig) -> Result<(), PodError> {
    if config.namespaces.network == NetMode::Node {
        // With the host's network a port is the host's anyway, and nothing of the host's is limited.
        return Ok(());
    }
    let limits = bandwidth(config)?;
    if config.experiments.join_network.is_some() {
        return experiments::check_bandwidth(limits);
    }
    if node.cni_use != CniUse::Never || node.network.is_some() {
        return Ok(());
    }
    if !ports(config)?.is_empty() {
        return Err(PodError::Connect(ConnectError::NoNetwork(
            "a port of the host cannot lead into it",
        )));
    }
    if !limits.is_unlimited() {
        return Err(PodError::Connect(ConnectError::NoNetwork(
            "its bandwidth cannot be limited",
        )));
    }
    Ok(())
}

/// Pins a pod's network namespace, connects it and gives its addresses. `netns` is the namespace that the pod's pause
/// has made; without it one is made for the pause to join.
pub(super) async fn attach(
    node: &Arc<Node>,
    pod: &PodRecord,
    link: &ShimLink,
    netns: Option<OwnedFd>,
) -> Result<Vec<IpAddr>, PodError> {
    if !pod.config.owns_network() {
        return Ok(Vec::new());
    }
    let (opened, choice) = tokio::join!(open_network(link, netns), choose_network(node));
    let (netns, control) = opened?;
    let (owner, record, choice) = (Arc::clone(node), pod.clone(), choice?);
    let step = blocking(move || {
        owner.pin(record.id, netns.as_fd())?;
        match choice {
            NetworkChoice::Bridge => bridge(&owner, &record, &netns, &control).map(Step::Done),
            NetworkChoice::Loopback => {
                network::loopback_up(control.as_fd())?;
                Ok(Step::Done(Vec::new()))
            }
            NetworkChoice::Cni(list) => {
                network::loopback_up(control.as_fd())?;
                Ok(Step::Plugins(list))
            }
        }
    });
    match step.await? {
        Step::Done(ips) => Ok(ips),
        Step::Plugins(list) => {
            let ips = node.cni.add(&list, &cni_pod(node, pod)?).await?;
            Ok(addresses_after_sysctls(&pod.config, ips))
        }
    }
}

/// A pod's network namespace, which is made when there is none yet, and a netlink socket inside it.
async fn open_network(
    link: &ShimLink,
    netns: Option<OwnedFd>,
) -> Result<(OwnedFd, OwnedFd), PodError> {
    let (doing, request) = match netns {
        Some(_) => (
            "open a netlink socket in the pod's network namespace",
            Request::OpenNetlink,
        ),
        None => ("make the pod's network namespace", Request::MakeNetwork),
    };
    let answer = link.ask(request, &[]).await;
    let mut answer = answer.map_err(|error| launch_error::of_pod(doing, error))?;
    let control = answer.descriptors.pop();
    match (netns.or_else(|| answer.descriptors.pop()), control) {
        (Some(netns), Some(control)) => Ok((netns, control)),
        _ => Err(unexpected(doing, &answer).into()),
    }
}

/// Removes the addresses that a pod's sysctls disable.
fn addresses_after_sysctls(config: &PodConfig, mut ips: Vec<IpAddr>) -> Vec<IpAddr> {
    if spec::sysctl::disables_ipv6(config, "eth0") {
        ips.retain(IpAddr::is_ipv4);
    }
    ips
}

/// Which network a new pod joins.
async fn choose_network(node: &Node) -> Result<NetworkChoice, PodError> {
    let list = match node.cni_use {
        CniUse::Never => None,
        CniUse::WhenConfigured => node.cni.look().await?,
        CniUse::Always => {
            let none = || CniError::NoConfig(node.cni.settings().conf_dir.clone());
            Some(node.cni.look().await?.ok_or_else(none)?)
        }
    };
    Ok(match (list, &node.network) {
        (Some(list), _) => NetworkChoice::Cni(Box::new(list)),
        (None, Some(_)) => NetworkChoice::Bridge,
        (None, None) => NetworkChoice::Loopback,
    })
}

fn bridge(
    node: &Node,
    pod: &PodRecord,
    netns: &OwnedFd,
    control: &OwnedFd,
) -> Result<Vec<IpAddr>, PodError> {
    let Some(bridge) = &node.network else {
        return Ok(Vec::new());
    };
    let id = pod.id.to_string();
    bridge.ensure_once()?;
    let ips = bridge.attach(&id, netns.as_fd(), control.as_fd())?.ips;
    let ips = addresses_after_sysctls(&pod.config, ips);
    let limits = bandwidth(&pod.config)?;
    if !limits.is_unlimited() {
        bridge.shape(&id, limits)?;
    }
    bridge.publish(&id, &ips, &ports(&pod.config)?)?;
    Ok(ips)
}

/// Disconnects a pod for which no plugins have to be called; None when they have to. Blocks.
pub(super) fn detach_now(node: &Node, pod: &PodRecord) -> Option<Vec<PodError>> {
    if !pod.config.owns_network() {
        return Some(Vec::new());
    }
    match node.cni.is_attached(&pod.id.to_string()) {
        Ok(false) => Some(detach_bridge(node, pod, Pin::Remove)),
        // A record that cannot be looked for fails again where that is told.
        Ok(true) | Err(_) => None,
    }
}

/// Disconnects a pod. Every network is tried: nothing is there of those that it never joined.
pub(super) async fn detach(node: &Arc<Node>, pod: &PodRecord) -> Vec<PodError> {
    let netns = node.netns_path(pod.id);
    let left = node.cni.del(&pod.id.to_string(), &netns).await;
    // Plugins find what they have made by what is in the namespace: it stays until they have let go.
    let pin = if left.is_ok() { Pin::Remove } else { Pin::Keep };
    let (node, pod) = (Arc::clone(node), pod.clone());
    let rest = blocking(move || Ok(detach_bridge(&node, &pod, pin)));
    let mut failures = rest.await.unwrap_or_else(|error| vec![error]);
    failures.extend(left.err().map(PodError::from));
    failures
}

/// Whether the pin of a pod's network namespace is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pin {
    Remove,
    Keep,
}

fn detach_bridge(node: &Node, pod: &PodRecord, pin: Pin) -> Vec<PodError> {
    let mut failures: Vec<PodError> = Vec::new();
    if let Some(bridge) = &node.network {
        let id = pod.id.to_string();
        failures.extend(bridge.detach(&id).err().map(PodError::from));
        if bandwidth(&pod.config).is_ok_and(|limits| !limits.is_unlimited()) {
            failures.extend(bridge.unshape(&id).err().map(PodError::from));
        }
    }
    if pin == Pin::Remove {
        failures.extend(node.unpin(pod.id).err());
    }
    failures
}

/// The description of a pod that plugins get.
fn cni_pod(node: &Node, pod: &PodRecord) -> Result<CniPod, PodError> {
    let config = &pod.config;
    let dns = config.dns.clone();
    Ok(CniPod {
        id: pod.id.to_string(),
        netns: node.netns_path(pod.id),
        namespace: config.metadata.namespace.clone(),
        name: config.metadata.name.clone(),
        uid: config.metadata.uid.clone(),
        cgroup: pod.cgroup.clone(),
        annotations: config.annotations.clone(),
        ports: ports(config)?,
        bandwidth: bandwidth(config)?,
        dns: dns.map(|dns| [dns.servers, dns.searches, dns.options]),
    })
}

fn bandwidth(config: &PodConfig) -> Result<Bandwidth, PodError> {
    Ok(Bandwidth::of(|key| config.annotations.get(key))?)
}

/// The port mappings of a pod. A mapping with port 0 of the host is left out.
fn ports(config: &PodConfig) -> Result<Vec<HostPort>, PodError> {
    let mapped = config
        .port_mappings
        .iter()
        .filter(|port| port.host_port != 0);
    let port = |port: &spec::PortMapping| {
        let host_ip = match port.host_ip.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_| PodError::Connect(ConnectError::HostIp(text.to_owned())))?,
            ),
        };
        Ok(HostPort {
            protocol: match port.protocol {
                spec::Protocol::Tcp => Protocol::Tcp,
                spec::Protocol::Udp => Protocol::Udp,
                spec::Protocol::Sctp => Protocol::Sctp,
            },
            host_ip,
            host_port: port.host_port,
            pod_port: port.container_port,
        })
    };
    mapped.map(port).collect()
}

/// Why new pods would get no network of their own; empty when they would.
pub(super) async fn problem(node: &Node) -> String {
    if node.cni_use != CniUse::Never {
        let found = node.cni.look().await;
        // A broken configuration is one, and says so.
        if node.cni_use == CniUse::Always || !matches!(found, Ok(None)) {
            return node.cni.ready(found).await.err().unwrap_or_default();
        }
    }
    match &node.network {
        Some(_) => String::new(),
        None => "network.kind is none".to_owned(),
    }
}

/// CIDRs with commas between them.
pub(super) fn ranges(text: &str) -> Result<Vec<Subnet>, PodError> {
    let cidrs = text
        .split(',')
        .map(str::trim)
        .filter(|cidr| !cidr.is_empty());
    let range = |cidr: &str| cidr.parse().map_err(ConnectError::Range);
    Ok(cidrs.map(range).collect::<Result<_, _>>()?)
}

/// Tells the networks which pods were found at the daemon's start, so that they release all others. Blocks.
pub(super) fn reconcile(node: &Node, unread: &BTreeSet<PodId>) -> Result<(), PodError> {
    let Some(bridge) = &node.network else {
        return Ok(());
    };
    let pods = node.index.pods();
    let served = pods.iter().map(|entry| entry.id);
    let live: Vec<String> = served
        .chain(unread.iter().copied())
        .map(|id| id.to_string())
        .collect();
    let live: Vec<&str> = live.iter().map(String::as_str).collect();
    bridge.reconcile(&live)?;
    if !bridge.is_made() {
        return Ok(());
    }
    let mut published: Vec<Published> = Vec::new();
    for entry in pods {
        let pod = Arc::clone(&entry.snapshot.load().pod);
        let own = pod.config.owns_network();
        // Addresses of the plugins' network are in their hands, and so are the ports that lead to them.
        if own && pod.phase == PodPhase::Ready && bridge.is_attached(&pod.id.to_string()) {
            published.push((pod.id.to_string(), pod.ips.clone(), ports(&pod.config)?));
        }
    }
    Ok(bridge.republish(&published)?)
}

/// Lets the plugins forget the pods that are gone, and looks whether those that are there are still connected.
/// In the background: plugins may take their time, and nobody's request waits for it. What is left of another
/// boot goes before new pods come.
pub(super) async fn collect_and_check_networks(node: Arc<Node>) {
    node.readiness.all_released().await;
    if let Err(error) = node.cni.collect().await {
        tracing::warn!(
            error = error_chain(&error),
            "cannot collect with network plugins what is left of old pods"
        );
    }
    node.readiness.collected();
    for entry in node.index.pods() {
        let pod = Arc::clone(&entry.snapshot.load().pod);
        if pod.phase != PodPhase::Ready {
            continue;
        }
        let checked = node.cni.check(&pod.id.to_string()).await;
        // A pod that is being stopped meanwhile leaves its network.
        let is_ready = entry.snapshot.load().pod.phase == PodPhase::Ready;
        if let Err(error) = checked
            && is_ready
        {
            tracing::warn!(pod = %pod.id, error = error_chain(&error), "the network of a pod has changed since it was set up");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::error::ErrorKind;
    use crate::spec::PortMapping;

    fn mapping(host_port: u16, host_ip: &str) -> PortMapping {
        PortMapping {
            protocol: spec::Protocol::Udp,
            container_port: 53,
            host_port,
            host_ip: host_ip.to_owned(),
        }
    }

    /// Kubelets send every containerPort, and those without a hostPort have the number 0.
    #[test]
    fn only_mappings_with_a_port_of_the_host_count() {
        let config = PodConfig {
            port_mappings: vec![mapping(0, ""), mapping(5353, ""), mapping(54, "127.0.0.1")],
            ..PodConfig::default()
        };
        let ports = ports(&config).unwrap();
        let found: Vec<_> = ports
            .iter()
            .map(|port| (port.host_port, port.pod_port))
            .collect();
        assert_eq!(found, [(5353, 53), (54, 53)]);
        assert_eq!(ports[0].host_ip, None);
        assert_eq!(ports[1].host_ip, Some("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_address_of_a_mapping_that_is_no_address_is_named() {
        for wrong in ["localhost", "127.0.0.1/8", "::1%lo", " "] {
            let config = PodConfig {
                port_mappings: vec![mapping(53, wrong)],
                ..PodConfig::default()
            };
            let error = ports(&config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{wrong:?}");
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }

    /// UpdateRuntimeConfig has one CIDR, or one of each family with a comma between them.
    #[test]
    fn pod_cidrs_are_separated_by_commas() {
        for (text, count) in [
            ("", 0),
            ("10.1.0.0/24", 1),
            ("10.1.0.0/24, fd00:1::/64,", 2),
        ] {
            assert_eq!(ranges(text).unwrap().len(), count, "{text:?}");
        }
        for wrong in ["10.1.0.0", "10.1.0.0/33", "10.1.0.0/24 fd00:1::/64"] {
            let error = ranges(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{wrong:?}");
        }
    }

    #[test]
    fn a_pod_that_turns_ipv6_off_keeps_its_other_addresses() {
        let ips: Vec<IpAddr> = vec!["10.1.0.2".parse().unwrap(), "fd00:1::2".parse().unwrap()];
        let plain = PodConfig::default();
        assert_eq!(addresses_after_sysctls(&plain, ips.clone()), ips);
        let mut without = PodConfig::default();
        let key = "net.ipv6.conf.all.disable_ipv6";
        without.sysctls.insert(key.to_owned(), "1".to_owned());
        assert_eq!(addresses_after_sysctls(&without, ips.clone()), ips[..1]);
    }
}
