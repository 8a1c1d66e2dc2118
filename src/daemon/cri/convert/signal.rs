//! Stop signals. The numbers of the enum are the protocol's own and not those of the kernel.

use cri_api::runtime::v1 as cri;

use super::FieldError;
use crate::spec::Signal;

/// Converts the stop signal of a request; `None` for the runtime's default.
pub(super) fn signal(field: &str, number: i32) -> Result<Option<Signal>, FieldError> {
    let unknown = || {
        FieldError::invalid(
            field,
            number,
            "give one of the signals of the CRI enum Signal",
        )
    };
    let signal = cri::Signal::try_from(number).map_err(|_| unknown())?;
    if signal == cri::Signal::RuntimeDefault {
        return Ok(None);
    }
    // The enum's names have a prefix since Kubernetes 1.37: `SIGNAL_SIGRTMINPLUS3`.
    let name = signal
        .as_str_name()
        .trim_start_matches("SIGNAL_")
        .replace("PLUS", "+")
        .replace("MINUS", "-");
    name.parse().map(Some).map_err(|_| unknown())
}

/// The enum's value for a signal; one without a name of its own is not representable and left out.
pub(super) fn signal_message(signal: Signal) -> cri::Signal {
    /// Every value of the enum fits.
    const LAST: i32 = cri::Signal::Sigrtmax as i32;
    (1..=LAST)
        .filter_map(|number| cri::Signal::try_from(number).ok())
        .find(|candidate| {
            matches!(self::signal("", *candidate as i32), Ok(Some(known)) if known == signal)
        })
        .unwrap_or_default()
}
