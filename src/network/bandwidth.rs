//! Limits of a pod's traffic, as its annotations name them.

/// The annotation that limits what reaches the pod.
const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
/// The annotation that limits what the pod sends.
const EGRESS: &str = "kubernetes.io/egress-bandwidth";
/// The least and the largest rate in bits per second, as Kubernetes has them.
const RANGE: std::ops::RangeInclusive<f64> = 1e3..=1e15;

/// Limits of a pod's traffic in bits per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// The limit for what reaches the pod.
    pub ingress: Option<u64>,
    /// The limit for what the pod sends.
    pub egress: Option<u64>,
}

/// An annotation that is not a rate.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error(
    "annotation {annotation}: invalid value {value:?}: give bits per second from 1k to 1P, such as 10M"
)]
pub struct BandwidthError {
    /// The key of the annotation.
    pub annotation: &'static str,
    /// The value of the annotation.
    pub value: String,
}

impl Bandwidth {
    /// Reads a pod's annotations.
    ///
    /// # Errors
    /// [`BandwidthError`] names the annotation.
    pub fn of<'a>(
        annotation: impl Fn(&str) -> Option<&'a String>,
    ) -> Result<Bandwidth, BandwidthError> {
        let rate = |key: &'static str| match annotation(key) {
            None => Ok(None),
            Some(text) => rate(text).map(Some).ok_or_else(|| BandwidthError {
                annotation: key,
                value: text.chars().take(64).collect(),
            }),
        };
        Ok(Bandwidth {
            ingress: rate(INGRESS)?,
            egress: rate(EGRESS)?,
        })
    }

    /// Whether nothing is limited.
    pub fn is_unlimited(self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// A Kubernetes quantity: a number with a decimal or binary suffix, or with an exponent. A part of a bit
/// counts as a whole one.
fn rate(text: &str) -> Option<u64> {
    const SUFFIXES: [(&str, f64); 12] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let suffix = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix));
    let (number, scale) = suffix.map_or((text, 1.0), |(suffix, scale)| {
        (&text[..text.len() - suffix.len()], *scale)
    });
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-' | b'e' | b'E');
    if number.is_empty() || !number.bytes().all(plain) {
        return None;
    }
    let bits = (number.parse::<f64>().ok()? * scale).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is within u64 and positive"
    )]
    RANGE.contains(&bits).then_some(bits as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_quantities_of_kubernetes() {
        for (text, bits) in [
            ("1k", 1000),
            ("10M", 10_000_000),
            ("1.5M", 1_500_000),
            ("1Mi", 1_048_576),
            ("1e6", 1_000_000),
            ("1E6", 1_000_000),
            ("5000", 5000),
            ("1000001m", 1001),
            ("1P", 1_000_000_000_000_000),
        ] {
            assert_eq!(rate(text), Some(bits), "{text}");
        }
        for wrong in [
            "", "M", "999", "-1M", "2P", "1E", "1 M", "1K", "inf", "NaN", "10Mbit",
        ] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_annotation_that_is_wrong_is_named() {
        let wrong = "fast".to_owned();
        let error = Bandwidth::of(|key| (key == EGRESS).then_some(&wrong)).unwrap_err();
        assert!(error.to_string().contains(EGRESS), "{error}");
        assert!(Bandwidth::of(|_| None).unwrap().is_unlimited());
    }
}
