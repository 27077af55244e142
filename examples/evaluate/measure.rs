//! From decoded texts to the rows of the tables.

use training_wheels::decode::DecodeStats;
use training_wheels::eval::{Agreement, CorpusStats, EvalError, Measurement, PairCost, Sweep};
use training_wheels::prelude::*;

use crate::suite::{Case, Run, STUDENT, TEACHER};
use crate::systems::System;

/// What was decoded and timed on one device.
pub(crate) struct DeviceRuns {
    /// The name of the device.
    pub(crate) device: String,
    /// A run for each case of the plan.
    pub(crate) runs: Vec<Run>,
    /// What calls of the two models cost.
    pub(crate) cost: PairCost,
    /// Pairs of log-odds of asking and divergence from the teacher, nats. Only the first device has them.
    pub(crate) log_odds: Vec<[f64; 2]>,
    /// The student's tokenizer.
    pub(crate) tokenizer: Tokenizer,
}

/// The measurements on one device, in the order of the plan.
pub(crate) fn measurements(plan: &[Case], on: &DeviceRuns, data: &Dataset) -> Result<Vec<Measurement>, EvalError> {
    let mut stats = Vec::with_capacity(plan.len());
    for run in &on.runs {
        stats.push(CorpusStats::new(run.output.texts(), data.iter().map(|example| example.target.as_str())));
    }
    let teacher_output = &on.runs[TEACHER].output;
    let sweep = Sweep { student: &stats[STUDENT], teacher: &stats[TEACHER], teacher_output };
    let mut rows = Vec::with_capacity(plan.len());
    for ((case, run), case_stats) in plan.iter().zip(&on.runs).zip(&stats) {
        let versus = |system: System| {
            let other = plan.iter().position(|other| *other == Case { system, ..*case });
            let other = other.filter(|_| case.system != system && case.system.has_budget());
            other.map(|index| case_stats.compare_to(&stats[index]))
        };
        let output = &run.output;
        let mut row = sweep.row(&case.system.to_string(), f64::from(case.percent) / 100.0, output, case_stats);
        row.versus_random = versus(System::Random);
        rows.push(Measurement {
            device: on.device.clone(),
            row,
            intervals: case_stats.intervals(),
            versus_max_prob: versus(System::Confidence(Confidence::MaxProb)),
            threshold: run.threshold,
            asked_rate: output.stats.asked_rate(),
            latency: seconds_per_token(&output.stats) / seconds_per_token(&teacher_output.stats),
            latency_modelled: on.cost.latency(&output.stats),
            by_position: output.help_by_position(),
            by_kind: output.help_by_kind(&on.tokenizer)?,
        });
    }
    Ok(rows)
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

fn seconds_per_token(stats: &DecodeStats) -> f64 {
    stats.elapsed.as_secs_f64() / stats.tokens.max(1) as f64
}
