//! How every program of Holdfast prints an error.

use std::error::Error;

/// Prints an error with the chain of its causes, each once: `operation: cause: cause`.
///
/// An error that shows its cause in its own text, as one that is `#[error(transparent)]` does, does not print the
/// cause again.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let part = cause.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::error_chain;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("cannot open {0:?}")]
        Open(&'static str, #[source] io::Error),
        #[error(transparent)]
        Transparent(Box<Failure>),
        #[error("cannot start: {0}")]
        Pasted(#[source] io::Error),
    }

    #[test]
    fn every_cause_is_printed_once() {
        let cause = || io::Error::other("no such device");
        let open = || Failure::Open("/dev/x", cause());
        let cases = [
            (open(), "cannot open \"/dev/x\": no such device"),
            (
                Failure::Transparent(Box::new(open())),
                "cannot open \"/dev/x\": no such device",
            ),
            (Failure::Pasted(cause()), "cannot start: no such device"),
        ];
        for (error, printed) in cases {
            assert_eq!(error_chain(&error), printed);
        }
        assert_eq!(error_chain(&cause()), "no such device");
    }
}
