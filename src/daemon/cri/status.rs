//! Converts errors to gRPC statuses: the only place that chooses a code.
//!
//! The text of a status is the whole chain, `operation: cause: cause`, because clients see nothing else.

use holdfast_kernel::error_chain;
use std::error::Error;
use std::sync::Arc;

use tonic::{Code, Status};

use super::convert::FieldError;
use crate::pod::{ErrorKind, PodError, StreamEnd};
use crate::stream::TokenError;
use holdfast_image::{ImportError, ProfileError, PullError, PullErrorKind, StoreError};

/// The longest text, in bytes: it travels in an HTTP/2 header, and clients limit those.
const LONGEST_TEXT: usize = 4096;

/// The first word of a pull that failed because of the registry.
const REGISTRY_UNAVAILABLE: &str = "RegistryUnavailable";

/// The first words by which the kubelet knows why a pull failed (k8s.io/cri-api v0.38.0-beta.0, pkg/errors). It
/// compares them with the start of the client's error text, which is the status's own text only for the code
/// UNKNOWN: every other code stands in front of it (k8s.io/cri-client v0.37.2, `PullImage`).
const WORDS_OF_A_PULL: [&str; 3] = [
    REGISTRY_UNAVAILABLE,
    "SignatureValidationFailed",
    SECURITY_PROFILE_INVALID,
];

/// An error with its causes, as long as a client takes it.
fn status_text(error: &dyn Error) -> String {
    shorten(error_chain(error))
}

fn shorten(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push('…');
    }
    text
}

impl From<FieldError> for Status {
    fn from(error: FieldError) -> Self {
        let code = match error {
            FieldError::Missing { .. }
            | FieldError::Invalid { .. }
            | FieldError::Path(_)
            | FieldError::Experiment(_) => Code::InvalidArgument,
            FieldError::Unsupported { .. } => Code::FailedPrecondition,
        };
        Self::new(code, status_text(&error))
    }
}

impl From<PodError> for Status {
    fn from(error: PodError) -> Self {
        pod(&error)
    }
}

/// The status of a call whose client's deadline has passed.
pub(super) fn deadline_exceeded() -> Status {
    let text = "the client's deadline has passed; the operation goes on, so repeat the call";
    Status::new(Code::DeadlineExceeded, text)
}

/// The status for an error that several callers may share.
pub(super) fn shared(error: Arc<PodError>) -> Status {
    pod(&error)
}

fn pod(error: &PodError) -> Status {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Internal => Code::Internal,
    };
    Status::new(code, status_text(error))
}

fn image_code(kind: PullErrorKind) -> Code {
    match kind {
        PullErrorKind::InvalidReference => Code::InvalidArgument,
        PullErrorKind::NotFound => Code::NotFound,
        PullErrorKind::Unauthorized => Code::PermissionDenied,
        PullErrorKind::Unavailable => Code::Unavailable,
        PullErrorKind::Corrupt => Code::DataLoss,
        PullErrorKind::NoSpace | PullErrorKind::TooLarge => Code::ResourceExhausted,
        PullErrorKind::Unsupported | PullErrorKind::Misconfigured => Code::FailedPrecondition,
        PullErrorKind::Internal => Code::Internal,
    }
}

/// The status of a pull that failed.
pub(super) fn of_pull(error: PullError) -> Status {
    failed_pull(error.kind(), &error)
}

/// The status of a failed pull. When the registry is down, its text begins with the word that the kubelet knows.
fn failed_pull(kind: PullErrorKind, error: &dyn Error) -> Status {
    let text = status_text(error);
    let text = match kind {
        PullErrorKind::Unavailable => format!("{REGISTRY_UNAVAILABLE}: {text}"),
        PullErrorKind::InvalidReference
        | PullErrorKind::NotFound
        | PullErrorKind::Unauthorized
        | PullErrorKind::Corrupt
        | PullErrorKind::NoSpace
        | PullErrorKind::TooLarge
        | PullErrorKind::Unsupported
        | PullErrorKind::Misconfigured
        | PullErrorKind::Internal => text,
    };
    pull_status(image_code(kind), text)
}

/// The status of a failed pull. Its code is UNKNOWN when the text begins with a word that the kubelet knows.
fn pull_status(code: Code, text: String) -> Status {
    let is_known = WORDS_OF_A_PULL.iter().any(|word| text.starts_with(word));
    Status::new(if is_known { Code::Unknown } else { code }, text)
}

/// The first word by which kubelets know a security profile that will never be accepted (cri-api pkg/errors, 1.38).
const SECURITY_PROFILE_INVALID: &str = "SecurityProfileInvalid";

/// The status for a security profile that stays invalid however often it is pulled. Its code is that of failed pulls
/// with a word, since cri-client v0.38.0-beta.0 treats both alike.
pub(super) fn invalid_profile(error: &dyn Error) -> Status {
    let text = format!("{SECURITY_PROFILE_INVALID}: {}", status_text(error));
    pull_status(Code::InvalidArgument, text)
}

/// The refusal of a kind of profile, for which the proto wants this code.
pub(super) fn unknown_profile_kind(error: &dyn Error) -> Status {
    let text = format!("{SECURITY_PROFILE_INVALID}: {}", status_text(error));
    Status::new(Code::InvalidArgument, text)
}

/// The status of a call about security profiles that failed.
pub(super) fn of_profile(error: ProfileError) -> Status {
    match error {
        ProfileError::Registry { ref source, .. } => failed_pull(source.as_ref().into(), &error),
        ProfileError::Store(error) => of_store(error),
        ProfileError::Digest(_) => Status::new(Code::InvalidArgument, status_text(&error)),
        ProfileError::Reference { .. }
        | ProfileError::Unpinned(_)
        | ProfileError::Artifact { .. }
        | ProfileError::Content { .. } => invalid_profile(&error),
    }
}

/// The status of an import that failed.
pub(super) fn of_import(error: ImportError) -> Status {
    Status::new(image_code(error.kind()), status_text(&error))
}

impl From<TokenError> for Status {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Pending => Code::ResourceExhausted,
            TokenError::Random(_) => Code::Internal,
        };
        Self::new(code, status_text(&error))
    }
}

/// The status of a call that the store of images could not serve.
pub(super) fn of_store(error: StoreError) -> Status {
    let code = if error.is_no_space() {
        Code::ResourceExhausted
    } else {
        Code::Internal
    };
    Status::new(code, status_text(&error))
}

impl From<StreamEnd> for Status {
    fn from(end: StreamEnd) -> Self {
        let code = match end {
            StreamEnd::Closed => Code::Unavailable,
            StreamEnd::TooSlow => Code::ResourceExhausted,
        };
        Self::new(code, status_text(&end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(status_text(&error), "outer: inner");
    }

    #[test]
    fn long_texts_fit_a_header() {
        let text = shorten("ä".repeat(5000));
        assert!(text.len() <= LONGEST_TEXT + 3 && text.ends_with('…'));
    }

    /// A pod said ErrImagePull with a raw RPC error where it should have said RegistryUnavailable.
    #[test]
    fn pull_failures_that_the_kubelet_tells_apart_have_no_code_in_front() {
        let cases = [
            // The three words of cri-api, with the texts of the runtimes behind them.
            ("RegistryUnavailable: cannot reach it", Code::Unknown),
            ("RegistryUnavailable", Code::Unknown),
            ("SignatureValidationFailed: no key", Code::Unknown),
            ("SecurityProfileInvalid: no JSON", Code::Unknown),
            // A word elsewhere is not looked for.
            ("cannot pull: RegistryUnavailable", Code::Unavailable),
            // Words of other calls: the kubelet takes them from the status's message, whatever its code.
            ("ImageVolumeMountFailed: mounts[0]", Code::Unavailable),
        ];
        for (text, code) in cases {
            let status = pull_status(Code::Unavailable, text.to_owned());
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }

    /// The codes by which clients decide whether to try again: gRPC's "Status codes and their use".
    #[test]
    fn each_kind_of_failed_pull_has_its_code() {
        let cases = [
            (PullErrorKind::InvalidReference, Code::InvalidArgument),
            (PullErrorKind::NotFound, Code::NotFound),
            (PullErrorKind::Unauthorized, Code::PermissionDenied),
            (PullErrorKind::Corrupt, Code::DataLoss),
            (PullErrorKind::NoSpace, Code::ResourceExhausted),
            (PullErrorKind::TooLarge, Code::ResourceExhausted),
            (PullErrorKind::Unsupported, Code::FailedPrecondition),
            (PullErrorKind::Misconfigured, Code::FailedPrecondition),
            (PullErrorKind::Internal, Code::Internal),
        ];
        let error = Outer(std::io::Error::other("inner"));
        for (kind, code) in cases {
            let status = failed_pull(kind, &error);
            assert_eq!((status.code(), status.message()), (code, "outer: inner"));
        }
        let down = failed_pull(PullErrorKind::Unavailable, &error);
        let wanted = (Code::Unknown, "RegistryUnavailable: outer: inner");
        assert_eq!((down.code(), down.message()), wanted);
    }

    #[test]
    fn unknown_objects_are_not_found_and_bad_fields_invalid() {
        let status = Status::from(PodError::Lookup(crate::pod::LookupError::UnknownContainer(
            "abc".to_owned(),
        )));
        assert_eq!(status.code(), Code::NotFound);
        let status = Status::from(FieldError::missing("config.metadata", "give it"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "config.metadata is not set; give it");
    }
}
