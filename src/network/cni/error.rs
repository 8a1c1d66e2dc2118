//! What can go wrong with a CNI network.

use std::io;
use std::path::PathBuf;

use super::verb::Verb;
use holdfast_disk::{DirError, FileNameError, RecordError};

/// A failed operation on a CNI network.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// There is no configuration.
    #[error("no network configuration in {}; install a network plugin", .0.display())]
    NoConfig(PathBuf),
    /// A file or the directory cannot be read.
    #[error("cannot read the network configuration {}; correct or remove it", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The cause of the failure.
        #[source]
        source: io::Error,
    },
    /// A file is not a network configuration.
    #[error("network configuration {}: {reason}", path.display())]
    Config {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The program is in none of the plugin directories.
    #[error("network plugin `{plugin}` is in none of {directories}; install it there")]
    Missing {
        /// The name of the plugin.
        plugin: String,
        /// Where it was looked for.
        directories: String,
    },
    /// The program does not start, or its pipes broke.
    #[error("cannot run {verb} of network plugin {}", plugin.display())]
    Process {
        /// The operation that was asked for.
        verb: Verb,
        /// The path of the plugin's program.
        plugin: PathBuf,
        /// The cause of the failure.
        #[source]
        source: io::Error,
    },
    /// The plugin took too long.
    #[error(
        "{verb} of network plugin {} did not end within {seconds} s and was killed with everything it had started",
        plugin.display()
    )]
    Deadline {
        /// The operation that was asked for.
        verb: Verb,
        /// The path of the plugin's program.
        plugin: PathBuf,
        /// The deadline in seconds.
        seconds: f32,
    },
    /// The plugin wrote too much.
    #[error("{verb} of network plugin {} wrote more than {limit} bytes and was killed", plugin.display())]
    TooMuch {
        /// The operation that was asked for.
        verb: Verb,
        /// The path of the plugin's program.
        plugin: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// The plugin says that it failed.
    #[error("{verb} of network plugin {} failed: {message}", plugin.display())]
    Failed {
        /// The operation that was asked for.
        verb: Verb,
        /// The path of the plugin's program.
        plugin: PathBuf,
        /// In its own words: of its error, or of its standard error.
        message: String,
    },
    /// The plugin succeeded and wrote something that is not a result.
    #[error("{verb} of network plugin {} gave no result that CNI defines: {reason}", plugin.display())]
    NoResult {
        /// The operation that was asked for.
        verb: Verb,
        /// The path of the plugin's program.
        plugin: PathBuf,
        /// What is wrong, with the beginning of what it wrote.
        reason: String,
    },
    /// The plugin does not speak the version that the configuration asks for.
    #[error(
        "network plugin {} does not speak CNI {wanted} but {spoken}; change cniVersion or the plugin",
        plugin.display()
    )]
    Version {
        /// The path of the plugin's program.
        plugin: PathBuf,
        /// What the configuration asks for.
        wanted: &'static str,
        /// The versions that the plugin speaks.
        spoken: String,
    },
    /// The plugins gave the pod no address.
    #[error(
        "network `{network}` gave the pod's {interface} no address in its result, which is of CNI {version}"
    )]
    NoAddress {
        /// The name of the network.
        network: String,
        /// The version that the result was read in: 0.2.0 and before have other fields than those after.
        version: &'static str,
        /// The name of the interface.
        interface: &'static str,
    },
    /// The record of a pod could not be used.
    #[error("cannot keep what the network plugins were given")]
    Record(#[from] RecordError),
    /// The directory of the records could not be used.
    #[error("cannot keep what the network plugins were given")]
    Dir(#[from] DirError),
    /// The daemon is shutting down.
    #[error("cannot use the network plugins: the daemon is shutting down")]
    Ending,
    /// A pod's id cannot be the name of a record.
    #[error("cannot keep what the network plugins were given")]
    Name(#[from] FileNameError),
}
