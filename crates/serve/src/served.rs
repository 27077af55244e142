//! What a server serves: a pair, or a model alone.

use training_wheels::decode::{BudgetedDecoder, HelpRule, Policy};
use training_wheels::lm::LanguageModel;
use training_wheels::text::Prompt;
use training_wheels::{Pair, TextModel};

use crate::{ServeError, ServerConfig};

/// The models of a server: a student and its teacher, or a model alone.
pub struct Served {
    pub(crate) pair: Pair,
    /// Whether the student can ask its teacher. A model alone is a pair with itself in which it cannot.
    pub(crate) has_teacher: bool,
    /// The rule by which the student asks. None for its calibration or its help token.
    help_rule: Option<HelpRule>,
}

impl Served {
    /// A student and its teacher.
    ///
    /// # Errors
    /// [`ServeError::Model`] if the student can ask neither by its help token nor by a calibration.
    pub fn pair(pair: Pair) -> Result<Self, ServeError> {
        pair.check_asks()?;
        Ok(Self { pair, has_teacher: true, help_rule: None })
    }

    /// A student and its teacher, and the rule by which the student asks, whatever the budget: for a student that has not
    /// learned to ask. Each text still keeps to its budget.
    pub fn pair_with_help_rule(pair: Pair, rule: HelpRule) -> Self {
        Self { pair, has_teacher: true, help_rule: Some(rule) }
    }

    /// A model alone: every budget but "0%" is refused. It can be the teacher of a student on another machine.
    ///
    /// # Errors
    /// [`ServeError::Model`] if the model does not fit itself, which no model that opens does.
    pub fn model(model: TextModel) -> Result<Self, ServeError> {
        Ok(Self { pair: Pair::new(model.clone(), model)?, has_teacher: false, help_rule: None })
    }

    pub(crate) fn decoder(&self, config: &ServerConfig) -> BudgetedDecoder<'_> {
        let decoder = match self.has_teacher {
            true => self.pair.decoder_with(self.policy()),
            false => self.pair.student_alone(),
        };
        decoder.with_batch_size(config.batch_size).with_help_batch(config.help_batch).with_refill(1)
    }

    /// Whether the teacher verifies the student's tokens in a text, and can roll them back.
    pub(crate) fn verifies(&self, prompt: &Prompt) -> bool {
        self.has_teacher && !self.policy().verification(prompt).is_none()
    }

    /// The student's policy. A help rule replaces its calibration.
    fn policy(&self) -> Policy<'_> {
        let policy = self.pair.policy();
        self.help_rule.map_or(policy, |rule| policy.with_help_rule(rule))
    }

    /// Whether a model reads its prompt as the beginning of its text. An encoder-decoder does not.
    pub(crate) fn continues_prompts(&self) -> bool {
        !self.pair.student.model.model.is_encoder_decoder()
    }

    /// The number of tokens that both models can read.
    pub(crate) fn vocab_size(&self) -> usize {
        let [student, teacher] = [&self.pair.student, &self.pair.teacher].map(|model| model.model.spec().vocab_size);
        student.min(teacher)
    }
}
