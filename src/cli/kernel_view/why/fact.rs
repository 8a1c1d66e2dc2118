//! A fact that `why` states, and the file in which it can be read.

use holdfast_kernel::sys::pid::Pid;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Document {
    pub name: String,
    pub pod: String,
    pub id: String,
    pub pid: Option<Pid>,
    pub facts: Vec<Fact>,
}

/// Something that is so, and where that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fact {
    pub topic: &'static str,
    #[serde(rename = "says")]
    pub statement: String,
    pub source: String,
}

impl Fact {
    /// States something with its source.
    pub(super) fn new(
        topic: &'static str,
        statement: impl Into<String>,
        source: impl Into<String>,
    ) -> Self {
        Self {
            topic,
            statement: statement.into(),
            source: source.into(),
        }
    }
}
