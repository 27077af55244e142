//! Evaluation for Training Wheels: how good a text is, and whether one system's texts are better than another's.
//!
//! Text metrics live in [`metric`] (BLEU, chrF, chrF++, equal to sacrebleu's), and [`paired_bootstrap`] compares two
//! systems on one test set. Every metric is a value that adds up: make one per sentence, sum them, ask the sum for its
//! score. A resampled corpus is then another sum, and a validation curve needs no second definition.
//!
//! Nothing here reads a file, runs a model, or tokenises for a model; several references per sentence are not supported.
//!
//! ```
//! use wheels_eval::metric::{BleuStats, ChrfStats};
//!
//! let pairs = [("un editor di testo", "un editor di testo"), ("una libreria", "una biblioteca per il C")];
//! let bleu: BleuStats = pairs.iter().map(|(text, reference)| BleuStats::of(text, reference)).sum();
//! let chrf: ChrfStats = pairs.iter().map(|(text, reference)| ChrfStats::of(text, reference)).sum();
//! assert_eq!(format!("BLEU {:.1}, chrF {:.1}", bleu.score(), chrf.score()), "BLEU 53.9, chrF 55.2");
//! ```

mod bootstrap;
mod correlation;
mod evaluation;
pub mod metric;

pub use bootstrap::{Comparison, Interval, bootstrap, paired_bootstrap};
pub use correlation::{pearson, spearman};
pub use evaluation::{EvalError, Evaluation, Outcome, Row};
