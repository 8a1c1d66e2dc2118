//! Tests that cannot run on this machine say so aloud.

use std::fs::OpenOptions;
use std::io::{self, Write};

/// File that collects a line a skipped test, so that a summary can count them.
const LIST: &str = "HOLDFAST_E2E_SKIPPED";

/// Says that a test did not run. It writes past the test harness, which would swallow it.
pub fn report(test: &str, reason: &str) {
    let line = format!("SKIPPED {test}: {reason}\n");
    // Standard error of a test run that went away is no reason to fail a test.
    let _ = io::stderr().write_all(line.as_bytes());
    if let Some(list) = std::env::var_os(LIST) {
        let file = OpenOptions::new().create(true).append(true).open(&list);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("write {}: {error}", list.display()));
    }
}

/// Name of the running test: the harness names its threads so.
pub fn test_name() -> String {
    std::thread::current().name().unwrap_or("test").to_owned()
}

/// Ends the test as skipped, with a reason that everybody sees.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::skip::report(&$crate::skip::test_name(), &format!($($reason)*));
        return;
    }};
}
