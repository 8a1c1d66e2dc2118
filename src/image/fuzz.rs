//! Functions for the fuzzer (`e2e/fuzz`): readers of input from outside.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::manifest::{Parsed, parse, parse_config};
use super::platform::Machine;
use super::reference::Reference;
use super::registry::{fuzz_challenges, fuzz_coding, fuzz_hosts};
use super::unpack::{Limits, unpack};
use holdfast_disk::Dir;

/// Bounds of one extraction, small enough to be reached.
const LIMITS: Limits = Limits {
    entries: 1000,
    bytes: 1 << 20,
};

/// A manifest, an index or a configuration, which may come in any content coding.
pub fn document(bytes: &[u8]) {
    for coding in ["gzip", "deflate", "zstd"] {
        fuzz_coding(coding, bytes);
    }
    if let Ok(Parsed::Manifest(manifest)) = parse(bytes, &Machine::this()) {
        // The sum of what a registry claims cannot wrap around.
        let _ = manifest.content_size();
    }
    for layers in 0..3 {
        let _ = parse_config(bytes, layers);
    }
}

/// A reference: what is accepted is written as it is read.
pub fn reference(text: &str) {
    if let Ok(reference) = text.parse::<Reference>() {
        let again = reference.to_string().parse::<Reference>();
        assert_eq!(again.as_ref(), Ok(&reference), "{text:?}");
        assert!(
            !reference.path().split('/').any(|part| part == ".."),
            "{text:?}"
        );
    }
}

/// A file of registry hosts, or a challenge of a registry.
pub fn hosts(text: &str) {
    fuzz_hosts(text);
    fuzz_challenges(text);
}

/// A layer. It ends, keeps to its limits, and leaves nothing beside its own directory, which lies in the empty
/// directory `place`.
///
/// # Panics
/// When it does not.
pub fn layer(tar: impl Read, place: &Path) {
    let root = place.join("root");
    let _ = fs::remove_dir_all(&root);
    let made = fs::create_dir_all(&root).map_err(|error| error.to_string());
    assert_eq!(made, Ok(()));
    let Ok(dir) = Dir::open_root(&root) else {
        return;
    };
    let unpacked = unpack(tar, &dir, LIMITS, &|| Some(Vec::new()));
    let names = fs::read_dir(place).into_iter().flatten().flatten();
    let names: BTreeSet<_> = names.map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 1, "something escaped: {names:?}");
    if let Ok(unpacked) = unpacked {
        // Blocks are counted, so that each file may take one more than its content.
        assert!(
            unpacked.bytes <= LIMITS.bytes + LIMITS.entries * 8192,
            "{unpacked:?}"
        );
    }
}
