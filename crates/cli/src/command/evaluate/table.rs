//! The results as a table that fits into a terminal.

use std::fmt::Write;

use wheels_eval::statistics::{Comparison, Interval, spearman};
use wheels_eval::{ByMetric, Measurement, RegretCaught, Results, TokenBudgetUse};

use super::asked::PERCENT;
use super::flags::Metric;
use super::systems::System;

/// The number of characters in a line.
const WIDTH: usize = 100;

/// A column: its heading, and the cell of a measurement, which is empty if it has no value.
type Column = (&'static str, fn(&Measurement, Metric) -> String);

const COLUMNS: [Column; 8] = [
    ("help", |point, _| format!("{:.1}%", 100.0 * point.row.help_rate)),
    ("BLEU", |point, _| score(point.intervals.bleu)),
    ("chrF", |point, _| score(point.intervals.chrf)),
    ("ROUGE-L", |point, _| score(point.intervals.rouge_l)),
    ("time", |point, _| format!("{:.2}", point.latency)),
    ("cut", |point, _| if point.row.truncated == 0 { String::new() } else { point.row.truncated.to_string() }),
    ("vs random", |point, metric| difference(point.row.versus_random.as_ref(), metric)),
    ("vs max-prob", |point, metric| difference(point.versus_max_prob.as_ref(), metric)),
];

/// The results as text: a table for each device, what its columns mean, and notes. `metric` is that of the comparisons.
pub(crate) fn text(results: &Results, metric: Metric) -> String {
    let has_value = |(_, cell): &Column| results.points.iter().any(|point| !cell(point, metric).is_empty());
    let columns: Vec<Column> = COLUMNS.into_iter().filter(has_value).collect();
    let mut text = String::new();
    for device in results.costs.keys() {
        let heading = if results.costs.len() > 1 { device.as_str() } else { "decoder" };
        text += &table(heading, &columns, results.points.iter().filter(|point| point.device == *device), metric);
        text += "\n";
    }
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let mut paragraphs = vec![legend(results.texts, &headings, metric)];
    paragraphs.extend(results.notes());
    if !results.log_odds.is_empty() {
        let (log_odds, divergences): (Vec<f64>, Vec<f64>) = results.log_odds.iter().map(|&[z, d]| (z, d)).unzip();
        paragraphs.push(format!(
            "Does the student ask where it differs from its teacher? The rank correlation (Spearman) of its log-odds of \
             asking and its divergence from the teacher is {:.2} at a budget of {PERCENT}%; 1 is best.",
            spearman(&log_odds, &divergences)
        ));
    }
    paragraphs.extend(regret_caught(&results.regret_caught));
    paragraphs.extend(token_budgets(&results.token_budgets));
    for paragraph in paragraphs {
        text += &wrapped(&paragraph);
    }
    text
}

/// How much of the regret the rules catch, at the fraction of tokens that is nearest to the budget of the samples.
fn regret_caught(rows: &[RegretCaught]) -> Option<String> {
    let mut rules = Vec::new();
    for row in rows.iter().filter(|row| (100.0 * row.tokens - f64::from(PERCENT)).abs() < 0.5) {
        let versus = match row.versus_max_prob {
            Some(by) if by.is_significant() => format!(" ({:+.1})", 100.0 * by.difference),
            Some(_) => " (no significant difference)".to_owned(),
            None => String::new(),
        };
        rules.push(format!("{} {:.1}%{versus}", row.rule, 100.0 * row.caught.value));
    }
    let found = !rules.is_empty();
    found.then(|| {
        format!(
            "Does help come where it is worth most? The part of the regret (what the student's own tokens lose, by the \
             teacher's log-probs) at the {PERCENT}% of tokens where a rule asks first, and the difference from max-prob: {}.",
            rules.join(", ")
        )
    })
}

/// The help that decoders use under budgets of numbers of tokens.
fn token_budgets(rows: &[TokenBudgetUse]) -> Option<String> {
    let mut decoders: Vec<String> = Vec::new();
    for of_decoder in rows.chunk_by(|a, b| a.decoder == b.decoder) {
        let used = of_decoder.iter().map(|row| format!("{:.1} of {}", row.used, row.budget)).collect::<Vec<_>>();
        decoders.push(format!("{} {}", of_decoder[0].decoder, used.join(", ")));
    }
    let found = !decoders.is_empty();
    found.then(|| format!("Tokens of the teacher in a text (mean), of the budget in tokens: {}.", decoders.join("; ")))
}

/// The lines of the measurements on one device.
fn table<'p>(
    heading: &str,
    columns: &[Column],
    points: impl Iterator<Item = &'p Measurement>,
    metric: Metric,
) -> String {
    let mut rows = vec![vec![heading.to_owned()]];
    rows[0].extend(columns.iter().map(|(heading, _)| (*heading).to_owned()));
    for point in points {
        let mut row = vec![name(point)];
        row.extend(columns.iter().map(|(_, cell)| cell(point, metric)));
        rows.push(row);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// What the columns mean.
fn legend(texts: usize, columns: &[&str], metric: Metric) -> String {
    let score = metric.name();
    let mut text = format!(
        "{texts} texts. help: tokens that the teacher chose, with one call each (oracle: one call for every token). BLEU, \
         chrF, ROUGE-L: word n-grams, character n-grams and longest word sequences shared with the references, 0 to 100. \
         ±: half of the 95% interval (paired bootstrap). time: of a token, teacher alone = 1."
    );
    if columns.contains(&"cut") {
        text += " cut: texts that were cut at the length limit.";
    }
    if columns.contains(&"vs random") {
        let _ = write!(
            text,
            " vs random: {score} minus that of random help at the same rate of help (within 0.5% of the tokens) under the \
             same budget; * if the 95% interval excludes 0."
        );
    }
    if columns.contains(&"vs max-prob") {
        text +=
            " vs max-prob: the same for max-prob, if its rate of help differs by at most 1% of the tokens or a tenth.";
    }
    text + " Budgets are stated in the prompts, and only \"enforced\" enforces them."
}

/// A decoder with its budget, if it has one.
fn name(point: &Measurement) -> String {
    match point.row.decoder.parse() {
        Ok(System::Student) => "student alone".into(),
        Ok(System::Teacher) => "teacher alone".into(),
        Ok(system) if !system.has_budget() => point.row.decoder.clone(),
        _ => format!("{} {:.0}%", point.row.decoder, 100.0 * point.row.budget),
    }
}

fn score(score: Interval) -> String {
    format!("{:.1} ±{:.1}", score.value, (score.high - score.low) / 2.0)
}

/// A difference, with a star if it is significant. Nothing if there is no comparison.
fn difference(by: Option<&ByMetric<Comparison>>, metric: Metric) -> String {
    let Some(by) = by else { return String::new() };
    let comparison = metric.of(by);
    format!("{:+.1}{}", comparison.difference, if comparison.is_significant() { "*" } else { " " })
}

/// A paragraph in lines of at most [`WIDTH`] characters, and an empty line.
fn wrapped(paragraph: &str) -> String {
    let (mut text, mut length) = (String::new(), 0);
    for word in paragraph.split_whitespace() {
        let characters = word.chars().count();
        if length > 0 && length + 1 + characters > WIDTH {
            text.push('\n');
            length = 0;
        }
        if length > 0 {
            text.push(' ');
            length += 1;
        }
        text += word;
        length += characters;
    }
    text + "\n\n"
}
