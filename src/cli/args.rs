//! The command line: the list of verbs. The arguments of a verb stand beside its code.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::{
    attach, debts, doctor, events, exec, images, inspect, kernel_view, logs, manual, port_forward,
    ps, run, stats, stop, top, tour,
};

/// Runs pods and shows what they do, through the daemon's socket.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about = "Runs pods and shows what they do", after_help = EXIT_CODES)]
pub struct Cli {
    /// Path of the daemon's socket.
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_SOCKET",
        default_value = "/run/holdfast/holdfast.sock"
    )]
    pub socket: PathBuf,
    /// The verb and its arguments.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 for success; 1 when the operation failed or the daemon refused it; 2 for wrong usage or a \
manifest that cannot be run; 3 when the daemon cannot be reached. `exec`, `attach` and `enter` pass on the exit code of \
the process; `exec` ends with 125 when the command could not be run.";

/// The verbs of the command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pod from a Kubernetes manifest.
    Run(run::RunArgs),
    /// Restart and probe the containers of a pod; `run` starts this in the background.
    #[command(hide = true)]
    Keep(run::KeepArgs),
    /// List the pods of this node.
    Pods(ps::PodsArgs),
    /// List the containers of this node.
    Ps(ps::PsArgs),
    /// Stop pods or containers: send the stop signal, and kill what still runs after the grace period.
    Stop(stop::StopArgs),
    /// Remove pods or containers; running pods are stopped first.
    Rm(stop::RmArgs),
    /// Run a command in a container.
    Exec(exec::ExecArgs),
    /// Connect to the input and output of a container's first process.
    Attach(attach::AttachArgs),
    /// Show the logs of containers.
    Logs(logs::LogsArgs),
    /// Forward local ports to a pod.
    PortForward(port_forward::PortForwardArgs),
    /// Show events of pods and containers as they happen.
    Events(events::EventsArgs),
    /// Show the CPU, memory and disk use of containers.
    Stats(stats::StatsArgs),
    /// Show the resource use of pods and containers live, the busiest first.
    Top(top::TopArgs),
    /// Show everything that the daemon knows about a pod or a container.
    Inspect(inspect::InspectArgs),
    /// List the images of this node.
    Images(images::ListArgs),
    /// Pull an image from its registry.
    Pull(images::PullArgs),
    /// Remove images from the node.
    Rmi(images::RemoveArgs),
    /// Make images from directories and archives.
    #[command(subcommand)]
    Image(images::ImageCommand),
    /// Show which namespaces pods use, and which processes share them.
    Ns(kernel_view::NsArgs),
    /// Run a command in the namespaces of a container, as nsenter(1) does.
    Enter(kernel_view::EnterArgs),
    /// Show the processes of a pod, with their ids on the node and in the container.
    Tree(kernel_view::TreeArgs),
    /// Explain what a container can see and which limits it has.
    Why(kernel_view::WhyArgs),
    /// List resources that could not be released yet; the daemon keeps trying.
    Debts(debts::DebtsArgs),
    /// Show the example pods, step by step.
    Tour(tour::TourArgs),
    /// Check what this machine's kernel and setup offer to containers.
    Doctor(doctor::DoctorArgs),
    /// Write the manual pages of all verbs into a directory.
    #[command(hide = true)]
    Man(manual::ManArgs),
    /// Print the completion script for a shell.
    #[command(after_help = "Example: holdfast completion bash > /etc/bash_completion.d/holdfast")]
    Completion {
        /// The shell that will read the script.
        shell: Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Cli, Command, exec, kernel_view};

    /// `enter two-containers/a --nte -- ss` tried to run `--nte`.
    #[test]
    fn options_in_front_of_the_command_are_refused() {
        for line in [
            "holdfast enter web/a --nte -- ss",
            "holdfast exec web/a --unknown true",
            "holdfast exec --unknown web/a true",
        ] {
            let refused = Cli::try_parse_from(line.split(' ')).unwrap_err();
            let said = refused.to_string();
            assert!(said.contains("unexpected argument '--"), "{line}: {said}");
        }
        for (line, command) in [
            ("holdfast enter web/a --net -- ss -tlnp", "ss -tlnp"),
            ("holdfast enter web/a -n ss -tlnp", "ss -tlnp"),
            (
                "holdfast exec web/a -- ls --color=never",
                "ls --color=never",
            ),
            ("holdfast exec web/a ls -l", "ls -l"),
            ("holdfast exec web/a sh -c true -- -x", "sh -c true -- -x"),
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let (Command::Enter(kernel_view::EnterArgs { command: found, .. })
            | Command::Exec(exec::ExecArgs { command: found, .. })) = cli.command
            else {
                panic!("{line}");
            };
            assert_eq!(found.join(" "), command, "{line}");
        }
    }
}
