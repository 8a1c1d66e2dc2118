//! Versions of the protocol, and which of them this build speaks.

use std::fmt;

/// A version that this build speaks: [`Protocol::OLDEST`] to [`Protocol::CURRENT`].
///
/// | version | what changed |
/// |---|---|
/// | 1 | the first |
/// | 2 | plans begin with the version and end exactly; a packet that is not understood is answered; the inventory has |
/// |   | containers whose start is under way, and a start that is asked for again joins the first |
/// | 3 | pods and containers with experiments; a pod that has none is spoken to in 2 |
/// | 4 | containers with hooks, and sysctls that are set once the network is there; only the requests for these are |
/// |   | in 4, the rest of the pod's conversation is not |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protocol(u16);

/// A version that this build does not speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "protocol {0}, and this release speaks {oldest} to {current}: {remedy}",
    oldest = Protocol::OLDEST,
    current = Protocol::CURRENT,
    remedy = if *.0 > Protocol::CURRENT.0 {
        "start a newer holdfastd, or remove the pod"
    } else {
        "remove the pod, or start the release before this one"
    }
)]
pub struct UnspokenProtocol(pub u16);

impl Protocol {
    /// The version of the first release. Packets before the other side's version is known are in it.
    pub const FIRST: Self = Self(1);
    /// The version with marked plans and with containers whose start is under way in the inventory.
    pub const SECOND: Self = Self(2);
    /// The version with experiments.
    pub const THIRD: Self = Self(3);
    /// The version with hooks, and with sysctls that are set once the pod's network is there.
    pub const FOURTH: Self = Self(4);
    /// The oldest that is still spoken.
    pub const OLDEST: Self = Self::FIRST;
    /// The newest.
    pub const CURRENT: Self = Self::FOURTH;

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

    /// Its number, as packets and records carry it.
    pub fn number(self) -> u16 {
        self.0
    }

    /// Whether plans of this version begin with it.
    pub(super) fn marks_plans(self) -> bool {
        self >= Self::SECOND
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
