//! Rules of the v1 devices controller (cgroup-v1/devices).

use serde::{Deserialize, Serialize};

/// Whether a rule opens or closes access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceVerdict {
    /// The access is allowed.
    Allow,
    /// The access is denied.
    Deny,
}

/// The kind of device a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Every device; the numbers and the access of the rule are then ignored.
    All,
    /// Block devices, such as disks.
    Block,
    /// Character devices, such as terminals.
    Char,
}

/// A rule of the device filter; later rules win over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Whether access is allowed or denied.
    pub verdict: DeviceVerdict,
    /// The kind of device.
    pub kind: DeviceKind,
    /// Major number, None for all.
    pub major: Option<u32>,
    /// Minor number, None for all.
    pub minor: Option<u32>,
    /// Any of `r`, `w` and `m` (mknod); other letters are dropped, nothing left means all three.
    pub access: String,
}

impl DeviceRule {
    /// The file the rule is written to.
    pub(super) fn file(&self) -> &'static str {
        match self.verdict {
            DeviceVerdict::Allow => "devices.allow",
            DeviceVerdict::Deny => "devices.deny",
        }
    }

    /// The rule as the kernel parses it.
    pub(super) fn line(&self) -> String {
        let kind = match self.kind {
            DeviceKind::All => return "a".to_owned(),
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let access: String = ['r', 'w', 'm']
            .into_iter()
            .filter(|letter| self.access.contains(*letter))
            .collect();
        let access = if access.is_empty() { "rwm" } else { &access };
        format!(
            "{kind} {}:{} {access}",
            number(self.major),
            number(self.minor)
        )
    }
}
