//! Results as JSON.

use crate::{EvalError, Results};

impl Results {
    /// The results as one JSON object. Its keys are the names of the fields.
    ///
    /// JSON has no NaN and no infinity, so both are written as `null`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("results are numbers, texts, lists, and maps with text keys")
    }

    /// Reads the results that [`to_json`](Self::to_json) wrote, in this version or an earlier one.
    ///
    /// # Errors
    /// [`EvalError::Json`] if the text is not such a JSON object.
    pub fn from_json(json: &str) -> Result<Self, EvalError> {
        serde_json::from_str(json).map_err(EvalError::Json)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{HelpCounts, Measurement};

    /// A measurement with the keys of the first version.
    const OLD_MEASUREMENT: &str = r#"{
        "device": "cpu", "decoder": "learned", "budget": 0.2,
        "bleu": 39.849, "chrf": 64.358, "rouge_1": 71.5, "rouge_2": 50.25, "rouge_l": 67.334, "bleu_teacher": 47.75,
        "gap_closed": {
            "bleu": {"value": 0.41, "low": 0.37, "high": 0.45},
            "chrf": {"value": 0.52, "low": 0.49, "high": 0.55},
            "rouge_l": {"value": 0.52, "low": 0.48, "high": 0.55}
        },
        "over_random": {
            "bleu": {"difference": 4.0, "low": 3.4, "high": 4.6, "wins": 1.0},
            "chrf": {"difference": 4.6, "low": 4.0, "high": 5.2, "wins": 1.0},
            "rouge_l": {"difference": 4.3, "low": 3.7, "high": 4.8, "wins": 1.0}
        },
        "help_rate": 0.209, "teacher_calls_per_token": 0.209, "teacher_tokens_processed_per_token": 0.754,
        "student_steps_per_token": 1.0, "seconds": 20.5,
        "intervals": {
            "bleu": {"value": 39.849, "low": 38.6, "high": 41.2},
            "chrf": {"value": 64.358, "low": 63.3, "high": 65.3},
            "rouge_l": {"value": 67.334, "low": 66.4, "high": 68.3}
        },
        "over_max_prob": {
            "bleu": {"difference": 0.4, "low": 0.02, "high": 0.8, "wins": 0.98},
            "chrf": {"difference": 0.1, "low": -0.3, "high": 0.5, "wins": 0.7},
            "rouge_l": {"difference": 0.4, "low": 0.1, "high": 0.7, "wins": 0.99}
        },
        "threshold": 0.25, "asked_rate": 0.21, "latency": 1.715, "latency_modelled": 0.981,
        "by_position": [
            {"helped": 2, "tokens": 9}, {"helped": 1, "tokens": 9}, {"helped": 1, "tokens": 9},
            {"helped": 1, "tokens": 9}, {"helped": 1, "tokens": 9}, {"helped": 1, "tokens": 9},
            {"helped": 1, "tokens": 9}, {"helped": 1, "tokens": 9}, {"helped": 1, "tokens": 9},
            {"helped": 1, "tokens": 9}
        ],
        "by_kind": {"end": {"helped": 0, "tokens": 10}, "word": {"helped": 11, "tokens": 80}}
    }"#;

    /// The results of one system in the JSON form of the first version.
    pub(in crate::export) fn old_results() -> Results {
        let json = format!(
            r#"{{
                "command": "evaluate --devices cpu,vulkan", "texts": 10,
                "costs": {{"cpu": {{
                    "student": {{"seconds_per_call": 0.00002, "seconds_per_token": 0.00008}},
                    "teacher": {{"seconds_per_call": 0.00013, "seconds_per_token": 0.00005}}
                }}}},
                "points": [{OLD_MEASUREMENT}],
                "devices": [{{"device": "vulkan", "with": "cpu", "texts": 10, "differing": 1}}],
                "log_odds": [[-1.5, 0.25]]
            }}"#
        );
        Results::from_json(&json).expect("results of the first version")
    }

    #[test]
    fn a_measurement_of_the_first_version_still_parses() {
        let measurement: Measurement = serde_json::from_str(OLD_MEASUREMENT).expect("the keys of the first version");
        let row = &measurement.row;
        assert_eq!((row.decoder.as_str(), row.scores.rouge_2, row.truncated), ("learned", 50.25, 0));
        assert_eq!(row.versus_random.map(|by| by.bleu.difference), Some(4.0));
        assert_eq!(measurement.versus_max_prob.map(|by| by.chrf.low), Some(-0.3));
        assert_eq!(measurement.threshold, Some(0.25));
        assert_eq!(measurement.by_position[0], HelpCounts { helped: 2, tokens: 9 });
    }

    #[test]
    fn results_survive_json() {
        let results = old_results();
        assert_eq!(Results::from_json(&results.to_json()).expect("our own JSON"), results);
        assert_eq!(results.devices[0].differing, 1);
    }

    #[test]
    fn a_gap_that_does_not_exist_survives_json() {
        let mut results = old_results();
        results.points[0].row.gap_closed.bleu.value = f64::NAN;
        let read = Results::from_json(&results.to_json()).expect("null is NaN");
        assert!(read.points[0].row.gap_closed.bleu.value.is_nan());
        assert_eq!(read.points[0].row.gap_closed.chrf, results.points[0].row.gap_closed.chrf);
    }

    #[test]
    fn other_json_is_an_error_that_says_what_is_missing() {
        let error = Results::from_json(r#"{"command": "evaluate"}"#).expect_err("most fields are missing");
        let cause = std::error::Error::source(&error).expect("serde_json says what is missing").to_string();
        assert!(error.to_string().contains("results") && cause.contains("texts"), "{error}: {cause}");
    }
}
