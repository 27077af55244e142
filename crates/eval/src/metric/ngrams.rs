//! Counting the n-grams of a sequence.

use std::collections::HashMap;
use std::hash::Hash;

/// How often each n-gram of one order occurs in a sequence.
fn counts<T: Eq + Hash>(items: &[T], order: usize) -> HashMap<&[T], u64> {
    let mut counts = HashMap::new();
    for ngram in items.windows(order) {
        *counts.entry(ngram).or_insert(0) += 1;
    }
    counts
}

/// The number of n-grams of one order in a sequence.
pub(super) fn total<T>(items: &[T], order: usize) -> u64 {
    (items.len() + 1).saturating_sub(order) as u64
}

/// The number of n-grams that two sequences share. Repeated n-grams are shared as often as they occur on both sides.
pub(super) fn shared<T: Eq + Hash>(left: &[T], right: &[T], order: usize) -> u64 {
    let right = counts(right, order);
    counts(left, order).into_iter().map(|(ngram, count)| right.get(ngram).map_or(0, |&other| count.min(other))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_ngram_counts_as_often_as_on_its_rarer_side() {
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
