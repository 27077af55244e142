//! Text metrics as sums of per-sentence statistics: BLEU, chrF, chrF++ and ROUGE.
//!
//! | Metric | Type | Equal to |
//! |---|---|---|
//! | BLEU | [`BleuStats`] | sacrebleu 2.6.0 |
//! | chrF, chrF++ | [`ChrfStats`] | sacrebleu 2.6.0 |
//! | ROUGE-1, ROUGE-2, ROUGE-L, ROUGE-Lsum | [`RougeStats`] | rouge-score 0.1.2 |
//!
//! Each type holds the statistics of one text and its reference, or a sum of them. The score of the sum over all texts
//! is the score of the corpus.

mod bleu;
mod chrf;
mod ngrams;
mod porter;
mod rouge;
mod tokenize;
mod whitespace;

pub use bleu::BleuStats;
pub use chrf::ChrfStats;
pub use rouge::{PrecisionRecall, RougeStats, Stemming};

/// A file of `assets/golden/metrics`. The script in that folder makes it with the reference implementations.
#[cfg(test)]
fn golden(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/metrics").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
