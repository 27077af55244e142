//! What a server serves: a student with its teacher, or a model alone.

use training_wheels::decode::{BudgetUnit, BudgetedDecoder, HelpRule, Policy, Verification};
use training_wheels::lm::LanguageModel;
use training_wheels::remote::RemoteTeacher;
use training_wheels::text::Prompt;
use training_wheels::{Pair, TextModel};

use crate::{ServeError, ServerConfig};

/// The models of a server: a student and its teacher, or a model alone.
pub struct Served {
    /// A student without a teacher on this machine is a pair with itself.
    pub(crate) pair: Pair,
    teacher: ServedTeacher,
    /// The rule by which the student asks. None for its calibration or its help token.
    help_rule: Option<HelpRule>,
    /// What replaces the verification of the student's calibration.
    verification: Option<Verification>,
    unit: BudgetUnit,
}

/// Whom the student asks.
enum ServedTeacher {
    /// The teacher of the pair.
    Local,
    Remote(Box<RemoteTeacher>),
    None,
}

impl Served {
    /// A student and its teacher.
    pub fn pair(pair: Pair) -> Self {
        Self::new(pair, ServedTeacher::Local)
    }

    /// A student and a teacher behind another server. All texts that ask at the same time are sent to it together, and the
    /// others wait for the answers. If the teacher fails, the student finishes its texts alone.
    ///
    /// # Errors
    /// [`ServeError::Model`] if the student does not fit itself, which no model that opens does.
    pub fn remote(student: TextModel, teacher: RemoteTeacher) -> Result<Self, ServeError> {
        Ok(Self::new(Pair::with_itself(student)?, ServedTeacher::Remote(Box::new(teacher))))
    }

    /// A model alone: every budget but "0%" is refused. It can be the teacher of a student on another machine.
    ///
    /// # Errors
    /// [`ServeError::Model`] if the model does not fit itself, which no model that opens does.
    pub fn model(model: TextModel) -> Result<Self, ServeError> {
        Ok(Self::new(Pair::with_itself(model)?, ServedTeacher::None))
    }

    fn new(pair: Pair, teacher: ServedTeacher) -> Self {
        Self { pair, teacher, help_rule: None, verification: None, unit: BudgetUnit::Tokens }
    }

    /// Sets the rule by which the student asks, whatever the budget: for a student that has not learned to ask. Each text
    /// still keeps to its budget. None leaves what the student has learned.
    #[must_use]
    pub fn with_help_rule(self, rule: impl Into<Option<HelpRule>>) -> Self {
        Self { help_rule: rule.into(), ..self }
    }

    /// Sets what the teacher verifies, in place of what the student's calibration says. None leaves that.
    #[must_use]
    pub fn with_verification(self, verification: impl Into<Option<Verification>>) -> Self {
        Self { verification: verification.into(), ..self }
    }

    /// Sets what budgets count: tokens of the teacher, unless this says calls.
    #[must_use]
    pub fn with_budget_unit(self, unit: BudgetUnit) -> Self {
        Self { unit, ..self }
    }

    /// # Errors
    /// [`ServeError::Model`] if the student can ask neither by its help token, nor by a calibration, nor by a rule, or if the
    /// teacher cannot verify tokens as the calibration says.
    pub(crate) fn check(&self) -> Result<(), ServeError> {
        if self.has_teacher() && self.help_rule.is_none() {
            self.pair.check_asks()?;
        }
        match (&self.teacher, self.help_rule, self.verification) {
            (ServedTeacher::Remote(teacher), None, None) => Ok(self.pair.student.check_expert(teacher.as_ref())?),
            _ => Ok(()),
        }
    }

    /// Whether the teacher can read conversations: not if it is sent their text, which it would read as one message.
    pub(crate) fn reads_conversations(&self) -> bool {
        match &self.teacher {
            ServedTeacher::Remote(teacher) => teacher.reads_conversations(),
            ServedTeacher::Local | ServedTeacher::None => true,
        }
    }

    /// Whether the student can ask.
    pub(crate) fn has_teacher(&self) -> bool {
        !matches!(self.teacher, ServedTeacher::None)
    }

    /// What budgets count. None if each call of the teacher brings one token.
    pub(crate) fn counted(&self) -> Option<BudgetUnit> {
        matches!(self.teacher, ServedTeacher::Remote(_)).then_some(self.unit)
    }

    pub(crate) fn decoder(&self, config: &ServerConfig) -> BudgetedDecoder<'_> {
        let decoder = match &self.teacher {
            ServedTeacher::Local => self.pair.decoder_with(self.policy()),
            ServedTeacher::Remote(teacher) => self.pair.decoder_of(self.policy(), teacher.as_ref()),
            ServedTeacher::None => self.pair.student_alone(),
        };
        let decoder = decoder.with_verification(self.verification).with_budget_unit(self.unit);
        decoder.with_batch_size(config.batch_size).with_help_batch(config.help_batch).with_refill(1)
    }

    /// Whether the teacher verifies the student's tokens in a text, and can roll them back.
    pub(crate) fn verifies(&self, prompt: &Prompt) -> bool {
        let verification = self.verification.unwrap_or_else(|| self.policy().verification(prompt));
        self.has_teacher() && !verification.is_none()
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
