//! Results as Markdown.

use std::fmt::Write;

use crate::statistics::{Comparison, Interval};
use crate::{ByMetric, Measurement, RegretCaught, Results};

/// A column: its heading, and the cell of a measurement.
type Column = (&'static str, fn(&Measurement) -> String);

/// The columns after the decoder.
const COLUMNS: [Column; 13] = [
    ("Budget", |point| format!("{:.0}%", 100.0 * point.row.budget)),
    ("Help used", |point| format!("{:.1}%", 100.0 * point.row.help_rate)),
    ("Teacher calls per token", |point| format!("{:.3}", point.row.teacher_calls_per_token)),
    ("Teacher tokens processed per token", |point| format!("{:.3}", point.row.teacher_tokens_processed_per_token)),
    ("BLEU", |point| score(point.intervals.bleu)),
    ("chrF", |point| score(point.intervals.chrf)),
    ("ROUGE-L", |point| score(point.intervals.rouge_l)),
    ("Latency, measured", |point| format!("{:.2}", point.latency)),
    ("Latency, modelled", |point| format!("{:.2}", point.latency_modelled)),
    ("Latency, modelled with equal teacher calls", |point| {
        point.latency_equal_calls.map_or(String::new(), |latency| format!("{latency:.2}"))
    }),
    ("Prompts, modelled", |point| point.latency_prompts.map_or(String::new(), |latency| format!("{latency:.2}"))),
    ("vs random help: BLEU, chrF, ROUGE-L", |point| differences(point.row.versus_random.as_ref())),
    ("vs max-prob: BLEU, chrF, ROUGE-L", |point| differences(point.versus_max_prob.as_ref())),
];

impl Results {
    /// The results as Markdown: a table with 95% intervals, in which significant differences are bold. Columns without
    /// any value are left out.
    ///
    /// If there are any, the numbers of texts that were cut at the length limit follow, and then the
    /// [`notes`](Self::notes).
    pub fn to_markdown(&self) -> String {
        let mut columns = COLUMNS.to_vec();
        columns.retain(|(_, cell)| self.points.iter().any(|point| !cell(point).is_empty()));
        let mut markdown = format!("`{}`\n\n{}\n\n", self.command, self.explanation());
        let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
        markdown += &line("Decoder", &headings);
        markdown += &format!("|{}\n", "---|".repeat(1 + columns.len()));
        for point in &self.points {
            let cells: Vec<String> = columns.iter().map(|(_, cell)| cell(point)).collect();
            markdown += &line(&self.name(point), &cells);
        }
        if !self.regret_caught.is_empty() {
            markdown += &self.regret_table();
        }
        if !self.token_budgets.is_empty() {
            markdown += &self.token_budget_table();
        }
        for paragraph in self.truncation().into_iter().chain(self.notes()) {
            let _ = write!(markdown, "\n{paragraph}\n");
        }
        markdown
    }

    /// What the columns mean.
    fn explanation(&self) -> String {
        let mut text = format!(
            "{} texts. Brackets hold 95% intervals from paired bootstrap resampling. Latency is the time per token divided \
             by that of the teacher alone: measured beside it at the batch size of the run, and modelled for batch size 1.",
            self.texts
        );
        if self.points.iter().any(|point| point.latency_equal_calls.is_some()) {
            text += " With equal teacher calls, the model takes the time of a teacher call with one token for every teacher \
                     call, as if the teacher were a large model on a GPU.";
        }
        if self.points.iter().any(|point| point.latency_prompts.is_some()) {
            text += " The modelled latencies leave out the prompts. The column after them has the time that both models take to \
                     read them, in the same unit: compare sums with that of the teacher alone. It is an upper bound if texts \
                     were decoded in batches, which read the teacher's prompts as soon as one text asks.";
        }
        let [random, max_prob] = [
            self.points.iter().any(|point| point.row.versus_random.is_some()),
            self.points.iter().any(|point| point.versus_max_prob.is_some()),
        ];
        if random || max_prob {
            text += " A difference is bold if its interval excludes zero.";
        }
        if random {
            text += " Random help asks at the rate of help of the system that is compared with it, within half a \
                     percentage point, under the same budget.";
        }
        if max_prob {
            text += " `max-prob` is compared under the same budget, if the rates of help differ by at most one percentage \
                     point or a tenth.";
        }
        text
    }

    /// The regret that each rule catches: what the numbers mean, and a line for each rule with the difference from
    /// `max-prob`.
    fn regret_table(&self) -> String {
        let mut table = String::from(
            "\nRegret caught, %: the part of the regret that lies at the tokens where a rule asks first. The regret of a token \
             is the teacher's log-prob of its most likely token, minus its log-prob of the student's. The texts are greedy \
             ones of the student, which asks by its help token. In parentheses: the difference from `max-prob` with its 95% \
             interval over texts.\n\n",
        );
        let (mut rules, mut fractions) = (Vec::new(), Vec::new());
        for row in &self.regret_caught {
            if !rules.contains(&row.rule.as_str()) {
                rules.push(&row.rule);
            }
            if !fractions.contains(&row.tokens) {
                fractions.push(row.tokens);
            }
        }
        let headings: Vec<String> =
            fractions.iter().map(|tokens| format!("At {:.0}% of tokens", 100.0 * tokens)).collect();
        table += &line("Rule", &headings);
        table += &format!("|{}\n", "---|".repeat(1 + headings.len()));
        for rule in rules {
            let rows = self.regret_caught.iter().filter(|row| row.rule == rule);
            table += &line(rule, &rows.map(caught).collect::<Vec<_>>());
        }
        table
    }

    /// How decoders use budgets that are numbers of tokens.
    fn token_budget_table(&self) -> String {
        let mut table = String::from(
            "\nBudgets in tokens: the mean number of tokens that the teacher chose in a text, and the part of the texts in which \
             they were more than the budget.\n\n",
        );
        table += &line("Decoder", &["Budget, tokens", "Used", "Exceeded, % of texts", "BLEU", "chrF", "ROUGE-L"]);
        table += &format!("|{}\n", "---|".repeat(7));
        for row in &self.token_budgets {
            let [used, exceeded] = [row.used, 100.0 * row.exceeded].map(|number| format!("{number:.1}"));
            let [bleu, chrf, rouge_l] =
                [row.scores.bleu, row.scores.chrf, row.scores.rouge_l].map(|score| format!("{score:.1}"));
            table += &line(&row.decoder, &[row.budget.to_string(), used, exceeded, bleu, chrf, rouge_l]);
        }
        table
    }

    /// A sentence with the number of texts that were cut at the length limit. None if there are none.
    fn truncation(&self) -> Option<String> {
        let mut systems = Vec::new();
        for point in self.points.iter().filter(|point| point.row.truncated > 0) {
            systems.push(format!("{}: {}", self.case(point), point.row.truncated));
        }
        let found = !systems.is_empty();
        found.then(|| format!("Texts cut at the length limit, of {}: {}.", self.texts, systems.join(", ")))
    }
}

fn line(first: &str, cells: &[impl AsRef<str>]) -> String {
    let mut line = format!("| {first} |");
    for cell in cells {
        let _ = write!(line, " {} |", cell.as_ref());
    }
    line + "\n"
}

fn caught(row: &RegretCaught) -> String {
    let versus = row.versus_max_prob.map_or(String::new(), |by| format!(" ({})", scaled_difference(&by, 100.0)));
    format!("{:.1}{versus}", 100.0 * row.caught.value)
}

fn score(score: Interval) -> String {
    format!("{:.1} [{:.1}, {:.1}]", score.value, score.low, score.high)
}

/// Nothing if there is no comparison.
fn differences(by: Option<&ByMetric<Comparison>>) -> String {
    let Some(by) = by else { return String::new() };
    [by.bleu, by.chrf, by.rouge_l].map(difference).join(", ")
}

fn difference(comparison: Comparison) -> String {
    scaled_difference(&comparison, 1.0)
}

/// A difference with its interval, each times `scale`; bold if the interval excludes zero.
fn scaled_difference(comparison: &Comparison, scale: f64) -> String {
    let bold = if comparison.is_significant() { "**" } else { "" };
    let [difference, low, high] = [comparison.difference, comparison.low, comparison.high].map(|value| scale * value);
    format!("{bold}{difference:+.1}{bold} [{low:+.1}, {high:+.1}]")
}

#[cfg(test)]
mod tests {
    use crate::export::json::tests::old_results;
    use crate::{RegretCaught, TokenBudgetUse};

    #[test]
    fn the_table_has_intervals_and_bold_significant_differences() {
        let markdown = old_results().to_markdown();
        let lines: Vec<&str> = markdown.lines().collect();
        assert_eq!(lines[0], "`evaluate --devices cpu,vulkan`");
        assert!(lines[4].starts_with("| Decoder | Budget | Help used | Teacher calls per token |"), "{}", lines[4]);
        assert_eq!(lines[5], "|---|---|---|---|---|---|---|---|---|---|---|---|");
        assert_eq!(
            lines[6],
            "| learned | 20% | 20.9% | 0.209 | 0.754 | 39.8 [38.6, 41.2] | 64.4 [63.3, 65.3] | 67.3 [66.4, 68.3] | \
             1.72 | 0.98 | **+4.0** [+3.4, +4.6], **+4.6** [+4.0, +5.2], **+4.3** [+3.7, +4.8] | **+0.4** [+0.0, +0.8], +0.1 \
             [-0.3, +0.5], **+0.4** [+0.1, +0.7] |"
        );
        assert_eq!(lines[8], "vulkan compared with cpu: 1 of 10 texts differ in a token or in who chose it.");
    }

    #[test]
    fn budgets_in_tokens_have_a_table_of_their_own() {
        let mut results = old_results();
        assert!(!results.to_markdown().contains("Budgets in tokens"));
        let scores = results.points[0].row.scores;
        results.token_budgets.push(TokenBudgetUse {
            decoder: "uncalibrated".into(),
            budget: 3,
            used: 3.25,
            exceeded: 0.4,
            scores,
        });
        let markdown = results.to_markdown();
        assert!(
            markdown.contains("| Decoder | Budget, tokens | Used | Exceeded, % of texts | BLEU | chrF | ROUGE-L |")
        );
        assert!(markdown.contains("\n| uncalibrated | 3 | 3.2 | 40.0 | 39.8 | 64.4 | 67.3 |\n"), "{markdown}");
    }

    #[test]
    fn the_regret_that_rules_catch_has_a_table_of_its_own() {
        let mut results = old_results();
        assert!(!results.to_markdown().contains("Regret"));
        let regrets = vec![vec![0.0, 3.0], vec![1.0, 0.0]];
        let rules = [("learned", regrets.clone()), (RegretCaught::MAX_PROB, vec![vec![0.0, 0.0], vec![1.0, 0.0]])];
        for tokens in [0.25, 0.5] {
            results.regret_caught.extend(RegretCaught::measure(&regrets, &rules, tokens));
        }
        let markdown = results.to_markdown();
        let line = |start: &str| markdown.lines().find(|line| line.starts_with(start)).expect("a line");
        assert_eq!(line("| Rule"), "| Rule | At 25% of tokens | At 50% of tokens |");
        assert!(line("| learned | 75.0").contains(" | 100.0 (+75.0 ["), "{markdown}");
        assert_eq!(line("| max-prob | 25.0"), "| max-prob | 25.0 | 25.0 |");
    }

    #[test]
    fn texts_cut_at_the_length_limit_are_mentioned_only_if_there_are_any() {
        let mut results = old_results();
        assert!(!results.to_markdown().contains("length limit"));
        results.points[0].row.truncated = 3;
        let markdown = results.to_markdown();
        assert!(markdown.contains("\nTexts cut at the length limit, of 10: learned at 20%: 3.\n"), "{markdown}");
    }

    #[test]
    fn columns_without_values_are_left_out() {
        let mut results = old_results();
        assert!(results.to_markdown().contains("| vs max-prob: BLEU, chrF, ROUGE-L |"));
        results.points[0].versus_max_prob = None;
        let markdown = results.to_markdown();
        assert!(!markdown.contains("max-prob") && markdown.contains("| vs random help: BLEU, chrF, ROUGE-L |"));
        results.points[0].row.versus_random = None;
        let markdown = results.to_markdown();
        assert!(markdown.contains("| Latency, modelled |\n|---|---|---|---|---|---|---|---|---|---|\n"), "{markdown}");
        assert!(!markdown.contains("random") && !markdown.contains("bold"), "{markdown}");
    }

    #[test]
    fn equal_teacher_calls_are_explained_if_they_are_modelled() {
        let mut results = old_results();
        assert!(!results.to_markdown().contains("equal teacher calls"));
        results.points[0].latency_equal_calls = Some(0.5);
        let markdown = results.to_markdown();
        assert!(markdown.contains("With equal teacher calls, the model") && markdown.contains("| 0.98 | 0.50 |"));
    }

    #[test]
    fn the_time_of_prompts_is_apart() {
        let mut results = old_results();
        assert!(!results.to_markdown().contains("rompts"));
        results.points[0].latency_prompts = Some(0.25);
        let markdown = results.to_markdown();
        assert!(markdown.contains("leave out the prompts") && markdown.contains("| 0.98 | 0.25 |"), "{markdown}");
    }

    #[test]
    fn systems_on_several_devices_name_their_device() {
        let mut results = old_results();
        results.costs.insert("vulkan".into(), results.costs["cpu"]);
        assert!(results.to_markdown().contains("| learned on cpu | 20% |"));
    }
}
