//! Versions of the protocol between daemon and shim, and the version that the two have in common.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version that this build speaks: [`Protocol::OLDEST`] to [`Protocol::CURRENT`].
///
/// | version | what changed |
/// |---|---|
/// | 1 | the version of release 0.1.0 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protocol(u16);

/// A version that this build does not speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("protocol {0}, and this release speaks {own}: {remedy}", own = Protocols::OWN, remedy = remedy(*.0))]
pub struct UnspokenProtocol(pub u16);

fn remedy(number: u16) -> &'static str {
    if number > Protocol::CURRENT.0 {
        "start a newer holdfastd, or remove the pod"
    } else {
        "remove the pod, or start the release before this one"
    }
}

impl Protocol {
    /// The oldest version that this build speaks.
    pub const OLDEST: Self = Self(1);
    /// The newest version that this build speaks.
    pub const CURRENT: Self = Self(1);

    /// The version with this number.
    ///
    /// # Errors
    /// This build does not speak it.
    pub fn spoken(number: u16) -> Result<Self, UnspokenProtocol> {
        let version = Self(number);
        if (Self::OLDEST..=Self::CURRENT).contains(&version) {
            Ok(version)
        } else {
            Err(UnspokenProtocol(number))
        }
    }

    /// The version's number, as packets carry it.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The versions that a shim speaks. Its greeting names them, and the record of its pod keeps them. The default is that
/// of a shim of which no version is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocols {
    /// The oldest of them.
    pub oldest: u16,
    /// The newest of them.
    pub newest: u16,
}

impl Protocols {
    /// The versions that this build speaks.
    pub const OWN: Self = Self {
        oldest: Protocol::OLDEST.0,
        newest: Protocol::CURRENT.0,
    };

    /// The newest version that both the shim and this build speak.
    ///
    /// # Errors
    /// No version is common to both: the number is the shim's version that comes closest.
    pub fn common(self) -> Result<Protocol, UnspokenProtocol> {
        if self.oldest > Protocol::CURRENT.0 {
            return Err(UnspokenProtocol(self.oldest));
        }
        Protocol::spoken(self.newest.min(Protocol::CURRENT.0))
            .map_err(|_| UnspokenProtocol(self.newest))
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oldest, newest } = self;
        if oldest == newest {
            return oldest.fmt(f);
        }
        write!(f, "{oldest} to {newest}")
    }
}
