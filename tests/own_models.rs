//! Models as users bring them: with more rows than tokens, with other end tokens, and without a tokenizer.json.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use burn::tensor::Device;
use serde_json::json;
use training_wheels::decode::{Calibration, CalibrationPoint};
use training_wheels::distill::{PriceFitConfig, RolloutConfig, TrainerConfig};
use training_wheels::lm::{BartConfig, FloatFormat, LlamaConfig, T5Config, TokenBatch, TokenIds};
use training_wheels::prelude::*;
use training_wheels::student::{Student, StudentConfig};
use training_wheels::text::{Example, TextError, TokenizerConfig};
use training_wheels::{CalibrationConfig, Method};

/// The number of tokens of all tokenizers here.
const TOKENS: u32 = 270;

fn tokenizer() -> Tokenizer {
    let lines = ["a text editor", "un editor di testo", "a web browser", "un browser web"].map(str::to_owned);
    let config = TokenizerConfig { vocab_size: TOKENS as usize, min_frequency: 1 };
    let tokenizer = Tokenizer::train(config, lines).unwrap();
    assert_eq!(tokenizer.vocab_size(), TOKENS as usize);
    tokenizer
}

const FAMILIES: [&str; 3] = ["t5", "llama", "bart"];

/// A tiny model with random weights, which are always the same: the process has one random generator.
fn model(family: &str, rows: usize) -> Pretrained {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap();
    let device = Device::flex();
    device.seed(3);
    match family {
        "t5" => {
            let config =
                T5Config { vocab_size: rows, d_model: 32, d_kv: 8, d_ff: 64, num_layers: 1, ..T5Config::default() };
            Pretrained::T5(config.init(&device))
        }
        "llama" => {
            let config: LlamaConfig = serde_json::from_value(json!({
                "model_type": "llama", "vocab_size": rows, "hidden_size": 32, "intermediate_size": 64,
                "num_hidden_layers": 1, "num_attention_heads": 4, "tie_word_embeddings": true, "initializer_range": 0.2,
                "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": null,
            }))
            .unwrap();
            Pretrained::Llama(config.init(&device).unwrap())
        }
        _ => {
            let config = BartConfig {
                vocab_size: rows,
                d_model: 32,
                encoder_layers: 1,
                decoder_layers: 1,
                encoder_attention_heads: 4,
                decoder_attention_heads: 4,
                encoder_ffn_dim: 64,
                decoder_ffn_dim: 64,
                max_position_embeddings: 128,
                init_std: 0.2,
                pad_token_id: Some(0),
                bos_token_id: None,
                eos_token_id: Some(TokenIds::One(1)),
                decoder_start_token_id: Some(0),
                forced_eos_token_id: None,
                ..BartConfig::default()
            };
            Pretrained::Bart(config.init(&device).unwrap())
        }
    }
}

/// Saves a model with the tokenizer as a folder and opens it.
fn opened(model: Pretrained, folder: &Path) -> TextModel {
    let (model, template) = (Student::new(model), PromptTemplate::default());
    let generation = GenerationConfig::default().with_max_new_tokens(12);
    TextModel { model, tokenizer: tokenizer(), template, generation, calibration: None, prices: None }
        .save(folder, FloatFormat::F32)
        .unwrap();
    TextModel::open(folder, &Device::flex()).unwrap()
}

/// The logits of the first token of a text.
fn logits(model: &TextModel) -> Vec<f32> {
    let mut context = model.model.prefill(&TokenBatch::new(&[vec![5, 6, 7, 1]], 0), 0);
    let start = TokenBatch::column(&context.starts());
    model.model.forward(&start, &mut context).logits.into_data().iter::<f32>().collect()
}

#[test]
fn a_help_token_takes_the_first_row_that_the_tokenizer_does_not_use_or_a_new_one() {
    for family in FAMILIES {
        for rows in [TOKENS as usize + 28, TOKENS as usize] {
            let scratch = tempfile::tempdir().unwrap();
            let before = opened(model(family, rows), &scratch.path().join("before"));
            assert_eq!(
                before.model.spec().vocab_size,
                TOKENS as usize,
                "{family}: rows past the tokens are not written"
            );
            let student = before.clone().with_help_token("teacher").unwrap();
            assert_eq!(student.tokenizer.help_token("teacher").unwrap(), TOKENS, "{family}");

            let folder = scratch.path().join("student");
            student.save(&folder, FloatFormat::F32).unwrap();
            let config: serde_json::Value =
                serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
            assert_eq!(config["vocab_size"], rows.max(TOKENS as usize + 1), "{family}");
            let again = TextModel::open(&folder, &Device::flex()).unwrap();
            assert_eq!(again.tokenizer.help_token("teacher").unwrap(), TOKENS, "{family}");
            let (before, after) = (logits(&before), logits(&again));
            assert_eq!((before.len(), after.len()), (TOKENS as usize, TOKENS as usize + 1), "{family}");
            let near = before.iter().zip(&after).all(|(before, after)| (before - after).abs() < 1e-5);
            assert!(near, "{family}: the other tokens keep their logits");
        }
    }
}

fn data() -> Dataset {
    let pairs = [("a text editor", "un editor di testo"), ("a web browser", "un browser web")];
    pairs.into_iter().cycle().take(12).map(|(source, target)| Example::new(source, target)).collect()
}

/// The losses of a short run, and the pair that it leaves.
fn distilled(method: Method, student: &TextModel, teacher: &TextModel, folder: &Path) -> (Vec<f64>, Pair) {
    let trainer = TrainerConfig::new(3).with_workers(1).with_warmup_steps(1).with_validate_every(3);
    let config = DistillationConfig::new()
        .with_trainer(trainer)
        .with_rollout(RolloutConfig::new(3).with_batch_tokens(200).with_price_prompts(4))
        .with_valid_texts(2)
        .with_report_budgets(vec![])
        .with_prices(PriceFitConfig::new().with_texts(2))
        .with_calibration(CalibrationConfig::new().with_rates(vec![0.5]).with_max_trials(1).with_texts(2));
    let mut losses = Vec::new();
    let distillation = Distillation::new(student.clone(), teacher).config(config).method(method).on_step(|report| {
        losses.push(report.loss);
        ControlFlow::Continue(())
    });
    let pair = distillation.run(&data(), &data(), folder).unwrap().pair;
    (losses, pair)
}

#[test]
fn students_and_teachers_with_different_numbers_of_rows_are_compared_over_their_tokens() {
    for family in FAMILIES {
        let scratch = tempfile::tempdir().unwrap();
        let drawn = model(family, TOKENS as usize);
        let plain = opened(drawn.clone(), &scratch.path().join("plain"));
        let mut asking = plain.clone().with_help_token("teacher").unwrap();
        asking.model = asking.model.with_heads(&StudentConfig::new(), TOKENS);
        asking.save(scratch.path().join("asking"), FloatFormat::F32).unwrap();
        let asking = TextModel::open(scratch.path().join("asking"), &Device::flex()).unwrap();
        // The same teacher and the same student with more rows, which no token uses.
        let of_rows = |rows: usize| opened(drawn.clone().with_vocab_size(rows), &scratch.path().join(rows.to_string()));
        let (few, many) = (TOKENS as usize + 4, TOKENS as usize + 52);
        let student_of_rows = |rows: usize| {
            let mut student = asking.clone();
            student.model.model = of_rows(rows).with_help_token("teacher").unwrap().model.model;
            student
        };
        for method in [Method::Constrained, Method::ForwardKl, Method::Gkd { beta: 0.5 }] {
            let run = |name: &str, student: &TextModel, teacher: &TextModel| {
                distilled(method, student, teacher, &scratch.path().join(format!("{name} {method}").replace(':', "-")))
            };
            let (expected, _) = run("plain", &asking, &plain);
            for (student, teacher) in [(few, many), (many, few)] {
                let name = format!("{student} and {teacher}");
                let (losses, pair) = run(&name, &student_of_rows(student), &of_rows(teacher));
                let near = losses.iter().zip(&expected).all(|(loss, expected)| (loss - expected).abs() < 1e-3);
                assert!(near, "{family}, {method}, {name}: {losses:?} and not {expected:?}");
                let answer = pair.generate("a text editor", HelpBudget::percent(50)).unwrap();
                assert!(2 * answer.helped <= answer.tokens + 1, "{family}: {answer:?}");
            }
        }
    }
}

#[test]
fn a_student_must_have_learned_to_ask_and_another_calibration_replaces_that() {
    let scratch = tempfile::tempdir().unwrap();
    let plain = opened(model("t5", TOKENS as usize), scratch.path());
    let missing = |pair: &Pair| match pair.check_asks() {
        Err(Error::CannotAsk { missing }) => missing,
        other => panic!("{other:?}"),
    };
    let mut pair = Pair::new(plain.clone(), plain.clone()).unwrap();
    assert!(missing(&pair).contains("<help:teacher>"));
    let budget = HelpBudget::percent(20);
    assert!(matches!(pair.generate("a text editor", budget), Err(Error::CannotAsk { .. })));
    assert!(pair.generate("a text editor", HelpBudget::percent(0)).is_ok(), "no help needs no help token");
    let points = vec![CalibrationPoint::new(0.2, 0.5)];
    pair.student.calibration = Some(Calibration::new(Confidence::MaxProb, points).unwrap());
    assert!(pair.check_asks().is_ok() && pair.check_help_token().is_err());
    assert!(pair.generate("a text editor", budget).is_ok());

    let mut student = plain.clone().with_help_token("teacher").unwrap();
    assert!(missing(&Pair::new(student.clone(), plain.clone()).unwrap()).contains("heads"));
    student.model = student.model.with_heads(&StudentConfig::new(), TOKENS);
    assert!(Pair::new(student.clone(), plain.clone()).unwrap().check_asks().is_ok());
    assert!(matches!(Pair::new(plain, student).unwrap().check_asks(), Err(Error::Swapped)));
}

#[test]
fn every_end_token_that_a_folder_names_ends_a_text() {
    for family in FAMILIES {
        let scratch = tempfile::tempdir().unwrap();
        let whole = opened(model(family, TOKENS as usize), scratch.path());
        let written = |model: &TextModel| {
            let prompt = model.template.prompt(&model.tokenizer, "a text", HelpBudget::percent(0)).unwrap();
            let decoded = model.decoder().decode(&[prompt], Seed(0)).unwrap();
            let text = &decoded.trajectories[0];
            (text.tokens(), text.is_truncated())
        };
        let (tokens, truncated) = written(&whole);
        assert!(truncated, "{family}: a model without training does not end its text");
        let end = *tokens.last().unwrap();
        let expected = tokens[..tokens.iter().position(|token| *token == end).unwrap()].to_vec();

        // The ids of both files end a text, and those that are null are none.
        let generation = json!({"max_new_tokens": 12, "eos_token_id": [1, end], "pad_token_id": null});
        fs::write(scratch.path().join("generation_config.json"), generation.to_string()).unwrap();
        assert_eq!(written(&TextModel::open(scratch.path(), &Device::flex()).unwrap()), (expected.clone(), false));
        let generation = json!({"max_new_tokens": 12, "eos_token_id": null});
        fs::write(scratch.path().join("generation_config.json"), generation.to_string()).unwrap();
        assert_eq!(written(&TextModel::open(scratch.path(), &Device::flex()).unwrap()), (tokens, true), "{family}");
        let path = scratch.path().join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["eos_token_id"] = json!([1, end]);
        fs::write(&path, config.to_string()).unwrap();
        assert_eq!(written(&TextModel::open(scratch.path(), &Device::flex()).unwrap()), (expected, false), "{family}");
    }
}

#[test]
fn a_folder_with_a_sentencepiece_model_alone_gets_the_command_that_makes_a_tokenizer() {
    let scratch = tempfile::tempdir().unwrap();
    opened(model("t5", TOKENS as usize), scratch.path());
    fs::rename(scratch.path().join("tokenizer.json"), scratch.path().join("spiece.model")).unwrap();
    let error = match TextModel::open(scratch.path(), &Device::flex()) {
        Err(Error::Text(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("there is no tokenizer.json"),
    };
    assert!(matches!(error, TextError::SlowTokenizer { source_file: "spiece.model", .. }), "{error}");
    let command = format!("from_pretrained('{0}').save_pretrained('{0}')", scratch.path().display());
    assert!(error.to_string().contains(&command), "{error}");
}
