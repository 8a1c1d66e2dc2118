//! Whether the `iptables` of this machine is one whose rules can be written from here.
//!
//! They are written as iptables-nft 1.8.9 writes them. Later releases read what it has written; earlier ones do not know
//! some of its expressions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::cni::verdicts::{Stamp, stamp};

/// Where programs are looked for when the daemon has no PATH, as for plugins.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The names of the program, one a family.
const NAMES: [&str; 2] = ["iptables", "ip6tables"];
/// The program that iptables-nft's names lead to.
const NFT_PROGRAM: &str = "xtables-nft-multi";
/// The first release of 1.8 that writes and reads rules in today's form.
const FIRST_RELEASE: u32 = 9;

/// The programs that were looked at, as long as their files are the same.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<HashMap<PathBuf, (Stamp, bool)>>);

impl Tables {
    /// Whether rules can be written. Blocks: a new program is asked for its release.
    pub(super) fn can_be_written(&self) -> bool {
        NAMES.into_iter().all(|name| self.is_known(name))
    }

    fn is_known(&self, name: &str) -> bool {
        let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
        let mut places = path.split(':').map(|dir| Path::new(dir).join(name));
        let Some(place) = places.find(|place| place.is_file()) else {
            return false;
        };
        let stamp = stamp(&place);
        let all = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, known)) = all().get(&place)
            && *of == stamp
        {
            return *known;
        }
        let program = std::fs::canonicalize(&place);
        let is_nft = program.is_ok_and(|program| program.ends_with(NFT_PROGRAM));
        let known = is_nft && is_recent(&said(&place));
        all().insert(place, (stamp, known));
        known
    }
}

/// What a program says of its release.
#[expect(
    clippy::disallowed_methods,
    reason = "iptables alone says which release it is of"
)]
fn said(program: &Path) -> String {
    let ran = std::process::Command::new(program)
        .arg("--version")
        .output();
    let text = ran.map(|ran| ran.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether it is of a release that is known, as in `iptables v1.8.9 (nf_tables)`.
fn is_recent(said: &str) -> bool {
    let mut words = said.split_whitespace();
    let release = words.find_map(|word| word.strip_prefix("v1.8."));
    let release = release.and_then(|number| number.parse::<u32>().ok());
    release.is_some_and(|number| number >= FIRST_RELEASE) && words.next() == Some("(nf_tables)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_write_rules_in_this_form() {
        for (said, known) in [
            ("iptables v1.8.9 (nf_tables)", true),
            ("ip6tables v1.8.11 (nf_tables)\n", true),
            ("iptables v1.8.7 (nf_tables)", false),
            ("iptables v1.8.9 (legacy)", false),
            ("iptables v1.9.0 (nf_tables)", false),
            ("", false),
        ] {
            assert_eq!(is_recent(said), known, "{said}");
        }
        assert!(!Tables::default().is_known("no-such-program"));
    }
}
