//! Correlation between two quantities.

/// Pearson's correlation coefficient r of pairs, -1 to 1.
///
/// ```text
/// r = sum (x - mean x) (y - mean y) / sqrt(sum (x - mean x)^2 * sum (y - mean y)^2)
/// ```
///
/// It is 0 if either side is constant or empty.
///
/// # Panics
/// If the two slices have different lengths.
pub fn pearson(left: &[f64], right: &[f64]) -> f64 {
    let (length, other) = (left.len(), right.len());
    assert_eq!(length, other, "correlation needs pairs, and there are {length} and {other} values");
    let (left_mean, right_mean) = (mean(left), mean(right));
    let (mut products, mut left_squares, mut right_squares) = (0.0, 0.0, 0.0);
    for (x, y) in left.iter().zip(right) {
        let (dx, dy) = (x - left_mean, y - right_mean);
        products += dx * dy;
        left_squares += dx * dx;
        right_squares += dy * dy;
    }
    let scale = (left_squares * right_squares).sqrt();
    if scale > 0.0 { products / scale } else { 0.0 }
}

/// Spearman's rank correlation coefficient rho of pairs, -1 to 1.
///
/// It is Pearson's r of the ranks. Equal values share the mean of their ranks.
///
/// # Panics
/// If the two slices have different lengths.
pub fn spearman(left: &[f64], right: &[f64]) -> f64 {
    pearson(&ranks(left), &ranks(right))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The rank of each value, counted from 0.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &index in equal {
            ranks[index] = first as f64 + (equal.len() - 1) as f64 / 2.0;
        }
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-12
    }

    #[test]
    fn a_line_has_correlation_one_and_a_constant_zero() {
        let x = [1.0, 2.0, 3.0, 4.0];
        assert!(near(pearson(&x, &x.map(|x| 3.0 * x - 1.0)), 1.0));
        assert!(near(pearson(&x, &x.map(|x| -x)), -1.0));
        assert_eq!(pearson(&x, &[2.0; 4]), 0.0);
        assert_eq!(pearson(&[], &[]), 0.0);
    }

    #[test]
    fn rank_correlation_depends_only_on_the_order() {
        let x = [0.1, 5.0, -3.0, 2.0, 7.0];
        assert!(near(spearman(&x, &x.map(f64::exp)), 1.0));
        assert!(near(spearman(&x, &x.map(|x| -x.powi(3))), -1.0));
        // 1 - 6 sum d^2 / (n (n^2 - 1)) with rank differences 1, 1, 0, 0.
        assert!(near(spearman(&[1.0, 2.0, 3.0, 4.0], &[20.0, 10.0, 30.0, 40.0]), 0.8));
    }

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 0.0]), [2.5, 1.0, 2.5, 0.0]);
    }

    #[test]
    #[should_panic(expected = "1 and 2 values")]
    fn unpaired_values_panic_with_both_lengths() {
        pearson(&[1.0], &[1.0, 2.0]);
    }
}
