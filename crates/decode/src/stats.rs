//! The work of decoding.

use std::fmt;
use std::iter::Sum;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The work of decoding a set of texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecodeStats {
    /// Steps of all texts, end-of-text tokens included.
    pub tokens: u64,
    /// Steps at which the policy asked, even if the budget had no room or the step was rolled back later, plus the
    /// calls that verified the end of a text.
    pub help_asked: u64,
    /// The charges of all ledgers: steps whose token an expert chose (or answers, with
    /// [`BudgetUnit::Calls`](crate::BudgetUnit)), plus calls that accepted the end of a text.
    pub help_given: u64,
    /// The student's tokens that experts rolled back; see [`Verification`](crate::Verification).
    #[serde(alias = "redrafted")]
    pub rolled_back: u64,
    /// The work of the policy's model; all zeros if the policy is the expert itself.
    pub student: ModelUse,
    /// The work of all experts.
    pub teacher: ModelUse,
    /// Wall time. It is serialised in seconds.
    #[serde(with = "seconds")]
    pub elapsed: Duration,
}

/// The work of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUse {
    /// Batches of prompts that were read.
    pub prefills: u64,
    /// Tokens of these prompts, without padding.
    pub prompt_tokens: u64,
    /// Batched forward passes after the prompts.
    pub forwards: u64,
    /// Rows of these passes. With a batch size of 1 it equals `forwards`.
    pub calls: u64,
    /// Tokens of these rows. Each text's start token counts, and padding does not.
    pub tokens_processed: u64,
    /// Bytes of logits, and of numbers computed from them, that the host read.
    #[serde(default)]
    pub bytes_read: u64,
}

impl DecodeStats {
    /// The help rate: help given per step, 0 to 1.
    pub fn help_rate(&self) -> f64 {
        self.per_token(self.help_given)
    }

    /// Help asked per step. It can exceed 1 if many steps were rolled back.
    pub fn asked_rate(&self) -> f64 {
        self.per_token(self.help_asked)
    }

    /// Expert calls per step.
    pub fn teacher_calls_per_token(&self) -> f64 {
        self.per_token(self.teacher.calls)
    }

    /// Tokens that experts read per step, without their prompts.
    pub fn teacher_tokens_processed_per_token(&self) -> f64 {
        self.per_token(self.teacher.tokens_processed)
    }

    /// Calls of the student per step: less than 1 if answers of several tokens saved calls, more than 1 if rollbacks
    /// cost calls.
    pub fn student_steps_per_token(&self) -> f64 {
        self.per_token(self.student.calls)
    }

    /// Steps per second.
    pub fn tokens_per_second(&self) -> f64 {
        match self.elapsed.as_secs_f64() {
            0.0 => 0.0,
            seconds => self.tokens as f64 / seconds,
        }
    }

    fn per_token(&self, count: u64) -> f64 {
        match self.tokens {
            0 => 0.0,
            tokens => count as f64 / tokens as f64,
        }
    }
}

impl fmt::Display for DecodeStats {
    /// Four lines of text: help, the work of the student and of the teacher, and time. The help used can be less than the
    /// student asked for, because budgets can be enforced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [used, asked] = [self.help_rate(), self.asked_rate()].map(|rate| 100.0 * rate);
        writeln!(f, "help     used {used:.1}% of {} tokens; the student asked for {asked:.1}%", self.tokens)?;
        writeln!(f, "student  {}", self.student)?;
        writeln!(f, "teacher  {}", self.teacher)?;
        write!(f, "time     {:.2} s, {:.0} tokens/s", self.elapsed.as_secs_f64(), self.tokens_per_second())
    }
}

impl fmt::Display for ModelUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { forwards, tokens_processed, prompt_tokens, .. } = self;
        let plural = |count: &u64| if *count == 1 { "" } else { "s" };
        let passes = if *forwards == 1 { "pass" } else { "passes" };
        write!(
            f,
            "{forwards} forward {passes}, {tokens_processed} token{} processed, {prompt_tokens} prompt token{}",
            plural(tokens_processed),
            plural(prompt_tokens)
        )
    }
}

impl AddAssign for DecodeStats {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.help_asked += other.help_asked;
        self.help_given += other.help_given;
        self.rolled_back += other.rolled_back;
        self.student += other.student;
        self.teacher += other.teacher;
        self.elapsed += other.elapsed;
    }
}

impl AddAssign for ModelUse {
    fn add_assign(&mut self, other: Self) {
        self.prefills += other.prefills;
        self.prompt_tokens += other.prompt_tokens;
        self.forwards += other.forwards;
        self.calls += other.calls;
        self.tokens_processed += other.tokens_processed;
        self.bytes_read += other.bytes_read;
    }
}

impl Sum for DecodeStats {
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        stats.fold(Self::default(), |mut total, each| {
            total += each;
            total
        })
    }
}

impl Sum for ModelUse {
    fn sum<I: Iterator<Item = Self>>(uses: I) -> Self {
        uses.fold(Self::default(), |mut total, each| {
            total += each;
            total
        })
    }
}

/// Serialises a duration as a number of seconds.
mod seconds {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        elapsed.as_secs_f64().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> DecodeStats {
        let student =
            ModelUse { prefills: 1, prompt_tokens: 6, forwards: 4, calls: 8, tokens_processed: 8, bytes_read: 64 };
        let teacher =
            ModelUse { prefills: 1, prompt_tokens: 5, forwards: 2, calls: 2, tokens_processed: 6, bytes_read: 32 };
        let elapsed = Duration::from_millis(1500);
        DecodeStats { tokens: 8, help_asked: 3, help_given: 2, rolled_back: 1, student, teacher, elapsed }
    }

    #[test]
    fn rates_are_per_token() {
        let stats = some();
        assert_eq!(stats.help_rate(), 0.25);
        assert_eq!(stats.asked_rate(), 0.375);
        assert_eq!(stats.teacher_calls_per_token(), 0.25);
        assert_eq!(stats.teacher_tokens_processed_per_token(), 0.75);
        assert_eq!(stats.student_steps_per_token(), 1.0);
        assert_eq!(DecodeStats::default().help_rate(), 0.0);
    }

    #[test]
    fn stats_add_up() {
        let total: DecodeStats = [some(), some()].into_iter().sum();
        assert_eq!((total.tokens, total.rolled_back, total.student.tokens_processed), (16, 2, 16));
        assert_eq!(total.help_rate(), some().help_rate());
        assert_eq!(total.tokens_per_second(), some().tokens_per_second());
    }

    #[test]
    fn one_pass_is_no_plural() {
        let work = ModelUse { forwards: 1, tokens_processed: 1, prompt_tokens: 2, ..ModelUse::default() };
        assert_eq!(work.to_string(), "1 forward pass, 1 token processed, 2 prompt tokens");
        assert!(some().student.to_string().starts_with("4 forward passes, 8 tokens processed"));
    }

    #[test]
    fn time_is_serialised_in_seconds() {
        let json = serde_json::to_value(some()).expect("stats are JSON");
        assert_eq!(json["elapsed"], 1.5);
        assert_eq!(serde_json::from_value::<DecodeStats>(json).expect("stats are read back"), some());
    }
}
