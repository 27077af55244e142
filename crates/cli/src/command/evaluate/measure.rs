//! From decoded texts to the rows of the tables.

use training_wheels::eval::{CorpusStats, EvalError};
use training_wheels::prelude::*;
use wheels_eval::{Agreement, Measurement, PairCost, Sweep, TokenBudgetUse};

use super::asked::Asked;
use super::baselines::Baselines;
use super::suite::{Case, Run, STUDENT, TEACHER};
use super::systems::System;

/// What was decoded and timed on one device.
pub(crate) struct DeviceRuns {
    /// The name of the device.
    pub(crate) device: String,
    /// A run for each case of the plan.
    pub(crate) runs: Vec<Run>,
    /// Random help at the rates of these runs.
    pub(crate) baselines: Baselines,
    /// The time per token of each run, divided by that of the teacher alone.
    pub(crate) latencies: Vec<f64>,
    /// What calls of the two models cost.
    pub(crate) cost: PairCost,
    /// Where the student asks. Only the first device has it.
    pub(crate) asked: Asked,
    /// How budgets in tokens are used. Only the first device has it.
    pub(crate) token_budgets: Vec<TokenBudgetUse>,
    /// The student's tokenizer.
    pub(crate) tokenizer: Tokenizer,
    /// The size of n-grams that no text repeats, 0 if all may be repeated.
    pub(crate) no_repeat_ngram_size: usize,
}

/// The measurements on one device, in the order of the plan.
pub(crate) fn measurements(plan: &[Case], on: &DeviceRuns, data: &Dataset) -> Result<Vec<Measurement>, EvalError> {
    let references = || data.iter().map(|example| example.target.as_str());
    let mut stats = Vec::with_capacity(plan.len());
    for run in &on.runs {
        stats.push(CorpusStats::new(run.output.texts(), references()));
    }
    let teacher_output = &on.runs[TEACHER].output;
    let sweep = Sweep { student: &stats[STUDENT], teacher: &stats[TEACHER], teacher_output };
    let max_prob = System::Confidence(Confidence::MaxProb);
    let mut rows = Vec::with_capacity(plan.len());
    for (index, (case, run)) in plan.iter().zip(&on.runs).enumerate() {
        let (output, case_stats) = (&run.output, &stats[index]);
        let mut row = sweep.row(&case.system.to_string(), f64::from(case.percent) / 100.0, output, case_stats);
        let random = on.baselines.of(plan, &on.runs, index);
        row.versus_random =
            random.as_ref().map(|(run, _)| case_stats.compare_to(&CorpusStats::new(run.output.texts(), references())));
        let other = plan.iter().position(|other| *other == Case { system: max_prob, ..*case });
        let other = other.filter(|&other| {
            let rates = [output, &on.runs[other].output].map(|output| output.stats.help_rate());
            case.system != max_prob && case.system.has_budget() && are_near(rates)
        });
        rows.push(Measurement {
            device: on.device.clone(),
            row,
            intervals: case_stats.intervals(),
            random_help: random.map(|(_, stats)| stats),
            versus_max_prob: other.map(|other| case_stats.compare_to(&stats[other])),
            threshold: run.threshold,
            asked_rate: output.stats.asked_rate(),
            latency: on.latencies[index],
            latency_modelled: on.cost.latency(&output.stats),
            latency_prompts: on.cost.prompt_latency(&output.stats),
            latency_equal_calls: Some(on.cost.with_equal_teacher_calls().latency(&output.stats)),
            by_position: output.help_by_position(),
            by_kind: output.help_by_kind(&on.tokenizer)?,
        });
    }
    Ok(rows)
}

/// Whether two rates of help are near enough to compare scores: within a hundredth of the tokens, or a tenth of the larger
/// rate.
fn are_near([left, right]: [f64; 2]) -> bool {
    (left - right).abs() <= (0.1 * left.max(right)).max(0.01)
}

/// How far each further device agrees with the first.
pub(crate) fn agreements(devices: &[DeviceRuns]) -> Vec<Agreement> {
    let (first, others) = devices.split_first().expect("there is at least one device");
    let mut agreements = Vec::with_capacity(others.len());
    for other in others {
        let (mut texts, mut differing) = (0, 0);
        for (run, first) in other.runs.iter().zip(&first.runs) {
            texts += run.output.texts.len() as u64;
            differing += run.output.count_differing(&first.output);
        }
        agreements.push(Agreement { device: other.device.clone(), with: first.device.clone(), texts, differing });
    }
    agreements
}
