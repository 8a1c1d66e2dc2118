//! Masquerading of `bridge`: what leaves the pod's networks gets the address of the host.
//!
//! The program asks `iptables` for it. Where that is iptables-nft, the same rules are put into nf_tables from here.

use super::edition::Edition;
use super::error::NativeError;
use super::host_local::Lease;
use super::rules::{self, Rules, hash};
use crate::cni::pod::INTERFACE;
use crate::nft::xtables::{self, Masked};

/// The masquerading of one network.
#[derive(Debug)]
pub(super) struct Masquerading {
    network: String,
    edition: Edition,
}

impl Masquerading {
    /// The masquerading of a network.
    pub(super) fn of(network: &str, edition: Edition) -> Masquerading {
        Masquerading {
            network: network.to_owned(),
            edition,
        }
    }

    /// Adds the rules of a pod.
    ///
    /// # Errors
    /// [`NativeError::Netlink`].
    pub(super) fn add(
        &self,
        (id, is_new): (&str, bool),
        leases: &[Lease],
        known: &Rules,
    ) -> Result<(), NativeError> {
        let (chain, comment) = self.names(id);
        let rules = xtables::Masquerade {
            chain: &chain,
            comment: &comment,
        };
        let addresses: Vec<Masked> = leases.iter().map(|of| (of.ip, of.prefix)).collect();
        known.work(|book, socket| {
            if !is_new {
                rules.remove(socket, &[])?;
            }
            let added = rules.add(socket, &addresses)?;
            book.numbers.insert(chain.clone(), added);
            Ok(())
        })
    }

    /// Removes the rules of a pod, as far as there are any.
    ///
    /// # Errors
    /// [`NativeError::Netlink`].
    pub(super) fn remove(&self, id: &str, known: &Rules) -> Result<(), NativeError> {
        let (chain, comment) = self.names(id);
        let rules = xtables::Masquerade {
            chain: &chain,
            comment: &comment,
        };
        let network = hash(&self.network, 16);
        let pod = format!("{network}-{}", hash(&format!("{INTERFACE}:{id}"), 16));
        known.work(|book, socket| {
            rules.remove(socket, book.numbers_of(&chain))?;
            book.numbers.remove(&chain);
            match self.edition {
                Edition::Y2022 => Ok(()),
                // An earlier configuration may have had nftables as its backend.
                Edition::Y2026 => xtables::remove_commented(socket, &pod),
            }
        })
    }

    /// The chain of a pod, and the comment of its rules.
    fn names(&self, id: &str) -> (String, String) {
        let network = &self.network;
        let chain = rules::chain_name("CNI-", network, id);
        (chain, format!("name: {network:?} id: {id:?}"))
    }

    /// Whether the rules of a pod can be written as they have to be.
    pub(super) fn fits(&self, id: &str) -> bool {
        let (_, comment) = self.names(id);
        rules::is_comment(&comment) && rules::are_plain(&[id, &self.network])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with `iptables-save` after an ADD of release 1.10.0.
    #[test]
    fn names_are_those_of_the_program() {
        let of = Masquerading {
            network: "n".to_owned(),
            edition: Edition::Y2026,
        };
        let (chain, comment) = of.names("abc");
        assert_eq!(chain, "CNI-5a1527d2fe74c1a342e29c75");
        assert_eq!(comment, r#"name: "n" id: "abc""#);
        assert!(of.fits("abc") && !of.fits(&"a".repeat(250)));
    }
}
