//! A remote teacher writes the texts of the same teacher on this machine, token for token.
#![allow(clippy::unwrap_used)]

mod server;

use burn::tensor::Device;
use server::model::{Dialect, model_handler};
use server::{MODEL, MockServer};
use wheels_decode::{
    AcceptanceRule, BudgetUnit, BudgetedDecoder, DecodeError, Decoder, Expert, Experts, HelpRule, Policy, Sampler,
    Teacher, Trajectory, Verification,
};
use wheels_lm::TabularLm;
use wheels_remote::{RemoteConfig, RemoteError, RemoteTeacher, ServerFeatures, TextLogProbs, TokenExchange};
use wheels_text::{HelpBudget, Prompt, Seed, Tokenizer, TokenizerConfig};

/// The number of tokens, without the help token.
const TOKENS: usize = 262;
const HELP: u32 = TOKENS as u32;
/// Special tokens that no text has: padding, and unknown characters.
const CLOSED: [u32; 2] = [0, 2];

fn tokenizer() -> Tokenizer {
    let lines = ["the the the the editor".to_owned()];
    Tokenizer::train(TokenizerConfig::default().with_vocab_size(TOKENS), lines).unwrap()
}

/// A table of logits that depend on the last token. Some of the most likely tokens may not be written. If `named`, tokens
/// without a text of their own, which are parts of characters, are unlikely.
fn table(columns: usize, seed: u64, named: bool) -> TabularLm {
    let tokenizer = tokenizer();
    let has_name =
        |token| token as usize >= TOKENS || !tokenizer.decode(&[token]).unwrap().contains(char::REPLACEMENT_CHARACTER);
    let named: Vec<bool> = (0..columns as u32).map(|token| !named || has_name(token)).collect();
    let mut logits = Vec::with_capacity(columns * columns);
    for state in 0..columns as u64 {
        let row = Seed(seed).nth(state);
        // Differences of 1/64 are exact in f32, and rarely equal.
        let logit = |token: usize| (row.nth(token as u64).0 % 640) as f32 / 64.0;
        logits.extend((0..columns).map(|token| if named[token] { logit(token) } else { -9.0 }));
    }
    TabularLm::from_logits(columns, 1, logits, &Device::flex())
}

fn prompts(budget: HelpBudget) -> Vec<Prompt> {
    let mut prompts = Vec::new();
    for length in 1..8_u32 {
        let ids: Vec<u32> = (0..length).map(|at| 3 + (length * 31 + at * 7) % 250).chain([1]).collect();
        prompts.push(Prompt { student: ids.clone(), expert: ids, budget });
    }
    prompts
}

struct Setup {
    student: TabularLm,
    teacher: TabularLm,
    tokenizer: Tokenizer,
}

impl Setup {
    fn new() -> Self {
        Self::with_names(false)
    }

    fn with_names(named: bool) -> Self {
        Self { student: table(TOKENS + 1, 1, named), teacher: table(TOKENS, 2, named), tokenizer: tokenizer() }
    }

    fn connect(&self, dialect: Dialect, configure: impl Fn(RemoteConfig) -> RemoteConfig) -> RemoteTeacher {
        let server = MockServer::start(model_handler(self.teacher.clone(), self.tokenizer.clone(), dialect));
        RemoteTeacher::connect(configure(RemoteConfig::new(server.url, MODEL.into())), &self.tokenizer).unwrap()
    }

    fn decode<'a>(
        &'a self,
        expert: impl Expert + 'a,
        budget: HelpBudget,
        rule: HelpRule,
        set: impl Fn(BudgetedDecoder<'a>) -> BudgetedDecoder<'a>,
    ) -> Result<Vec<Trajectory>, DecodeError> {
        let experts =
            CLOSED.iter().fold(Experts::new().with(HELP, expert), |experts, id| experts.with_closed_token(*id));
        let policy = Policy::greedy(&self.student).with_help_rule(rule);
        let decoder = BudgetedDecoder::new(policy, experts).with_max_new_tokens(12).with_no_repeat_ngram_size(2);
        set(decoder).decode(&prompts(budget), Seed(3)).map(|decoded| decoded.trajectories)
    }
}

#[test]
fn texts_equal_those_of_a_local_teacher_at_every_budget() {
    for dialect in [Dialect::VLLM, Dialect::PLAIN] {
        let setup = Setup::with_names(!dialect.names_ids);
        let remote = setup.connect(dialect, |config| config);
        assert_eq!(remote.features().tokens, TokenExchange::Ids);
        for budget in [HelpBudget::percent(0), HelpBudget::percent(20), HelpBudget::percent(100), HelpBudget::tokens(3)]
        {
            for rule in [HelpRule::Every(2), HelpRule::Always] {
                let local = setup.decode(Teacher::new(&setup.teacher), budget, rule, |decoder| decoder).unwrap();
                let found = setup.decode(&remote, budget, rule, |decoder| decoder).unwrap();
                assert_eq!(found, local, "{dialect:?} {budget} {rule:?}");
            }
        }
    }
}

#[test]
fn verified_texts_equal_those_of_a_local_teacher() {
    let by_prompt_log_probs = Dialect { echo: false, ..Dialect::VLLM };
    for (dialect, way) in [
        (Dialect::VLLM, TextLogProbs::Echo),
        (Dialect::PLAIN, TextLogProbs::Echo),
        (by_prompt_log_probs, TextLogProbs::PromptLogprobs),
    ] {
        let setup = Setup::with_names(!dialect.names_ids);
        let remote = setup.connect(dialect, |config| config.with_top_log_probs(20));
        assert_eq!(remote.features().text_log_probs, way);
        for rule in [AcceptanceRule::Regret, AcceptanceRule::Surprise] {
            for (tolerance_nats, verify_end) in [(0.0, true), (0.5, false), (2.0, true)] {
                let verification = Verification { rule, tolerance_nats, verify_end };
                for budget in [HelpBudget::percent(30), HelpBudget::percent(100)] {
                    let found = setup
                        .decode(&remote, budget, HelpRule::Every(2), |d| d.with_verification(verification))
                        .unwrap();
                    let local = setup
                        .decode(Teacher::new(&setup.teacher), budget, HelpRule::Every(2), |d| {
                            d.with_verification(verification)
                        })
                        .unwrap();
                    match rule {
                        AcceptanceRule::Regret => assert_eq!(found, local, "{dialect:?} {verification:?} {budget}"),
                        // A local teacher leaves out the mass of the tokens that may not be written, and a server does not.
                        _ => assert!(found.iter().all(|text| text.failures.is_empty())),
                    }
                }
            }
        }
    }
}

#[test]
fn a_server_without_log_probs_of_texts_is_refused_for_verification_by_name() {
    let setup = Setup::new();
    let shifted = Dialect { shifted: true, prompt_logprobs: false, ..Dialect::VLLM };
    assert_eq!(setup.connect(shifted, |config| config).features().text_log_probs, TextLogProbs::None);
    let none = Dialect { echo: false, prompt_logprobs: false, ..Dialect::VLLM };
    let remote = setup.connect(none, |config| config);
    assert_eq!(remote.features().text_log_probs, TextLogProbs::None);
    let error = setup
        .decode(&remote, HelpBudget::percent(100), HelpRule::Every(2), |decoder| {
            decoder.with_verification(Verification::LOSSLESS)
        })
        .unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, DecodeError::CannotVerify { .. }), "{message}");
    assert!(message.contains("big at http://127.0.0.1") && message.contains("echo"), "{message}");

    // Speculative sampling needs whole distributions, and a sampling server draws none in the middle of a text.
    let remote = setup.connect(Dialect::VLLM, |config| config);
    let sampling = Verification { rule: AcceptanceRule::Sampling, ..Verification::LOSSLESS };
    for (teacher, verification) in [
        (&remote, sampling),
        (&setup.connect(Dialect::VLLM, |c| c).with_sampler(Sampler::plain()), Verification::LOSSLESS),
    ] {
        assert!(matches!(teacher.check_verification(&verification), Err(DecodeError::CannotVerify { .. })));
    }
    assert!(remote.check_verification(&Verification::LOSSLESS).is_ok());
}

#[test]
fn a_server_that_does_not_go_on_with_a_text_is_refused() {
    let setup = Setup::new();
    let restarts = Dialect { restarts: true, echo: false, prompt_logprobs: false, ..Dialect::VLLM };
    let server = MockServer::start(model_handler(setup.teacher.clone(), setup.tokenizer.clone(), restarts));
    let error = RemoteTeacher::connect(RemoteConfig::new(server.url, MODEL.into()), &setup.tokenizer).unwrap_err();
    assert!(matches!(error, RemoteError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("encoder-decoder"), "{error}");
}

#[test]
fn a_call_brings_several_tokens_and_a_budget_counts_tokens_or_calls() {
    let setup = Setup::new();
    let remote = setup.connect(Dialect::VLLM, |config| config.with_span(4));
    let teacher_text = setup
        .decode(Teacher::new(&setup.teacher), HelpBudget::percent(100), HelpRule::Always, |decoder| decoder)
        .unwrap();
    let spans = setup.decode(&remote, HelpBudget::percent(100), HelpRule::Always, |decoder| decoder).unwrap();
    for (spans, alone) in spans.iter().zip(&teacher_text) {
        assert_eq!(spans.tokens(), alone.tokens());
    }
    for text in setup.decode(&remote, HelpBudget::tokens(6), HelpRule::Always, |decoder| decoder).unwrap() {
        assert_eq!(text.helped(), 6.min(text.steps.len()));
    }
    for text in setup
        .decode(&remote, HelpBudget::tokens(2), HelpRule::Always, |d| d.with_budget_unit(BudgetUnit::Calls))
        .unwrap()
    {
        assert_eq!(text.helped(), 8.min(text.steps.len()));
        assert_eq!(text.cost(), 2_f32.min(text.steps.len().div_ceil(4) as f32));
    }
}

#[test]
fn features_can_be_given_and_then_no_request_is_sent_before_help() {
    let setup = Setup::new();
    let found = setup.connect(Dialect::VLLM, |config| config).features();
    let server = MockServer::start(model_handler(setup.teacher.clone(), setup.tokenizer.clone(), Dialect::VLLM));
    let config = RemoteConfig::new(server.url.clone(), MODEL.into()).with_features(Some(found));
    let remote = RemoteTeacher::connect(config.clone(), &setup.tokenizer).unwrap();
    assert!(server.take_seen().is_empty());
    let found = setup.decode(&remote, HelpBudget::percent(20), HelpRule::Always, |decoder| decoder).unwrap();
    assert_eq!(
        found,
        setup
            .decode(Teacher::new(&setup.teacher), HelpBudget::percent(20), HelpRule::Always, |decoder| decoder)
            .unwrap()
    );
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<RemoteConfig>(&json).unwrap(), config);
    let features: ServerFeatures = serde_json::from_value(serde_json::to_value(remote.features()).unwrap()).unwrap();
    assert_eq!(features, remote.features());
}
