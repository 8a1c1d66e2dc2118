//! Sizes, times and ids as people read them.

/// A size as people read it: three digits and a unit of 1000.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut whole = bytes;
    let mut tenths = 0;
    while whole >= 1000 && unit + 1 < UNITS.len() {
        tenths = whole % 1000 / 100;
        whole /= 1000;
        unit += 1;
    }
    if unit == 0 || whole >= 100 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{tenths} {}", UNITS[unit])
    }
}

/// How long ago a time was, in the largest unit that fits.
pub(crate) fn ago(unix_nanos: i64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let then = u64::try_from(unix_nanos / 1_000_000_000).unwrap_or_default();
    span(now.as_secs().saturating_sub(then))
}

/// How far ahead a time is, likewise.
pub(crate) fn ahead(unix_nanos: i64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let then = u64::try_from(unix_nanos / 1_000_000_000).unwrap_or_default();
    span(then.saturating_sub(now.as_secs()))
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The first 13 digits of an id, with or without the name of its algorithm.
pub(crate) fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..13).unwrap_or(digits)
}
