//! Versions of the protocol, as `cniVersion` names them.

/// A version of the CNI specification: all that libcni 1.3.1 speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CniVersion {
    /// 0.1.0, which is also meant where a configuration names no version.
    V0_1_0,
    /// Version 0.2.0, which brought VERSION.
    V0_2_0,
    /// 0.3.0: lists of plugins; a result has lists of interfaces, addresses and routes.
    V0_3_0,
    /// 0.3.1; its results are those of 0.3.0.
    V0_3_1,
    /// 0.4.0: CHECK, and the result of ADD goes to DEL.
    V0_4_0,
    /// 1.0.0: addresses no longer say which version of the Internet Protocol they are of.
    V1_0_0,
    /// 1.1.0: GC and STATUS.
    V1_1_0,
}

/// All versions, the newest first.
const VERSIONS: [(CniVersion, &str); 7] = [
    (CniVersion::V1_1_0, "1.1.0"),
    (CniVersion::V1_0_0, "1.0.0"),
    (CniVersion::V0_4_0, "0.4.0"),
    (CniVersion::V0_3_1, "0.3.1"),
    (CniVersion::V0_3_0, "0.3.0"),
    (CniVersion::V0_2_0, "0.2.0"),
    (CniVersion::V0_1_0, "0.1.0"),
];

/// The list of all versions, for errors.
pub(super) const KNOWN: &str = "0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0 or 1.1.0";

impl CniVersion {
    /// Reads a version; the empty text means 0.1.0 (CNI specification 0.2.0, "Network Configuration").
    pub(super) fn parse(text: &str) -> Option<CniVersion> {
        if text.is_empty() {
            return Some(CniVersion::V0_1_0);
        }
        let known = VERSIONS.iter().find(|(_, name)| *name == text);
        known.map(|(version, _)| *version)
    }

    /// Returns the version as `cniVersion` has it.
    pub fn as_str(self) -> &'static str {
        let known = VERSIONS.iter().find(|(version, _)| *version == self);
        known.map_or("1.1.0", |(_, name)| name)
    }
}
