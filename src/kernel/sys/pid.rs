//! Process ids as a type: a number that names a process can be mixed up with no other number.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of a process in the pid namespace of whoever reads it. Written and sent as the bare number.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Pid(i32);

impl Pid {
    /// The number 0, which no process has: it stands for a process that is not there any more.
    pub const NONE: Self = Self(0);

    /// Takes the number that the kernel or a record gives.
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Returns the number for a system call or a message.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// Whether this is [`Pid::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The number of this process in its own pid namespace: getpid(2).
    pub fn own() -> Self {
        Self(nix::unistd::getpid().as_raw())
    }

    /// The path of a file of this process below /proc/PID, proc(5). Allocates.
    pub fn proc_file(self, name: &str) -> String {
        format!("/proc/{self}/{name}")
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for Pid {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl From<nix::unistd::Pid> for Pid {
    fn from(pid: nix::unistd::Pid) -> Self {
        Self(pid.as_raw())
    }
}

impl From<Pid> for nix::unistd::Pid {
    fn from(pid: Pid) -> Self {
        Self::from_raw(pid.0)
    }
}

/// The standard library and D-Bus have unsigned process ids. The kernel gives none above 4194304.
impl TryFrom<u32> for Pid {
    type Error = std::num::TryFromIntError;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        i32::try_from(number).map(Self)
    }
}

impl TryFrom<Pid> for u32 {
    type Error = std::num::TryFromIntError;

    fn try_from(pid: Pid) -> Result<Self, Self::Error> {
        Self::try_from(pid.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_printed_and_read_as_its_number() {
        let own = Pid::own();
        assert_eq!(u32::try_from(own), Ok(std::process::id()));
        assert_eq!(Pid::try_from(std::process::id()), Ok(own));
        assert_eq!(own.to_string().parse(), Ok(own));
        assert_eq!(Pid::from_raw(7).proc_file("ns/net"), "/proc/7/ns/net");
        assert!(std::fs::exists(own.proc_file("stat")).unwrap());
        assert!("self".parse::<Pid>().is_err() && Pid::try_from(u32::MAX).is_err());
        assert!(Pid::NONE.is_none() && !own.is_none());
    }
}
