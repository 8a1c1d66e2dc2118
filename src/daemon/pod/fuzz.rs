//! Functions for the fuzzer (`e2e/fuzz`): readers of input that others write, and of records that a disk may damage.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cdi;
use super::record::{ContainerRecord, PodRecord};

/// A description of CDI devices.
pub fn cdi(text: &str) {
    cdi::fuzz(text);
}

/// A record: what is read is written as it was read.
///
/// # Panics
/// When it is not.
pub fn record(bytes: &[u8]) {
    again::<PodRecord>(bytes);
    again::<ContainerRecord>(bytes);
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(record) = serde_json::from_slice::<T>(bytes) else {
        return;
    };
    let first = serde_json::to_string(&record).map_err(|error| error.to_string());
    let read = first.as_deref().map(serde_json::from_str::<T>);
    assert!(matches!(read, Ok(Ok(_))), "{first:?}");
    if let Ok(Ok(read)) = read {
        assert_eq!(serde_json::to_string(&read).ok(), first.ok());
    }
}
