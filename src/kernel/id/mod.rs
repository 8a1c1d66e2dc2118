//! Identifiers of pods, containers and images as types, so that one cannot stand in for another.
//!
//! This module parses and prints; it never looks anything up. Ids are 256 random bits written as 64
//! lower-case hexadecimal digits, the form that cAdvisor and the kubelet recognise in cgroup names.

use std::fmt;
use std::io::Read;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod domain;

#[cfg(test)]
mod tests;

/// Number of hexadecimal digits in a full identifier.
pub const ID_DIGITS: usize = 64;

/// How many identifiers [`candidates`] writes out.
const CANDIDATES: usize = 4;

/// Lists the objects that an ambiguous text may mean: the first four, and the number of further ones.
pub fn candidates(ids: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let mut ids = ids.into_iter();
    let named: Vec<_> = ids
        .by_ref()
        .take(CANDIDATES)
        .map(|id| id.to_string())
        .collect();
    let named = named.join(", ");
    match ids.count() {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Why a string is not an identifier.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum IdError {
    /// The string has another length than 64.
    #[error("identifier {0:?} has {1} characters; 64 lower-case hexadecimal digits are expected")]
    Length(String, usize),
    /// The string has a character that is not a lower-case hexadecimal digit.
    #[error("identifier {0:?} has a character other than 0-9 and a-f")]
    Digit(String),
    /// The random source of the kernel cannot be read.
    #[error("cannot read random bytes for a new identifier from /dev/urandom: errno {0}")]
    Random(i32),
}

/// 256 bits, printed as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Bits([u8; 32]);

impl Bits {
    fn random() -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut bytes))
            .map_err(|error| IdError::Random(error.raw_os_error().unwrap_or(0)))?;
        Ok(Self(bytes))
    }
}

impl FromStr for Bits {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != ID_DIGITS {
            let shown = text.chars().take(80).collect();
            return Err(IdError::Length(shown, text.chars().count()));
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(IdError::Digit(text.to_owned()));
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::Digit(text.to_owned()))?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; ID_DIGITS];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        out.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

macro_rules! identifier {
    ($name:ident, $what:literal) => {
        #[doc = concat!("Identifier of ", $what, ": 64 lower-case hexadecimal digits.")]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Bits);

        impl $name {
            /// A new identifier from the kernel's random source.
            ///
            /// # Errors
            /// [`IdError::Random`] when /dev/urandom cannot be read.
            pub fn random() -> Result<Self, IdError> {
                Bits::random().map(Self)
            }

            /// The first 13 digits: what people see in tables and in short names.
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(13);
                text
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({})", stringify!($name), self.short())
            }
        }
    };
}

identifier!(PodId, "a pod sandbox");
identifier!(ContainerId, "a container");
identifier!(
    StreamToken,
    "a stream that was asked for and not yet connected to"
);
