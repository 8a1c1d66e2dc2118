//! The wall clock, as records and CRI have it.

/// Returns the time now, in nanoseconds since the epoch.
pub(super) fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
