//! What the log says about answers that cannot be used.
#![allow(clippy::unwrap_used)]

mod server;

use std::sync::Mutex;

use burn::tensor::Device;
use server::model::{Dialect, model_handler};
use server::{Fault, MODEL, MockServer};
use wheels_decode::{BudgetedDecoder, Decoder, Experts, FailureReason, HelpRule, Policy, Trajectory};
use wheels_lm::{TabularLm, TabularLmConfig};
use wheels_remote::{RemoteConfig, RemoteTeacher};
use wheels_text::{HelpBudget, Prompt, Seed, Tokenizer, TokenizerConfig};

/// What this crate has logged, above the level `debug`.
static LOG: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

struct Record;

impl log::Log for Record {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("wheels_remote")
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOG.lock().unwrap().push((record.level(), record.args().to_string()));
        }
    }
    fn flush(&self) {}
}

/// A model in which every token is followed by this one.
fn always(token: u32) -> TabularLm {
    let mut logits = vec![0.0; 270];
    logits[token as usize] = 5.0;
    TabularLmConfig::new(270, 0).with_logits(logits, &Device::flex())
}

/// Texts of four tokens of a student that always asks, one after the other.
fn decode(teacher: &RemoteTeacher, tokenizer: &Tokenizer, texts: usize) -> Vec<Trajectory> {
    let student = always(tokenizer.encode("e").unwrap()[0]);
    let policy = Policy::greedy(&student).with_help_rule(HelpRule::Always);
    let decoder = BudgetedDecoder::new(policy, Experts::new().with(270, teacher)).with_max_new_tokens(4);
    let prompt = Prompt { student: vec![5, 1], expert: vec![5, 1], budget: HelpBudget::percent(100) };
    decoder.decode(&vec![prompt; texts], Seed(0)).unwrap().trajectories
}

/// The only test of this program, because it sets the logger.
#[test]
fn answers_that_cannot_be_used_are_one_warning_and_no_pause() {
    log::set_logger(&Record).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let lines = ["the editor of the text".to_owned()];
    let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(270), lines).unwrap();
    let helped = tokenizer.encode("t").unwrap()[0];
    let server = MockServer::start(model_handler(always(helped), tokenizer.clone(), Dialect::VLLM));
    let config = RemoteConfig::new(server.url.clone(), MODEL.into()).with_retries(0).with_concurrency(1);
    let teacher = RemoteTeacher::connect(config, &tokenizer).unwrap();
    server.take_seen();
    LOG.lock().unwrap().clear();

    server.fail_next(&[
        Fault::Body("{\"choices\": []}"),
        Fault::Edit(|reply| reply["choices"][0]["logprobs"]["token_logprobs"] = vec![0.0; 9].into()),
        Fault::Edit(|reply| {
            reply["choices"][0]["logprobs"] = serde_json::Value::Null;
            reply["choices"][0]["text"] = "".into();
        }),
    ]);
    for text in decode(&teacher, &tokenizer, 3) {
        assert_eq!(text.failures[0].reason, FailureReason::InvalidReply);
        assert_eq!(text.helped(), 0);
    }
    assert_eq!(server.take_seen().len(), 3, "each text has called the server");
    let log = std::mem::take(&mut *LOG.lock().unwrap());
    assert!(matches!(&*log, [(log::Level::Warn, line)] if line.contains("it has no choices")), "{log:?}");

    assert_eq!(decode(&teacher, &tokenizer, 1)[0].tokens(), [helped; 4]);
    let log = std::mem::take(&mut *LOG.lock().unwrap());
    assert!(matches!(&*log, [(log::Level::Info, line)] if line.contains("answers again")), "{log:?}");
}
