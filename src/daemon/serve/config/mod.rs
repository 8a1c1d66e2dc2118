//! The configuration file: TOML, with drop-ins.
//!
//! Every key has a default, so there need not be a file at all. `config.d/*.toml` beside the file are merged
//! over it in the order of their names: tables key by key, everything else as a whole. A key that is not
//! known and a value of the wrong type are errors with file and line. Nothing here has side effects.

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
