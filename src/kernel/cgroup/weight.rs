//! CPU shares of v1 and CPU weights of v2.

/// The v2 weight (1 to 10,000, default 100) of v1 shares (2 to 262,144, default 1,024): the quadratic in
/// log2(shares) through both ends and both defaults, as OCI runtimes agreed on in 2025 (runc 1.3.2, crun
/// 1.23), so that equal requests weigh the same under every runtime.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "shares are below 2^18 here")]
    let l = (shares as f64).log2();
    let weight = 10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0);
    // The subtrahend keeps exact results, such as 100 for 1,024, from being rounded up by a last-bit error.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value lies between 1 and 10,000"
    )]
    let weight = (weight - 1e-9).ceil() as u64;
    weight.clamp(1, 10_000)
}

/// The inverse of [`weight_of_shares`], to the nearest share.
pub(super) fn shares_of_weight(weight: u64) -> u64 {
    if weight <= 1 {
        return 2;
    }
    if weight >= 10_000 {
        return 262_144;
    }
    #[expect(clippy::cast_precision_loss, reason = "weights are below 10,000 here")]
    let exponent = (weight as f64).log10() + 7.0 / 34.0;
    let l = ((125.0_f64 * 125.0 + 4.0 * 612.0 * exponent).sqrt() - 125.0) / 2.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value lies between 2 and 262,144"
    )]
    let shares = l.exp2().round() as u64;
    shares.clamp(2, 262_144)
}
