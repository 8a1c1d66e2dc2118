//! Profiles of the node's administrator: JSON of the OCI runtime specification.

use holdfast_disk::json_text;
use oci_spec::runtime::LinuxSeccomp;
use serde_json::Value;

/// Largest profile that is parsed, in bytes.
pub(crate) const MAX_PROFILE: usize = 1 << 20;

/// Why a profile is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// The profile is larger than [`MAX_PROFILE`].
    #[error("the profile has at least {0} bytes; make it 1 MiB at most")]
    TooLarge(usize),
    /// The profile is not JSON.
    #[error("the profile is not JSON")]
    Json(#[source] serde_json::Error),
    /// A part of the profile is not what `linux.seccomp` of the OCI runtime specification allows there.
    #[error("{path}")]
    Part {
        /// Place of the value, as a JSON path.
        path: String,
        /// The fault at this place.
        #[source]
        source: serde_json::Error,
    },
}

/// Parses a profile of the node: JSON of the OCI runtime specification.
///
/// # Errors
/// [`ProfileError`]
pub(crate) fn parse_profile(json: &[u8]) -> Result<LinuxSeccomp, ProfileError> {
    if json.len() > MAX_PROFILE {
        return Err(ProfileError::TooLarge(json.len()));
    }
    from_value(serde_json::from_str(&json_text(json)).map_err(ProfileError::Json)?)
}

/// Reads a profile as readers in Go do: null is nothing, and an entry without names has none.
pub(super) fn from_value(mut profile: Value) -> Result<LinuxSeccomp, ProfileError> {
    leave_out_null(&mut profile);
    let entries = profile.get_mut("syscalls").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if let Value::Object(entry) = entry {
            entry
                .entry("names")
                .or_insert_with(|| Value::Array(Vec::new()));
        }
    }
    serde_path_to_error::deserialize(profile).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "$".to_owned(),
            path => format!("$.{path}"),
        };
        let source = error.into_inner();
        ProfileError::Part { path, source }
    })
}

/// Takes out every member of an object that is null.
fn leave_out_null(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(leave_out_null);
        }
        Value::Array(entries) => entries.iter_mut().for_each(leave_out_null),
        _ => {}
    }
}
