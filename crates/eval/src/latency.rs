//! What a call of a model costs, and from it how long a text takes.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use wheels_decode::{DecodeStats, ModelUse};
use wheels_lm::{LanguageModel, TokenBatch};

/// Tokens that a text has while its calls are timed.
const LENGTH: usize = 8;
/// Tokens of the longer of the two calls that are timed.
const DRAFT: usize = 9;
/// Calls of which the fastest counts: whatever else the machine does makes the others slower.
const CALLS: usize = 101;

/// What one call of a model costs at batch 1, fitted to calls of 1 and of 9 tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallCost {
    /// Seconds of a call, whatever it reads.
    pub seconds_per_call: f64,
    /// Seconds more for each token that it reads.
    pub seconds_per_token: f64,
}

/// The costs of a student and its teacher.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairCost {
    /// Of the student.
    pub student: CallCost,
    /// Of the teacher.
    pub teacher: CallCost,
}

impl CallCost {
    /// Times a model, logits read from the device and all, on a text after `prompt`.
    pub fn measure(model: &dyn LanguageModel, prompt: &[u32]) -> Self {
        let mut context = model.prefill(&TokenBatch::new(&[prompt], model.spec().pad), LENGTH + DRAFT);
        let word = prompt[0];
        let start = context.starts()[0];
        let text: Vec<u32> = std::iter::once(start).chain([word; LENGTH - 1]).collect();
        model.hidden_rows(&TokenBatch::new(&[&text], model.spec().pad), &[0], &mut context);
        let mut fastest = |tokens: usize| {
            let draft = TokenBatch::new(&[&vec![word; tokens]], model.spec().pad);
            let calls = (0..CALLS).map(|_| {
                let started = Instant::now();
                let hidden = model.hidden_rows(&draft, &[0], &mut context);
                let _ = model.head(hidden.flatten(0, 1)).into_data();
                let elapsed = started.elapsed().as_secs_f64();
                context.truncate(0, LENGTH);
                elapsed
            });
            calls.fold(f64::INFINITY, f64::min)
        };
        let (one, many) = (fastest(1), fastest(DRAFT));
        let seconds_per_token = ((many - one) / (DRAFT - 1) as f64).max(0.0);
        Self { seconds_per_call: (one - seconds_per_token).max(0.0), seconds_per_token }
    }

    /// How long a model's work takes at batch 1, its prompts not counted.
    pub fn seconds(&self, used: ModelUse) -> f64 {
        self.seconds_per_call * used.calls as f64 + self.seconds_per_token * used.tokens_processed as f64
    }
}

impl PairCost {
    /// How long a token takes at batch 1, over how long it takes the teacher alone.
    pub fn latency(&self, stats: &DecodeStats) -> f64 {
        let seconds = self.student.seconds(stats.student) + self.teacher.seconds(stats.teacher);
        let alone = self.teacher.seconds_per_call + self.teacher.seconds_per_token;
        seconds / (alone * stats.tokens.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_teacher_alone_takes_its_own_time() {
        let cost = |call, token| CallCost { seconds_per_call: call, seconds_per_token: token };
        let pair = PairCost { student: cost(1.0, 0.0), teacher: cost(3.0, 1.0) };
        let used = |calls, tokens_processed| ModelUse { calls, tokens_processed, ..ModelUse::default() };
        let stats = |student, teacher| DecodeStats { tokens: 10, student, teacher, ..DecodeStats::default() };
        assert_eq!(pair.latency(&stats(used(0, 0), used(10, 10))), 1.0);
        assert_eq!(pair.latency(&stats(used(10, 10), used(0, 0))), 0.25);
        // Two calls that read nine tokens in all.
        assert_eq!(pair.latency(&stats(used(10, 10), used(2, 9))), (10.0 + 6.0 + 9.0) / 40.0);
    }
}
