//! Small worlds to decode in. Each test file uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use burn::tensor::Device;
use proptest::prelude::*;
use rand::RngExt;
use wheels_decode::{
    Advice, Case, Consultation, DecodeError, Decoded, Expert, Question, Source, Trajectory, Vocabulary,
};
use wheels_lm::{LanguageModel, TabularLm, TabularLmConfig, TokenBatch};
use wheels_text::{HelpBudget, Prompt, Seed};

/// Words are 0 to 5; 1 ends a text.
pub const WORDS: usize = 6;
/// The first help token.
pub const HELP: u32 = WORDS as u32;
/// The mark that ends a text.
pub const EOS: u32 = 1;

pub fn prompt(ids: &[u32], budget: HelpBudget) -> Prompt {
    Prompt { student: ids.to_vec(), expert: ids.to_vec(), budget }
}

/// Prompts of different lengths and contents, all with one budget.
pub fn prompts(count: usize, budget: HelpBudget) -> Vec<Prompt> {
    let mut rng = Seed(count as u64).stream("prompts").rng();
    (0..count)
        .map(|_| {
            let length = rng.random_range(1..7);
            let mut ids: Vec<u32> = (0..length).map(|_| rng.random_range(2..WORDS as u32)).collect();
            ids.push(EOS);
            prompt(&ids, budget)
        })
        .collect()
}

/// A table of random logits that looks two tokens back, over the words and so many help tokens.
pub fn table(help_tokens: usize, seed: u64) -> TabularLm {
    let mut rng = Seed(seed).stream("table").rng();
    let vocab = WORDS + help_tokens;
    let logits = (0..vocab.pow(3)).map(|_| rng.random_range(-2.0..2.0)).collect();
    TabularLm::from_logits(vocab, 2, logits, &Device::flex())
}

/// A table whose every row is the same.
pub fn constant(logits: &[f32]) -> TabularLm {
    TabularLmConfig::new(logits.len(), 0).with_logits(logits.to_vec(), &Device::flex())
}

/// The logits after a prompt and a text, read from the start and without a cache.
pub fn logits_after(model: &dyn LanguageModel, prompt: &[u32], text: &[u32]) -> Vec<f32> {
    let mut context = model.prefill(&TokenBatch::new(&[prompt], model.spec().pad), 0);
    let tokens = [&context.starts(), text].concat();
    let logits = model.forward(&TokenBatch::new(&[tokens], model.spec().pad), &mut context).logits;
    let [_, time, vocab] = logits.dims();
    let all: Vec<f32> = logits.try_into_vec_as().unwrap();
    all[(time - 1) * vocab..].to_vec()
}

/// The likeliest word by its definition, help columns left out.
pub fn likeliest(logits: &[f32], words: usize) -> u32 {
    let mut best = 0;
    for word in 1..words {
        if logits[word] > logits[best] {
            best = word;
        }
    }
    best as u32
}

/// The model's greedy text, token by token, each from the start and without a cache; the end mark included.
pub fn greedy_by_hand(model: &dyn LanguageModel, prompt: &[u32], words: usize, max_tokens: usize) -> Vec<u32> {
    let mut text = Vec::new();
    while text.len() < max_tokens && text.last() != Some(&model.spec().eos) {
        text.push(likeliest(&logits_after(model, prompt, &text), words));
    }
    text
}

pub fn all_tokens(trajectory: &Trajectory) -> Vec<u32> {
    trajectory.steps.iter().map(|step| step.token).collect()
}

pub fn sources(trajectory: &Trajectory) -> Vec<Source> {
    trajectory.steps.iter().map(|step| step.source).collect()
}

/// Trajectories only: the parts of a result that a batch must not change.
pub fn texts(decoded: Result<Decoded, DecodeError>) -> Vec<Trajectory> {
    decoded.unwrap().trajectories
}

/// Any budget.
pub fn any_budget() -> impl Strategy<Value = HelpBudget> {
    prop_oneof![(0_u8..=100).prop_map(HelpBudget::percent), (0_u32..8).prop_map(HelpBudget::tokens)]
}

/// The most tokens of help that the first `length` tokens of a text may hold.
pub fn most(budget: HelpBudget, length: usize) -> usize {
    match budget {
        HelpBudget::Percent(percent) => (usize::from(percent) * length).div_ceil(100),
        HelpBudget::Tokens(tokens) => tokens as usize,
    }
}

/// An expert that knows one answer.
#[derive(Clone)]
pub struct Tool(pub Vec<u32>);

impl Expert for Tool {
    fn consult<'a>(&'a self, _: Vec<Case<'a>>, _: &'a Vocabulary) -> Result<Box<dyn Consultation + 'a>, DecodeError> {
        Ok(Box::new(self.clone()))
    }
}

impl Consultation for Tool {
    fn answer(&mut self, questions: &[Question<'_>]) -> Result<Vec<Advice>, DecodeError> {
        Ok(vec![Advice { tokens: self.0.clone(), cost: 2.5, ..Advice::default() }; questions.len()])
    }

    fn select_rows(&mut self, _: &[usize]) {}
}

/// An expert that is out.
pub struct Closed;

impl Expert for Closed {
    fn consult<'a>(&'a self, _: Vec<Case<'a>>, _: &'a Vocabulary) -> Result<Box<dyn Consultation + 'a>, DecodeError> {
        Ok(Box::new(Closed))
    }
}

impl Consultation for Closed {
    fn answer(&mut self, _: &[Question<'_>]) -> Result<Vec<Advice>, DecodeError> {
        Err(DecodeError::Expert("the line is dead".into()))
    }

    fn select_rows(&mut self, _: &[usize]) {}
}
