//! How one quantity goes with another.

/// Pearson's r of pairs; 0 where one side does not vary.
///
/// # Panics
/// If the two slices differ in length.
pub fn pearson(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len(), "correlation needs pairs");
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (a, b) = (mean(left), mean(right));
    let sum = |of: &dyn Fn(f64, f64) -> f64| left.iter().zip(right).map(|(x, y)| of(x - a, y - b)).sum::<f64>();
    let scale = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    if scale > 0.0 { sum(&|x, y| x * y) / scale } else { 0.0 }
}

/// Spearman's rho of pairs: Pearson's r of their ranks, where equal values share the mean of theirs.
///
/// # Panics
/// If the two slices differ in length.
pub fn spearman(left: &[f64], right: &[f64]) -> f64 {
    pearson(&ranks(left), &ranks(right))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|&at| ranks[at] = rank);
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
    fn lines_correlate_fully_and_constants_not_at_all() {
        let x = [1.0, 2.0, 3.0, 4.0];
        assert!(near(pearson(&x, &x.map(|x| 3.0 * x - 1.0)), 1.0));
        assert!(near(pearson(&x, &x.map(|x| -x)), -1.0));
        assert_eq!(pearson(&x, &[2.0; 4]), 0.0);
    }

    #[test]
    fn ranks_see_order_alone() {
        let x = [0.1, 5.0, -3.0, 2.0, 7.0];
        assert!(near(spearman(&x, &x.map(f64::exp)), 1.0));
        assert!(near(spearman(&x, &x.map(|x| -x.powi(3))), -1.0));
        // 1 - 6 sum d^2 / (n (n^2 - 1)) with rank differences 1, 1, 0, 0.
        assert!(near(spearman(&[1.0, 2.0, 3.0, 4.0], &[20.0, 10.0, 30.0, 40.0]), 0.8));
    }

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 0.0]), [2.5, 1.0, 2.5, 0.0]);
    }
}
