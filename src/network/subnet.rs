//! Subnets that pods get their addresses from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most addresses of one subnet that are ever leased: 2^20. A pool remembers one bit for each, so this is also
/// what an IPv6 /64 can cost: 128 KiB.
const HOSTS_MAX: u64 = 1 << 20;

/// An IPv4 or IPv6 subnet with room for a gateway and at least one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is not a usable subnet.
#[derive(Debug, thiserror::Error)]
pub enum SubnetError {
    /// The text is not `address/prefix`.
    #[error(
        "subnet `{0}` is not an address and a prefix length, as in 10.88.0.0/16 or fd00:88::/64"
    )]
    Malformed(String),
    /// Bits of the address below the prefix are set.
    #[error("subnet `{given}` has host bits set; write {network}")]
    HostBits {
        /// The text as given.
        given: String,
        /// The subnet that was probably meant.
        network: Subnet,
    },
    /// The subnet has no room for a gateway and a pod.
    #[error(
        "subnet `{0}` is too small; the longest usable prefixes are /30 (IPv4) and /126 (IPv6)"
    )]
    TooSmall(String),
}

impl Subnet {
    /// The first address; no host has it.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// The length of the prefix.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The bridge's own address: the first host.
    pub fn gateway(&self) -> IpAddr {
        self.host(1)
    }

    /// The broadcast address; None for IPv6.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.network {
            IpAddr::V4(network) => Some(Ipv4Addr::from(u32::from(network) | !v4_mask(self.prefix))),
            IpAddr::V6(_) => None,
        }
    }

    /// Whether this is an IPv6 subnet.
    pub fn is_ipv6(&self) -> bool {
        self.network.is_ipv6()
    }

    /// The offsets that pods may get: after the gateway, before the broadcast address.
    pub(super) fn offsets(&self) -> std::ops::Range<u64> {
        let bits = if self.is_ipv6() { 128 } else { 32 } - u32::from(self.prefix);
        let size = 1_u64.checked_shl(bits).unwrap_or(u64::MAX);
        let end = if self.is_ipv6() { size } else { size - 1 };
        2..end.min(HOSTS_MAX)
    }

    /// The address at an offset from the network address.
    pub(super) fn host(&self, offset: u64) -> IpAddr {
        match self.network {
            IpAddr::V4(network) => {
                let offset = u32::try_from(offset).unwrap_or(u32::MAX);
                IpAddr::V4(Ipv4Addr::from(u32::from(network).wrapping_add(offset)))
            }
            IpAddr::V6(network) => {
                IpAddr::V6(Ipv6Addr::from(u128::from(network) + u128::from(offset)))
            }
        }
    }

    /// The offset of an address, None when a pod cannot have it.
    pub(super) fn offset(&self, address: IpAddr) -> Option<u64> {
        let offset = match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                u64::from(u32::from(address).checked_sub(u32::from(network))?)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                u64::try_from(u128::from(address).checked_sub(u128::from(network))?).ok()?
            }
            _ => return None,
        };
        self.offsets().contains(&offset).then_some(offset)
    }
}

fn v4_mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn v6_mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let malformed = || SubnetError::Malformed(text.chars().take(64).collect());
        let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let prefix: u8 = prefix.parse().map_err(|_| malformed())?;
        let (longest, bits) = if address.is_ipv4() {
            (30, 32)
        } else {
            (126, 128)
        };
        if prefix > bits {
            return Err(malformed());
        }
        if prefix > longest {
            return Err(SubnetError::TooSmall(text.to_owned()));
        }
        let network = match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4) & v4_mask(prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & v6_mask(prefix))),
        };
        let subnet = Subnet { network, prefix };
        if network == address {
            Ok(subnet)
        } else {
            Err(SubnetError::HostBits {
                given: text.to_owned(),
                network: subnet,
            })
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Subnet, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}
