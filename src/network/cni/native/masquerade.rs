//! Masquerading of `bridge`: what leaves the pod's networks gets the address of the host.
//!
//! The program asks `iptables` for it. Where that is iptables-nft, the same rules are put into nf_tables from here.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha512};

use super::edition::Edition;
use super::error::NativeError;
use super::host_local::Lease;
use crate::cni::network::INTERFACE;
use crate::netlink::NetlinkError;
use crate::nft::xtables::{self, Masked};

/// Where programs are looked for when the daemon has no PATH, as for plugins.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The program that iptables-nft's names lead to.
const NFT_PROGRAM: &str = "xtables-nft-multi";
/// Longest comment of a rule.
const COMMENT_LIMIT: usize = 255;
/// Characters of a chain's name.
const CHAIN_LENGTH: usize = 28;

/// The masquerading of one network.
#[derive(Debug)]
pub(super) struct Masquerading {
    network: String,
    edition: Edition,
}

/// What is known of rules, and the way to them.
#[derive(Debug, Default)]
pub(super) struct Rules(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The numbers that the kernel gave to pods' rules. One that is not known is looked for.
    numbers: HashMap<String, Vec<u64>>,
    socket: Option<xtables::Socket>,
}

impl Rules {
    /// Works on the rules of the calling thread's network namespace, which has to be the host's.
    fn work<T>(
        &self,
        work: impl FnOnce(
            &mut HashMap<String, Vec<u64>>,
            &mut xtables::Socket,
        ) -> Result<T, NetlinkError>,
    ) -> Result<T, NativeError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { numbers, socket } = &mut *state;
        let open = match socket {
            Some(open) => open,
            None => socket.insert(xtables::open()?),
        };
        let done = work(numbers, open);
        if done.as_ref().is_err_and(|error| error.errno().is_none()) {
            // It was the socket that failed.
            *socket = None;
        }
        Ok(done?)
    }
}

impl Masquerading {
    /// The masquerading of a network, where `iptables` is iptables-nft.
    pub(super) fn of(network: &str, edition: Edition) -> Option<Masquerading> {
        let all = ["iptables", "ip6tables"].into_iter().all(is_nft);
        all.then(|| Masquerading {
            network: network.to_owned(),
            edition,
        })
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
        known.work(|numbers, socket| {
            if !is_new {
                rules.remove(socket, &[])?;
            }
            let added = rules.add(socket, &addresses)?;
            numbers.insert(id.to_owned(), added);
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
        known.work(|numbers, socket| {
            let jumps = numbers.get(id).map_or(&[][..], Vec::as_slice);
            rules.remove(socket, jumps)?;
            numbers.remove(id);
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
        let chain = format!("CNI-{}", hash(&format!("{network}{id}"), CHAIN_LENGTH - 4));
        (chain, format!("name: {network:?} id: {id:?}"))
    }

    /// Whether the rules of a pod can be written as they have to be.
    pub(super) fn fits(&self, id: &str) -> bool {
        let (_, comment) = self.names(id);
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        comment.len() <= COMMENT_LIMIT && is_plain(id) && is_plain(&self.network)
    }
}

/// The first digits of the SHA-512 of a text.
fn hash(text: &str, digits: usize) -> String {
    let hash = Sha512::digest(text.as_bytes());
    let mut all: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    all.truncate(digits);
    all
}

/// Whether a program's name leads to iptables-nft.
fn is_nft(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    let mut places = path.split(':').map(|dir| Path::new(dir).join(name));
    let found = places.find(|place| place.is_file());
    let program = found.and_then(|found| std::fs::canonicalize(found).ok());
    program.is_some_and(|program| program.file_name().is_some_and(|name| name == NFT_PROGRAM))
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
