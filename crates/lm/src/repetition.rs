//! How much of what a text ends with stood in it before.

use crate::{Context, TokenBatch};

/// The longest repetition that is told from longer ones, tokens.
const REPETITION: usize = 8;

/// At each of the tokens that `rows` have just read, how much of what they end with they had read before, 0 to 1; row by
/// row, as wide as the longest.
pub(crate) fn repetitions(tokens: &TokenBatch, rows: &[usize], context: &Context) -> Vec<f32> {
    let mut repetitions = vec![0.0; tokens.rows() * tokens.width()];
    for (index, (&row, new)) in rows.iter().zip(repetitions.chunks_exact_mut(tokens.width())).enumerate() {
        let new_tokens = tokens.row(index);
        let text = if context.remembers() { context.tokens(row) } else { new_tokens };
        let before = text.len() - new_tokens.len();
        for (at, repetition) in new.iter_mut().enumerate().take(new_tokens.len()) {
            *repetition = repeated(&text[..=before + at]) as f32 / REPETITION as f32;
        }
    }
    repetitions
}

/// The length of the longest end of a text, up to [`REPETITION`], that also ends somewhere before.
fn repeated(text: &[u32]) -> usize {
    let shared = |end: usize| {
        let pairs = text[..end].iter().rev().zip(text.iter().rev());
        pairs.take(REPETITION).take_while(|(earlier, last)| earlier == last).count()
    };
    (1..text.len()).map(shared).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_as_long_as_the_end_that_stood_before() {
        for (text, length) in [
            (&[][..], 0),
            (&[4], 0),
            (&[4, 5, 6], 0),
            (&[4, 4], 1),
            (&[4, 5, 4, 5], 2),
            (&[4, 5, 4, 5, 6], 0),
            (&[5; 20], REPETITION),
            // The longest counts, not the latest.
            (&[1, 2, 3, 9, 3, 1, 2, 3], 3),
        ] {
            assert_eq!(repeated(text), length, "{text:?}");
        }
    }
}
