//! What a shim program says of itself when the daemon tries it out: the packet that brings the small mount
//! namespace.
//!
//! ```text
//!   'v' · oldest version (2 bytes, little endian) · newest version (2 bytes) · problem (text to the end)
//! ```
//!
//! This layout stays: a daemon reads the versions of any later program, and can say that it speaks none of them.

use super::protocol::{Protocols, UnspokenProtocol};

/// First byte of a greeting.
const MARK: u8 = b'v';

/// Which versions of the protocol a shim program speaks, and what it found out about the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The versions that it speaks.
    pub protocols: Protocols,
    /// Why pods cannot have user namespaces of their own on this machine; empty when they can.
    pub user_namespace_problem: String,
}

impl Greeting {
    /// Writes the greeting as a packet.
    pub fn encode(&self) -> Vec<u8> {
        let Protocols { oldest, newest } = self.protocols;
        let mut packet = vec![MARK];
        packet.extend(oldest.to_le_bytes());
        packet.extend(newest.to_le_bytes());
        packet.extend(self.user_namespace_problem.as_bytes());
        packet
    }

    /// Reads a greeting from a packet.
    ///
    /// # Errors
    /// The program speaks no version that this build speaks; the number is 0 when the packet is no greeting.
    pub fn decode(packet: &[u8]) -> Result<Self, UnspokenProtocol> {
        let [MARK, o0, o1, n0, n1, problem @ ..] = packet else {
            return Err(UnspokenProtocol(0));
        };
        let protocols = Protocols {
            oldest: u16::from_le_bytes([*o0, *o1]),
            newest: u16::from_le_bytes([*n0, *n1]),
        };
        protocols.common()?;
        Ok(Self {
            protocols,
            user_namespace_problem: String::from_utf8_lossy(problem).into_owned(),
        })
    }
}
