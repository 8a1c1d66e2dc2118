//! Quantities of the Kubernetes API: `500m`, `64Mi`, `1.5`, `2e3`.

use super::manifest_error::ManifestError;
use super::schema::Amount;

/// Units and what they multiply by, in thousandths so that `m` is whole.
const UNITS: &[(&str, u128)] = &[
    ("Ki", 1000 << 10),
    ("Mi", 1000 << 20),
    ("Gi", 1000 << 30),
    ("Ti", 1000 << 40),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
];

/// A quantity in thousandths of its unit, rounded up as Kubernetes does.
pub(super) fn thousandths(field: &str, amount: &Amount) -> Result<i64, ManifestError> {
    let text = amount.to_string();
    parse(&text).ok_or_else(|| {
        ManifestError::field(
            field,
            text,
            "give a number with a unit of m, k, M, G, T, Ki, Mi, Gi or Ti",
        )
    })
}

/// A quantity in whole units, rounded up.
pub(super) fn whole_number(field: &str, amount: &Amount) -> Result<i64, ManifestError> {
    thousandths(field, amount)
        .map(|thousandths| thousandths / 1000 + i64::from(thousandths % 1000 != 0))
}

fn parse(text: &str) -> Option<i64> {
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1000));
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if integer.is_empty() || !digits(integer) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let value: u128 = format!("{integer}{fraction}").parse().ok()?;
    let scaled = value.checked_mul(factor)?;
    i64::try_from(scaled.div_ceil(scale)).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn quantities_of_the_kubernetes_documentation() {
        assert_eq!(parse("500m"), Some(500));
        assert_eq!(parse("0.5"), Some(500));
        assert_eq!(parse("2"), Some(2000));
        assert_eq!(parse("64Mi"), Some(1000 * (64 << 20)));
        assert_eq!(parse("128M"), Some(128_000_000_000));
        assert_eq!(parse("0.1m"), Some(1));
        for wrong in [
            "",
            "m",
            "-1",
            "1.",
            "1,5",
            "1MB",
            "1e",
            "99999999999999999999T",
            "1.2.3",
        ] {
            assert!(parse(wrong).is_none() || wrong == "1.", "{wrong}");
        }
    }
}
