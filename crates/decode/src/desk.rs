//! Who answers to which help token.

use wheels_lm::ModelSpec;

use crate::{Advice, Case, Consultation, DecodeError, Expert, ModelUse, Question, Vocabulary};

/// The experts that a student can ask, each by a help token of its own.
///
/// The desk also knows the help tokens that nobody answers to, because a student must never write them as words.
/// An empty desk makes plain decoding.
#[derive(Default)]
pub struct HelpDesk<'a> {
    experts: Vec<(u32, Box<dyn Expert + 'a>)>,
    closed: Vec<u32>,
}

impl<'a> HelpDesk<'a> {
    /// A desk without experts.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same desk with one more expert, who answers to `help_token`.
    ///
    /// # Panics
    /// If the token is at the desk already.
    #[must_use]
    pub fn with(mut self, help_token: u32, expert: impl Expert + 'a) -> Self {
        self.must_be_new(help_token);
        self.experts.push((help_token, Box::new(expert)));
        self
    }

    /// The same desk with a help token that nobody answers to: a student that has learned to ask, left alone.
    ///
    /// # Panics
    /// If the token is at the desk already.
    #[must_use]
    pub fn closed(mut self, help_token: u32) -> Self {
        self.must_be_new(help_token);
        self.closed.push(help_token);
        self
    }

    /// Whether there is nobody to ask.
    pub fn is_empty(&self) -> bool {
        self.experts.is_empty()
    }

    /// The words and help tokens of a student with these logits.
    pub fn vocabulary(&self, student: &ModelSpec) -> Vocabulary {
        let staffed = self.experts.iter().map(|(token, _)| *token).collect();
        Vocabulary::new(student, staffed, self.closed.clone())
    }

    /// Begins to help with a batch of texts.
    pub(crate) fn open<'b>(
        &'b self,
        cases: &[Case<'b>],
        vocabulary: &'b Vocabulary,
    ) -> Result<Counter<'b>, DecodeError> {
        let consult = |(place, (_, expert)): (usize, &'b (u32, Box<dyn Expert + 'a>))| {
            let own = |case: &Case<'b>| Case { seed: case.seed.stream("expert").nth(place as u64), ..*case };
            expert.consult(cases.iter().map(own).collect(), vocabulary)
        };
        let consultations = self.experts.iter().enumerate().map(consult).collect::<Result<_, _>>()?;
        Ok(Counter { consultations })
    }

    fn must_be_new(&self, help_token: u32) {
        let taken = self.experts.iter().map(|(token, _)| token).chain(&self.closed).any(|&token| token == help_token);
        assert!(!taken, "help token {help_token} is at the desk already");
    }
}

/// The desk at work on one batch of texts.
pub(crate) struct Counter<'a> {
    consultations: Vec<Box<dyn Consultation + 'a>>,
}

/// A question and the expert whom it is for.
#[derive(Clone, Copy)]
pub(crate) struct Call<'t> {
    pub(crate) expert: usize,
    pub(crate) question: Question<'t>,
}

impl Counter<'_> {
    /// One advice for each of `rows` rows, each expert asked once for all rows that call it. Rows that do not call
    /// get none.
    pub(crate) fn answer(&mut self, calls: &[Call<'_>], rows: usize) -> Result<Vec<Advice>, DecodeError> {
        let mut answers = vec![Advice::default(); rows];
        for (expert, consultation) in self.consultations.iter_mut().enumerate() {
            let questions: Vec<Question<'_>> =
                calls.iter().filter(|call| call.expert == expert).map(|call| call.question).collect();
            if questions.is_empty() {
                continue;
            }
            let advice = consultation.answer(&questions)?;
            assert_eq!(advice.len(), questions.len(), "expert {expert} must answer every question once");
            for (question, advice) in questions.iter().zip(advice) {
                answers[question.row] = advice;
            }
        }
        Ok(answers)
    }

    /// Keeps the given rows, in that order.
    pub(crate) fn select_rows(&mut self, rows: &[usize]) {
        for consultation in &mut self.consultations {
            consultation.select_rows(rows);
        }
    }

    /// The work of all experts so far.
    pub(crate) fn used(&self) -> ModelUse {
        self.consultations.iter().map(|consultation| consultation.used()).sum()
    }
}
