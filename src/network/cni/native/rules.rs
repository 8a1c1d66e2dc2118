//! What plugins have `iptables` write: the way to it, its names, and the numbers that the kernel gave to rules.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha512};

use super::error::NativeError;
use crate::netlink::NetlinkError;
use crate::nft::xtables::{self, SharedRules};

/// Longest comment of a rule.
const COMMENT_LIMIT: usize = 255;
/// Characters of a chain's name.
const CHAIN_LENGTH: usize = 28;

/// What is known of rules, and the way to them.
#[derive(Debug, Default)]
pub(super) struct Rules(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    book: Book,
    socket: Option<xtables::Socket>,
}

/// The numbers that the kernel gave to rules. One that is not known is looked for.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The rules that lead to a pod's chain, by the name of the chain.
    pub(super) numbers: HashMap<String, Vec<u64>>,
    pub(super) shared: SharedRules,
}

impl Book {
    /// The numbers of the rules that lead to a chain, as far as they are known.
    pub(super) fn numbers_of(&self, chain: &str) -> &[u64] {
        self.numbers.get(chain).map_or(&[][..], Vec::as_slice)
    }
}

impl Rules {
    /// Works on the rules of the calling thread's network namespace, which has to be the host's.
    ///
    /// # Errors
    /// [`NativeError::Netlink`].
    pub(super) fn work<T>(
        &self,
        work: impl FnOnce(&mut Book, &mut xtables::Socket) -> Result<T, NetlinkError>,
    ) -> Result<T, NativeError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { book, socket } = &mut *state;
        let open = match socket {
            Some(open) => open,
            None => socket.insert(xtables::open()?),
        };
        let done = work(book, open);
        if done.as_ref().is_err_and(|error| error.errno().is_none()) {
            // It was the socket that failed.
            *socket = None;
        }
        Ok(done?)
    }
}

/// The name of a pod's chain: a prefix, and as much of a hash of the network and the pod as fits.
pub(super) fn chain_name(prefix: &str, network: &str, id: &str) -> String {
    let digits = CHAIN_LENGTH.saturating_sub(prefix.len());
    format!("{prefix}{}", hash(&format!("{network}{id}"), digits))
}

/// The first digits of the SHA-512 of a text.
pub(super) fn hash(text: &str, digits: usize) -> String {
    let hash = Sha512::digest(text.as_bytes());
    let mut all: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    all.truncate(digits);
    all
}

/// Whether a text can be the comment of a rule as it is.
pub(super) fn is_comment(text: &str) -> bool {
    text.len() <= COMMENT_LIMIT
}

/// Whether texts are written in rules as they are.
pub(super) fn are_plain(texts: &[&str]) -> bool {
    let mut bytes = texts.iter().flat_map(|text| text.bytes());
    bytes.all(|byte| byte.is_ascii_graphic())
}
