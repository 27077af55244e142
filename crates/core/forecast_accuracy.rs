//! How well the help of a text can be forecast.

use wheels_decode::{ForecastAccuracy, ForecastInput, HelpForecast};
use wheels_eval::statistics::pearson;

/// The number of parts into which texts are divided. Each part is predicted by a forecast that was fitted to the others.
const FOLDS: usize = 10;

/// Measures forecasts at a rate by cross-validation, with V_C and without. None if there are too few texts to fit.
pub(crate) fn cross_validate(rate: f64, texts: &[ForecastInput], used: &[f64]) -> Option<ForecastAccuracy> {
    let by_length: Vec<ForecastInput> = texts.iter().map(|text| ForecastInput { value: 0.0, ..*text }).collect();
    let predicted = predictions(rate, texts, used)?;
    let with_value = errors(&predicted, used);
    let without = errors(&predictions(rate, &by_length, used)?, used);
    let gains: Vec<f64> = without.iter().zip(&with_value).map(|(without, with_value)| without - with_value).collect();
    let gain = mean(&gains);
    let squares: Vec<f64> = gains.iter().map(|other| (other - gain).powi(2)).collect();
    let half = 1.96 * (mean(&squares) / gains.len() as f64).sqrt();
    Some(ForecastAccuracy {
        error: mean(&with_value),
        error_by_length: mean(&without),
        gain: [gain - half, gain + half],
        correlation: pearson(&predicted, used),
    })
}

/// The charges that are predicted for each text by a forecast that was not fitted to it.
fn predictions(rate: f64, texts: &[ForecastInput], used: &[f64]) -> Option<Vec<f64>> {
    let mut predicted = vec![0.0; texts.len()];
    for fold in 0..FOLDS {
        let others = || (0..texts.len()).filter(|index| index % FOLDS != fold);
        let fitted: Vec<ForecastInput> = others().map(|index| texts[index]).collect();
        let charges: Vec<f64> = others().map(|index| used[index]).collect();
        let forecast = HelpForecast::fit(rate, &fitted, &charges)?;
        for index in (fold..texts.len()).step_by(FOLDS) {
            predicted[index] = forecast.predict(texts[index]);
        }
    }
    Some(predicted)
}

fn errors(predicted: &[f64], used: &[f64]) -> Vec<f64> {
    predicted.iter().zip(used).map(|(predicted, used)| (predicted - used).abs()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(count: usize) -> Vec<ForecastInput> {
        (0..count).map(|i| ForecastInput { prompt_tokens: 5 + i * 7 % 40, value: (i * 3 % 11) as f64 }).collect()
    }

    #[test]
    fn v_c_gains_if_the_help_used_depends_on_it() {
        let texts = texts(300);
        let used: Vec<f64> = texts.iter().map(|text| text.prompt_tokens as f64 + text.value).collect();
        let found = cross_validate(0.2, &texts, &used).expect("enough texts");
        assert!(found.error < 0.2 && found.error_by_length > 2.0 && found.correlation > 0.99, "{found:?}");
        assert!(found.gain[0] > 0.0 && found.gain[0] < found.gain[1], "{found:?}");
    }

    #[test]
    fn v_c_gains_nothing_if_the_help_used_depends_on_the_length_alone() {
        let texts = texts(300);
        let used: Vec<f64> = texts.iter().map(|text| text.prompt_tokens as f64).collect();
        let found = cross_validate(0.2, &texts, &used).expect("enough texts");
        assert!(found.gain[1].abs() < 0.05 && found.gain[0].abs() < 0.05, "{found:?}");
    }

    #[test]
    fn too_few_texts_are_not_measured() {
        assert!(cross_validate(0.2, &texts(21), &[1.0; 21]).is_none());
    }
}
