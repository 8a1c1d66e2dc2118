//! The configuration, for the fuzzer: see `e2e/fuzz`.

use super::Config;

/// A configuration: what is in force is shown as it is read.
///
/// # Panics
/// When it is not.
pub fn configuration(text: &str) {
    let Ok(config) = toml::from_str::<Config>(text) else {
        return;
    };
    let Ok(shown) = config.to_toml() else {
        return;
    };
    let again = toml::from_str::<Config>(&shown).map_err(|error| error.to_string());
    let again = again.and_then(|config| config.to_toml().map_err(|error| error.to_string()));
    assert_eq!(again.as_deref(), Ok(shown.as_str()));
}
