//! The configuration file: TOML, with drop-ins.
//!
//! Every key has a default, so that no file is needed. Files in `config.d/*.toml` beside the file are merged over it
//! in the order of their names: tables key by key, everything else as a whole. An unknown key and a value of the
//! wrong type are errors with file and line. Reading the configuration has no side effects.

mod check;
mod experiments;
mod load;
mod metrics;
mod refusal;
mod settings;
mod streaming;

pub use load::DEFAULT_PATH;
pub use refusal::ConfigError;
pub use settings::Config;
pub(super) use settings::{CgroupDriver, LogConfig, LogFormat, NetworkKind, VolumesConfig};
