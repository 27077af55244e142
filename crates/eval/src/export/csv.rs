//! Results as CSV.

use crate::{Measurement, Results};

/// A column: its heading, and the cell of a measurement.
type Column = (&'static str, fn(&Measurement) -> String);

/// Other programs find columns by these headings, so they stay as they are.
const COLUMNS: [Column; 16] = [
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
    ("latency_equal_calls", |point| point.latency_equal_calls.map_or(String::new(), |latency| format!("{latency:.3}"))),
    ("latency_prompts", |point| point.latency_prompts.map_or(String::new(), |latency| format!("{latency:.3}"))),
];

impl Results {
    /// The results as CSV: a header, and one line per measurement.
    pub fn to_csv(&self) -> String {
        let mut csv = COLUMNS.map(|(heading, _)| heading).join(",") + "\n";
        for point in &self.points {
            csv += &COLUMNS.map(|(_, cell)| quoted(cell(point))).join(",");
            csv += "\n";
        }
        csv
    }
}

/// A cell in quotes if it needs them (RFC 4180).
fn quoted(cell: String) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::json::tests::old_results;

    #[test]
    fn a_measurement_is_one_line_under_its_header() {
        let expected = "device,decoder,budget,help_rate,bleu,chrf,rouge_1,rouge_2,rouge_l,bleu_teacher,\
                        teacher_calls_per_token,teacher_tokens_processed_per_token,latency,latency_modelled,latency_equal_calls,latency_prompts\n\
                        cpu,learned,0.20,0.2090,39.85,64.36,71.50,50.25,67.33,47.75,0.2090,0.7540,1.715,0.981,,\n";
        assert_eq!(old_results().to_csv(), expected);
    }

    #[test]
    fn a_name_with_a_comma_or_a_quote_is_quoted() {
        assert_eq!(quoted("draft, 4".into()), "\"draft, 4\"");
        assert_eq!(quoted("the \"best\"".into()), "\"the \"\"best\"\"\"");
        assert_eq!(quoted("draft:4".into()), "draft:4");
    }
}
