//! The runtime handler of a request.

use super::FieldError;

/// The only runtime handler with a name; the empty name means it as well.
pub(crate) const RUNTIME_HANDLER: &str = "holdfast";

/// The name of a runtime handler, when there is such a handler.
pub(super) fn runtime_handler(field: &str, handler: &str) -> Result<String, FieldError> {
    if handler.is_empty() || handler == RUNTIME_HANDLER {
        return Ok(handler.to_owned());
    }
    let remedy = "there is no such runtime handler; give \"holdfast\", or leave the field empty";
    Err(FieldError::invalid(field, handler, remedy))
}
