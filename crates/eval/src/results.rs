//! The results of an evaluation, from which its tables and figures are made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::help_counts::POSITION_BINS;
use crate::statistics::{Comparison, Interval};
use crate::{ByMetric, HelpCounts, PairCost, RegretCaught, SweepRow, TokenBudgetUse};

/// The results of several systems on one dataset.
///
/// [`to_json`](Self::to_json) writes everything and [`from_json`](Self::from_json) reads it back.
/// [`to_csv`](Self::to_csv) and [`to_markdown`](Self::to_markdown) write tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The command that produced the results.
    pub command: String,
    /// The number of texts in the dataset.
    pub texts: usize,
    /// The cost of model calls on each device.
    pub costs: BTreeMap<String, PairCost>,
    /// One measurement per system, budget and device. Each is a point in the figures and a line in the tables.
    pub points: Vec<Measurement>,
    /// The size of n-grams that no text of the student or the teacher repeats (`no_repeat_ngram_size`), 0 if all may be
    /// repeated. None in a file of an earlier version.
    #[serde(default)]
    pub no_repeat_ngram_size: Option<usize>,
    /// The number of texts on each other device that differ from those on the first device.
    pub devices: Vec<Agreement>,
    /// Pairs of the student's log-odds of asking and its divergence D from the teacher, both in nats, at the tokens of
    /// some texts.
    pub log_odds: Vec<[f64; 2]>,
    /// The share of the regret that each rule for help catches, on texts of the student. Empty in a file of an earlier
    /// version, and for a student without a help token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regret_caught: Vec<RegretCaught>,
    /// How decoders use budgets that are numbers of tokens, on the first device. Empty if none were measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_budgets: Vec<TokenBudgetUse>,
}

/// One system under one budget on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The device on which the system ran.
    pub device: String,
    /// The quality and the work of the system.
    #[serde(flatten)]
    pub row: SweepRow,
    /// The scores with their 95% intervals.
    pub intervals: ByMetric<Interval>,
    /// The random help with which the system is compared in `versus_random`. None in a file of an earlier version, which
    /// compared with the random help under the same budget at whatever rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_help: Option<RandomHelp>,
    /// The scores minus those of `max-prob` under the same budget, if that was measured at about the same rate of help. `max-prob` is the student that
    /// asks when its largest probability is low.
    #[serde(default, alias = "over_max_prob", skip_serializing_if = "Option::is_none")]
    pub versus_max_prob: Option<ByMetric<Comparison>>,
    /// The threshold of the system's help rule, if one was tuned on validation texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The number of requests for help per token, whether help was given or not.
    pub asked_rate: f64,
    /// The measured time per token at the batch size of the run, divided by that of the teacher alone. `wheels evaluate` lets
    /// all systems write the same texts in turn for it, if there are enough of them.
    pub latency: f64,
    /// The modelled time per token at batch size 1, divided by that of the teacher alone; see [`PairCost::latency`].
    pub latency_modelled: f64,
    /// The same for a teacher whose calls all take the time of a call with one token, as those of a large model on a GPU
    /// nearly do; see [`PairCost::with_equal_teacher_calls`]. None in a file of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_equal_calls: Option<f64>,
    /// The modelled time that both models take to read their prompts, in the unit of `latency_modelled`, which does not include
    /// it; see [`PairCost::prompt_latency`]. None in a file of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_prompts: Option<f64>,
    /// The help in each tenth of the texts, from the first tenth to the last.
    pub by_position: [HelpCounts; POSITION_BINS],
    /// The help for each kind of token.
    pub by_kind: BTreeMap<String, HelpCounts>,
}

/// Random help under the same budget and at the same rate of help as a system.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RandomHelp {
    /// The probability of asking at each token, 0 to 1: the rate of help of the system, within 0.005.
    pub rate: f64,
    /// The fraction of tokens that the teacher chose, 0 to 1.
    pub help_rate: f64,
    /// The number of texts that were cut at the length limit.
    pub truncated: usize,
}

/// The number of texts that differ between two devices that ran the same systems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The device.
    pub device: String,
    /// The device with which it is compared.
    pub with: String,
    /// The number of texts, over all systems.
    pub texts: u64,
    /// The number of texts that differ in a token or in who chose it.
    pub differing: u64,
}
