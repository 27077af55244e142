//! The exponential function in single precision, in a form that compilers turn into vector instructions.

/// `1.5 * 2^23`: adding it to a number rounds the number to an integer, which is then in the low bits.
const ROUNDS: f32 = 12_582_912.0;
/// ln 2 in two parts, the first of which has few bits, so that its products with small integers are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// The coefficients of (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2, highest power first (Moshier's Cephes, expf).
const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
/// Below it the result is less than the smallest normal number, and 0 here.
const SMALLEST: f32 = -87.0;

/// `e^x` for x up to 88, with a relative error of about 1e-7; NaN for NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let bounded = if x < SMALLEST { SMALLEST } else { x };
    let shifted = bounded * std::f32::consts::LOG2_E + ROUNDS;
    let power = shifted - ROUNDS;
    let rest = (bounded - power * LN_2[0]) - power * LN_2[1];
    let mut sum = POLYNOMIAL[0];
    for coefficient in &POLYNOMIAL[1..] {
        sum = sum * rest + coefficient;
    }
    let mantissa = sum * rest * rest + rest + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < SMALLEST { 0.0 } else { mantissa * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relative_error_is_that_of_rounding() {
        for step in 0..200_000 {
            let x = -87.0 + 0.000_875 * step as f32;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2e-7, "e^{x}: {error}");
        }
        assert_eq!([exp(0.0), exp(-1e9), exp(f32::NEG_INFINITY)], [1.0, 0.0, 0.0]);
        assert!(exp(f32::NAN).is_nan());
    }
}
