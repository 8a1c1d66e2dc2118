//! YAML as the reference library of CDI reads it (container-device-interface 1.1.2 with go.yaml.in/yaml 3.0.5).
//!
//! That is YAML 1.2 with parts of 1.1, decided by the type that is wanted: `0640` is octal where a number is
//! wanted and a text where a text is, `yes` is true for a boolean only. A value of null leaves a field as if it
//! were absent. JSON is read the same way, because the reference reads it as YAML too.
//!
//! ```text
//!   text ──saphyr──▶ events ──tree──▶ nodes with lines ──decode──▶ types of serde
//! ```

mod decode;
mod fault;
mod scalar;
#[cfg(test)]
mod tests;
mod tree;

pub(super) use fault::YamlError;

use serde::de::DeserializeOwned;

/// Reads the first document of a text. What follows it is not looked at, as in the reference.
///
/// # Errors
/// [`YamlError`] names the line and the value.
pub(super) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let root = tree::read(text)?;
    T::deserialize(decode::Decoder(&root)).map_err(|error| error.or_at(root.line))
}
