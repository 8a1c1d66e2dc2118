//! What was found on the machine, and what to do about it.

use serde::Serialize;

/// How it stands with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Nothing here says so.
    Unknown,
    /// Some pods are refused or something is left out.
    Limited,
    /// No pod runs without it.
    Missing,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub area: &'static str,
    pub what: String,
    pub verdict: Verdict,
    pub found: String,
    /// What it is needed for.
    pub needed_for: &'static str,
    /// What to do; empty where all is well.
    pub remedy: String,
}

impl Finding {
    /// Something that is there.
    pub(super) fn good(
        area: &'static str,
        what: &str,
        found: impl Into<String>,
        needed_for: &'static str,
    ) -> Self {
        Self {
            area,
            what: what.to_owned(),
            verdict: Verdict::Ok,
            found: found.into(),
            needed_for,
            remedy: String::new(),
        }
    }

    /// The same, with what is wrong about it.
    pub(super) fn but(self, verdict: Verdict, remedy: impl Into<String>) -> Self {
        Self {
            verdict,
            remedy: remedy.into(),
            ..self
        }
    }
}
