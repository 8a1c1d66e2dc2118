//! Quantities of the Kubernetes API: `500m`, `64Mi`, `1.5`, `2e3`, as resource.Quantity of k8s.io/apimachinery reads them.

use super::manifest_error::ManifestError;
use super::schema::Amount;

/// Significant digits that are read exactly; further ones only round the number up.
const EXACT_DIGITS: usize = 20;
/// Digits of a number after the point, in nanos.
const NANO_DIGITS: i64 = 9;

/// Nanos in a thousandth and in a whole unit.
const THOUSANDTH: u128 = 1_000_000;
const UNIT: u128 = 1_000_000_000;

/// Units of powers of 1024, and the binary exponent that each stands for.
const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];
/// Units of powers of 1000, and the decimal exponent that each stands for.
const DECIMAL: [(&str, i64); 10] = [
    ("", 0),
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

/// A quantity in thousandths of its unit, rounded up as Kubernetes does.
pub(super) fn thousandths(field: &str, amount: &Amount) -> Result<i64, ManifestError> {
    read(field, amount, THOUSANDTH)
}

/// A quantity in whole units, rounded up.
pub(super) fn whole_number(field: &str, amount: &Amount) -> Result<i64, ManifestError> {
    read(field, amount, UNIT)
}

fn read(field: &str, amount: &Amount, step: u128) -> Result<i64, ManifestError> {
    let text = amount.to_string();
    match parse(&text) {
        Some((true, 1..)) => {
            let remedy = "give a number that is not negative";
            Err(ManifestError::field(field, text, remedy))
        }
        Some((_, nanos)) => Ok(in_steps(nanos, step)),
        None => {
            let remedy = "give a number such as 1.5 or 2e3, or one with a unit of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, \
                          Ti, Pi or Ei";
            Err(ManifestError::field(field, text, remedy))
        }
    }
}

/// Rounds up. A number that does not fit is cut to the largest one, as Kubernetes does.
fn in_steps(nanos: u128, step: u128) -> i64 {
    i64::try_from(nanos.div_ceil(step)).unwrap_or(i64::MAX)
}

/// Whether a quantity is negative, and its nanos rounded away from zero. Numbers that do not fit are cut.
fn parse(text: &str) -> Option<(bool, u128)> {
    let negative = text.starts_with('-');
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (integer, rest) = digits(text);
    let (fraction, unit) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    // The Go parser takes `Ki` and refuses `Pi`, by accident. Its grammar wants a digit.
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let (binary, decimal) = exponents(unit)?;
    let all = format!("{integer}{fraction}");
    let significant = all.trim_start_matches('0');
    let exact = significant.get(..EXACT_DIGITS).unwrap_or(significant);
    let dropped = &significant[exact.len()..];
    let number: u128 = exact.parse().unwrap_or_default();
    let places = i64::try_from(dropped.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    let nanos = scale(
        number << binary,
        places.saturating_add(decimal).saturating_add(NANO_DIGITS),
        dropped.bytes().any(|digit| digit != b'0'),
    );
    Some((negative, nanos))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// The powers of 2 and of 10 that a unit or an exponent stands for.
fn exponents(unit: &str) -> Option<(u32, i64)> {
    if let Some((_, binary)) = BINARY.iter().find(|(name, _)| *name == unit) {
        return Some((*binary, 0));
    }
    if let Some((_, decimal)) = DECIMAL.iter().find(|(name, _)| *name == unit) {
        return Some((0, *decimal));
    }
    let exponent = unit.strip_prefix(['e', 'E'])?;
    Some((0, exponent.parse().ok()?))
}

/// A number times a power of ten, rounded up; `more` when the number itself was cut.
fn scale(number: u128, power: i64, more: bool) -> u128 {
    let factor = u32::try_from(power.unsigned_abs())
        .ok()
        .and_then(|power| 10_u128.checked_pow(power));
    match factor {
        _ if number == 0 => u128::from(more),
        Some(factor) if power >= 0 => number.saturating_mul(factor),
        None if power >= 0 => u128::MAX,
        Some(factor) => (number + u128::from(more)).div_ceil(factor),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{THOUSANDTH, UNIT, in_steps, parse};

    /// Answers of the parser of k8s.io/apimachinery; e2e/tools/quantities makes the table.
    const ANSWERS: &str = include_str!("quantities.tsv");

    fn answer(text: &str, step: u128) -> String {
        match parse(text) {
            None => "-".to_owned(),
            Some((true, 1..)) => "negative".to_owned(),
            Some((_, nanos)) => in_steps(nanos, step).to_string(),
        }
    }

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let mut count = 0;
        for line in ANSWERS.lines() {
            let mut parts = line.split('\t');
            let text = parts.next().unwrap().trim_matches('"');
            let (milli, whole) = (parts.next().unwrap(), parts.next().unwrap());
            assert_eq!(answer(text, THOUSANDTH), milli, "{text:?} in thousandths");
            assert_eq!(answer(text, UNIT), whole, "{text:?} in whole units");
            count += 1;
        }
        assert!(count > 1000, "{count} quantities");
    }
}
