//! How a session ended.

use serde_json::Value;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command ended with this code, or the container's output ended (0).
    Ended(i32),
    /// The command could not be run, in the daemon's words.
    Failed(String),
    /// The detach keys were typed.
    Detached,
    /// Nobody reads the output any more.
    ReaderGone,
    /// A signal ended this program; its number.
    Signalled(i32),
}

impl Outcome {
    /// Reads what came on the error channel: a Status of Kubernetes in JSON.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let Ok(status) = serde_json::from_slice::<Value>(text) else {
            return Some(Self::Failed(String::from_utf8_lossy(text).into_owned()));
        };
        if status["status"] == "Success" {
            return Some(Self::Ended(0));
        }
        let causes = status["details"]["causes"].as_array();
        let code = causes.into_iter().flatten().find_map(|cause| {
            let code = cause["message"].as_str()?.parse().ok()?;
            (cause["reason"] == "ExitCode").then_some(code)
        });
        Some(match code {
            Some(code) => Self::Ended(code),
            None => Self::Failed(
                status["message"]
                    .as_str()
                    .unwrap_or("the daemon did not say why")
                    .to_owned(),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn the_status_tells_the_exit_code() {
        for (text, expected) in [
            ("", None),
            (
                r#"{"metadata":{},"status":"Success"}"#,
                Some(Outcome::Ended(0)),
            ),
            (
                r#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#,
                Some(Outcome::Ended(7)),
            ),
            (
                r#"{"status":"Failure","message":"no such file","reason":"InternalError","details":{"causes":[{"message":"7"}]},"code":500}"#,
                Some(Outcome::Failed("no such file".to_owned())),
            ),
            (
                "plain words",
                Some(Outcome::Failed("plain words".to_owned())),
            ),
        ] {
            assert_eq!(Outcome::parse(text.as_bytes()), expected, "{text}");
        }
    }
}
