//! Decoder-only models are distilled by the code that encoder-decoders use: every method, plain and chat prompts.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use serde_json::json;
use training_wheels::distill::{Decay, PriceFitConfig, RolloutConfig, TrainerConfig};
use training_wheels::lm::{FloatFormat, LlamaConfig, ModelSize};
use training_wheels::prelude::*;
use training_wheels::student::Student;
use training_wheels::text::{BudgetPlacement, ChatPrompt, Example, TokenizerConfig};
use training_wheels::{CalibrationConfig, Method};

/// Pairs of a number and the next one, in words.
fn numbers(count: usize) -> Dataset {
    let words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    let example = |index: usize| {
        let (first, second) = (words[index % 10], words[(index + index / 10) % 10]);
        Example::new(format!("{first} and {second}"), format!("{second} and {first}."))
    };
    (0..count).map(example).collect()
}

/// A folder with a tiny Llama whose rows are more than its tokens, and with a chat template.
fn teacher(folder: &Path, device: &Device) -> TextModel {
    let lines = numbers(100).into_iter().flat_map(|example| [example.source, example.target]);
    let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(320), lines).expect("a tokenizer");
    let config: LlamaConfig = serde_json::from_value(json!({
        "model_type": "llama", "vocab_size": 352, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": true, "initializer_range": 0.2,
        "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": null,
    }))
    .expect("a config");
    device.seed(5);
    let model = Student::new(Pretrained::Llama(config.init(device).expect("a model")));
    let (template, generation) = (PromptTemplate::default(), GenerationConfig::default().with_max_new_tokens(12));
    TextModel { model, tokenizer, template, generation, calibration: None, prices: None }
        .save(folder, FloatFormat::F32)
        .expect("a folder");
    let turns = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}\
                 {% if add_generation_prompt %}assistant: {% endif %}";
    fs::write(folder.join("tokenizer_config.json"), json!({ "chat_template": turns, "eos_token": "</s>" }).to_string())
        .expect("a file");
    TextModel::open(folder, device).expect("the folder opens")
}

fn config(steps: usize) -> DistillationConfig {
    let trainer = TrainerConfig::new(steps)
        .with_workers(1)
        .with_learning_rate(3e-3)
        .with_warmup_steps(1)
        .with_decay(Decay::Constant)
        .with_validate_every(steps);
    DistillationConfig::new()
        .with_trainer(trainer)
        .with_rollout(RolloutConfig::new(steps).with_batch_tokens(400).with_price_prompts(8))
        .with_max_tokens(64)
        .with_valid_texts(2)
        .with_report_budgets(vec![20])
        .with_prices(PriceFitConfig::new().with_texts(2))
        .with_calibration(CalibrationConfig::new().with_rates(vec![0.2]).with_max_trials(2).with_texts(2))
}

#[test]
fn every_method_trains_a_decoder_only_student() {
    let (scratch, device) = (tempfile::tempdir().expect("a folder"), Device::flex());
    let teacher = teacher(&scratch.path().join("teacher"), &device);
    assert_eq!(teacher.model.model.spec().vocab_size, teacher.tokenizer.vocab_size(), "unused rows have no logits");
    let size = ModelSize { width: 16, layers: 1, decoder_layers: None };
    let small = teacher.model.model.resized(size, &device).expect("a size");
    let student =
        TextModel { model: Student::new(small), ..teacher.clone() }.with_help_token("teacher").expect("a token");
    let (train, valid) = (numbers(40), numbers(4));
    for method in [
        Method::Supervised,
        Method::ForwardKl,
        Method::Sequence,
        Method::Gkd { beta: 0.5 },
        Method::Path,
        Method::AllAction,
        Method::Constrained,
    ] {
        let mut losses = Vec::new();
        let out = scratch.path().join(method.to_string().replace(':', "-"));
        let distilled = Distillation::new(student.clone(), &teacher)
            .config(config(6))
            .method(method)
            .on_step(|report| {
                losses.push(report.nll);
                std::ops::ControlFlow::Continue(())
            })
            .run(&train, &valid, &out)
            .unwrap_or_else(|error| panic!("{method}: {}", training_wheels::report(&error)));
        assert_eq!(losses.len(), 6, "{method}");
        if method == Method::Supervised {
            assert!(losses[5] < losses[0], "{method}: {losses:?}");
        }
        let asks = !distilled.budgets.is_empty();
        assert_eq!(asks, matches!(method, Method::Path | Method::AllAction | Method::Constrained), "{method}");
        let pair = Pair::open(&out, scratch.path().join("teacher"), &device).expect("the folder opens again");
        let answer = pair.generate("two and nine", HelpBudget::percent(50)).expect("an answer");
        assert!(2 * answer.helped <= answer.tokens + 1, "{method}: {} of {}", answer.helped, answer.tokens);
    }
}

#[test]
fn a_chat_student_reads_its_budget_in_the_user_or_the_system_turn() {
    let (scratch, device) = (tempfile::tempdir().expect("a folder"), Device::flex());
    let teacher = teacher(scratch.path(), &device);
    let student = teacher.clone().with_help_token("teacher").expect("a token");
    let chat = ChatPrompt { system: Some("Swap the numbers.".into()), ..ChatPrompt::default() };
    for (placement, expected) in [
        (BudgetPlacement::Before, "system: Swap the numbers.\nuser: {words} one and two\nassistant:"),
        (BudgetPlacement::System, "system: Swap the numbers.\n{words}\nuser: one and two\nassistant:"),
    ] {
        let template = PromptTemplate::default().with_chat(chat.clone()).with_budget(placement);
        let budget = HelpBudget::percent(20);
        let prompt = template.prompt(&student.tokenizer, "one and two", budget).expect("a prompt");
        let expert = student.tokenizer.decode(&prompt.expert).expect("a text");
        assert_eq!(expert.trim_end(), "system: Swap the numbers.\nuser: one and two\nassistant:");
        let text = student.tokenizer.decode(&prompt.student).expect("a text");
        assert_eq!(text.trim_end(), expected.replace("{words}", budget.words(0).trim()), "{placement:?}");

        let out = scratch.path().join(format!("{placement:?}"));
        let student = TextModel { template, ..student.clone() };
        let distilled = Distillation::new(student, &teacher).config(config(2));
        let distilled = distilled.run(&numbers(8), &numbers(2), &out).expect("a run");
        assert_eq!(distilled.pair.student.template.budget, placement);
        let opened = TextModel::open(&out, &device).expect("the folder opens");
        assert_eq!(opened.template, distilled.pair.student.template);
    }
}

#[test]
fn a_student_with_another_tokenizer_learns_from_texts_of_the_teacher() {
    let (scratch, device) = (tempfile::tempdir().expect("a folder"), Device::flex());
    let teacher = teacher(&scratch.path().join("teacher"), &device);
    let lines = numbers(100).into_iter().map(|example| example.target.to_uppercase());
    let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(290), lines).expect("a tokenizer");
    let student = TextModel { tokenizer, ..teacher.clone() };
    let error = match Pair::new(student.clone(), teacher.clone()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("the tokenizers differ"),
    };
    assert!(error.contains("the same tokenizer") && error.contains("write_texts"), "{error}");
    let texts = teacher.write_texts(numbers(3).examples(), Seed(1)).expect("texts");
    assert!(texts.iter().all(|example| !example.target.trim().is_empty()));
    for Example { target, .. } in &texts {
        student.tokenizer.encode_with_end(target).expect("any text has tokens");
    }
}
