//! The user namespace of a pod with `hostUsers: false`.

use cri_api::runtime::v1::{self as cri, NamespaceMode};
use sha2::{Digest, Sha256};

/// Ids of a pod: what the kubelet gives, and as many as 16-bit ids are.
const LENGTH: u32 = 65_536;
/// The first id of the first range. systemd's UIDS-GIDS leaves what lies between its containers and the foreign ids
/// to nobody, and no distribution hands ids out there.
const FIRST_HOST_ID: u32 = 0x7000_0000;
/// How many ranges there are.
const RANGES: u32 = 0x0ffe;

/// The ids of a pod: 65536 users and as many groups, from 0 in the pod. Where they begin on the host follows from
/// the pod's uid, so that a pod that is run again finds its files as its own: the range's number is SHA-256 of the
/// uid modulo 4094, counted from id 1879048192. Two pods have the same range once in 4094; all that this
/// takes away is that the host tells their processes apart by their ids.
pub(super) fn user_namespace(uid: &str) -> cri::UserNamespace {
    let digest = Sha256::digest(uid);
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) % RANGES;
    let range = cri::IdMapping {
        host_id: FIRST_HOST_ID + number * LENGTH,
        container_id: 0,
        length: LENGTH,
    };
    cri::UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![range],
        gids: vec![range],
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_HOST_ID, LENGTH, user_namespace};

    #[test]
    fn a_range_is_aligned_and_follows_from_the_uid() {
        for uid in ["a", "b", "c", ""] {
            let range = user_namespace(uid).uids[0];
            assert_eq!(range.host_id % LENGTH, 0);
            assert!(
                (FIRST_HOST_ID..0x7ffe_0000).contains(&range.host_id),
                "{range:?}"
            );
            assert_eq!(user_namespace(uid).gids[0], range);
        }
        assert_ne!(user_namespace("a"), user_namespace("b"));
    }
}
