//! A language model as an expert.

use rand_chacha::ChaCha8Rng;
use wheels_lm::LanguageModel;

use crate::policy::check_prompt;
use crate::reader::{Passage, Reader};
use crate::{Advice, Case, Consultation, DecodeError, Expert, Law, ModelUse, Question, Sampler, Standard, Vocabulary};

/// The tokens of each text for which a teacher's caches have room at first; they grow with the texts.
const ROOM: usize = 64;

/// A model that chooses the next token when it is asked.
///
/// It reads the prompts of a batch together, at the first question of any row: a batch that never asks costs nothing.
/// From then on every round of questions takes one forward, in which each row that asks catches up on the tokens
/// since its last question. Each answer is one token and costs 1; one that lets a closed text stand is none, and costs
/// the same.
///
/// Its regret is against its likeliest word, also where it answers by drawing. It never declines, unless it is told
/// what it can [`bear`](Self::bearing).
#[derive(Clone, Copy)]
pub struct Teacher<'m> {
    model: &'m dyn LanguageModel,
    sampler: Sampler,
    bears_nats: Option<f64>,
}

impl<'m> Teacher<'m> {
    /// A teacher that answers with its likeliest word.
    pub fn new(model: &'m dyn LanguageModel) -> Self {
        Self { model, sampler: Sampler::Greedy, bears_nats: None }
    }

    /// The same teacher with answers chosen by `sampler`.
    #[must_use]
    pub fn answering(self, sampler: Sampler) -> Self {
        Self { sampler, ..self }
    }

    /// The same teacher, who declines where its regret of the student's likeliest next word is so many nats at most.
    ///
    /// Asked everywhere it is the oracle of asking: at 0 nats help is given exactly where the two likeliest words differ.
    /// No student can ask like that, for the teacher reads every token.
    #[must_use]
    pub fn bearing(self, nats: f64) -> Self {
        Self { bears_nats: Some(nats), ..self }
    }
}

impl Expert for Teacher<'_> {
    fn consult<'a>(
        &'a self,
        cases: Vec<Case<'a>>,
        vocabulary: &'a Vocabulary,
    ) -> Result<Box<dyn Consultation + 'a>, DecodeError> {
        let spec = self.model.spec();
        self.sampler.check()?;
        if let Some(word) = vocabulary.last_word().filter(|&word| word as usize >= spec.vocab_size) {
            return Err(DecodeError::Vocabulary { word, vocab_size: spec.vocab_size });
        }
        if vocabulary.eos() != spec.eos {
            return Err(DecodeError::EndOfText { student: vocabulary.eos(), teacher: spec.eos });
        }
        for case in &cases {
            check_prompt(case.prompt_index, &case.prompt.expert, spec.vocab_size)?;
        }
        let rngs = cases.iter().map(|case| case.seed.rng()).collect();
        Ok(Box::new(Lesson { teacher: self, vocabulary, cases, rngs, reader: None }))
    }
}

/// A teacher's running state for one batch.
struct Lesson<'a> {
    teacher: &'a Teacher<'a>,
    vocabulary: &'a Vocabulary,
    cases: Vec<Case<'a>>,
    rngs: Vec<ChaCha8Rng>,
    /// From the first question on.
    reader: Option<Reader<'a>>,
}

impl Consultation for Lesson<'_> {
    fn answer(&mut self, questions: &[Question<'_>]) -> Result<Vec<Advice>, DecodeError> {
        let Teacher { model, sampler, bears_nats } = *self.teacher;
        let reader = self.reader.get_or_insert_with(|| {
            let prompts: Vec<&[u32]> = self.cases.iter().map(|case| case.prompt.expert.as_slice()).collect();
            Reader::open(model, &prompts, ROOM)
        });
        let mut logits = reader.read(&questions.iter().map(passage).collect::<Vec<_>>())?;
        // A teacher may know more words than its student, which could not read them.
        let known = self.vocabulary.size().min(model.spec().vocab_size);
        let mut laws = logits.chunks_exact_mut(model.spec().vocab_size);
        questions
            .iter()
            .map(|question| {
                let Passage { row, text, from } = passage(question);
                let mut advice = Advice { cost: 1.0, ..Advice::default() };
                for (position, logits) in (from..=text.len()).zip(laws.by_ref()) {
                    let law = Law::read(&mut logits[..known], self.vocabulary, &text[..position])
                        .ok_or_else(|| DecodeError::Logits { row: self.cases[row].prompt_index, step: position })?;
                    if !advice.tokens.is_empty() {
                        continue;
                    }
                    let rng = &mut self.rngs[row];
                    let answer = match (question.text.get(position), question.standard) {
                        (Some(&word), Standard::Chance(drafts)) => {
                            sampler.law(&law).judge(word, &drafts[position - question.review_from], rng)
                        }
                        (Some(&word), Standard::Regret(most)) if law.regret(word) <= most => None,
                        (Some(&word), Standard::Surprise(most)) if -law.log_prob(word) <= most => None,
                        _ => Some(sampler.choose(&law, rng).token),
                    };
                    let bears = |nats| question.word.is_some_and(|word| law.regret(word) <= nats);
                    if position == question.text.len() && bears_nats.is_some_and(bears) {
                        advice.cost = 0.0;
                    } else if let Some(token) = answer {
                        advice.tokens.push(token);
                        advice.back = question.text.len() - position;
                    }
                }
                Ok(advice)
            })
            .collect()
    }

    fn select_rows(&mut self, rows: &[usize]) {
        self.cases = rows.iter().map(|&row| self.cases[row]).collect();
        self.rngs = rows.iter().map(|&row| self.rngs[row].clone()).collect();
        if let Some(reader) = &mut self.reader {
            reader.select_rows(rows);
        }
    }

    fn used(&self) -> ModelUse {
        self.reader.as_ref().map(Reader::used).unwrap_or_default()
    }
}

/// What a teacher reads to answer: the text, and of a closed one all that decides its last token.
fn passage<'t>(question: &Question<'t>) -> Passage<'t> {
    let read = question.text.len() - usize::from(question.closing);
    Passage { row: question.row, text: &question.text[..read], from: question.review_from.min(read) }
}
