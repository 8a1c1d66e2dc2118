//! Strings of a Spec as the kernel takes them: bytes that end in NUL.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use super::plan_error::PlanError;

/// `text` as a C string; `field` names its place in the Spec.
pub(super) fn c_string(field: &str, text: impl Into<Vec<u8>>) -> Result<CString, PlanError> {
    CString::new(text).map_err(|error| PlanError::Nul {
        field: field.to_owned(),
        text: String::from_utf8_lossy(&error.into_vec())
            .chars()
            .take(80)
            .collect(),
    })
}

/// A path that starts at a root, and that the kernel is to follow with its links and `..`.
pub(super) fn from_root(field: &str, path: &Path) -> Result<CString, PlanError> {
    if !path.is_absolute() {
        let reason = format!("path {:?} has to be absolute", path.display());
        return Err(PlanError::unsupported(field, reason));
    }
    c_string(field, path.as_os_str().as_bytes())
}

/// A path that starts at a root and has no `..`.
pub(super) fn absolute(field: &str, path: &Path) -> Result<CString, PlanError> {
    let climbs = path.components().any(|part| part == Component::ParentDir);
    if !path.is_absolute() || climbs {
        let reason = format!(
            "path {:?} has to be absolute and without \"..\"",
            path.display()
        );
        return Err(PlanError::unsupported(field, reason));
    }
    c_string(field, path.as_os_str().as_bytes())
}

/// The directory of a layer as the shim sees it.
pub(super) fn layer(field: &str, path: &Path) -> Result<CString, PlanError> {
    c_string(field, path.as_os_str().as_bytes())
}
