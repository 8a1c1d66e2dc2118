//! The command line: which verbs there are. What a verb takes stands with the verb.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::{
    attach, debts, doctor, events, exec, images, inspect, kernel_view, logs, manual, port_forward,
    ps, run, stats, stop, top, tour,
};

/// Runs pods and looks into them, through the daemon's socket.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about = "Runs pods and looks into them", after_help = EXIT_CODES)]
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
a manifest that cannot be run; 3 the daemon cannot be reached. `exec`, `attach` and `enter` exit as the command did, and with \
125 when the command could not be run.";

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a Kubernetes Pod manifest.
    Run(run::RunArgs),
    /// Restart and probe the containers of a pod: what `run` leaves behind.
    #[command(hide = true)]
    Keep(run::KeepArgs),
    /// List pods.
    Pods(ps::PodsArgs),
    /// List containers.
    Ps(ps::PsArgs),
    /// Stop pods or containers: signal, kill what is left after the grace period, release the rest.
    Stop(stop::StopArgs),
    /// Remove pods, which are stopped first, or containers.
    Rm(stop::RmArgs),
    /// Run a command in a container.
    Exec(exec::ExecArgs),
    /// Attach to the first process of a container.
    Attach(attach::AttachArgs),
    /// Show what containers have written.
    Logs(logs::LogsArgs),
    /// Lead ports of this machine to ports of a pod.
    PortForward(port_forward::PortForwardArgs),
    /// Show what happens to pods and containers, as it happens.
    Events(events::EventsArgs),
    /// Show what containers use.
    Stats(stats::StatsArgs),
    /// Show what pods and containers use, live, the busiest first.
    Top(top::TopArgs),
    /// Show everything that the daemon knows of a pod or a container.
    Inspect(inspect::InspectArgs),
    /// List images.
    Images(images::ListArgs),
    /// Pull an image from its registry.
    Pull(images::PullArgs),
    /// Remove images with all their names.
    Rmi(images::RemoveArgs),
    /// Make images by hand.
    #[command(subcommand)]
    Image(images::ImageCommand),
    /// Show which namespaces pods use and what shares them.
    Ns(kernel_view::NsArgs),
    /// Enter the namespaces of a container: nsenter(1) with names instead of pids.
    Enter(kernel_view::EnterArgs),
    /// Show a pod's processes, with their numbers outside and inside.
    Tree(kernel_view::TreeArgs),
    /// Explain what a container can see and what limits it.
    Why(kernel_view::WhyArgs),
    /// List what could not be released yet and is tried again.
    Debts(debts::DebtsArgs),
    /// Walk through the example pods, step by step.
    Tour(tour::TourArgs),
    /// Show what this machine's kernel and set-up offer to containers.
    Doctor(doctor::DoctorArgs),
    /// Write the manual pages of all verbs into a directory.
    #[command(hide = true)]
    Man(manual::ManArgs),
    /// Print the completion script for a shell.
    #[command(after_help = "Example: holdfast completion bash > /etc/bash_completion.d/holdfast")]
    Completion {
        /// The shell.
        shell: Shell,
    },
}
