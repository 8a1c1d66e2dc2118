//! What this module reads from outside, for the fuzzer: see `e2e/fuzz`.

use serde_json::Value;

use super::{CniVersion, config, outcome};

/// Reads the configuration of a network.
pub fn configuration(bytes: &[u8]) {
    if let Ok(source) = serde_json::from_str::<Value>(&holdfast_disk::json_text(bytes)) {
        let _ = config::parse(source);
    }
}

/// Reads the output of a plugin.
pub fn output(bytes: &[u8]) {
    for version in [CniVersion::V0_1_0, CniVersion::V0_4_0, CniVersion::V1_1_0] {
        let Ok(result) = outcome::parse(bytes, version) else {
            continue;
        };
        let _ = result.addresses("eth0");
        let whole = result.whole();
        let again = outcome::read(&whole, version).map(|again| again.whole());
        assert_eq!(again, Ok(whole), "what is written is read as the same");
        for other in [CniVersion::V0_2_0, CniVersion::V0_3_1, CniVersion::V1_0_0] {
            let _ = result.in_version(other);
        }
    }
}
