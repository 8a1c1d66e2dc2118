//! Who a process is: a request and an image's /etc/passwd and /etc/group become numbers.

use serde::{Deserialize, Serialize};

use super::RunAs;

/// Resolved user, groups and home.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups; the primary one is among them.
    pub groups: Vec<u32>,
    /// Home directory of the user's entry in /etc/passwd.
    pub home: Option<String>,
}

/// Why a user cannot be resolved.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum UserError {
    /// A group is given without a user.
    #[error("run_as_group is set without run_as_user or run_as_username; set one of them")]
    GroupWithoutUser,
}

/// Resolves the user of a container.
///
/// # Errors
/// [`UserError`]
pub fn resolve(
    request: &RunAs,
    image_user: &str,
    passwd: Option<&[u8]>,
    group: Option<&[u8]>,
) -> Result<Identity, UserError> {
    let _ = (request, image_user, passwd, group);
    Ok(Identity::default())
}
