//! Seccomp profiles of a registry: read strictly, because a key that is ignored might have forbidden something.
//!
//! A profile of the node's administrator is read as runc reads it. A profile of a registry must have no unknown field, no
//! listener and no notification, and not more rules than publishers are advised to use (security-profiles-operator 3421).

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Map, Value};

use super::profile::{ProfileError, from_value};

/// Most entries of `syscalls`.
const ENTRIES_MAX: usize = 128;

/// Allowed keys of a profile, of an entry of `syscalls` and of an entry of `args`. A comment is for people.
const PROFILE: &[&str] = &[
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "flags",
    "syscalls",
];
const ENTRY: &[&str] = &["names", "action", "errnoRet", "args", "comment"];
const ARGUMENT: &[&str] = &["index", "value", "valueTwo", "op"];

/// The action that asks a listener.
const NOTIFY: &str = "SCMP_ACT_NOTIFY";

/// Why a published profile is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    /// The profile is not `linux.seccomp` of the OCI runtime specification in JSON.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The profile asks for something that is not supported.
    #[error("{path}: {reason}")]
    Refused {
        /// Place of the value, as a JSON path.
        path: String,
        /// The fault at this place, and the remedy.
        reason: String,
    },
}

fn refused(path: impl Into<String>, reason: impl Into<String>) -> ArtifactError {
    ArtifactError::Refused {
        path: path.into(),
        reason: reason.into(),
    }
}

/// Parses a published profile.
///
/// # Errors
/// [`ArtifactError`] names the place in the JSON.
pub(crate) fn parse_artifact(text: &str) -> Result<LinuxSeccomp, ArtifactError> {
    let value: Value = serde_json::from_str(text).map_err(ProfileError::Json)?;
    let profile = expect_object("$", &value)?;
    only("$", profile, PROFILE)?;
    action("$.defaultAction", profile.get("defaultAction"))?;
    let entries = expect_array("$.syscalls", profile.get("syscalls"))?;
    if entries.len() > ENTRIES_MAX {
        let reason = format!(
            "the profile has {} entries, more than the {ENTRIES_MAX} that are allowed; put names with the same action into one entry",
            entries.len()
        );
        return Err(refused("$.syscalls", reason));
    }
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("$.syscalls[{index}]");
        let entry = expect_object(&path, entry)?;
        only(&path, entry, ENTRY)?;
        action(&format!("{path}.action"), entry.get("action"))?;
        let arguments = expect_array(&format!("{path}.args"), entry.get("args"))?;
        for (index, argument) in arguments.iter().enumerate() {
            let path = format!("{path}.args[{index}]");
            only(&path, expect_object(&path, argument)?, ARGUMENT)?;
        }
    }
    Ok(from_value(value)?)
}

fn expect_object<'v>(
    path: &str,
    value: &'v Value,
) -> Result<&'v Map<String, Value>, ArtifactError> {
    value
        .as_object()
        .ok_or_else(|| refused(path, "the value is not a JSON object; give one"))
}

/// A list; null and nothing are an empty one, as for readers in Go.
fn expect_array<'v>(path: &str, value: Option<&'v Value>) -> Result<&'v [Value], ArtifactError> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(refused(path, "the value is not a JSON array; give one")),
    }
}

fn only(path: &str, object: &Map<String, Value>, known: &[&str]) -> Result<(), ArtifactError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let reason = format!(
                "unknown key; leave it out, or use one of {}",
                known.join(", ")
            );
            Err(refused(format!("{path}.{key}"), reason))
        }
    }
}

fn action(path: &str, value: Option<&Value>) -> Result<(), ArtifactError> {
    match value.and_then(Value::as_str) {
        Some(NOTIFY) => {
            let reason = format!(
                "{NOTIFY} needs a listener, which a published profile cannot have; give another action"
            );
            Err(refused(path, reason))
        }
        // Which actions there are is checked with the rest.
        _ => Ok(()),
    }
}
