//! Seccomp profiles that requests name: files of the host, and profiles that were pulled.

use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::signal::Signal;
use oci_spec::runtime::{Capability, LinuxSeccomp, LinuxSeccompAction, Spec};

use super::error::{HostPathError, LaunchError, PodError, SeccompError};
use super::launch_error::Explained;
use super::link::LinkError;
use super::node::Node;
use super::patience::{DEADLINE, patiently};
use crate::plan::{FilterPart, PlanError};
use crate::spec::seccomp::{MAX_PROFILE, parse_artifact, parse_profile};
use crate::spec::{HostPath, PinnedProfile, SeccompChoice};
use holdfast_kernel::sys::regular;
use holdfast_wire::{Cause, Failure, Step};

/// Reads the profile that a Localhost choice names; `None` for every other choice. The content goes into the record of
/// the pod or container: what was checked at the creation is what its processes have, also those of later commands,
/// whatever becomes of the file. Blocks.
pub(super) fn localhost_profile(
    choice: &SeccompChoice,
) -> Result<Option<Arc<LinuxSeccomp>>, PodError> {
    match choice {
        SeccompChoice::Localhost(path) => {
            let profile = read("security_context.seccomp.localhost_ref", path)?;
            Ok(Some(Arc::new(profile)))
        }
        SeccompChoice::RuntimeDefault | SeccompChoice::Unconfined | SeccompChoice::Oci(_) => {
            Ok(None)
        }
    }
}

/// Whether [`localhost_profile`] reads a file.
pub(super) fn is_file(choice: &SeccompChoice) -> bool {
    matches!(choice, SeccompChoice::Localhost(_))
}

fn read(field: &'static str, path: &HostPath) -> Result<LinuxSeccomp, PodError> {
    let path = PathBuf::from(path.as_str());
    let bytes = regular::read(&path, MAX_PROFILE as u64);
    let bytes = bytes.map_err(|source| {
        PodError::HostPath(HostPathError::Read {
            field,
            path: path.clone(),
            source,
        })
    })?;
    parse_profile(&bytes).map_err(|source| {
        PodError::Seccomp(SeccompError::Format {
            field,
            path,
            source,
        })
    })
}

/// A choice with the content of what it names, where that comes from the store. What is pinned goes into the record
/// of the pod or container: it is what its processes have, also those of later commands, whatever becomes of the
/// store and of the file.
pub(super) async fn pin(node: &Arc<Node>, choice: &mut SeccompChoice) -> Result<(), PodError> {
    let SeccompChoice::Oci(pulled) = choice else {
        return Ok(());
    };
    let found = node.images.profile(&pulled.reference)?;
    let missing = || PodError::Seccomp(SeccompError::Missing(pulled.reference.clone()));
    let profile = parse_artifact(&found.ok_or_else(missing)?.text)?;
    let base = match pulled.base.clone() {
        Some(path) => {
            let read = move || read("security_context.seccomp.base_profile.localhost_ref", &path);
            Some(patiently("the base of a seccomp profile", DEADLINE, read).await?)
        }
        None => None,
    };
    pulled.pinned = Some(Box::new(PinnedProfile { profile, base }));
    Ok(())
}

/// The error of a launch plan. Where a profile cannot be compiled, it names the field and the profile.
pub(super) fn of_plan(choice: &SeccompChoice) -> impl FnOnce(PlanError) -> PodError {
    move |error| match error {
        PlanError::Seccomp { part, source } => PodError::Seccomp(SeccompError::Compile {
            place: place(choice, part),
            source,
        }),
        other => other.into(),
    }
}

/// The field that a profile comes from, and the profile.
fn place(choice: &SeccompChoice, part: FilterPart) -> String {
    const FIELD: &str = "security_context.seccomp";
    let pulled = match choice {
        SeccompChoice::Localhost(path) => {
            return format!("{FIELD}.localhost_ref {}", path.as_str());
        }
        SeccompChoice::RuntimeDefault | SeccompChoice::Unconfined => {
            return format!("{FIELD} RuntimeDefault");
        }
        SeccompChoice::Oci(pulled) => pulled,
    };
    let profile = format!("{FIELD}.oci_ref {}", pulled.reference);
    let base = match &pulled.base {
        Some(path) => format!("{FIELD}.base_profile.localhost_ref {}", path.as_str()),
        None => format!("{FIELD}.base_profile RuntimeDefault"),
    };
    match part {
        FilterPart::Profile => profile,
        FilterPart::Base => base,
        FilterPart::Both => format!("{profile} within {base}"),
    }
}

/// A profile that somebody has named, and what it is known to forbid of what a start needs: what is to be said when
/// the start fails.
#[derive(Debug)]
pub(super) struct Suspect {
    field: String,
    forbidden: Vec<&'static str>,
}

impl Suspect {
    /// The profile of a process, unless it has none or the default one.
    pub(super) fn from_profile(
        choice: &SeccompChoice,
        spec: &Spec,
        base: Option<&LinuxSeccomp>,
    ) -> Option<Self> {
        if matches!(
            choice,
            SeccompChoice::RuntimeDefault | SeccompChoice::Unconfined
        ) {
            return None;
        }
        let profile = spec.linux().as_ref()?.seccomp().as_ref()?;
        let needed = needed_calls(spec);
        let forbidden_calls = |profile: &LinuxSeccomp| -> Vec<_> {
            let calls = needed.iter().copied();
            calls.filter(|call| forbids(profile, call)).collect()
        };
        let (part, forbidden) = match (forbidden_calls(profile), base.map(forbidden_calls)) {
            (own, Some(bases)) if own.is_empty() && !bases.is_empty() => (FilterPart::Base, bases),
            (own, Some(bases)) if own.is_empty() => (FilterPart::Both, bases),
            (own, _) => (FilterPart::Profile, own),
        };
        Some(Self {
            field: place(choice, part),
            forbidden,
        })
    }

    /// The error of a failed start, when the filter explains it.
    fn explain(self, error: LinkError) -> Result<LaunchError, LinkError> {
        let LinkError::Failed(failure) = error else {
            return Err(error);
        };
        // A filter ends a process with SIGSYS; nothing else does on the way to its program.
        let by_filter = failure.is_killed_by(Signal::SIGSYS as i32);
        let calls = match self.forbidden.as_slice() {
            [] if by_filter => "a system call".to_owned(),
            [_, ..] if follows_from_refusal(&failure) => self.forbidden.join(" and "),
            _ => return Err(LinkError::Failed(failure)),
        };
        Ok(LaunchError::SeccompForbids {
            field: self.field,
            source: Explained {
                cause: failure,
                explanation: format!(
                    ", because the profile forbids {calls}; allow it in the profile"
                ),
            },
        })
    }
}

/// The error of a failed start: what its filter explains, and otherwise what `other` makes of it.
pub(super) fn of_start(
    suspect: Option<Suspect>,
    other: impl FnOnce(LinkError) -> LaunchError,
) -> impl FnOnce(LinkError) -> LaunchError {
    move |error| match suspect {
        Some(suspect) => suspect.explain(error).unwrap_or_else(other),
        None => other(error),
    }
}

/// Whether a start ends so when a call behind the filter is refused: the call fails, or the process does not even get
/// to say so. SIGKILL and a deadline have other causes.
fn follows_from_refusal(failure: &Failure) -> bool {
    match failure.cause {
        Cause::Errno(_) => matches!(failure.step, Step::Exec | Step::Capabilities),
        Cause::Ended(_) => !failure.is_killed_by(Signal::SIGKILL as i32),
        Cause::TimedOut(_) | Cause::Said(_) => false,
    }
}

/// The system calls that are made behind the filter before the program runs; `launch::process` makes them.
fn needed_calls(spec: &Spec) -> Vec<&'static str> {
    let process = spec.process().as_ref();
    let has_admin = process
        .and_then(|process| process.capabilities().as_ref())
        .and_then(|sets| sets.effective().as_ref())
        .is_some_and(|effective| effective.contains(&Capability::SysAdmin));
    let protected = process.is_some_and(|process| process.no_new_privileges() == Some(true));
    match has_admin || protected {
        true => vec!["execve"],
        false => vec!["execve", "capset"],
    }
}

/// Whether a profile certainly forbids a call, whatever its arguments.
fn forbids(profile: &LinuxSeccomp, call: &str) -> bool {
    let lets = |action| {
        matches!(
            action,
            LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog
        )
    };
    let rules = profile.syscalls().iter().flatten();
    let rules = rules.filter(|rule| rule.names().iter().any(|name| name == call));
    let (mut allowed, mut refused) = (false, false);
    for rule in rules {
        let always = rule.args().as_ref().is_none_or(Vec::is_empty);
        allowed |= lets(rule.action());
        refused |= always && !lets(rule.action());
    }
    !allowed && (refused || !lets(profile.default_action()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FilterError;
    use crate::spec::PulledProfile;
    use holdfast_wire::ExitStatus;
    use serde_json::{Value, json};

    fn host_path(path: &str) -> HostPath {
        serde_json::from_value(json!(path)).unwrap()
    }

    fn oci(base: Option<&str>) -> SeccompChoice {
        SeccompChoice::Oci(Box::new(PulledProfile {
            reference: "r.example/p@sha256:1".to_owned(),
            base: base.map(host_path),
            pinned: None,
        }))
    }

    fn profile(default: &str, rules: Value) -> LinuxSeccomp {
        let text = json!({ "defaultAction": default, "syscalls": rules });
        parse_profile(text.to_string().as_bytes()).unwrap()
    }

    /// A profile is named as the request names it, and which of two is meant is said.
    #[test]
    fn a_profile_that_cannot_be_compiled_is_named() {
        let file = SeccompChoice::Localhost(host_path("/p.json"));
        for (choice, part, wanted) in [
            (
                &file,
                FilterPart::Profile,
                "seccomp.localhost_ref /p.json: ",
            ),
            (
                &oci(None),
                FilterPart::Profile,
                "seccomp.oci_ref r.example/p@sha256:1: ",
            ),
            (
                &oci(Some("/b")),
                FilterPart::Profile,
                "seccomp.oci_ref r.example/p@sha256:1: ",
            ),
            (
                &oci(Some("/b")),
                FilterPart::Base,
                "seccomp.base_profile.localhost_ref /b: ",
            ),
            (
                &oci(None),
                FilterPart::Base,
                "seccomp.base_profile RuntimeDefault: ",
            ),
            (
                &oci(Some("/b")),
                FilterPart::Both,
                "oci_ref r.example/p@sha256:1 within security_context.seccomp.base_profile.localhost_ref /b: ",
            ),
        ] {
            let source = FilterError::TooLong(5000);
            let error = of_plan(choice)(PlanError::Seccomp { part, source });
            let text = error.to_string();
            assert!(text.contains(wanted), "{text}");
            assert_eq!(
                error.kind(),
                crate::pod::ErrorKind::InvalidArgument,
                "{text}"
            );
        }
    }

    /// seccomp(2): an action lets a call happen or not. Rules with arguments say nothing for certain.
    #[test]
    fn what_a_profile_forbids_for_certain() {
        let args = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]);
        let rule = |action: &str| json!([{ "names": ["read", "execve"], "action": action }]);
        let with_args =
            |action: &str| json!([{ "names": ["execve"], "action": action, "args": args }]);
        for (default, rules, forbidden) in [
            ("SCMP_ACT_ALLOW", json!([]), false),
            ("SCMP_ACT_LOG", json!([]), false),
            ("SCMP_ACT_ERRNO", json!([]), true),
            ("SCMP_ACT_KILL_PROCESS", json!([]), true),
            ("SCMP_ACT_TRAP", rule("SCMP_ACT_ALLOW"), false),
            ("SCMP_ACT_KILL", rule("SCMP_ACT_LOG"), false),
            ("SCMP_ACT_ERRNO", rule("SCMP_ACT_TRACE"), true),
            ("SCMP_ACT_ALLOW", rule("SCMP_ACT_KILL_PROCESS"), true),
            ("SCMP_ACT_ALLOW", with_args("SCMP_ACT_ERRNO"), false),
            ("SCMP_ACT_ERRNO", with_args("SCMP_ACT_ALLOW"), false),
            ("SCMP_ACT_ERRNO", with_args("SCMP_ACT_KILL"), true),
        ] {
            let found = forbids(&profile(default, rules.clone()), "execve");
            assert_eq!(found, forbidden, "{default} {rules}");
        }
    }

    #[test]
    fn a_start_needs_capset_only_where_it_gives_something_up() {
        let spec = |process: Value| -> Spec {
            let mut spec = json!({ "ociVersion": "1.2.0", "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 } } });
            spec["process"]
                .as_object_mut()
                .unwrap()
                .extend(process.as_object().unwrap().clone());
            serde_json::from_value(spec).unwrap()
        };
        let admin = json!({ "capabilities": { "effective": ["CAP_SYS_ADMIN"] } });
        for (process, wanted) in [
            (json!({}), vec!["execve", "capset"]),
            (
                json!({ "noNewPrivileges": false }),
                vec!["execve", "capset"],
            ),
            (json!({ "noNewPrivileges": true }), vec!["execve"]),
            (admin, vec!["execve"]),
            (
                json!({ "capabilities": { "effective": ["CAP_KILL"] } }),
                vec!["execve", "capset"],
            ),
        ] {
            let spec = spec(process);
            assert_eq!(needed_calls(&spec), wanted);
        }
    }

    /// How a start ends behind a filter: with SIGSYS; with the call's error; or, where the process may neither report
    /// nor exit, with an exit code or a signal of the C library's last resort.
    #[test]
    fn a_start_that_the_filter_ends_names_the_profile() {
        let ended = |signal| Failure::ended(ExitStatus::Signal(signal));
        let refused = |step, errno, object: &str| Failure::errno(step, errno, object);
        let hung = Failure {
            cause: Cause::TimedOut(10),
            ..refused(Step::Exec, 0, "/x")
        };
        let [execve, capset] = ["execve", "capset"];
        for (forbidden, failure, wanted) in [
            (vec![], ended(31), Some("forbids a system call")),
            (vec![execve], ended(31), Some("forbids execve;")),
            (vec![execve], ended(11), Some("forbids execve;")),
            (
                vec![execve, capset],
                Failure::ended(ExitStatus::Code(1)),
                Some("forbids execve and capset;"),
            ),
            (
                vec![execve],
                refused(Step::Exec, 1, "/bin/sh"),
                Some("forbids execve;"),
            ),
            (
                vec![capset],
                refused(Step::Capabilities, 1, ""),
                Some("forbids capset;"),
            ),
            (vec![], ended(11), None),
            (vec![], refused(Step::Exec, 2, "/bin/sh"), None),
            (vec![execve], ended(9), None),
            (vec![execve], hung, None),
            (vec![execve], refused(Step::Mount, 22, "/x"), None),
        ] {
            let place = "security_context.seccomp.localhost_ref /p.json".to_owned();
            let suspect = Some(Suspect {
                field: place,
                forbidden,
            });
            let failed = LinkError::Failed(Box::new(failure));
            let other = super::super::launch_error::shim("start the container");
            let error = of_start(suspect, other)(failed);
            let explained = matches!(error, LaunchError::SeccompForbids { .. });
            assert_eq!(explained, wanted.is_some(), "{error:?}");
            let text = holdfast_kernel::error_chain(&error);
            assert!(
                text.contains(wanted.unwrap_or("start the container")),
                "{text}"
            );
            if explained {
                assert!(text.contains("localhost_ref /p.json"), "{text}");
                let kind = error.kind();
                assert_eq!(kind, crate::pod::ErrorKind::FailedPrecondition, "{text}");
            }
        }
    }
}
