//! DEL: a pod leaves the bridge.

use std::time::Instant;

use super::config::Bridge;
use crate::cni::native::error::NativeError;
use crate::cni::native::pod::Pod;
use crate::cni::native::rules::Rules;
use crate::cni::native::veth;

/// Disconnects a pod, and says whether interfaces are left for the background to delete.
///
/// # Errors
/// [`NativeError`]; it can be repeated.
pub(in crate::cni::native) fn del(
    config: &Bridge,
    pod: &Pod,
    (deadline, rules): (Instant, &Rules),
) -> Result<bool, NativeError> {
    // First, as long as the thread is in the host's namespace.
    if let Some(masquerading) = &config.masquerading {
        masquerading.remove(&pod.id, rules)?;
    }
    let marked = if pod.is_gone() {
        false
    } else {
        veth::disconnect(pod)?
    };
    config.leases.release(pod, deadline)?;
    Ok(marked)
}
