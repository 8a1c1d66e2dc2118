//! The process of a container: command, environment, working directory, home.

use oci_spec::runtime::{Process, User};

use super::{ContainerConfig, ContainerPath, Identity, ImageDefaults, SpecError, SpecRequest};

/// The search path when neither the image nor the request has one.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Process without capabilities and filters, which the caller adds.
pub(super) fn process(request: &SpecRequest<'_>) -> Result<Process, SpecError> {
    let SpecRequest {
        container,
        image,
        identity,
        ..
    } = *request;
    let mut out = Process::default();
    out.set_terminal(Some(container.tty))
        .set_user(user(identity, &request.cdi.additional_gids))
        .set_args(Some(args(container, image)?))
        .set_env(Some(env(request)?))
        .set_cwd(cwd(container, image)?.into())
        .set_no_new_privileges(Some(container.security.no_new_privs))
        .set_rlimits(None)
        .set_oom_score_adj(Some(super::resources::oom_score_adj(&container.resources)?));
    Ok(out)
}

pub(super) fn user(identity: &Identity, further: &[u32]) -> User {
    let mut groups = identity.groups.clone();
    for group in further {
        if !groups.contains(group) {
            groups.push(*group);
        }
    }
    let mut user = User::default();
    user.set_uid(identity.uid)
        .set_gid(identity.gid)
        .set_additional_gids(Some(groups));
    user
}

/// A command replaces the image's entry point and drops its arguments; arguments replace its arguments.
fn args(container: &ContainerConfig, image: &ImageDefaults) -> Result<Vec<String>, SpecError> {
    let mut command = container.command.as_slice();
    let mut args = container.args.as_slice();
    if command.is_empty() {
        if args.is_empty() {
            args = &image.cmd;
        }
        // An entry point of one empty string is how Dockerfiles take an inherited one back.
        if image.entrypoint.iter().any(|part| !part.is_empty()) {
            command = &image.entrypoint;
        }
    }
    let all: Vec<String> = command.iter().chain(args).cloned().collect();
    match all.first() {
        None => Err(SpecError::NoCommand),
        Some(program) if program.is_empty() => Err(SpecError::value(
            "command",
            "\"\"",
            "give the name of a program",
        )),
        Some(_) => Ok(all),
    }
}

fn cwd(container: &ContainerConfig, image: &ImageDefaults) -> Result<String, SpecError> {
    let (field, text) = match container.working_dir.as_deref() {
        Some(text) if !text.is_empty() => ("working_dir", text),
        _ => ("working directory of the image", image.working_dir.as_str()),
    };
    if text.is_empty() {
        return Ok("/".to_owned());
    }
    Ok(ContainerPath::new(field, text)?.as_str().to_owned())
}

/// Default PATH, TERM for terminals, HOSTNAME, then the image's, then the request's; the later wins.
fn env(request: &SpecRequest<'_>) -> Result<Vec<String>, SpecError> {
    let mut env = Environment(vec![format!("PATH={DEFAULT_PATH}")]);
    if request.container.tty {
        env.set("TERM", "xterm");
    }
    env.set(
        "HOSTNAME",
        super::namespaces::hostname(request.pod, request.node_hostname)?,
    );
    for entry in &request.image.env {
        // Entries without a value mean nothing and are left out, as Docker does.
        if let Some((name, value)) = entry.split_once('=') {
            check_name("environment of the image", name)?;
            env.set(name, value);
        }
    }
    for (name, value) in &request.container.envs {
        check_name("envs", name)?;
        env.set(name, &String::from_utf8_lossy(value));
    }
    for (name, value) in request
        .cdi
        .env
        .iter()
        .filter_map(|variable| variable.split_once('='))
    {
        check_name("CDI_devices", name)?;
        env.set(name, value);
    }
    if env.get("HOME").is_none_or(str::is_empty) {
        env.set("HOME", request.identity.home.as_deref().unwrap_or("/"));
    }
    if let Some(entry) = env.0.iter().find(|entry| entry.contains('\0')) {
        let name: String = entry.chars().take_while(|c| *c != '=').collect();
        let reason = format!("the value of {name:?} has a NUL byte; remove it");
        return Err(SpecError::invalid("envs", reason));
    }
    Ok(env.0)
}

fn check_name(field: &str, name: &str) -> Result<(), SpecError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        let allowed = "give the name of a variable, without \"=\" and NUL bytes";
        return Err(SpecError::value(field, format!("{name:?}"), allowed));
    }
    Ok(())
}

/// Variables in the order in which they were first set.
struct Environment(Vec<String>);

impl Environment {
    fn position(&self, name: &str) -> Option<usize> {
        let named = |entry: &String| {
            entry
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        };
        self.0.iter().position(named)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0[self.position(name)?].get(name.len() + 1..)
    }

    fn set(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        match self.position(name) {
            Some(at) => self.0[at] = entry,
            None => self.0.push(entry),
        }
    }
}
