//! `Distillation` as a user of the library calls it.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::Device;
use training_wheels::distill::PriceFitConfig;
use training_wheels::lm::{FloatFormat, LanguageModel, TokenBatch};
use training_wheels::prelude::*;
use training_wheels::student::StudentConfig;
use training_wheels::{CalibrationConfig, DistillationConfig, HelpCost};
use wheels_embedded::TRANSLATION;

fn teacher() -> TextModel {
    TextModel::from_files("teacher", TRANSLATION.teacher, &Device::flex()).unwrap()
}

fn student() -> TextModel {
    TextModel::from_files("student", TRANSLATION.student, &Device::flex()).unwrap()
}

fn data() -> (Dataset, Dataset) {
    let sample = Dataset::from_reader(TRANSLATION.sample.as_bytes(), "sample").unwrap();
    let short: Dataset = sample.into_iter().filter(|example| example.source.len() < 60).collect();
    let (valid, train) = short.split(24);
    (train, valid)
}

fn config() -> DistillationConfig {
    let calibration = CalibrationConfig::new().with_rates(vec![0.1, 0.2, 0.5]).with_tolerance(0.01);
    let mut config = DistillationConfig::new().with_steps(4).with_calibration(calibration).with_valid_texts(8);
    config.rollout.batch_tokens = 600;
    config.prices.texts = 8;
    config.trainer.checkpoint_every = 2;
    config.report_budgets = vec![0, 10, 20, 50];
    config
}

#[test]
fn a_distilled_student_keeps_its_budgets_on_validation_texts() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, (train, valid)) = (teacher(), data());
    let distilled = Distillation::new(student(), &teacher)
        .config(config().with_valid_texts(24))
        .run(&train, &valid, folder.path())
        .unwrap();
    assert_eq!(distilled.outcome.steps, 4);
    assert_eq!(distilled.budgets.len(), 4);
    for row in &distilled.budgets {
        // A step of the threshold moves at least one token of a few hundred.
        assert!((row.used - f64::from(row.budget)).abs() <= 3.0, "{row:?}");
    }
    let answer = distilled.pair.generate("a text editor", HelpBudget::percent(20)).unwrap();
    assert!(!answer.text.is_empty() && answer.helped <= answer.tokens.div_ceil(5), "{answer:?}");

    let opened = TextModel::open(folder.path(), &Device::flex()).unwrap();
    assert_eq!(opened.calibration, distilled.pair.student.calibration);
    assert_eq!(opened.prices, distilled.pair.student.prices);
    assert_eq!(opened.template, distilled.pair.student.template);
    assert_eq!(opened.generation, distilled.pair.student.generation);
    for file in ["distillation.json", "budgets.json", "metrics.jsonl", "student_config.json"] {
        assert!(folder.path().join(file).exists(), "{file} is missing");
    }
}

#[test]
fn a_teacher_verifies_if_that_gives_better_texts_for_the_same_help() {
    let pair = Pair::from_files(TRANSLATION.student, TRANSLATION.teacher, &Device::flex()).unwrap();
    let (_, valid) = data();
    let config = CalibrationConfig::new().with_rates(vec![0.2]).with_tolerance(0.01).with_max_trials(8);
    let calibrate = |config: &CalibrationConfig| {
        let mut result = None;
        let calibration = pair.calibrate(&valid, config, &mut |trial| result = Some(*trial)).unwrap();
        let result = result.unwrap();
        assert!(result.is_result);
        assert_eq!(calibration.verification(0.2), result.verification);
        assert!(result.used <= 0.21, "{result:?}");
        result
    };
    let plain = calibrate(&config.clone().with_verifications(vec![]));
    assert!(plain.verification.is_none());
    for cost in [HelpCost::Calls, HelpCost::Tokens, HelpCost::Time] {
        let verified = calibrate(&config.clone().with_cost(cost));
        assert!(verified.chrf >= plain.chrf, "{cost:?}: {verified:?} and {plain:?}");
        if cost == HelpCost::Calls {
            assert!(!verified.verification.is_none(), "{verified:?}");
        }
    }
    let invalid = config.with_verifications(vec![Verification::regret(-1.0)]);
    let error = pair.calibrate(&valid, &invalid, &mut |trial| panic!("{trial:?}")).unwrap_err();
    assert!(error.to_string().contains("-1"), "{error}");
}

#[test]
fn the_price_search_and_the_budget_report_show_their_progress() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, (train, valid)) = (teacher(), data());
    let mut config = config().with_steps(1);
    config.calibration = CalibrationConfig::new().with_rates(vec![0.2]).with_max_trials(1).with_texts(4);
    config.report_budgets = vec![0, 20];
    config.rollout.constraint.search_texts = 4;
    config.rollout.constraint.levels = vec![0.0, 0.1, 0.3, 1.0];
    config.prices.texts = 0;
    let mut seen = Vec::new();
    let run = Distillation::new(student(), &teacher).config(config).on_progress(|progress| seen.push(progress));
    run.run(&train, &valid, folder.path()).unwrap();
    for (work, total) in [("price search", 2 * 12), ("budget report", 2 * 4)] {
        let done: Vec<usize> = seen.iter().filter(|progress| progress.work == work).map(|p| p.done).collect();
        assert!(seen.iter().all(|progress| progress.work != work || progress.total == total), "{seen:?}");
        assert_eq!((done.first(), done.last()), (Some(&0), Some(&total)), "{work}");
        assert!(done.is_sorted() && done.len() > 3, "{work}: {done:?}");
    }
}

#[test]
fn the_price_head_reads_the_prices_that_are_found_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, (train, valid)) = (teacher(), data());
    let mut config = config().with_steps(40);
    config.rollout.constraint.levels = vec![0.0, 0.1, 0.2, 0.4, 1.0];
    config.prices = PriceFitConfig::new().with_texts(24);
    let fit = |steps: usize, folder: &std::path::Path| {
        let mut config = config.clone();
        config.prices.steps = steps;
        Distillation::new(student(), &teacher).config(config).run(&train, &valid, folder).unwrap().pair.student
    };
    let error = |student: &TextModel| {
        let (mut worst, prices) = (0.0, student.prices.as_ref().unwrap());
        for percent in [10, 20, 30, 40] {
            let budget = HelpBudget::percent(percent);
            let prompt = student.template.prompt(&student.tokenizer, "a text editor", budget).unwrap();
            let read = student.model.prices(&TokenBatch::new(&[prompt.student], student.tokenizer.pad())).unwrap();
            let read = f64::from(read.into_scalar::<f32>());
            worst = f64::max(worst, (read - prices.price(budget.share(100))).abs());
        }
        worst
    };
    let fitted = fit(400, folder.path());
    let levels = fitted.prices.as_ref().unwrap().levels();
    assert!(levels.is_sorted_by(|one, next| one.price >= next.price), "{levels:?}");
    let unfitted = error(&fit(0, tempfile::tempdir().unwrap().path()));
    assert!(error(&fitted) < 0.5 * unfitted, "{} of {unfitted} nats", error(&fitted));

    // A finished run is not repeated, and its student is that of the folder.
    let again = fit(400, folder.path());
    assert_eq!(again.prices, fitted.prices);
    assert!((error(&again) - error(&fitted)).abs() < 1e-6);
}

#[test]
fn a_run_that_was_broken_off_goes_on_to_the_same_student() {
    let (teacher, (train, valid)) = (teacher(), data());
    let mut small = config();
    small.calibration.rates = vec![0.2];
    small.report_budgets = vec![20];
    let run = |folder: &std::path::Path, workers: usize, stop_at: usize| {
        let mut config = small.clone();
        config.trainer.workers = workers;
        Distillation::new(student(), &teacher)
            .config(config)
            .on_step(
                move |report| if report.step == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
            )
            .run(&train, &valid, folder)
            .unwrap()
    };
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(whole.path(), 3, usize::MAX);
    let stopped = run(cut.path(), 3, 3);
    assert_eq!((stopped.outcome.steps, stopped.budgets.len()), (3, 0));
    // Without a number of workers, the run keeps the one that it was started with, on any machine.
    run(cut.path(), 0, usize::MAX);
    for file in ["model.safetensors", "heads.safetensors", "calibration.json"] {
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(file)).unwrap();
        assert!(read(&whole) == read(&cut), "{file} differs");
    }
}

#[test]
fn the_error_for_a_missing_help_token_names_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, (train, valid)) = (teacher(), data());
    let mut plain = student();
    let mut json: serde_json::Value = serde_json::from_slice(file(TRANSLATION.student, "tokenizer.json")).unwrap();
    let tokens = json["added_tokens"].as_array_mut().unwrap();
    tokens.retain(|token| !token["content"].as_str().unwrap().starts_with("<help:"));
    plain.tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();

    let run =
        |student: TextModel| Distillation::new(student, &teacher).config(config()).run(&train, &valid, folder.path());
    let refused = run(plain.clone()).unwrap_err().to_string();
    assert!(refused.contains("with_help_token"), "{refused}");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is written before the check");

    let rows = plain.model.spec().vocab_size;
    let with_token = plain.with_help_token("teacher").unwrap();
    let help_token = with_token.tokenizer.help_token("teacher").unwrap() as usize;
    assert_eq!(help_token, rows - 1, "the row that the tokenizer does not use is taken");
    let again = with_token.clone().with_help_token("teacher").unwrap();
    assert_eq!(again.tokenizer.vocab_size(), with_token.tokenizer.vocab_size());
    let other = with_token.with_help_token("dictionary").unwrap();
    assert_eq!(other.model.spec().vocab_size, rows + 1, "a row is added if all are used");
}

#[test]
fn an_objective_without_help_trains_a_plain_student() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, (train, valid)) = (teacher(), data());
    let distilled = Distillation::new(student(), &teacher)
        .config(config())
        .objective(ForwardKl)
        .run(&train, &valid, folder.path())
        .unwrap();
    assert!(distilled.budgets.is_empty() && distilled.pair.student.calibration.is_none());
    assert!(folder.path().join("model.safetensors").exists());
}

#[test]
fn saved_heads_ask_the_teacher_even_if_another_help_token_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut saved = TextModel::from_files("student", TRANSLATION.teacher, &Device::flex()).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(file(TRANSLATION.teacher, "tokenizer.json")).unwrap();
    let tokens = json["added_tokens"].as_array_mut().unwrap();
    tokens.retain(|token| !token["content"].as_str().unwrap().starts_with("<help:"));
    saved.tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    let mut saved = saved.with_help_token("dictionary").unwrap().with_help_token("teacher").unwrap();
    let help_token = saved.tokenizer.help_token("teacher").unwrap();
    assert!(saved.tokenizer.help_token("dictionary").unwrap() < help_token);
    saved.model = saved.model.with_heads(&StudentConfig::new(), help_token);
    saved.save(folder.path(), FloatFormat::F32).unwrap();
    // A file is replaced and not written in place, so that a crash leaves the old content.
    let [file, other_name] = ["student_config.json", "linked"].map(|name| folder.path().join(name));
    std::fs::hard_link(&file, &other_name).unwrap();
    std::fs::write(&file, "old").unwrap();
    saved.save(folder.path(), FloatFormat::F32).unwrap();
    assert_eq!(std::fs::read_to_string(other_name).unwrap(), "old");
    assert_ne!(std::fs::read_to_string(file).unwrap(), "old");

    let opened = TextModel::open(folder.path(), &Device::flex()).unwrap();
    let prompts = TokenBatch::new(&[vec![5, 6, 1]], opened.tokenizer.pad());
    let [before, after] = [&saved, &opened].map(|model| {
        let mut context = model.model.prefill(&prompts, 1);
        let start = TokenBatch::column(&[context.starts()[0]]);
        model.model.forward(&start, &mut context).logits.into_data().try_to_vec::<f32>().unwrap()
    });
    assert_eq!(before, after);
}

fn file<'a>(files: &'a [(&'a str, &'a [u8])], name: &str) -> &'a [u8] {
    files.iter().find(|(file, _)| *file == name).unwrap().1
}

#[test]
fn a_run_that_does_not_fit_into_memory_is_refused_with_the_option_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, (train, valid)) = (teacher(), data());
    let mut config = config();
    config.rollout.replay_bytes = usize::MAX / 4;
    let run = || Distillation::new(student(), &teacher).config(config.clone());
    let plan = run().plan(&train, folder.path()).unwrap();
    assert_eq!(plan.replay, usize::MAX / 4);
    assert!(plan.activations > 0 && plan.teacher == 4 * teacher.model.num_params(), "{plan}");
    let error = run().run(&train, &valid, folder.path()).unwrap_err();
    assert!(
        matches!(error, Error::Memory { .. }) && error.to_string().contains("lower `RolloutConfig::replay_bytes`"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");
}
