//! Digests of content: read, computed and compared.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;
use std::str::FromStr;

/// A digest, written `sha256:` and 64 or `sha512:` and 128 lower-case hexadecimal digits: the algorithms
/// that the OCI image specification registers and that are in use. Content under others is refused rather
/// than trusted unverified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Value);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Value {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// A text that is not a digest which this program verifies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest of the form sha256:<64 hexadecimal digits> or sha512:<128 of them>")]
pub struct DigestError(String);

/// A digest being computed.
#[derive(Debug)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Computes what can be compared with `expected`; SHA-256 when nothing is expected.
    pub(crate) fn comparable(expected: Option<&Digest>) -> Self {
        match expected {
            Some(Digest(Value::Sha512(_))) => Self::Sha512(Sha512::new()),
            Some(Digest(Value::Sha256(_))) | None => Self::Sha256(Sha256::new()),
        }
    }

    /// Adds the next part of the content.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all that was added.
    pub(crate) fn finish(self) -> Digest {
        Digest(match self {
            Self::Sha256(hash) => Value::Sha256(hash.finalize().into()),
            Self::Sha512(hash) => Value::Sha512(hash.finalize().into()),
        })
    }
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Value::Sha256(Sha256::digest(bytes).into()))
    }

    /// The digest of `bytes` by the algorithm of this one, to be compared with it.
    pub(super) fn same_of(&self, bytes: &[u8]) -> Self {
        let mut hash = Hasher::comparable(Some(self));
        hash.update(bytes);
        hash.finish()
    }

    /// The name of the algorithm.
    pub(super) fn algorithm(&self) -> &'static str {
        match self.0 {
            Value::Sha256(_) => "sha256",
            Value::Sha512(_) => "sha512",
        }
    }

    /// The digits, without the algorithm.
    pub fn hex(&self) -> String {
        match self.0 {
            Value::Sha256(bytes) => hex::encode(bytes),
            Value::Sha512(bytes) => hex::encode(bytes),
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let refuse = || DigestError(text.chars().take(160).collect());
        let (algorithm, digits) = text.split_once(':').ok_or_else(refuse)?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse());
        }
        let mut bytes = [0; 64];
        let length = match algorithm {
            "sha256" => 32,
            "sha512" => 64,
            _ => return Err(refuse()),
        };
        hex::decode_to_slice(digits, &mut bytes[..length]).map_err(|_| refuse())?;
        Ok(Self(match bytes.first_chunk() {
            Some(half) if length == 32 => Value::Sha256(*half),
            _ => Value::Sha512(bytes),
        }))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_are_read_and_computed() {
        for text in [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ] {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(digest.same_of(b"abc"), digest);
            assert_ne!(digest.same_of(b"abd"), digest);
        }
    }

    #[test]
    fn what_cannot_be_verified_is_refused() {
        let digits = "a".repeat(128);
        for text in [
            format!("sha256:{digits}"),
            format!("sha512:{}", &digits[..64]),
            format!("md5:{}", &digits[..32]),
            format!("sha256:{}", "A".repeat(64)),
            digits[..64].to_owned(),
            "sha256:".to_owned(),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
