//! Counts of the n-grams of a sequence.

use std::collections::HashMap;
use std::hash::Hash;

/// How often each n-gram of one order occurs in `items`.
pub(super) fn counts<T: Eq + Hash>(items: &[T], order: usize) -> HashMap<&[T], u64> {
    let mut counts = HashMap::new();
    for ngram in items.windows(order) {
        *counts.entry(ngram).or_insert(0) += 1;
    }
    counts
}

/// How many n-grams of one order a sequence has.
pub(super) fn total<T>(items: &[T], order: usize) -> u64 {
    (items.len() + 1).saturating_sub(order) as u64
}

/// How many n-grams two sequences share, each counted as often as it occurs in both.
pub(super) fn shared<T: Eq + Hash>(left: &[T], right: &[T], order: usize) -> u64 {
    let right = counts(right, order);
    counts(left, order).into_iter().map(|(ngram, count)| right.get(ngram).map_or(0, |&other| count.min(other))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_counts_are_clipped_to_the_rarer_side() {
        let (left, right) = ([1, 1, 1, 2], [1, 1, 2, 2]);
        assert_eq!(shared(&left, &right, 1), 3);
        assert_eq!(shared(&left, &right, 2), 2);
        assert_eq!(shared(&left, &right, 5), 0);
    }

    #[test]
    fn a_sequence_shorter_than_the_order_has_no_ngrams() {
        assert_eq!([1, 2, 3, 4].map(|order| total(&[7, 7], order)), [2, 1, 0, 0]);
        assert_eq!(total::<u8>(&[], 1), 0);
    }
}
