//! Detects that the end of a text repeats an earlier part of it.

use wheels_lm::{Context, Positions, TokenBatch};

/// The repetition at each selected position of `tokens`, which `rows` of the context have just read, 0 to 1.
///
/// It is the length of the longest suffix of the text up to this position that also occurs earlier in the text. The
/// length is at most `max_repetition`, and it is divided by that number.
///
/// A small model that repeats itself is sure of its next token. So neither its hidden state nor its distribution shows
/// that it needs help.
pub(crate) fn repetitions(
    tokens: &TokenBatch,
    rows: &[usize],
    positions: Positions<'_>,
    context: &Context,
    max_repetition: usize,
) -> Vec<f32> {
    let mut repetitions = Vec::new();
    for index in positions.indices(tokens.lengths(), tokens.width()) {
        let (row, time) = (index / tokens.width(), index % tokens.width());
        let new = tokens.row(row);
        // A context that does not remember has no tokens: those of this call are the whole text.
        let text = if context.remembers() { context.tokens(rows[row]) } else { new };
        let end = text.len() - new.len() + time + 1;
        let length = if time < new.len() { repeated_suffix(&text[..end], max_repetition) } else { 0 };
        repetitions.push(length as f32 / max_repetition as f32);
    }
    repetitions
}

/// The length of the longest suffix of a text, at most `longest`, that also ends at an earlier position.
fn repeated_suffix(text: &[u32], longest: usize) -> usize {
    let mut best = 0;
    for end in 1..text.len() {
        let pairs = text[..end].iter().rev().zip(text.iter().rev());
        best = best.max(pairs.take(longest).take_while(|(earlier, last)| earlier == last).count());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_repeated_suffix_counts() {
        for (text, length) in [
            (&[][..], 0),
            (&[4], 0),
            (&[4, 5, 6], 0),
            (&[4, 4], 1),
            (&[4, 5, 4, 5], 2),
            (&[4, 5, 4, 5, 6], 0),
            (&[5; 20], 8),
            // The longest occurrence counts, not the latest.
            (&[1, 2, 3, 9, 3, 1, 2, 3], 3),
        ] {
            assert_eq!(repeated_suffix(text, 8), length, "{text:?}");
        }
    }
}
