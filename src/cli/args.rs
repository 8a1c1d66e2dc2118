//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

/// Runs pods and looks into them, through the daemon's socket.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// Socket of the daemon.
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_SOCKET",
        default_value = "/run/holdfast/holdfast.sock"
    )]
    pub socket: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the daemon refused or the operation failed; 2 wrong usage or \
a manifest that cannot be run; 3 the daemon cannot be reached. `exec` exits as the command did, and with 125 \
when the command could not be run.";

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Images of the node.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Pods of the node.
    #[command(subcommand)]
    Pod(PodCommand),
    /// Run a command in a container and wait for it.
    Exec(ExecArgs),
    /// Show what a container has written.
    Logs(LogsArgs),
    /// Print the command that enters a container's namespaces: eval "$(holdfast enter POD/CONTAINER)".
    Enter {
        /// POD/CONTAINER by name, or a container id or a unique prefix of it.
        container: String,
    },
    /// List what could not be released yet and is tried again.
    Debts,
    /// Show what the kernel of this machine offers to containers.
    Doctor,
    /// Print the completion script for a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// Images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make an image from a directory or an archive.
    Import {
        /// A directory that becomes the root file system, or a tar archive (a root file system, an OCI
        /// layout or a docker archive; plain, gzip or zstd), or - for an archive on standard input.
        source: PathBuf,
        /// Reference of the new image, such as localhost/busybox:latest.
        name: String,
    },
    /// List images.
    Ls,
    /// Remove images with all their names.
    Rm {
        /// References or ids.
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Pull an image from its registry.
    Pull {
        /// Reference.
        image: String,
    },
}

/// Pods.
#[derive(Debug, Subcommand)]
pub enum PodCommand {
    /// Run a Kubernetes Pod manifest and print the id of the pod.
    Run(RunArgs),
    /// List pods and their containers.
    Ls,
    /// Stop pods: signal the containers, kill what is left after the grace period, release the rest.
    Stop {
        /// Names or ids.
        #[arg(required = true)]
        pods: Vec<String>,
        /// Seconds between the stop signal and SIGKILL; without it the manifest's, else 10.
        #[arg(long)]
        grace: Option<u32>,
    },
    /// Stop and remove pods with their logs and emptyDir volumes.
    Rm {
        /// Names or ids.
        #[arg(required = true)]
        pods: Vec<String>,
        /// Seconds between the stop signal and SIGKILL.
        #[arg(long, default_value_t = 0)]
        grace: u32,
        /// Where the directories of pods are.
        #[command(flatten)]
        roots: RootArgs,
    },
    /// Show the namespaces of the pause process and of each container, by inode number.
    Ns {
        /// Name or id.
        pod: String,
    },
}

/// Arguments of `pod run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The manifest, or - for standard input.
    pub file: PathBuf,
    /// Remove a pod of the same name and namespace first.
    #[arg(long)]
    pub replace: bool,
    /// Where the directories of pods are.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// Where directories of pods are made.
#[derive(Debug, Args, Clone)]
pub struct RootArgs {
    /// Directory of the pods' logs.
    #[arg(long, default_value = "/var/log/pods")]
    pub log_root: PathBuf,
    /// Directory of emptyDir volumes.
    #[arg(long, default_value = "/var/lib/holdfast-volumes")]
    pub volume_root: PathBuf,
    /// Directory of emptyDir volumes with medium Memory; it has to be on a tmpfs.
    #[arg(long, default_value = "/run/holdfast-volumes")]
    pub memory_volume_root: PathBuf,
}

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// POD/CONTAINER by name, or a container id or a unique prefix of it.
    pub container: String,
    /// Seconds after which the command is killed; 0: never.
    #[arg(long, default_value_t = 0)]
    pub timeout: u32,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// POD/CONTAINER by name, or a container id or a unique prefix of it.
    pub container: String,
    /// Go on with what is written later, until the container ends.
    #[arg(short, long)]
    pub follow: bool,
    /// Put the time in front of each line.
    #[arg(short, long)]
    pub timestamps: bool,
}
