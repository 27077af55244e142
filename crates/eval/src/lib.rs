//! Evaluation for Training Wheels: how good a text is, and whether one system's texts are better than another's.
//!
//! Text metrics live in [`metric`]: BLEU, chrF and chrF++ equal to sacrebleu's, and ROUGE equal to rouge-score's. Every metric
//! is a value that adds up: make one per sentence, sum them, ask the sum for its score. A resampled corpus is then another
//! sum, and a validation curve needs no second definition. [`paired_bootstrap`] compares two systems on one test set,
//! [`Sweep`] places systems between a student and its teacher, and [`Results`] holds what tables and figures are drawn from.
//!
//! Nothing here reads a file or tokenises for a model; several references per sentence are not supported.
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
mod judged;
mod latency;
pub mod metric;
mod results;
mod sweep;

pub use bootstrap::{Comparison, Interval, bootstrap, paired_bootstrap};
pub use correlation::{pearson, spearman};
pub use evaluation::{EvalError, Evaluation, Outcome, Written};
pub use judged::{ByMetric, Judged, Scores};
pub use latency::{CallCost, PairCost};
pub use results::{Agreement, PARTS, Point, Results, Share, differing, help_by_kind, help_by_position};
pub use sweep::{Row, Sweep};
