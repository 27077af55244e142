//! Sinusoidal position embeddings.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Position embeddings that are computed (Vaswani et al. 2017, arXiv 1706.03762, section 3.5). The first half of an
/// embedding has the sines and the second half the cosines.
#[derive(Clone, Debug)]
pub(crate) enum Sinusoids {
    /// Marian's. The wavelengths end just below `10,000 * 2 pi`, and if the width is odd, there is one more sine.
    Marian {
        /// The width of the embeddings.
        width: usize,
    },
    /// Those of M2M100, as in tensor2tensor. The wavelengths end at `10,000 * 2 pi`, and if the width is odd, the last
    /// value is 0.
    M2m100 {
        /// The width of the embeddings, 4 or more.
        width: usize,
        /// The position whose embedding is 0.
        padding: usize,
    },
}

impl Sinusoids {
    /// The embeddings of `positions`.
    ///
    /// # Shapes
    /// `[positions, width]`.
    pub(crate) fn forward(&self, positions: &[usize], device: &Device) -> Tensor<2> {
        let first = positions.iter().copied().min().unwrap_or(0);
        let end = positions.iter().map(|position| position + 1).max().unwrap_or(first);
        let table = match *self {
            Self::Marian { width } => marian(first..end, width),
            Self::M2m100 { width, padding } => m2m100(first..end, width, padding),
        };
        let table = Tensor::<2>::from_data(TensorData::new(table, [end - first, self.width()]), device);
        let index: Vec<i32> = positions.iter().map(|position| (position - first) as i32).collect();
        table.select(0, Tensor::<1, Int>::from_data(TensorData::new(index, [positions.len()]), device))
    }

    fn width(&self) -> usize {
        match *self {
            Self::Marian { width } | Self::M2m100 { width, .. } => width,
        }
    }
}

/// Computed in f64, like the reference implementation.
fn marian(positions: std::ops::Range<usize>, width: usize) -> Vec<f32> {
    let (sines, cosines) = (width.div_ceil(2), width / 2);
    let divisors: Vec<f64> = (0..sines).map(|pair| 10_000f64.powf(2.0 * pair as f64 / width as f64)).collect();
    let mut table = Vec::with_capacity(positions.len() * width);
    for position in positions {
        table.extend(divisors.iter().map(|divisor| (position as f64 / divisor).sin() as f32));
        table.extend(divisors[..cosines].iter().map(|divisor| (position as f64 / divisor).cos() as f32));
    }
    table
}

/// Computed in f32, like the reference implementation: at position 1,000, rounding in the angles changes the 5th digit.
fn m2m100(positions: std::ops::Range<usize>, width: usize, padding: usize) -> Vec<f32> {
    let half = width / 2;
    let step = -((10_000f64.ln() / (half - 1) as f64) as f32);
    let frequencies: Vec<f32> = (0..half).map(|pair| (pair as f32 * step).exp()).collect();
    let mut table = Vec::with_capacity(positions.len() * width);
    for position in positions {
        let start = table.len();
        if position != padding {
            table.extend(frequencies.iter().map(|frequency| (position as f32 * frequency).sin()));
            table.extend(frequencies.iter().map(|frequency| (position as f32 * frequency).cos()));
        }
        table.resize(start + width, 0.0);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sinusoids: &Sinusoids, positions: &[usize]) -> Vec<f32> {
        sinusoids.forward(positions, &Device::flex()).into_data().iter::<f32>().collect()
    }

    fn assert_near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {expected:?}");
    }

    /// The expected values are those of transformers.
    #[test]
    fn odd_widths_and_padding_are_those_of_transformers() {
        let marian = Sinusoids::Marian { width: 5 };
        assert_near(&read(&marian, &[7]), &[0.656_986_6, 0.174_927_41, 0.004_416_687, 0.753_902_26, 0.984_581_35]);
        let m2m100 = Sinusoids::M2m100 { width: 5, padding: 1 };
        assert_near(
            &read(&m2m100, &[7, 1]),
            &[0.656_986_6, 0.000_7, 0.753_902_26, 0.999_999_76, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        );
    }
}
