//! What decoding took.

use std::iter::Sum;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a number of texts took to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecodeStats {
    /// Steps of all texts, end-of-text marks included.
    pub tokens: u64,
    /// Steps at which the policy wanted help, granted or not, also in what was thrown away; and closing calls.
    pub help_asked: u64,
    /// Steps whose token an expert chose, and closing calls that changed nothing: what the ledgers were charged.
    pub help_given: u64,
    /// The student's tokens that experts took back; see [`Hindsight`](crate::Hindsight).
    pub redrafted: u64,
    /// The work of the policy's model.
    pub student: ModelUse,
    /// The work of the experts, all together.
    pub teacher: ModelUse,
    /// Wall time; in seconds where it is written out.
    #[serde(with = "seconds")]
    pub elapsed: Duration,
}

/// The work of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUse {
    /// Batches of prompts read.
    pub prefills: u64,
    /// Tokens of those prompts, padding not counted.
    pub prompt_tokens: u64,
    /// Batched forward passes after the prompts.
    pub forwards: u64,
    /// Rows of those passes: what the passes would be at batch 1.
    pub calls: u64,
    /// Tokens of those rows, each text's start token included and padding not counted.
    pub tokens_processed: u64,
}

impl DecodeStats {
    /// Help given for each step, 0 to 1.
    pub fn help_rate(&self) -> f64 {
        self.per_token(self.help_given)
    }

    /// Help asked for each step; 0 to 1, and more where much was redrafted.
    pub fn asked_rate(&self) -> f64 {
        self.per_token(self.help_asked)
    }

    /// How often experts were called for each step.
    pub fn teacher_calls_per_token(&self) -> f64 {
        self.per_token(self.teacher.calls)
    }

    /// How many tokens experts read for each step, their prompts not counted.
    pub fn teacher_tokens_processed_per_token(&self) -> f64 {
        self.per_token(self.teacher.tokens_processed)
    }

    /// How often the policy's model was called for each step: 1, unless longer advice saved it some or hindsight took
    /// some back.
    pub fn student_steps_per_token(&self) -> f64 {
        self.per_token(self.student.calls)
    }

    /// Steps a second.
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

impl AddAssign for DecodeStats {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.help_asked += other.help_asked;
        self.help_given += other.help_given;
        self.redrafted += other.redrafted;
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

/// A duration as a number of seconds.
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
        let student = ModelUse { prefills: 1, prompt_tokens: 6, forwards: 4, calls: 8, tokens_processed: 8 };
        let teacher = ModelUse { prefills: 1, prompt_tokens: 5, forwards: 2, calls: 2, tokens_processed: 6 };
        let elapsed = Duration::from_millis(1500);
        DecodeStats { tokens: 8, help_asked: 3, help_given: 2, redrafted: 1, student, teacher, elapsed }
    }

    #[test]
    fn rates_are_for_each_token() {
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
        assert_eq!((total.tokens, total.redrafted, total.student.tokens_processed), (16, 2, 16));
        assert_eq!(total.help_rate(), some().help_rate());
        assert_eq!(total.tokens_per_second(), some().tokens_per_second());
    }

    #[test]
    fn time_is_written_in_seconds() {
        let json = serde_json::to_value(some()).expect("stats are JSON");
        assert_eq!(json["elapsed"], 1.5);
        assert_eq!(serde_json::from_value::<DecodeStats>(json).expect("stats are read back"), some());
    }
}
