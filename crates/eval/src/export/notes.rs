//! What a reader of a table must know besides its numbers.

use crate::{Agreement, Measurement, Results};

/// The fraction of texts by which a system must run to the length limit more often than random help before the notes
/// give that as a reason for its low scores. One text more is never a reason.
const MORE_TRUNCATED: f64 = 0.01;

impl Results {
    /// Notes on the results, as paragraphs of plain text: systems that are significantly worse than random help, with a
    /// likely reason and what to try, and the number of texts that differ between devices.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let worse: Vec<&Measurement> = self.points.iter().filter(|point| !below_random(point).is_empty()).collect();
        if !worse.is_empty() {
            let named = worse.iter().map(|point| format!("{} ({})", self.case(point), below_random(point).join(", ")));
            let named = named.collect::<Vec<_>>().join("; ");
            notes.push(format!("Significantly below random help at the same rate of help: {named}."));
        }
        notes.extend(self.loops(&worse));
        for Agreement { device, with, texts, differing } in &self.devices {
            notes.push(format!(
                "{device} compared with {with}: {differing} of {texts} texts differ in a token or in who chose it."
            ));
        }
        notes
    }

    /// A system with its budget, and with its device if there are several.
    pub(super) fn case(&self, point: &Measurement) -> String {
        format!("{} at {:.0}%", self.name(point), 100.0 * point.row.budget)
    }

    /// The name of a system, with its device if there are several.
    pub(super) fn name(&self, point: &Measurement) -> String {
        if self.costs.len() > 1 {
            format!("{} on {}", point.row.decoder, point.device)
        } else {
            point.row.decoder.clone()
        }
    }

    /// Why systems are worse than random help, if their texts run to the length limit more often, and what to try.
    fn loops(&self, worse: &[&Measurement]) -> Option<String> {
        let mut counts = Vec::new();
        for point in worse {
            let Some(random) = &point.random_help else { continue };
            let (here, there) = (point.row.truncated, random.truncated);
            if here as f64 > there as f64 + (MORE_TRUNCATED * self.texts as f64).max(1.0) {
                counts.push(format!("{} {here} (random help {there})", self.case(point)));
            }
        }
        if counts.is_empty() {
            return None;
        }
        let remedy = match self.no_repeat_ngram_size {
            Some(1..4) => "Train the models longer: `no_repeat_ngram_size` in the student's generation_config.json is \
                           small already."
                .to_owned(),
            Some(size @ 4..) => format!(
                "Train the models longer, or try a smaller `no_repeat_ngram_size` in the student's \
                 generation_config.json: it is {size}, so sequences of up to {} tokens can still repeat.",
                size - 1
            ),
            _ => "Train the models longer, or forbid repeated n-grams: set `no_repeat_ngram_size` in the student's \
                  generation_config.json, for example to 4."
                .to_owned(),
        };
        Some(format!(
            "Of {} texts, these many run to the length limit: {}. A model that repeats itself is sure of its tokens and \
             does not ask, and random help breaks the loop. {remedy}",
            self.texts,
            counts.join("; ")
        ))
    }
}

/// The metrics in which a system scores significantly below random help at the same rate.
fn below_random(point: &Measurement) -> Vec<&'static str> {
    let Some(by) = &point.row.versus_random else { return vec![] };
    let metrics = [("BLEU", by.bleu), ("chrF", by.chrf), ("ROUGE-L", by.rouge_l)];
    metrics.iter().filter(|(_, comparison)| comparison.high < 0.0).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use crate::RandomHelp;
    use crate::export::json::tests::old_results;

    #[test]
    fn a_system_below_random_help_is_named_with_its_metrics() {
        let mut results = old_results();
        assert!(!results.notes().concat().contains("below random help"));
        let comparison = results.points[0].row.versus_random.as_mut().expect("it was compared");
        comparison.chrf.high = -0.1;
        let notes = results.notes();
        assert_eq!(notes[0], "Significantly below random help at the same rate of help: learned at 20% (chrF).");
        assert_eq!(notes.len(), 2, "no reason is known: {notes:?}");
    }

    #[test]
    fn the_advice_against_loops_depends_on_the_settings() {
        let mut results = old_results();
        results.points[0].row.versus_random.as_mut().expect("it was compared").chrf.high = -0.1;
        results.points[0].row.truncated = 9;
        results.points[0].random_help = Some(RandomHelp { rate: 0.21, help_rate: 0.208, truncated: 2 });
        for (size, advice) in [
            (None, "set `no_repeat_ngram_size`"),
            (Some(0), "set `no_repeat_ngram_size`"),
            (Some(6), "it is 6, so sequences of up to 5 tokens can still repeat"),
            (Some(3), "small already"),
        ] {
            results.no_repeat_ngram_size = size;
            let note = &results.notes()[1];
            assert!(note.contains("learned at 20% 9 (random help 2)") && note.contains(advice), "{size:?}: {note}");
        }
        results.points[0].row.truncated = 3;
        assert_eq!(results.notes().len(), 2, "one text more is no reason");
    }
}
