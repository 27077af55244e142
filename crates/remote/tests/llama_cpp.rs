//! The server of llama-cpp-python with a real model. `.ci/slow` starts it; without it, the test says that it is skipped.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use burn::tensor::Device;
use wheels_decode::{BudgetedDecoder, Decoder, Expert, Experts, HelpRule, Policy, Source, Verification};
use wheels_lm::TabularLmConfig;
use wheels_remote::{RemoteApi, RemoteConfig, RemoteTeacher, TokenExchange};
use wheels_text::{Example, GenerationConfig, HelpBudget, PromptTemplate, Seed, Tokenizer};

const PROMPT: &str = "The capital of France is";

#[test]
fn a_real_llama_cpp_server_writes_the_same_text_in_calls_as_at_once() {
    let Ok(url) = std::env::var("WHEELS_LLAMA_SERVER") else {
        eprintln!("skipped: WHEELS_LLAMA_SERVER does not name a server of llama-cpp-python with SmolLM2-135M-Instruct");
        return;
    };
    let folder = std::env::var("WHEELS_SMOLLM2").expect("WHEELS_SMOLLM2 names the model's folder");
    let tokenizer = Tokenizer::from_dir(folder).unwrap();
    let config = RemoteConfig::new(url, "smollm2".into()).with_span(5).with_concurrency(1).with_timeout_seconds(300.0);
    let teacher = RemoteTeacher::connect(config.clone(), &tokenizer).unwrap();
    // It takes no ids, and its log-probs of prompts are those of the next position.
    assert_eq!((teacher.features().api, teacher.features().tokens), (RemoteApi::Completions, TokenExchange::Text));
    assert!(teacher.check_verification(&Verification::LOSSLESS).is_err());

    // What the server writes at once. The student by itself would write commas.
    let template = PromptTemplate::default();
    let generation = GenerationConfig { max_new_tokens: 20, ..GenerationConfig::default() };
    let source = Example::new(PROMPT, "");
    let alone = teacher.write_texts(&template, &generation, &[source], Seed(0)).unwrap().examples()[0].target.clone();
    let vocab = tokenizer.vocab_size();
    let mut logits = vec![0.0; vocab];
    logits[tokenizer.encode(",").unwrap()[0] as usize] = 5.0;
    let student = TabularLmConfig::new(vocab, 0).with_logits(logits, &Device::flex());
    let policy = Policy::greedy(&student).with_help_rule(HelpRule::Always);
    let experts = || Experts::new().with(vocab as u32, &teacher);
    let decoder = BudgetedDecoder::new(policy, experts()).with_max_new_tokens(16);
    let prompt = template.prompt(&tokenizer, PROMPT, HelpBudget::percent(100)).unwrap();
    let text = &decoder.decode(&[prompt], Seed(0)).unwrap().trajectories[0];
    let written = tokenizer.decode(&text.tokens()).unwrap();
    eprintln!("at once {alone:?}, in calls {written:?}, {:?}", teacher.spending());
    assert!(text.failures.is_empty());
    assert_eq!(text.helped(), text.steps.len());
    // The calls end at words, so that the length differs.
    let shorter = written.len().min(alone.len());
    assert!(shorter > 20 && written.as_bytes()[..shorter] == alone.as_bytes()[..shorter], "{written:?} {alone:?}");

    let prompt = template.prompt(&tokenizer, PROMPT, HelpBudget::tokens(4)).unwrap();
    let text = &decoder.decode(&[prompt], Seed(0)).unwrap().trajectories[0];
    let helped = text.steps.iter().filter(|step| step.source == Source::Expert(0)).count();
    assert!((1..=4).contains(&helped), "{helped}");
}
