//! Metrics on text, as sums of per-sentence statistics.

mod bleu;
mod chrf;
mod ngrams;
mod porter;
mod rouge;
mod tokenize;
mod whitespace;

pub use bleu::BleuStats;
pub use chrf::{ChrfStats, Matches};
pub use porter::porter_stem;
pub use rouge::{PrecisionRecall, RougeStats, Stemming};
pub use tokenize::tokenize_13a;
