//! `holdfast man`: manual pages, made from what `--help` says.

use std::io;
use std::path::PathBuf;

use clap::{Args, Command};

use super::exit::FailureKind;
use super::failure::VerbError;

/// The command line of `holdfast man`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Existing directory that holdfast.1 and holdfast-VERB.1 are written into.
    pub directory: PathBuf,
}

/// The manual pages cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write manual pages into {}", directory.display())]
pub(crate) struct ManualError {
    directory: PathBuf,
    #[source]
    source: io::Error,
}

impl VerbError for ManualError {
    fn kind(&self) -> FailureKind {
        FailureKind::Failed
    }
}

/// Writes the page of the command and one for each verb.
pub(super) fn write(command: Command, args: &ManArgs) -> Result<(), ManualError> {
    let directory = args.directory.clone();
    clap_mangen::generate_to(command, &args.directory)
        .map_err(|source| ManualError { directory, source })
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::super::args::Cli;

    /// All verbs that do something themselves, with what is in front of them.
    fn verbs(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
        for verb in command.get_subcommands() {
            let path = format!("{path} {}", verb.get_name());
            if verb.has_subcommands() {
                verbs(verb, &path, found);
            } else {
                found.push((path, verb.clone()));
            }
        }
    }

    #[test]
    fn every_verb_says_what_it_does_and_gives_an_example() {
        let mut found = Vec::new();
        verbs(&Cli::command(), "holdfast", &mut found);
        assert!(found.len() > 20);
        for (path, verb) in found {
            assert!(
                verb.get_about().is_some(),
                "{path} does not say what it does"
            );
            let example = verb.get_after_help().map(ToString::to_string);
            let example = example.unwrap_or_default();
            assert!(
                example.starts_with("Example") && example.contains(&path),
                "{path} has no example: {example:?}"
            );
            for argument in verb.get_arguments() {
                let (name, help) = (argument.get_id(), argument.get_help());
                assert!(help.is_some(), "{path} does not explain {name}");
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let args = super::ManArgs {
            directory: dir.path().to_owned(),
        };
        super::write(Cli::command(), &args).unwrap();
        let page = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(page("holdfast.1").contains("holdfast\\-ps(1)"));
        assert!(page("holdfast-port-forward.1").contains("Example: "));
        assert!(page("holdfast-image-import.1").contains("OCI"));
    }
}
