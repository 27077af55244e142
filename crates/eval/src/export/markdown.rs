//! Results as Markdown.

use std::fmt::Write;

use crate::statistics::{Comparison, Interval};
use crate::{Agreement, ByMetric, Measurement, Results};

const HEADINGS: [&str; 12] = [
    "Decoder",
    "Budget",
    "Help used",
    "Teacher calls per token",
    "Teacher tokens processed per token",
    "BLEU",
    "chrF",
    "ROUGE-L",
    "Latency, measured",
    "Latency, modelled",
    "vs random help: BLEU, chrF, ROUGE-L",
    "vs max-prob: BLEU, chrF, ROUGE-L",
];

impl Results {
    /// The results as Markdown: a table with 95% intervals, in which significant differences are bold.
    ///
    /// Lists follow if they are not empty: texts that were cut at the length limit, systems that are worse than random
    /// help with a likely reason, and texts that differ between devices.
    pub fn to_markdown(&self) -> String {
        let mut markdown = format!(
            "`{}`\n\n{} texts. Brackets hold 95% intervals from paired bootstrap resampling. Latency is the time per \
             token divided by that of the teacher alone: measured at the batch size of the run, and modelled for batch \
             size 1. A difference is bold if its interval excludes zero.\n\n",
            self.command, self.texts
        );
        markdown += &line(&HEADINGS);
        markdown += &format!("|{}\n", "---|".repeat(HEADINGS.len()));
        for point in &self.points {
            markdown += &line(&self.cells(point));
        }
        markdown += &self.truncation();
        markdown += &self.worse_than_random();
        for Agreement { device, with, texts, differing } in &self.devices {
            let _ = writeln!(
                markdown,
                "\n{device} compared with {with}: {differing} of {texts} texts differ in a token or in who chose it."
            );
        }
        markdown
    }

    fn cells(&self, point: &Measurement) -> [String; HEADINGS.len()] {
        let Measurement { row, intervals, .. } = point;
        [
            self.name(point),
            format!("{:.0}%", 100.0 * row.budget),
            format!("{:.1}%", 100.0 * row.help_rate),
            format!("{:.3}", row.teacher_calls_per_token),
            format!("{:.3}", row.teacher_tokens_processed_per_token),
            score(intervals.bleu),
            score(intervals.chrf),
            score(intervals.rouge_l),
            format!("{:.2}", point.latency),
            format!("{:.2}", point.latency_modelled),
            row.versus_random.as_ref().map_or(String::new(), differences),
            point.versus_max_prob.as_ref().map_or(String::new(), differences),
        ]
    }

    /// The name of a system, with its device if there are several.
    fn name(&self, point: &Measurement) -> String {
        if self.costs.len() > 1 {
            format!("{} on {}", point.row.decoder, point.device)
        } else {
            point.row.decoder.clone()
        }
    }

    /// A sentence with the number of texts that were cut at the length limit. Empty if there are none.
    fn truncation(&self) -> String {
        let mut systems = Vec::new();
        for point in self.points.iter().filter(|point| point.row.truncated > 0) {
            let budget = 100.0 * point.row.budget;
            systems.push(format!("{} at {budget:.0}%: {}", self.name(point), point.row.truncated));
        }
        if systems.is_empty() {
            return String::new();
        }
        format!("\nTexts cut at the length limit, of {}: {}.\n", self.texts, systems.join(", "))
    }

    /// A sentence for each system that scores significantly below random help at the same rate.
    fn worse_than_random(&self) -> String {
        let mut text = String::new();
        for point in &self.points {
            let Some(by) = &point.row.versus_random else { continue };
            let metrics = [("BLEU", by.bleu), ("chrF", by.chrf), ("ROUGE-L", by.rouge_l)];
            let worse: Vec<&str> =
                metrics.iter().filter(|(_, comparison)| comparison.high < 0.0).map(|(name, _)| *name).collect();
            if worse.is_empty() {
                continue;
            }
            let budget = 100.0 * point.row.budget;
            let _ = write!(
                text,
                "\n{} at {budget:.0}% scores below random help at the same rate in {}.",
                self.name(point),
                worse.join(" and ")
            );
            let random = self.points.iter().find(|other| {
                other.row.decoder == "random" && other.row.budget == point.row.budget && other.device == point.device
            });
            match random {
                Some(random) if random.row.truncated < point.row.truncated => {
                    let _ = writeln!(
                        text,
                        " {} of its texts run to the length limit, and {} with random help: a model that repeats itself \
                         is sure of its tokens and does not ask, and random help breaks the loop. Forbid repeated \
                         n-grams (`no_repeat_ngram_size` in generation_config.json), or train the models longer.",
                        point.row.truncated, random.row.truncated
                    );
                }
                _ => text.push('\n'),
            }
        }
        text
    }
}

fn line(cells: &[impl AsRef<str>]) -> String {
    let mut line = String::from("|");
    for cell in cells {
        let _ = write!(line, " {} |", cell.as_ref());
    }
    line + "\n"
}

fn score(score: Interval) -> String {
    format!("{:.1} [{:.1}, {:.1}]", score.value, score.low, score.high)
}

fn differences(by: &ByMetric<Comparison>) -> String {
    [by.bleu, by.chrf, by.rouge_l].map(difference).join(", ")
}

fn difference(comparison: Comparison) -> String {
    let bold = if comparison.is_significant() { "**" } else { "" };
    format!("{bold}{:+.1}{bold} [{:+.1}, {:+.1}]", comparison.difference, comparison.low, comparison.high)
}

#[cfg(test)]
mod tests {
    use crate::export::json::tests::old_results;

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
    fn texts_cut_at_the_length_limit_are_mentioned_only_if_there_are_any() {
        let mut results = old_results();
        assert!(!results.to_markdown().contains("length limit"));
        results.points[0].row.truncated = 3;
        let markdown = results.to_markdown();
        assert!(markdown.contains("\nTexts cut at the length limit, of 10: learned at 20%: 3.\n"), "{markdown}");
    }

    #[test]
    fn a_system_below_random_help_is_named_with_the_likely_reason() {
        let mut results = old_results();
        assert!(!results.to_markdown().contains("below random help"));
        let comparison = results.points[0].row.versus_random.as_mut().expect("it was compared");
        comparison.chrf.high = -0.1;
        assert!(
            results.to_markdown().contains("\nlearned at 20% scores below random help at the same rate in chrF.\n")
        );
        results.points[0].row.truncated = 9;
        let mut random = results.points[0].clone();
        (random.row.decoder, random.row.truncated, random.row.versus_random) = ("random".into(), 2, None);
        results.points.push(random);
        let markdown = results.to_markdown();
        assert!(markdown.contains("9 of its texts run to the length limit, and 2 with random help"), "{markdown}");
    }

    #[test]
    fn systems_on_several_devices_name_their_device() {
        let mut results = old_results();
        results.costs.insert("vulkan".into(), results.costs["cpu"]);
        assert!(results.to_markdown().contains("| learned on cpu | 20% |"));
    }
}
