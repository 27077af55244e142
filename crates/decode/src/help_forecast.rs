//! A forecast of the help that a text will use.

use serde::{Deserialize, Serialize};

/// The number of groups of texts, by what is predicted for them, in which predictions are compared with the help used.
const GROUPS: usize = 10;

/// The smallest number of texts to fit a forecast to.
const MIN_TEXTS: usize = 2 * GROUPS;

/// Predicts how many charges a text will make for help, from what is known before it is written.
///
/// A forecast belongs to one rate of help, with enforced budgets. It is fitted in two steps to the help that texts have used.
/// The first is a linear model of the length of the prompt and of the student's own prediction V_C, by least squares. The
/// second corrects it: the texts are divided into tenths by what the model predicts, and the forecast passes through the mean
/// help used in each of them, with straight lines between the tenths. So it is calibrated: texts for which it predicts 5
/// calls use 5 on average.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HelpForecast {
    /// The rate of help that it belongs to: charges per token, 0 to 1.
    pub rate: f64,
    /// The weights of 1, of the prompt's tokens and of V_C in the linear model.
    weights: [f64; 3],
    /// The means of the prediction and of the help used in each group of texts. Both rise.
    groups: Vec<[f64; 2]>,
    /// How well such forecasts predict other texts, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<ForecastAccuracy>,
}

/// How well forecasts predict the charges of texts that they were not fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastAccuracy {
    /// The mean absolute error, charges per text.
    pub error: f64,
    /// The mean absolute error of forecasts that know only the length of the prompt.
    pub error_by_length: f64,
    /// The 95% interval of `error_by_length - error`. If it is above zero, V_C makes forecasts better.
    pub gain: [f64; 2],
    /// Pearson's correlation of the predicted and the used charges, -1 to 1.
    pub correlation: f64,
}

/// What a forecast knows of a text before it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastInput {
    /// The length of the expert's prompt, tokens.
    pub prompt_tokens: usize,
    /// V_C, the number of helped tokens that the student predicts; 0 for a student without heads.
    pub value: f64,
}

impl HelpForecast {
    /// Fits a forecast for a rate of help to texts and the charges that each of them made. None if there are fewer than 20
    /// texts.
    ///
    /// # Panics
    /// If the number of texts is not the number of charges.
    pub fn fit(rate: f64, texts: &[ForecastInput], used: &[f64]) -> Option<Self> {
        assert_eq!(texts.len(), used.len(), "each text has its charges");
        if texts.len() < MIN_TEXTS {
            return None;
        }
        let weights = least_squares(texts, used);
        let mut pairs: Vec<[f64; 2]> =
            texts.iter().zip(used).map(|(text, &used)| [linear(&weights, *text), used]).collect();
        pairs.sort_by(|a, b| a[0].total_cmp(&b[0]));
        Some(Self { rate, weights, groups: rising_means(&pairs), accuracy: None })
    }

    /// The predicted number of charges. It is not negative.
    pub fn predict(&self, text: ForecastInput) -> f64 {
        let x = linear(&self.weights, text);
        let above = self.groups.partition_point(|group| group[0] < x);
        let predicted = match (above.checked_sub(1).map(|below| self.groups[below]), self.groups.get(above).copied()) {
            (Some([x0, y0]), Some([x1, y1])) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
            // Past both ends, the linear model goes on.
            (None, Some([end, y])) | (Some([end, y]), None) => y + x - end,
            (None, None) => x,
        };
        predicted.max(0.0)
    }
}

fn features(text: ForecastInput) -> [f64; 3] {
    [1.0, text.prompt_tokens as f64, text.value]
}

fn linear(weights: &[f64; 3], text: ForecastInput) -> f64 {
    weights.iter().zip(features(text)).map(|(weight, feature)| weight * feature).sum()
}

/// The weights that minimise the squared error, from the normal equations. A small penalty on them gives a feature that is
/// constant no weight.
fn least_squares(texts: &[ForecastInput], used: &[f64]) -> [f64; 3] {
    let mut system = [[0.0; 4]; 3];
    for (text, used) in texts.iter().zip(used) {
        let x = features(*text);
        for (row, line) in system.iter_mut().enumerate() {
            for (column, value) in x.iter().chain([used]).enumerate() {
                line[column] += x[row] * value;
            }
        }
    }
    for (row, line) in system.iter_mut().enumerate() {
        line[row] += 1e-6 * (1.0 + line[row]);
    }
    // The matrix is positive definite, so that elimination needs no exchange of rows.
    for pivot in 0..3 {
        for row in 0..3 {
            if row == pivot {
                continue;
            }
            let factor = system[row][pivot] / system[pivot][pivot];
            let pivot_line = system[pivot];
            for (value, subtracted) in system[row].iter_mut().zip(pivot_line) {
                *value -= factor * subtracted;
            }
        }
    }
    [0, 1, 2].map(|row| system[row][3] / system[row][row])
}

/// The means of tenths of sorted pairs. Neighbours are joined until both means rise from group to group (isotonic regression
/// by pooling adjacent violators).
fn rising_means(sorted: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut groups: Vec<(f64, [f64; 2])> = Vec::with_capacity(GROUPS);
    for group in 0..GROUPS {
        let members = &sorted[group * sorted.len() / GROUPS..(group + 1) * sorted.len() / GROUPS];
        let mut joined = (
            members.len() as f64,
            [0, 1].map(|side| members.iter().map(|pair| pair[side]).sum::<f64>() / members.len() as f64),
        );
        while let Some((size, means)) = groups.pop_if(|(_, last)| last[0] >= joined.1[0] || last[1] >= joined.1[1]) {
            let total = size + joined.0;
            joined = (total, [0, 1].map(|side| (size * means[side] + joined.0 * joined.1[side]) / total));
        }
        groups.push(joined);
    }
    groups.into_iter().map(|(_, means)| means).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(count: usize) -> Vec<ForecastInput> {
        (0..count).map(|i| ForecastInput { prompt_tokens: 5 + i * 7 % 40, value: (i * 3 % 10) as f64 }).collect()
    }

    #[test]
    fn a_linear_relation_is_found() {
        let texts = texts(200);
        let used: Vec<f64> = texts.iter().map(|text| 0.5 * text.prompt_tokens as f64 + text.value + 1.0).collect();
        let forecast = HelpForecast::fit(0.2, &texts, &used).expect("enough texts");
        for (text, used) in texts.iter().zip(&used) {
            assert!((forecast.predict(*text) - used).abs() < 0.1, "{text:?}: {} and {used}", forecast.predict(*text));
        }
        let long = ForecastInput { prompt_tokens: 200, value: 4.0 };
        assert!((forecast.predict(long) - 105.0).abs() < 0.1, "{}", forecast.predict(long));
    }

    #[test]
    fn predictions_are_right_on_average_in_each_tenth_and_never_fall() {
        // The help used is not linear in the length.
        let texts = texts(400);
        let used: Vec<f64> = texts.iter().map(|text| (text.prompt_tokens as f64 / 10.0).powi(2)).collect();
        let forecast = HelpForecast::fit(0.2, &texts, &used).expect("enough texts");
        let mut pairs: Vec<(f64, f64)> = texts.iter().map(|text| forecast.predict(*text)).zip(used).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        for tenth in pairs.chunks(40) {
            let [predicted, used] = [
                tenth.iter().map(|pair| pair.0).sum::<f64>() / 40.0,
                tenth.iter().map(|pair| pair.1).sum::<f64>() / 40.0,
            ];
            assert!((predicted - used).abs() < 0.4, "{predicted} and {used}");
        }
        let lengths = (0..100).map(|prompt_tokens| ForecastInput { prompt_tokens, value: 0.0 });
        assert!(lengths.map(|text| forecast.predict(text)).is_sorted());
    }

    #[test]
    fn a_constant_v_c_and_texts_without_help_are_no_problem() {
        let texts: Vec<_> = (1..60).map(|prompt_tokens| ForecastInput { prompt_tokens, value: 0.0 }).collect();
        let forecast = HelpForecast::fit(0.1, &texts, &[0.0; 59]).expect("enough texts");
        assert_eq!(forecast.predict(ForecastInput { prompt_tokens: 500, value: 3.0 }), 0.0);
        let used: Vec<f64> = texts.iter().map(|text| text.prompt_tokens as f64).collect();
        let forecast = HelpForecast::fit(0.1, &texts, &used).expect("enough texts");
        assert!((forecast.predict(texts[30]) - 31.0).abs() < 0.1);
        assert!(HelpForecast::fit(0.1, &texts[..19], &used[..19]).is_none());
    }
}
