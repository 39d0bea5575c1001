//! Powers of ten, kept.

use std::sync::LazyLock;

use num_bigint::BigInt;

/// 10^38 is the largest that fits.
pub fn pow10_i128(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

pub fn pow10(exponent: u32) -> BigInt {
    static KEPT: LazyLock<Vec<BigInt>> =
        LazyLock::new(|| (0..=128).map(|e| BigInt::from(10u8).pow(e)).collect());
    match KEPT.get(exponent as usize) {
        Some(power) => power.clone(),
        None => BigInt::from(10u8).pow(exponent),
    }
}
