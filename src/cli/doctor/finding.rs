//! The findings of `holdfast doctor`: each is a fact about the machine, with a remedy.

use serde::Serialize;

/// How good or bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// All is as it should be.
    Ok,
    /// Nothing on this machine tells.
    Unknown,
    /// Some pods are refused, or lack something.
    Limited,
    /// No pod runs without it.
    Missing,
}

/// Something that was checked, and the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub area: &'static str,
    pub what: String,
    pub verdict: Verdict,
    pub found: String,
    /// The purpose for which the machine needs the checked feature.
    pub needed_for: &'static str,
    /// The remedy; empty where all is well.
    pub remedy: String,
}

impl Finding {
    /// A finding with which all is well.
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

    /// Adds what is wrong and what to do about it.
    pub(super) fn but(self, verdict: Verdict, remedy: impl Into<String>) -> Self {
        Self {
            verdict,
            remedy: remedy.into(),
            ..self
        }
    }
}
