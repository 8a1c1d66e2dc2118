//! What of this module strangers feed, for the fuzzer: see `e2e/fuzz`.

use serde_json::Value;

use super::{config, outcome};

/// A network's configuration.
pub fn configuration(bytes: &[u8]) {
    if let Ok(source) = serde_json::from_slice::<Value>(bytes) {
        let _ = config::parse(source);
    }
}

/// What a plugin writes.
pub fn output(bytes: &[u8]) {
    if let Ok(result) = outcome::parse(bytes) {
        let _ = outcome::addresses(&result, "eth0");
    }
}
