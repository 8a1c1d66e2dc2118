//! Names of what the bridge network makes, all derived from the bridge's own name.

/// Room for an interface name without the final NUL (IFNAMSIZ − 1).
pub(super) const NAME_MAX: usize = 15;
/// The beginning of the name of every host end of a pod's veth pair.
const PREFIX: &str = "hf";
/// The beginning of the name of every interface that limits a pod's sending.
const SHAPING_PREFIX: &str = "hi";
/// Hash characters that tell bridges apart, 20 bits.
const BRIDGE_CHARS: usize = 4;
/// Hash characters that tell pods apart, 45 bits: with 10,000 pods on a node two meet with a probability of
/// one in a million.
const OWNER_CHARS: usize = 9;

/// The beginning of the names of the host ends of one bridge's pods.
pub(super) fn host_prefix(bridge: &str) -> String {
    format!("{PREFIX}{}", hash(bridge, BRIDGE_CHARS))
}

/// The host end of one pod's veth pair, 15 characters.
pub(super) fn host_interface(bridge: &str, owner: &str) -> String {
    format!("{}{}", host_prefix(bridge), hash(owner, OWNER_CHARS))
}

/// The beginning of the names of the interfaces that limit the sending of one bridge's pods.
pub(super) fn shaping_prefix(bridge: &str) -> String {
    format!("{SHAPING_PREFIX}{}", hash(bridge, BRIDGE_CHARS))
}

/// The interface that limits what one pod sends, 15 characters.
pub(super) fn shaping_interface(bridge: &str, owner: &str) -> String {
    format!("{}{}", shaping_prefix(bridge), hash(owner, OWNER_CHARS))
}

/// The nftables table of a bridge.
pub(super) fn table(bridge: &str) -> String {
    format!("holdfast-{bridge}")
}

/// Whether the kernel takes this as an interface name (`dev_valid_name`), and nothing reads it as an option.
pub fn is_interface_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name.bytes().all(plain)
        && !matches!(name, "." | ".." | "lo" | "all" | "default")
        && !name.starts_with('-')
}

/// A locally administered MAC address that follows from a text.
pub(super) fn mac_of(text: &str) -> [u8; 6] {
    let [.., a, b, c, d] = fnv1a(text).to_be_bytes();
    [0x06, 0x68, a, b, c, d]
}

/// `count` base-32 characters of a hash that is the same in every build, because the names outlive the
/// process.
fn hash(text: &str, count: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits = fnv1a(text);
    (0..count)
        .map(|at| {
            let value = (bits >> (at * 5)) & 31;
            char::from(ALPHABET[usize::try_from(value).unwrap_or(0)])
        })
        .collect()
}

/// FNV-1a, 64 bits, with a final mix so that every output bit depends on every input bit.
fn fnv1a(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
