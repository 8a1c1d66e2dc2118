//! Slices: the place of a unit in systemd's tree, and the cgroup that belongs to it (systemd.slice(5)).

use std::fmt;

/// Ending of every slice's name.
const SUFFIX: &str = ".slice";

/// Longest name of a unit, in bytes: UNIT_NAME_MAX without the closing NUL.
const MAX_NAME_BYTES: usize = 255;

/// Why a text is not the name of a slice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid systemd slice {name:?}: {reason}")]
pub(crate) struct SliceError {
    name: String,
    reason: &'static str,
}

/// The name of a slice. The dashes in it are its place in the tree: `a-b.slice` lies within `a.slice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice(String);

impl Slice {
    /// The slice that a cgroup parent names: by its name alone, or by a path that ends in it, as kubelets
    /// send it.
    ///
    /// # Errors
    /// [`SliceError`] when it does not end in `.slice`, or systemd would not take the name.
    pub(crate) fn parse(parent: &str) -> Result<Self, SliceError> {
        let name = parent.rsplit('/').next().unwrap_or_default();
        let wrong = |reason| SliceError {
            name: parent.chars().take(MAX_NAME_BYTES).collect(),
            reason,
        };
        let stem = name.strip_suffix(SUFFIX).ok_or_else(|| {
            wrong("give a name that ends in .slice, or set cgroup.driver = \"cgroupfs\"")
        })?;
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
        if name.len() > MAX_NAME_BYTES || !stem.bytes().all(letters) {
            return Err(wrong(
                "give up to 255 letters, digits and the characters :-_.\\",
            ));
        }
        if stem != "-" && stem.split('-').any(str::is_empty) {
            return Err(wrong("write each dash between two names"));
        }
        Ok(Self(name.to_owned()))
    }

    /// The slice that stands for a cgroup path: `/holdfast/test` is `holdfast-test.slice`.
    ///
    /// # Errors
    /// As [`Slice::parse`].
    pub(crate) fn of_path(path: &str) -> Result<Self, SliceError> {
        if path.ends_with(SUFFIX) {
            return Self::parse(path);
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        Self::parse(&format!("{}{SUFFIX}", parts.join("-")))
    }

    /// Name of the slice's unit.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// The cgroup that systemd gives it: every slice that it lies within, from the outermost.
    pub(crate) fn cgroup(&self) -> String {
        let stem = self.0.strip_suffix(SUFFIX).unwrap_or_default();
        if stem == "-" {
            return String::new();
        }
        let ends = stem.match_indices('-').map(|(at, _)| at);
        let within = ends.chain([stem.len()]);
        within
            .map(|end| format!("/{}{SUFFIX}", &stem[..end]))
            .collect()
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_lies_within_those_that_its_name_begins_with() {
        let name = "kubepods-burstable-pod1a_2b.slice";
        let wanted = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a_2b.slice";
        assert_eq!(Slice::parse(name).unwrap().cgroup(), wanted);
        // Kubelets send the whole path.
        assert_eq!(Slice::parse(wanted).unwrap().name(), name);
        assert_eq!(
            Slice::parse("system.slice").unwrap().cgroup(),
            "/system.slice"
        );
        assert_eq!(Slice::parse("-.slice").unwrap().cgroup(), "");
    }

    #[test]
    fn what_systemd_would_refuse_is_refused() {
        for bad in [
            "",
            "/",
            "/kubepods/pod1",
            "a--b.slice",
            "-a.slice",
            "a-.slice",
            "a b.slice",
            ".slice",
        ] {
            assert!(Slice::parse(bad).is_err(), "{bad}");
        }
        let error = Slice::parse("/kubepods/pod1").unwrap_err().to_string();
        assert!(error.contains("cgroup.driver"), "{error}");
        let long = format!("{}.slice", "a".repeat(250));
        assert!(Slice::parse(&long).is_err());
    }

    #[test]
    fn the_default_parent_becomes_a_slice() {
        assert_eq!(
            Slice::of_path("/holdfast").unwrap().name(),
            "holdfast.slice"
        );
        let nested = Slice::of_path("/holdfast/test").unwrap();
        assert_eq!(nested.cgroup(), "/holdfast.slice/holdfast-test.slice");
        assert_eq!(Slice::of_path("own.slice").unwrap().name(), "own.slice");
    }
}
