//! Tests of failures that no request can cause.

use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use training_wheels::TextModel;
use training_wheels::lm::{BartConfig, Pretrained};
use training_wheels::student::Student;
use training_wheels::text::{GenerationConfig, HelpBudget, Prompt, PromptTemplate, Seed, Tokenizer, TokenizerConfig};

use super::*;

/// A tiny BART with random weights, which panics if a prompt has more than 8 tokens.
fn bart() -> TextModel {
    let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), ["a".to_owned()]);
    let config = BartConfig {
        vocab_size: 259,
        d_model: 8,
        encoder_layers: 1,
        decoder_layers: 1,
        encoder_attention_heads: 2,
        decoder_attention_heads: 2,
        encoder_ffn_dim: 8,
        decoder_ffn_dim: 8,
        max_position_embeddings: 8,
        ..BartConfig::default()
    };
    TextModel {
        model: Student::new(Pretrained::Bart(config.init(&Device::flex()).expect("a model"))),
        tokenizer: tokenizer.expect("a tokenizer"),
        template: PromptTemplate::default(),
        generation: GenerationConfig::default().with_max_new_tokens(4),
        calibration: None,
        prices: None,
    }
}

/// Longer than any test.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// A text after a prompt of this number of tokens, and what its client is sent.
pub(super) fn job(tokens: usize, timeout: Duration) -> (Job, UnboundedReceiver<(usize, Event)>) {
    let (reply, events) = unbounded_channel();
    let prompt = Prompt { student: vec![100; tokens], expert: vec![100; tokens], budget: HelpBudget::percent(0) };
    let deadline = Instant::now() + timeout;
    (Job { index: 0, prompt, options: JobOptions::default(), seed: Seed(0), deadline, reply }, events)
}

/// The last event of a text. None if its row was lost.
fn last(mut events: UnboundedReceiver<(usize, Event)>) -> Option<Event> {
    let mut last = None;
    while let Some((_, event)) = events.blocking_recv() {
        last = Some(event);
    }
    last
}

#[test]
fn a_panic_of_a_model_ends_the_texts_with_it_and_the_next_ones_are_written() {
    let queue = Arc::new(Queue::new(9));
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let served = Served::model(bart()).expect("a model");
    let engine = Engine::new(served, ServerConfig::default(), queue.clone(), metrics.clone()).expect("an engine");
    thread::scope(|scope| {
        scope.spawn(|| engine.run());
        for round in 1..=2 {
            let ((bad, bad_events), (good, good_events)) = (job(9, LONG), job(8, LONG));
            queue.push(vec![bad]).expect("room");
            assert!(last(bad_events).is_none_or(|event| matches!(event, Event::Failed(Failure::Model(_)))));
            queue.push(vec![good]).expect("room");
            assert!(matches!(last(good_events), Some(Event::Done(..))), "round {round}");
            assert_eq!(metrics.restarts.get(), round);
        }
        queue.enter(Phase::Closing);
    });
}

#[test]
fn a_text_that_the_session_refuses_fails_alone() {
    let queue = Arc::new(Queue::new(9));
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let served = Served::model(bart()).expect("a model");
    let engine = Engine::new(served, ServerConfig::default(), queue.clone(), metrics.clone()).expect("an engine");
    let ((empty, empty_events), (good, good_events)) = (job(0, LONG), job(3, LONG));
    queue.push(vec![empty, good]).expect("room");
    queue.enter(Phase::Closing);
    engine.run();
    assert!(matches!(last(empty_events), Some(Event::Failed(Failure::Model(_)))));
    assert!(matches!(last(good_events), Some(Event::Done(..))));
    assert_eq!(metrics.restarts.get(), 0);
}
