//! A profile that lets some calls happen whatever it says of them: those of the pause, which is a program of ours.
//!
//! Kubelets give a pod's profile to the pause as well, and it was written for the programs of the containers. The pause
//! reads no input, and no container is started from it, so its own calls loosen nothing for them.

use std::borrow::Cow;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSyscall};

/// The profile, changed where it does not let these calls happen.
pub(in crate::plan) fn with_allowed<'a>(
    profile: &'a LinuxSeccomp,
    calls: &[&str],
) -> Cow<'a, LinuxSeccomp> {
    if calls.iter().all(|call| allows(profile, call)) {
        return Cow::Borrowed(profile);
    }
    let mut rules = profile.syscalls().clone().unwrap_or_default();
    for rule in &mut rules {
        let mut names = rule.names().clone();
        names.retain(|name| !calls.contains(&name.as_str()));
        rule.set_names(names);
    }
    let mut own = LinuxSyscall::default();
    own.set_names(calls.iter().map(|&call| call.to_owned()).collect())
        .set_action(LinuxSeccompAction::ScmpActAllow);
    rules.push(own);
    let mut changed = profile.clone();
    changed.set_syscalls(Some(rules));
    Cow::Owned(changed)
}

/// Whether a profile lets a call happen with any arguments.
fn allows(profile: &LinuxSeccomp, call: &str) -> bool {
    let allow = LinuxSeccompAction::ScmpActAllow;
    let rules = profile.syscalls().iter().flatten();
    let mut rules = rules
        .filter(|rule| rule.names().iter().any(|name| name == call))
        .peekable();
    match rules.peek() {
        None => profile.default_action() == allow,
        Some(_) => rules
            .all(|rule| rule.action() == allow && rule.args().as_ref().is_none_or(Vec::is_empty)),
    }
}
