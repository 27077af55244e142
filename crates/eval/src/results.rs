//! What an evaluation found: everything that tables and figures are drawn from.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use wheels_text::{TextError, Tokenizer};

use crate::{ByMetric, Comparison, Interval, Outcome, PairCost, Row};

/// Parts of equal length into which texts are divided.
pub const PARTS: usize = 10;

/// An evaluation of several systems on one data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The command that made them.
    pub command: String,
    /// Texts of the data set.
    pub texts: usize,
    /// What calls cost on each device.
    pub costs: BTreeMap<String, PairCost>,
    /// The systems.
    pub points: Vec<Point>,
    /// How the other devices compare with the first.
    pub devices: Vec<Agreement>,
    /// The student's log-odds of asking and its distance D to the teacher, both in nats, at the tokens of some texts.
    pub log_odds: Vec<[f64; 2]>,
}

/// One system under one budget on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Where it ran.
    pub device: String,
    /// Quality and work.
    #[serde(flatten)]
    pub row: Row,
    /// The scores with their 95% intervals.
    pub intervals: ByMetric<Interval>,
    /// By how much it is better than asking by the largest probability under the same budget, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_max_prob: Option<ByMetric<Comparison>>,
    /// The threshold by which it asks, where one was found on validation texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Help asked for, granted or not, for each token.
    pub asked_rate: f64,
    /// Wall time of a token at the batch size of the run, over that of the teacher alone.
    pub latency: f64,
    /// The same at batch 1, modelled from calls and tokens processed; see [`PairCost::latency`].
    pub latency_modelled: f64,
    /// Help in each tenth of the texts.
    pub by_position: [Share; PARTS],
    /// Help for each kind of token.
    pub by_kind: BTreeMap<String, Share>,
}

/// Helped tokens among tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Tokens that an expert chose.
    pub helped: u64,
    /// All of them.
    pub tokens: u64,
}

/// Whether two devices decide alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The device.
    pub device: String,
    /// The device that it is compared with.
    pub with: String,
    /// Texts of all systems.
    pub texts: u64,
    /// Those in which a token, or who chose it, differs.
    pub differing: u64,
}

impl Share {
    /// Helped tokens over tokens, 0 to 1.
    pub fn rate(self) -> f64 {
        if self.tokens == 0 { 0.0 } else { self.helped as f64 / self.tokens as f64 }
    }

    fn add(&mut self, helped: bool) {
        self.tokens += 1;
        self.helped += u64::from(helped);
    }
}

/// How much help each tenth of the texts has.
pub fn help_by_position(outcome: &Outcome) -> [Share; PARTS] {
    let mut shares = [Share::default(); PARTS];
    for text in &outcome.texts {
        for (position, author) in text.authors.bytes().enumerate() {
            shares[position * PARTS / text.authors.len()].add(author == b't');
        }
    }
    shares
}

/// How much help each kind of token has: "word" begins one, "rest of word" goes on with it, "number", "punctuation", and "end"
/// of the text.
///
/// # Errors
/// Where a token is not the tokenizer's.
pub fn help_by_kind(outcome: &Outcome, tokenizer: &Tokenizer) -> Result<BTreeMap<String, Share>, TextError> {
    let mut shares: BTreeMap<String, Share> = BTreeMap::new();
    for text in &outcome.texts {
        for (position, (&token, author)) in text.tokens.iter().zip(text.authors.bytes()).enumerate() {
            let written = tokenizer.decode(&[token])?;
            let kind = match written.trim() {
                _ if token == tokenizer.eos() => "end",
                word if !word.is_empty() && word.chars().all(char::is_numeric) => "number",
                word if !word.chars().any(char::is_alphanumeric) => "punctuation",
                _ if position == 0 || written.starts_with(' ') => "word",
                _ => "rest of word",
            };
            shares.entry(kind.to_owned()).or_default().add(author == b't');
        }
    }
    Ok(shares)
}

/// Whether two outcomes of one system are the same, text by text.
pub fn differing(left: &Outcome, right: &Outcome) -> u64 {
    left.texts.iter().zip(&right.texts).filter(|(left, right)| left != right).count() as u64
}

/// The columns of the tables: a name, and what a point has there.
type Column = (&'static str, fn(&Point) -> String);

const COLUMNS: [Column; 14] = [
    ("device", |point| point.device.clone()),
    ("decoder", |point| point.row.decoder.clone()),
    ("budget", |point| format!("{:.2}", point.row.budget)),
    ("help_rate", |point| format!("{:.4}", point.row.help_rate)),
    ("bleu", |point| format!("{:.2}", point.row.scores.bleu)),
    ("chrf", |point| format!("{:.2}", point.row.scores.chrf)),
    ("rouge_1", |point| format!("{:.2}", point.row.scores.rouge_1)),
    ("rouge_2", |point| format!("{:.2}", point.row.scores.rouge_2)),
    ("rouge_l", |point| format!("{:.2}", point.row.scores.rouge_l)),
    ("bleu_teacher", |point| format!("{:.2}", point.row.bleu_teacher)),
    ("teacher_calls_per_token", |point| format!("{:.4}", point.row.teacher_calls_per_token)),
    ("teacher_tokens_processed_per_token", |point| format!("{:.4}", point.row.teacher_tokens_processed_per_token)),
    ("latency", |point| format!("{:.3}", point.latency)),
    ("latency_modelled", |point| format!("{:.3}", point.latency_modelled)),
];

impl Results {
    /// A line for each point, with a header.
    pub fn to_csv(&self) -> String {
        let line = |cells: Vec<String>| cells.join(",") + "\n";
        let mut csv = line(COLUMNS.iter().map(|column| column.0.to_owned()).collect());
        csv.extend(self.points.iter().map(|point| line(COLUMNS.iter().map(|column| column.1(point)).collect())));
        csv
    }

    /// The table for people: scores with intervals, and what differs from random and max-prob asking by more than luck.
    pub fn to_markdown(&self) -> String {
        let mut table = format!(
            "`{}`\n\n{} texts. In brackets 95% intervals of paired bootstrap resamples. Latency is that of a token over the \
             teacher's alone: measured at the batch size of the run, and modelled at batch 1. A difference in bold is more \
             than its interval.\n\n",
            self.command, self.texts
        );
        table += "| Decoder | Budget | Help used | Teacher calls per token | Teacher tokens processed per token | BLEU | chrF | \
                  ROUGE-L | Latency | Latency, modelled | Over random asking: BLEU, chrF, ROUGE-L | Over max-prob asking: BLEU, \
                  chrF, ROUGE-L |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        for point in &self.points {
            let Point { row, intervals, .. } = point;
            let score = |score: Interval| format!("{:.1} [{:.1}, {:.1}]", score.value, score.low, score.high);
            let several = if self.costs.len() > 1 { format!(" on {}", point.device) } else { String::new() };
            let _ = writeln!(
                table,
                "| {}{several} | {:.0}% | {:.1}% | {:.3} | {:.3} | {} | {} | {} | {:.2} | {:.2} | {} | {} |",
                row.decoder,
                100.0 * row.budget,
                100.0 * row.help_rate,
                row.teacher_calls_per_token,
                row.teacher_tokens_processed_per_token,
                score(intervals.bleu),
                score(intervals.chrf),
                score(intervals.rouge_l),
                point.latency,
                point.latency_modelled,
                row.over_random.as_ref().map_or(String::new(), differences),
                point.over_max_prob.as_ref().map_or(String::new(), differences),
            );
        }
        for Agreement { device, with, texts, differing } in &self.devices {
            let _ = writeln!(
                table,
                "\n{device} against {with}: {differing} of {texts} texts differ in a token or its author."
            );
        }
        table
    }
}

fn differences(by: &ByMetric<Comparison>) -> String {
    let difference = |comparison: Comparison| {
        let bold = if comparison.is_significant() { "**" } else { "" };
        format!("{bold}{:+.1}{bold} [{:+.1}, {:+.1}]", comparison.difference, comparison.low, comparison.high)
    };
    [by.bleu, by.chrf, by.rouge_l].map(difference).join(", ")
}

#[cfg(test)]
mod tests {
    use wheels_decode::DecodeStats;

    use super::*;
    use crate::Written;

    fn outcome(texts: &[&str]) -> Outcome {
        let written = |authors: &&str| Written {
            text: String::new(),
            tokens: vec![0; authors.len()],
            authors: (*authors).to_owned(),
        };
        Outcome { texts: texts.iter().map(written).collect(), stats: DecodeStats::default() }
    }

    #[test]
    fn help_is_counted_by_tenths_of_each_text() {
        let shares = help_by_position(&outcome(&["tsssssssssssssssssst", "st", ""]));
        let helped = shares.map(|share| share.helped);
        let tokens = shares.map(|share| share.tokens);
        assert_eq!(tokens, [3, 2, 2, 2, 2, 3, 2, 2, 2, 2]);
        assert_eq!(helped, [1, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!((shares[0].rate(), Share::default().rate()), (1.0 / 3.0, 0.0));
    }

    #[test]
    fn texts_differ_by_their_authors_too() {
        assert_eq!(differing(&outcome(&["st", "ss", "tt"]), &outcome(&["st", "st", "tt"])), 1);
    }
}
