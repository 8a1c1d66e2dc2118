//! Which release of the reference plugins a program is of.
//!
//! The programs do not say it on all machines: distributions build them without the number. But every Go program holds
//! the path of its source, and either the number or what its time could do. So a program of the same name from
//! elsewhere, such as a script around the real one, is never taken for one of them, and none is run to find out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::plugin::NativePlugin;
use crate::cni::verdicts::{Stamp, stamp};
use holdfast_kernel::sys::regular;

/// Largest program that is looked at; those of 2026 have 5 MiB.
const PROGRAM_LIMIT: u64 = 64 << 20;
/// How a Go program names its source, and the release of the source, in what the linker puts into it.
const SOURCE: &str = "path\tgithub.com/containernetworking/plugins/plugins/";
const RELEASES: [&str; 3] = [
    "mod\tgithub.com/containernetworking/plugins\t",
    "dep\tgithub.com/containernetworking/plugins\t",
    "github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=",
];
/// An option of `bridge` that came with 1.1.0, and one that came with 1.3.0.
const SINCE_1_1: &str = "enabledad";
const SINCE_1_3: &str = "preserveDefaultVlan";

/// A release whose behaviour is known, down to what is in files and on interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edition {
    /// Release 1.1.1 of 2022, which Debian 12 and 13 have.
    Y2022,
    /// Release 1.10.0 of 2026.
    Y2026,
}

/// The editions of programs, as long as their files are the same.
#[derive(Debug, Default)]
pub(super) struct Editions(Mutex<HashMap<PathBuf, (Stamp, Option<Edition>)>>);

impl Editions {
    /// The edition of a plugin's program; none when it is not known. Blocks: a new program is read.
    pub(super) fn of(&self, plugin: NativePlugin, program: &Path) -> Option<Edition> {
        let stamp = stamp(program);
        let known = |known: &HashMap<_, _>| match known.get(program) {
            Some((of, edition)) if *of == stamp => Some(*edition),
            _ => None,
        };
        let all = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(edition) = known(&all()) {
            return edition;
        }
        let edition = recognize(plugin, program);
        all().insert(program.to_owned(), (stamp, edition));
        edition
    }
}

fn recognize(plugin: NativePlugin, program: &Path) -> Option<Edition> {
    let program = std::fs::canonicalize(program).ok()?;
    let image = regular::read(&program, PROGRAM_LIMIT).ok()?;
    let source = format!("{SOURCE}{}\n", plugin.source());
    if !image.starts_with(b"\x7fELF") || find(&image, &source).is_none() {
        return None;
    }
    let release = RELEASES.iter().find_map(|before| number(&image, before));
    match release {
        Some("v1.1.1") => Some(Edition::Y2022),
        Some("v1.10.0") => Some(Edition::Y2026),
        Some(_) => None,
        // Built without any number. The plugins of one directory are of one package.
        None => {
            let bridge = regular::read(&program.with_file_name("bridge"), PROGRAM_LIMIT).ok()?;
            let old = find(&bridge, SINCE_1_1).is_some() && find(&bridge, SINCE_1_3).is_none();
            old.then_some(Edition::Y2022)
        }
    }
}

/// The release that follows a text, such as v1.10.0; nothing for a number that no release has, such as "(devel)".
fn number<'a>(image: &'a [u8], before: &str) -> Option<&'a str> {
    let at = find(image, before)? + before.len();
    let rest = image.get(at..at + 32)?;
    let is_number = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    let length = rest.iter().take_while(|byte| is_number(byte)).count();
    let number = std::str::from_utf8(&rest[..length]).ok()?;
    number.starts_with('v').then_some(number)
}

/// Where a text begins.
fn find(image: &[u8], text: &str) -> Option<usize> {
    let text = text.as_bytes();
    let first = *text.first()?;
    let mut at = 0;
    loop {
        at += image.get(at..)?.iter().position(|byte| *byte == first)?;
        if image[at..].starts_with(text) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with these texts in it.
    fn recognized(name: &str, texts: &[&str], bridge: &str) -> Option<Edition> {
        let dir = tempfile::tempdir().unwrap();
        let home = holdfast_disk::Dir::open_root(dir.path()).unwrap();
        let write = |name: &str, text: &[u8]| {
            let name = holdfast_disk::FileName::new(name).unwrap();
            home.replace(&name, text, holdfast_disk::Durability::Volatile)
                .unwrap();
        };
        let text = texts.concat();
        write("bridge", bridge.as_bytes());
        write(name, format!("{text}{}", " ".repeat(64)).as_bytes());
        Editions::default().of(NativePlugin::Loopback, &dir.path().join(name))
    }

    #[test]
    fn programs_are_known_by_what_the_linker_put_into_them() {
        const ELF: &str = "\x7fELF";
        const PATH: &str = "path\tgithub.com/containernetworking/plugins/plugins/main/loopback\n";
        const MODULE: &str = "mod\tgithub.com/containernetworking/plugins\t";
        let numbered = |number: &str| recognized("loopback", &[ELF, PATH, MODULE, number], "");
        assert_eq!(numbered("v1.10.0\th1:x"), Some(Edition::Y2026));
        assert_eq!(numbered("v1.1.1\n"), Some(Edition::Y2022));
        for other in ["v1.10.1\n", "v1.10.0-rc1\n", "v1.1.10\n", "v2.0.0\t"] {
            assert_eq!(numbered(other), None, "{other}");
        }
        let flag = "pkg/utils/buildversion.BuildVersion=v1.10.0\"";
        let flag = format!("-X github.com/containernetworking/plugins/{flag}");
        let found = recognized("loopback", &[ELF, PATH, MODULE, "(devel)\n", &flag], "");
        assert_eq!(found, Some(Edition::Y2026));
        // Debian's have no number.
        let unnumbered = |bridge: &str| recognized("loopback", &[ELF, PATH], bridge);
        assert_eq!(unnumbered("… enabledad …"), Some(Edition::Y2022));
        assert_eq!(unnumbered("enabledad preserveDefaultVlan"), None);
        assert_eq!(unnumbered("nothing"), None);
        // A script, and another program of that name.
        let script = ["#!/bin/sh\n", PATH, MODULE, "v1.10.0\n"];
        assert_eq!(recognized("loopback", &script, ""), None);
        let other = [ELF, "path\texample.org/loopback\n", MODULE, "v1.10.0\n"];
        assert_eq!(recognized("loopback", &other, ""), None);
        let missing = Path::new("/no/such/loopback");
        assert_eq!(
            Editions::default().of(NativePlugin::Loopback, missing),
            None
        );
    }
}
