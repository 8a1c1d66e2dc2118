//! Resolves scalars as the reference library does: plain texts and tags.

use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};

/// The type and value that a text has by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Resolved<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(&'a str),
}

/// The type and value of a scalar, by its text, its tag in the short form, and whether it is quoted.
pub(super) fn resolve<'a>(text: &'a str, tag: &str, quoted: bool) -> Result<Resolved<'a>, String> {
    match tag {
        "" | "!" if quoted => Ok(Resolved::Text(text)),
        "" => Ok(plain(text)),
        "!!str" => Ok(Resolved::Text(text)),
        "!!int" | "!!bool" | "!!null" | "!!float" => match (tag, plain(text)) {
            ("!!int", found @ Resolved::Int(_))
            | ("!!bool", found @ Resolved::Bool(_))
            | ("!!null", found @ Resolved::Null)
            | ("!!float", found @ Resolved::Float(_)) => Ok(found),
            #[expect(clippy::cast_precision_loss, reason = "as the tag asks for")]
            ("!!float", Resolved::Int(number)) => Ok(Resolved::Float(number as f64)),
            _ => Err(format!("{text:?} is no {}", &tag[2..])),
        },
        // A tag that means nothing here leaves the text as it is.
        _ => Ok(Resolved::Text(text)),
    }
}

/// The text behind the tag `!!binary`: base64 with line breaks, as Go's decoder takes it.
pub(super) fn binary(text: &str) -> Result<String, String> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let letters: String = text.chars().filter(|one| !"\r\n".contains(*one)).collect();
    let bytes = BASE64
        .decode(&letters)
        .map_err(|why| format!("{text:?} is no base64: {why}"))?;
    String::from_utf8(bytes).map_err(|_| format!("the base64 {text:?} is of no text in UTF-8"))
}

fn plain(text: &str) -> Resolved<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "true" | "True" | "TRUE" => Resolved::Bool(true),
        "false" | "False" | "FALSE" => Resolved::Bool(false),
        _ => number(text).unwrap_or(Resolved::Text(text)),
    }
}

/// The boolean that YAML 1.1 has for a word, where a boolean is wanted.
pub(super) fn word(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<Resolved<'static>> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    let digits = text.replace('_', "");
    if first != b'.'
        && let Some(number) = integer(&digits)
    {
        return Some(Resolved::Int(number));
    }
    let form = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if !digits.bytes().all(form) {
        return None;
    }
    digits.parse().ok().map(Resolved::Float)
}

/// An integer: decimal, `0x`, `0b`, and octal as `0o640` and as `0640`.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some(two) if two.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // from_str_radix would take a second sign.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()? * sign;
    (i128::from(i64::MIN)..=i128::from(u64::MAX))
        .contains(&number)
        .then_some(number)
}
