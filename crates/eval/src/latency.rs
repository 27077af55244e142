//! The cost of model calls, and a model of decoding latency at batch size 1.
//!
//! A measured latency depends on the batch size and on what else the machine does. This model has two numbers for each
//! language model, the seconds per call and the seconds per token. It multiplies them by the calls and the tokens that
//! a decoder counted. The result is the time that the decoder would take if each text were decoded alone. Reading the prompts
//! is modelled apart, by a third number: the seconds per token of a prompt.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use wheels_decode::{DecodeStats, ModelUse};
use wheels_lm::{Context, LanguageModel, Positions, TokenBatch};

/// The length of the text before each timed call, tokens.
const TEXT_TOKENS: usize = 8;
/// The length of the long timed call, tokens. The short one has 1 token.
const LONG_CALL_TOKENS: usize = 9;
/// The number of timed calls of each length. The fastest counts, because other work of the machine slows calls down.
const CALLS: usize = 101;
/// The number of times that the prompt is read.
const PROMPT_READS: usize = 11;

/// The cost of one call of a model at batch size 1, fitted to calls with 1 and with 9 tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallCost {
    /// Seconds per call, regardless of how many tokens it reads.
    pub seconds_per_call: f64,
    /// Additional seconds for each token that the call reads.
    pub seconds_per_token: f64,
    /// Seconds per token of a prompt, all of which is read in one pass. It is that of a prompt of the measured length, and is
    /// smaller for longer prompts on a GPU. None in a file of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_per_prompt_token: Option<f64>,
}

/// The cost of model calls for a student and its teacher.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairCost {
    /// The cost of the student's calls.
    pub student: CallCost,
    /// The cost of the teacher's calls.
    pub teacher: CallCost,
}

impl CallCost {
    /// Measures the time of calls that continue a text after `prompt`, and the time to read `prompt`.
    ///
    /// A call includes reading the logits from the device.
    ///
    /// # Panics
    /// If `prompt` is empty.
    pub fn measure(model: &dyn LanguageModel, prompt: &[u32]) -> Self {
        assert!(!prompt.is_empty(), "the prompt is empty; a call is timed after at least one token");
        let pad = model.spec().pad;
        let prompts = TokenBatch::new(&[prompt], pad);
        let prefill = || model.prefill(&prompts, TEXT_TOKENS + LONG_CALL_TOKENS);
        let mut context = prefill();
        let start = context.starts()[0];
        let token = prompt[0];
        let mut text = [token; TEXT_TOKENS];
        text[0] = start;
        model.hidden(&TokenBatch::new(&[text], pad), &[0], Positions::All, &mut context);
        let mut continued = |tokens: &[u32]| {
            let tokens = TokenBatch::new(&[tokens], pad);
            fastest(CALLS, || {
                call(model, &mut context, &tokens);
                context.truncate(0, TEXT_TOKENS);
            })
        };
        let (short, long) = (continued(&[token]), continued(&[token; LONG_CALL_TOKENS]));
        // A device computes in the background: the first call waits until the prompt has been read.
        let start = TokenBatch::new(&[[start]], pad);
        let first = fastest(PROMPT_READS, || call(model, &mut prefill(), &start));
        let seconds_per_token = ((long - short) / (LONG_CALL_TOKENS - 1) as f64).max(0.0);
        Self {
            seconds_per_call: (short - seconds_per_token).max(0.0),
            seconds_per_token,
            seconds_per_prompt_token: Some(((first - short) / prompt.len() as f64).max(0.0)),
        }
    }

    /// The time of a model's work at batch size 1, seconds. Reading the prompts is not included.
    pub fn seconds(&self, used: ModelUse) -> f64 {
        self.seconds_per_call * used.calls as f64 + self.seconds_per_token * used.tokens_processed as f64
    }

    /// The time that a model takes to read its prompts, seconds. None if it was not measured.
    pub fn prompt_seconds(&self, used: ModelUse) -> Option<f64> {
        Some(self.seconds_per_prompt_token? * used.prompt_tokens as f64)
    }
}

impl PairCost {
    /// The same costs, except that each call of the teacher takes the time of its call with one token, however many tokens
    /// it reads.
    #[must_use]
    pub fn with_equal_teacher_calls(self) -> Self {
        let seconds_per_call = self.teacher.seconds_per_call + self.teacher.seconds_per_token;
        Self { teacher: CallCost { seconds_per_call, seconds_per_token: 0.0, ..self.teacher }, ..self }
    }

    /// The modelled time per token at batch size 1, divided by the time per token of the teacher alone.
    ///
    /// With c calls and n tokens processed by the student (s) and the teacher (t), a seconds per call, b seconds per
    /// token, and N tokens of text:
    ///
    /// ```text
    /// latency = (a_s c_s + b_s n_s + a_t c_t + b_t n_t) / (N (a_t + b_t))
    /// ```
    pub fn latency(&self, stats: &DecodeStats) -> f64 {
        let seconds = self.student.seconds(stats.student) + self.teacher.seconds(stats.teacher);
        seconds / self.teacher_alone(stats)
    }

    /// The time that both models take to read their prompts, in the unit of [`latency`](Self::latency), which does not include
    /// it. None if it was not measured.
    ///
    /// A teacher reads the prompts of all texts of a batch as soon as one of them asks. So this is exact for texts that were
    /// decoded alone, and an upper bound for others.
    pub fn prompt_latency(&self, stats: &DecodeStats) -> Option<f64> {
        let seconds = self.student.prompt_seconds(stats.student)? + self.teacher.prompt_seconds(stats.teacher)?;
        Some(seconds / self.teacher_alone(stats))
    }

    /// The seconds that the teacher alone takes to write as many tokens, without reading prompts.
    fn teacher_alone(&self, stats: &DecodeStats) -> f64 {
        (self.teacher.seconds_per_call + self.teacher.seconds_per_token) * stats.tokens.max(1) as f64
    }
}

/// Reads `tokens` after the text in `context`, and waits for the logits.
fn call(model: &dyn LanguageModel, context: &mut Context, tokens: &TokenBatch) {
    let hidden = model.hidden(tokens, &[0], Positions::All, context);
    let _ = model.head(&hidden).into_data();
}

/// The shortest time of `work`, seconds.
fn fastest(times: usize, mut work: impl FnMut()) -> f64 {
    let mut fastest = f64::INFINITY;
    for _ in 0..times {
        let started = Instant::now();
        work();
        fastest = fastest.min(started.elapsed().as_secs_f64());
    }
    fastest
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use wheels_lm::TabularLm;

    use super::*;

    fn cost(seconds_per_call: f64, seconds_per_token: f64) -> CallCost {
        CallCost { seconds_per_call, seconds_per_token, seconds_per_prompt_token: None }
    }

    fn used(calls: u64, tokens_processed: u64) -> ModelUse {
        ModelUse { calls, tokens_processed, ..ModelUse::default() }
    }

    #[test]
    fn latency_is_relative_to_the_teacher_alone() {
        let pair = PairCost { student: cost(1.0, 0.0), teacher: cost(3.0, 1.0) };
        let stats = |student, teacher| DecodeStats { tokens: 10, student, teacher, ..DecodeStats::default() };
        assert_eq!(pair.latency(&stats(used(0, 0), used(10, 10))), 1.0);
        assert_eq!(pair.latency(&stats(used(10, 10), used(0, 0))), 0.25);
        // Two calls of the teacher that read nine tokens together.
        assert_eq!(pair.latency(&stats(used(10, 10), used(2, 9))), (10.0 + 6.0 + 9.0) / 40.0);
        assert_eq!(pair.with_equal_teacher_calls().latency(&stats(used(10, 10), used(2, 9))), (10.0 + 8.0) / 40.0);
    }

    #[test]
    fn prompts_are_apart_and_in_the_same_unit() {
        let read = |cost: CallCost, seconds| CallCost { seconds_per_prompt_token: Some(seconds), ..cost };
        let pair = PairCost { student: read(cost(1.0, 0.0), 0.25), teacher: read(cost(3.0, 1.0), 0.5) };
        let prompts = |prompt_tokens| ModelUse { prompt_tokens, ..used(10, 10) };
        let stats = DecodeStats { tokens: 10, student: prompts(40), teacher: prompts(20), ..DecodeStats::default() };
        assert_eq!(pair.prompt_latency(&stats), Some((10.0 + 10.0) / 40.0));
        assert_eq!(pair.latency(&stats), (10.0 + 40.0) / 40.0);
        assert_eq!(PairCost { student: cost(1.0, 0.0), ..pair }.prompt_latency(&stats), None);
    }

    #[test]
    fn the_measured_cost_of_a_model_is_not_negative() {
        let model = TabularLm::from_logits(5, 1, vec![0.0; 25], &Device::flex());
        let measured = CallCost::measure(&model, &[3, 4, 1]);
        let CallCost { seconds_per_call, seconds_per_token, seconds_per_prompt_token } = measured;
        assert!(seconds_per_prompt_token.is_some_and(|seconds| (0.0..1.0).contains(&seconds)));
        assert!(seconds_per_call >= 0.0 && seconds_per_token >= 0.0);
        assert!((0.0..1.0).contains(&(seconds_per_call + seconds_per_token)), "a table answers within a second");
        assert!(seconds_per_call + seconds_per_token > 0.0, "a call takes some time");
    }

    #[test]
    #[should_panic(expected = "the prompt is empty")]
    fn an_empty_prompt_panics() {
        CallCost::measure(&TabularLm::from_logits(5, 1, vec![0.0; 25], &Device::flex()), &[]);
    }
}
