//! Mapping ports of the host to pods of the bridge.

use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use nix::errno::Errno;

use super::bridge::{BridgeNetwork, NetworkError};
use super::conntrack::{self, Now};
use super::hostport::{HostPort, PortBook, PortMapping};
use super::netlink::NetlinkError;
use super::{nft, sysctl};

/// A pod whose ports are to be mapped: its id, its addresses and its ports.
pub type Published = (String, Vec<IpAddr>, Vec<HostPort>);

impl BridgeNetwork {
    /// Maps ports of the host to an attached pod, all of them or none. To be called in the namespace of
    /// [`BridgeNetwork::new`].
    ///
    /// # Errors
    /// [`NetworkError::Port`] when another pod has one of them; [`NetworkError::Sysctl`];
    /// [`NetworkError::Kernel`].
    pub fn publish(
        &self,
        owner: &str,
        ips: &[IpAddr],
        ports: &[HostPort],
    ) -> Result<(), NetworkError> {
        if ports.is_empty() {
            return Ok(());
        }
        let mut book = self.book();
        let mappings = book.enter(owner, ips, ports)?;
        let name = &self.settings().name;
        let done = self.reach_localhost(ips).and_then(|()| {
            nft::add_ports(name, &mappings)
                .map_err(|source| self.ports_failed("map", owner, source))
        });
        match &done {
            Ok(()) => end_flows(owner, &mappings, Now::Mapped),
            Err(_) => {
                book.remove(owner);
            }
        }
        done
    }

    /// Removes the port mappings of a pod. A pod without any is done.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`]; the ports are still the pod's then.
    pub(super) fn withdraw(&self, owner: &str) -> Result<(), NetworkError> {
        let mut book = self.book();
        book.note_release(owner);
        if book.mappings_of_owner(owner).is_empty() {
            return Ok(());
        }
        let name = &self.settings().name;
        let removed = match nft::remove_ports(name, book.mappings_of_owner(owner)) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => {
                // Somebody emptied the maps: they become what the book says.
                let ours = book.mappings_of_owner(owner).to_vec();
                let mut all = book.all_mappings();
                all.retain(|mapping| !ours.contains(mapping));
                nft::replace_ports(name, &all)
            }
            other => other,
        };
        removed.map_err(|source| self.ports_failed("unmap", owner, source))?;
        end_flows(owner, &book.remove(owner), Now::Withdrawn);
        Ok(())
    }

    /// Maps the ports of these pods and no others: what a new daemon makes of the records. A pod that was
    /// released meanwhile is left out, and so is one whose ports another one has.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`], [`NetworkError::Sysctl`].
    pub fn republish(&self, pods: &[Published]) -> Result<(), NetworkError> {
        let mut book = self.book();
        let released = book.begin_filling();
        for (owner, ips, ports) in pods {
            if released.contains(owner) || ports.is_empty() {
                continue;
            }
            self.reach_localhost(ips)?;
            if let Err(error) = book.enter(owner, ips, ports) {
                tracing::error!(
                    pod = owner,
                    error = &error as &dyn std::error::Error,
                    "cannot map the ports of a recovered pod"
                );
            }
        }
        nft::replace_ports(&self.settings().name, &book.all_mappings())
            .map_err(|source| self.ports_failed("map", "all", source))
    }

    /// Lets 127.0.0.1 of the host reach pods by their ports; the table's `guard` keeps pods from reaching it.
    fn reach_localhost(&self, ips: &[IpAddr]) -> Result<(), NetworkError> {
        if !ips.iter().any(IpAddr::is_ipv4) {
            return Ok(());
        }
        let name = &self.settings().name;
        let path = sysctl::route_localnet(name);
        sysctl::switch_on(&path).map_err(|source| NetworkError::Sysctl {
            name: name.clone(),
            path,
            source,
        })
    }

    fn ports_failed(&self, operation: &str, pod: &str, source: NetlinkError) -> NetworkError {
        let bridge = &self.settings().name;
        NetworkError::Kernel {
            operation: format!("{operation} the ports of pod {pod} at bridge `{bridge}`"),
            source,
        }
    }

    fn book(&self) -> MutexGuard<'_, PortBook> {
        // A panic between two steps leaves at worst a port too many, which the next daemon takes back.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Old flows that stay do not make the ports wrong for new ones, so this fails nothing.
fn end_flows(pod: &str, mappings: &[PortMapping], now: Now) {
    if let Err(error) = conntrack::end_flows(mappings, now) {
        tracing::warn!(
            pod,
            error = &error as &dyn std::error::Error,
            "cannot end old UDP flows to the ports of the pod"
        );
    }
}
