//! Evaluates decoders that write with help from a teacher: by quality, help and latency, with bootstrap intervals.
//!
//! - [`metric`] scores texts against references. BLEU, chrF and chrF++ equal those of sacrebleu, and ROUGE equals that
//!   of rouge-score.
//! - [`statistics`] has bootstrap intervals, paired comparisons of two systems, and correlations.
//! - [`Evaluation`] runs a decoder on a dataset. [`SystemOutput`] holds its texts, and [`CorpusStats`] scores them.
//! - [`Sweep`] compares systems with the student alone and the teacher alone. [`CallCost`] and [`PairCost`] model their
//!   latency from the costs of model calls.
//! - [`Results`] holds everything that tables and figures need. It is exported as JSON, CSV and Markdown.
//!
//! The statistics of every metric add up: compute them for each sentence, sum them, and take the score of the sum. The
//! score of a bootstrap resample is the score of another sum.
//!
//! This crate reads and writes no files, draws no figures and trains nothing. It supports one reference per sentence.
//!
//! ```
//! use wheels_eval::metric::{BleuStats, ChrfStats};
//!
//! let pairs = [("un editor di testo", "un editor di testo"), ("una libreria", "una biblioteca per il C")];
//! let bleu: BleuStats = pairs.iter().map(|(text, reference)| BleuStats::of(text, reference)).sum();
//! let chrf: ChrfStats = pairs.iter().map(|(text, reference)| ChrfStats::of(text, reference)).sum();
//! assert_eq!(format!("BLEU {:.1}, chrF {:.1}", bleu.score(), chrf.score()), "BLEU 53.9, chrF 55.2");
//! ```

mod corpus_stats;
mod error;
mod evaluation;
mod export;
mod help_counts;
mod latency;
pub mod metric;
mod regret_caught;
mod results;
pub mod statistics;
mod sweep;
mod system_output;
mod token_budget_use;

pub use corpus_stats::{ByMetric, CorpusStats, Scores};
pub use error::EvalError;
pub use evaluation::Evaluation;
pub use help_counts::HelpCounts;
pub use latency::{CallCost, PairCost};
pub use regret_caught::RegretCaught;
pub use results::{Agreement, Measurement, RandomHelp, Results};
pub use sweep::{Sweep, SweepRow};
pub use system_output::{DecodedText, SystemOutput};
pub use token_budget_use::TokenBudgetUse;
