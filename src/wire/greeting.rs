//! What a shim program says of itself when the daemon tries it out: the packet that brings the small mount
//! namespace.

use super::protocol::{Protocol, UnspokenProtocol};

/// First byte of a packet of the first version, which has none in it.
const FIRST: u8 = b'm';

/// First byte of a packet with a version.
const MARKED: u8 = b'v';

/// Which protocol a shim program speaks, and what it found out about the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The newest version that it speaks.
    pub protocol: Protocol,
    /// Why pods cannot have user namespaces of their own on this machine; empty when they can.
    pub user_namespace_problem: String,
}

impl Greeting {
    /// As a packet.
    pub fn encode(&self) -> Vec<u8> {
        let [low, high] = self.protocol.number().to_le_bytes();
        let mut packet = vec![MARKED, low, high];
        packet.extend(self.user_namespace_problem.as_bytes());
        packet
    }

    /// From a packet.
    ///
    /// # Errors
    /// The program speaks a version that this build does not; the number is 0 when the packet has none.
    pub fn decode(packet: &[u8]) -> Result<Self, UnspokenProtocol> {
        let (protocol, problem) = match packet {
            [FIRST, problem @ ..] => (Protocol::FIRST, problem),
            [MARKED, low, high, problem @ ..] => {
                let number = u16::from_le_bytes([*low, *high]);
                (Protocol::spoken(number)?, problem)
            }
            _ => return Err(UnspokenProtocol(0)),
        };
        Ok(Self {
            protocol,
            user_namespace_problem: String::from_utf8_lossy(problem).into_owned(),
        })
    }
}
