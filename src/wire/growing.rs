//! The encoding of launch plans, and the rule by which plans grow.
//!
//! A plan is a list of fields, and so is each part of a plan that may get further fields:
//!
//! ```text
//!   field:  number (1 byte) · length (4 bytes, little endian) · value
//!   value:  postcard; of a part: its list of fields; of several parts: length (4 bytes) and fields of each
//! ```
//!
//! # How a plan grows
//!
//! 1. A field keeps its number, type and meaning for ever. A number is never given to another field.
//! 2. A new field gets the next number of its part, a default, and with `since` the version of the protocol that has
//!    it; [`Protocol::CURRENT`] is raised once a release. The default means what shims did before the field existed.
//! 3. A field that has its default is not written, and a field that is missing has its default. So an older shim
//!    understands every plan that does without newer fields, and a newer shim understands every older plan.
//! 4. A daemon does not send a field to a shim whose version lacks it: [`encode_plan`] refuses. The shim's version is
//!    known from its [`Greeting`](super::Greeting), and is kept in the pod's record.
//! 5. A shim refuses a plan with a field that it does not know, and starts nothing: without a field that is about
//!    security a process may be able to do more than it should. A plan that lacks a field without default is refused too.
//! 6. An enum of a plan gets its variants at the end. A shim refuses a plan with a variant that it does not know.
//!
//! The tests beside this module show each of these with a plan before and after its growth.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{FrameError, exact};
use super::protocol::Protocol;

/// A launch plan, or a part of one, that may get further fields. `growing!` implements it.
pub trait Growing: Sized {
    /// Name of the part, for errors.
    const NAME: &'static str;

    /// Writes the fields that do not have their defaults.
    ///
    /// # Errors
    /// The receiver's version does not have one of the fields.
    fn write_fields(&self, out: &mut Writer) -> Result<(), FrameError>;

    /// Reads all the fields.
    ///
    /// # Errors
    /// A field is not known here, is missing, or has another value than its type allows.
    fn read_fields(fields: Fields<'_>) -> Result<Self, FrameError>;
}

/// Writes a launch plan for a shim that speaks this version.
///
/// # Errors
/// [`FrameError::LaterField`] when the plan has a field that the version lacks.
pub fn encode_plan<T: Growing>(protocol: Protocol, plan: &T) -> Result<Vec<u8>, FrameError> {
    encode(protocol.number(), plan)
}

/// Reads a launch plan.
///
/// # Errors
/// The bytes are no plan, or one that this build does not know in full.
pub fn decode_plan<T: Growing>(bytes: &[u8]) -> Result<T, FrameError> {
    T::read_fields(Fields(bytes))
}

/// Encodes a plan for a version of the protocol.
pub(super) fn encode<T: Growing>(protocol: u16, plan: &T) -> Result<Vec<u8>, FrameError> {
    let mut out = Writer {
        bytes: Vec::new(),
        protocol,
    };
    plan.write_fields(&mut out)?;
    Ok(out.bytes)
}

/// The bytes of a plan while it is written.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    /// The version that the receiver speaks.
    protocol: u16,
}

impl Writer {
    /// Writes one field of a part. `since` is the first version that has the field.
    pub(super) fn field<V: Value>(
        &mut self,
        (part, number, name): (&'static str, u8, &'static str),
        since: u16,
        value: &V,
    ) -> Result<(), FrameError> {
        let protocol = self.protocol;
        if since > protocol {
            return Err(FrameError::LaterField {
                part,
                name,
                since,
                protocol,
            });
        }
        self.bytes.push(number);
        self.with_length(|out| value.write(out))
    }

    /// Writes a length and then what it is the length of.
    fn with_length(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        write(self)?;
        let length = self.bytes.len() - start - 4;
        let length = u32::try_from(length).map_err(|_| FrameError::Large(length))?;
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

/// The fields of a part that are still to be read.
#[derive(Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The number and the value of the next field.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, FrameError> {
        let Some((number, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        self.0 = rest;
        Ok(Some((*number, self.sized()?)))
    }

    /// The bytes behind a length.
    fn sized(&mut self) -> Result<&'a [u8], FrameError> {
        let (length, rest) = self.0.split_first_chunk().ok_or(FrameError::Cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| FrameError::Cut)?;
        let (value, rest) = rest.split_at_checked(length).ok_or(FrameError::Cut)?;
        self.0 = rest;
        Ok(value)
    }
}

/// The value of a field.
pub(super) trait Value: Sized {
    fn write(&self, out: &mut Writer) -> Result<(), FrameError>;
    fn read(bytes: &[u8]) -> Result<Self, FrameError>;
}

impl<T: Growing> Value for T {
    fn write(&self, out: &mut Writer) -> Result<(), FrameError> {
        self.write_fields(out)
    }

    fn read(bytes: &[u8]) -> Result<Self, FrameError> {
        T::read_fields(Fields(bytes))
    }
}

/// A part that may be absent. `None` is its default, which is never written.
impl<T: Growing> Value for Option<T> {
    fn write(&self, out: &mut Writer) -> Result<(), FrameError> {
        self.as_ref().map_or(Ok(()), |part| part.write_fields(out))
    }

    fn read(bytes: &[u8]) -> Result<Self, FrameError> {
        T::read_fields(Fields(bytes)).map(Some)
    }
}

impl<T: Growing> Value for Vec<T> {
    fn write(&self, out: &mut Writer) -> Result<(), FrameError> {
        self.iter()
            .try_for_each(|part| out.with_length(|out| part.write_fields(out)))
    }

    fn read(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut rest = Fields(bytes);
        let mut parts = Self::new();
        while !rest.0.is_empty() {
            parts.push(T::read_fields(Fields(rest.sized()?))?);
        }
        Ok(parts)
    }
}

/// Writes a value that does not grow, in the encoding of postcard.
pub(super) fn write_plain<T: Serialize>(value: &T, out: &mut Writer) -> Result<(), FrameError> {
    let bytes = std::mem::take(&mut out.bytes);
    out.bytes = postcard::to_extend(value, bytes).map_err(FrameError::Encoding)?;
    Ok(())
}

/// Reads a value that does not grow, and refuses bytes behind it.
pub(super) fn read_plain<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    exact(bytes)
}

/// Makes the postcard encoding of types the value of their fields.
macro_rules! plain {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::growing::Value for $type {
            fn write(&self, out: &mut $crate::growing::Writer) -> Result<(), $crate::FrameError> {
                $crate::growing::write_plain(self, out)
            }

            fn read(bytes: &[u8]) -> Result<Self, $crate::FrameError> {
                $crate::growing::read_plain(bytes)
            }
        }
    )*};
}

/// Defines parts of plans, with the number of each field, its default if it has one, and the version that has it first
/// unless that is 1.
macro_rules! growing {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident($label:literal) {
            $(
                $(#[$doc:meta])*
                $number:literal $field:ident: $type:ty $(= $default:expr)? $(, since $since:literal)?;
            )*
        }
    )*) => {$(
        $(#[$meta])*
        $vis struct $name {
            $($(#[$doc])* $vis $field: $type,)*
        }

        impl $crate::growing::Growing for $name {
            const NAME: &'static str = $label;

            fn write_fields(
                &self,
                out: &mut $crate::growing::Writer,
            ) -> Result<(), $crate::FrameError> {
                $(if $crate::growing::is_written!(self.$field $(, $default)?) {
                    let place = ($label, $number, stringify!($field));
                    out.field(place, $crate::growing::since!($($since)?), &self.$field)?;
                })*
                Ok(())
            }

            fn read_fields(
                mut fields: $crate::growing::Fields<'_>,
            ) -> Result<Self, $crate::FrameError> {
                $(let mut $field: Option<$type> = None;)*
                while let Some((number, value)) = fields.next()? {
                    match number {
                        $($number => $field = Some($crate::growing::Value::read(value)?),)*
                        _ => {
                            let part = $label;
                            return Err($crate::FrameError::UnknownField { part, number });
                        }
                    }
                }
                Ok(Self {
                    $($field: match $field {
                        Some(value) => value,
                        None => $crate::growing::missing!($label, $field $(, $default)?),
                    },)*
                })
            }
        }
    )*};
}

/// Whether a field is written: one that has its default is not.
macro_rules! is_written {
    ($value:expr) => {
        true
    };
    ($value:expr, $default:expr) => {
        $crate::growing::differs(&$value, &$default)
    };
}

/// The first version that has a field.
macro_rules! since {
    () => {
        1
    };
    ($since:literal) => {
        $since
    };
}

/// The value of a field that the message lacks.
macro_rules! missing {
    ($label:literal, $field:ident) => {
        return Err($crate::FrameError::MissingField {
            part: $label,
            name: stringify!($field),
        })
    };
    ($label:literal, $field:ident, $default:expr) => {
        $default
    };
}

/// Whether a field has to be written, because its value is not the default.
pub(super) fn differs<T: PartialEq>(value: &T, default: &T) -> bool {
    value != default
}

pub(super) use {growing, is_written, missing, plain, since};
