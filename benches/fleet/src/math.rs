//! Logarithms and exponentials that are the same on every machine. Those of the standard library come from
//! the system, and differ in their last bits.

use std::f64::consts::{LN_2, SQRT_2};

const MANTISSA_BITS: u32 = 52;
const BIAS: i64 = 1023;

/// The natural logarithm of a positive, normal number.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i64 - BIAS;
    let one = (BIAS as u64) << MANTISSA_BITS;
    let mut mantissa = f64::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | one);
    let mut exponent = exponent as f64;
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1.0;
    }
    // The series of the inverse hyperbolic tangent, which converges fast near one.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = (0..12)
        .rev()
        .fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    exponent * LN_2 + 2.0 * ratio * series
}

/// The exponential function, which is zero where the result would be tiny.
pub(crate) fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let doublings = (x / LN_2).round();
    let rest = x - doublings * LN_2;
    let series = (1..16)
        .rev()
        .fold(1.0, |sum, n| 1.0 + sum * rest / f64::from(n));
    series * f64::from_bits(((doublings as i64 + BIAS) as u64) << MANTISSA_BITS)
}

/// Raises a positive number to a power.
pub(crate) fn pow(x: f64, power: f64) -> f64 {
    exp(power * ln(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_standard_library() {
        for n in 1..2000 {
            let x = f64::from(n) * 0.37;
            assert!((ln(x) - x.ln()).abs() < 1e-13, "ln {x}");
            for x in [-x / 2.0, x / 2.0] {
                assert!((exp(x) / x.exp() - 1.0).abs() < 1e-12, "exp {x}");
            }
        }
        assert_eq!(exp(-1000.0), 0.0);
        assert!((pow(1e8, -1.2) / 1e8_f64.powf(-1.2) - 1.0).abs() < 1e-12);
    }
}
