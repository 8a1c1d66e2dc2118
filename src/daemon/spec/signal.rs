//! Signals by name and number: signal(7).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal that can be sent on Linux, 1 to 64, by the name that it was asked for: clients want to find that one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub struct Signal(u8);

/// Why a text or number is not a signal.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum SignalError {
    /// Neither a name nor a number of a signal.
    #[error(
        "invalid signal {0:?}: give a name such as SIGTERM or RTMIN+3, or a number from 1 to 64"
    )]
    Unknown(String),
}

/// The bit that says that a signal goes by the second of its two names.
const SECOND: u8 = 0x80;

/// Names without `SIG` and their numbers, the same on x86-64 and aarch64.
const NAMES: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// First real-time signal that programs may use: the C libraries keep 32 and 33.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    pub const TERM: Self = Self(15);
    pub const KILL: Self = Self(9);

    /// The signal's number on Linux.
    pub fn number(self) -> i32 {
        i32::from(self.0 & !SECOND)
    }

    /// The name without `SIG`, if it has one.
    fn name(self) -> Option<&'static str> {
        let number = self.0 & !SECOND;
        let mut names = NAMES.iter().filter(|(_, known)| *known == number);
        let (name, _) = names.nth(usize::from(self.0 & SECOND != 0))?;
        Some(name)
    }
}

impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        let unknown = || SignalError::Unknown(text.chars().take(40).collect());
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().ok().filter(|number| is_number(*number));
            return number.map(Self).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((first, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            let signal = Self(*number);
            let is_first = signal.name() == Some(*first);
            return Ok(if is_first {
                signal
            } else {
                Self(number | SECOND)
            });
        }
        real_time(name).map(Self).ok_or_else(unknown)
    }
}

fn is_number(number: u8) -> bool {
    (1..=RTMAX).contains(&number)
}

/// `RTMIN+n` and `RTMAX-n`, within the range.
fn real_time(name: &str) -> Option<u8> {
    let (above, digits) = match name.strip_prefix("RTMIN+") {
        Some(digits) => (true, digits),
        None => (false, name.strip_prefix("RTMAX-")?),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let offset: u8 = digits.parse().ok()?;
    let number = if above {
        RTMIN.checked_add(offset)?
    } else {
        RTMAX.checked_sub(offset)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

impl TryFrom<u8> for Signal {
    type Error = SignalError;

    fn try_from(number: u8) -> Result<Self, SignalError> {
        if is_number(number) || Self(number).name().is_some() {
            Ok(Self(number))
        } else {
            Err(SignalError::Unknown(number.to_string()))
        }
    }
}

impl From<Signal> for u8 {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name() {
            write!(out, "SIG{name}")
        } else if self.0 >= RTMIN {
            write!(out, "SIGRTMIN+{}", self.0 - RTMIN)
        } else {
            self.0.fmt(out)
        }
    }
}
