//! Small models, prompts and experts for the tests. Each test file uses some of them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use burn::tensor::Device;
use proptest::prelude::*;
use rand::RngExt;
use wheels_decode::{
    AcceptanceRule, DecodeError, Decoded, Distribution, Expert, ExpertSession, HelpRequest, HelpResponse, HelpRule,
    Observer, RequestInfo, Source, Step, Trajectory, Verification, Vocabulary,
};
use wheels_lm::{LanguageModel, TabularLm, TabularLmConfig, TokenBatch};
use wheels_text::{HelpBudget, Prompt, Seed};

/// The number of tokens that a text can contain: 0 to 5.
pub const TOKENS: usize = 6;
/// The first help token.
pub const HELP: u32 = TOKENS as u32;
/// The end-of-text token.
pub const EOS: u32 = 1;
/// A budget that allows help for every token.
pub const FULL: HelpBudget = HelpBudget::Percent(100);

/// A prompt with the same tokens for student and expert.
pub fn prompt(ids: &[u32], budget: HelpBudget) -> Prompt {
    Prompt { student: ids.to_vec(), expert: ids.to_vec(), budget }
}

/// Prompts of different lengths and contents, all with one budget.
pub fn prompts(count: usize, budget: HelpBudget) -> Vec<Prompt> {
    prompts_with(&vec![budget; count])
}

/// Prompts of different lengths and contents, one for each budget.
pub fn prompts_with(budgets: &[HelpBudget]) -> Vec<Prompt> {
    let mut rng = Seed(budgets.len() as u64).stream("prompts").rng();
    let mut prompts = Vec::with_capacity(budgets.len());
    for &budget in budgets {
        let length = rng.random_range(1..7);
        let mut ids: Vec<u32> = (0..length).map(|_| rng.random_range(2..TOKENS as u32)).collect();
        ids.push(EOS);
        prompts.push(prompt(&ids, budget));
    }
    prompts
}

/// A table of random logits, over the text tokens and `help_tokens` help tokens. The logits depend on the last two
/// tokens.
pub fn table(help_tokens: usize, seed: u64) -> TabularLm {
    let mut rng = Seed(seed).stream("table").rng();
    let vocab = TOKENS + help_tokens;
    let logits = (0..vocab.pow(3)).map(|_| rng.random_range(-2.0..2.0)).collect();
    TabularLm::from_logits(vocab, 2, logits, &Device::flex())
}

/// A model with the same logits after every text.
pub fn constant(logits: &[f32]) -> TabularLm {
    TabularLmConfig::new(logits.len(), 0).with_logits(logits.to_vec(), &Device::flex())
}

/// The logits after a prompt and a text, computed from the start and without a cache.
pub fn logits_after(model: &dyn LanguageModel, prompt: &[u32], text: &[u32]) -> Vec<f32> {
    let mut context = model.prefill(&TokenBatch::new(&[prompt], model.spec().pad), 0);
    let tokens = [&context.starts(), text].concat();
    let logits = model.forward(&TokenBatch::new(&[tokens], model.spec().pad), &mut context).logits;
    let [_, time, vocab] = logits.dims();
    let all: Vec<f32> = logits.try_into_vec_as().unwrap();
    all[(time - 1) * vocab..].to_vec()
}

/// The most likely of the first `tokens` tokens. Help tokens come after them.
pub fn most_likely(logits: &[f32], tokens: usize) -> u32 {
    let mut best = 0;
    for token in 1..tokens {
        if logits[token] > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// The model's greedy text with its end-of-text token. Each token is computed from the start and without a cache.
pub fn greedy_reference(model: &dyn LanguageModel, prompt: &[u32], tokens: usize, max_tokens: usize) -> Vec<u32> {
    let mut text = Vec::new();
    while text.len() < max_tokens && !text.last().is_some_and(|&last| model.spec().ends(last)) {
        text.push(most_likely(&logits_after(model, prompt, &text), tokens));
    }
    text
}

pub fn all_tokens(trajectory: &Trajectory) -> Vec<u32> {
    trajectory.steps.iter().map(|step| step.token).collect()
}

pub fn sources(trajectory: &Trajectory) -> Vec<Source> {
    trajectory.steps.iter().map(|step| step.source).collect()
}

/// The trajectories of a result.
pub fn texts(decoded: Result<Decoded, DecodeError>) -> Vec<Trajectory> {
    decoded.unwrap().trajectories
}

pub fn any_budget() -> impl Strategy<Value = HelpBudget> {
    prop_oneof![(0_u8..=100).prop_map(HelpBudget::percent), (0_u32..8).prop_map(HelpBudget::tokens)]
}

/// The largest number of helped tokens among the first `length` tokens of a text.
pub fn allowed(budget: HelpBudget, length: usize) -> usize {
    match budget {
        HelpBudget::Percent(percent) => (usize::from(percent) * length).div_ceil(100),
        HelpBudget::Tokens(tokens) => tokens as usize,
    }
}

/// An expert that gives every request the same response.
#[derive(Clone)]
pub struct FixedResponse(pub HelpResponse);

/// An expert that always answers with the same tokens.
pub fn fixed_answer(tokens: Vec<u32>) -> FixedResponse {
    FixedResponse(HelpResponse { tokens, cost: 2.5, ..HelpResponse::default() })
}

impl Expert for FixedResponse {
    fn open_session<'a>(
        &'a self,
        _: Vec<RequestInfo<'a>>,
        _: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
        Ok(Box::new(self.clone()))
    }
}

impl ExpertSession for FixedResponse {
    fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError> {
        Ok(vec![self.0.clone(); requests.len()])
    }

    fn select_rows(&mut self, _: &[usize]) {}
}

/// An expert that cannot answer.
pub struct Unavailable;

impl Expert for Unavailable {
    fn open_session<'a>(
        &'a self,
        _: Vec<RequestInfo<'a>>,
        _: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
        Ok(Box::new(Unavailable))
    }
}

impl ExpertSession for Unavailable {
    fn answer(&mut self, _: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError> {
        Err(DecodeError::Expert("the server does not respond".into()))
    }

    fn select_rows(&mut self, _: &[usize]) {}
}

/// An expert whose sessions can take new rows.
pub struct Patient(pub FixedResponse);

impl Expert for Patient {
    fn open_session<'a>(
        &'a self,
        _: Vec<RequestInfo<'a>>,
        _: &'a Vocabulary,
    ) -> Result<Box<dyn ExpertSession + 'a>, DecodeError> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

impl ExpertSession for Patient {
    fn answer(&mut self, requests: &[HelpRequest<'_>]) -> Result<Vec<HelpResponse>, DecodeError> {
        self.0.answer(requests)
    }

    fn select_rows(&mut self, _: &[usize]) {}

    fn can_append(&self) -> bool {
        true
    }

    fn append(&mut self, _: &[RequestInfo<'_>]) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// What an observer is told about one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Distribution(u32),
    RolledBack(usize),
    Step(Step),
}

/// Keeps what it is told, for each row.
pub struct Listener(pub Vec<Vec<Told>>);

impl Observer for Listener {
    fn distribution(&mut self, row: usize, distribution: &Distribution<'_>) {
        self.0[row].push(Told::Distribution(distribution.best()));
    }

    fn rolled_back(&mut self, row: usize, length: usize) {
        self.0[row].push(Told::RolledBack(length));
    }

    fn step(&mut self, row: usize, step: &Step) {
        self.0[row].push(Told::Step(*step));
    }
}

pub fn any_rule() -> impl Strategy<Value = HelpRule> {
    prop_oneof![
        Just(HelpRule::Always),
        Just(HelpRule::Never),
        Just(HelpRule::Learned),
        (0.0_f64..=1.0).prop_map(HelpRule::Random),
        (1_usize..5).prop_map(HelpRule::Every),
        (1_usize..5).prop_map(HelpRule::Adaptive),
    ]
}

pub fn any_verification() -> impl Strategy<Value = Verification> {
    let rule =
        prop_oneof![Just(AcceptanceRule::Regret), Just(AcceptanceRule::Surprise), Just(AcceptanceRule::Sampling)];
    let tolerance = prop_oneof![Just(0.0), Just(1.0), Just(f64::INFINITY)];
    (rule, tolerance, any::<bool>()).prop_map(|(rule, tolerance_nats, verify_end)| Verification {
        rule,
        tolerance_nats,
        verify_end,
    })
}
