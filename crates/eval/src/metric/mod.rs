//! Metrics on text, as sums of per-sentence statistics.

mod bleu;
mod chrf;
mod ngrams;
mod tokenize;
mod whitespace;

pub use bleu::BleuStats;
pub use chrf::{ChrfStats, Matches};
pub use tokenize::tokenize_13a;
