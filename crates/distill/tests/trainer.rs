//! Tests of the trainer with a tiny student and its teacher: resuming, requirements, reports.

#[path = "support/run.rs"]
mod run;
mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use wheels_distill::objective::{ConstrainedPath, CrossEntropy, ForwardKl, Requirements};
use wheels_distill::{
    BatchSource, ConstraintConfig, DistillError, Objective, RolloutConfig, RolloutSampler, Rollouts, StepReport,
    SupervisedBatches, Trainer, TrainerConfig, TrainingBatch, Workers,
};
use wheels_lm::{FloatFormat, LanguageModel, Pretrained, T5, TokenBatch};
use wheels_student::Student;
use wheels_text::Seed;

use run::Run;
use support::{HELP, MODELS, PAIRS, VOCAB, rollout_config, rollouts};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The names of the checkpoints in a folder, in order.
fn checkpoints(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
        if name.starts_with("checkpoint") {
            names.push(name);
        }
    }
    names.sort();
    names
}

#[test]
fn a_run_that_is_resumed_after_any_step_gives_the_same_bits() {
    let run = Run::new();
    let (whole, _) = run.train_to(12, folder().path());
    assert!(whole == run.train_to(12, folder().path()).0, "a run repeats itself");
    for cut in [1, 5, 7] {
        let folder = folder();
        let (mut parts, _) = run.train_to(cut, folder.path());
        parts.extend(run.train_to(12, folder.path()).0);
        assert!(parts == whole, "cut after step {cut}");
    }
}

#[test]
fn a_run_that_the_caller_stops_saves_its_last_step() {
    let folder = folder();
    let objective = ConstrainedPath::new();
    let config = TrainerConfig::new(12).with_checkpoint_every(100).with_validate_every(100);
    let (student, rollouts) = (MODELS.student.clone(), rollouts(rollout_config()));
    let mut trainer = Trainer::new(config, &objective, student, rollouts, folder.path()).expect("a run");
    let mut break_at_3 =
        |report: &StepReport| if report.step == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let outcome = trainer.train(&mut |_| Ok(0.0), &mut break_at_3).expect("finite numbers");
    assert_eq!((outcome.steps, outcome.stopped_early), (3, false));
    assert_eq!(checkpoints(folder.path()), ["checkpoint-00000003"]);
}

#[test]
fn a_run_with_a_target_network_differs_and_is_resumed_bit_for_bit() {
    let run = Run { target_decay: Some(0.9), ..Run::new() };
    let (whole, _) = run.train_to(6, folder().path());
    assert!(whole != Run::new().train_to(6, folder().path()).0);
    let folder = folder();
    let (mut parts, _) = run.train_to(3, folder.path());
    parts.extend(run.train_to(6, folder.path()).0);
    assert!(parts == whole);
}

#[test]
fn a_run_with_dropout_differs_by_its_seed_and_is_resumed_bit_for_bit() {
    let run = |seed| Run { dropout: Some(seed), ..Run::new() };
    let (whole, _) = run(1).train_to(6, folder().path());
    assert!(whole != Run::new().train_to(6, folder().path()).0);
    assert!(whole != run(2).train_to(6, folder().path()).0);
    let folder = folder();
    let (mut parts, _) = run(1).train_to(3, folder.path());
    parts.extend(run(1).train_to(6, folder.path()).0);
    assert!(parts == whole);
}

#[test]
fn with_a_frozen_model_only_the_help_logit_changes_also_when_resumed() {
    let run = Run { student: MODELS.student.clone().with_frozen_model(), ..Run::new() };
    let (whole, student) = run.train_to(6, folder().path());
    let folder = folder();
    let (mut parts, _) = run.train_to(3, folder.path());
    let (rest, resumed) = run.train_to(6, folder.path());
    parts.extend(rest);
    assert!(parts == whole);

    let logits = |student: &Student<T5>| {
        let prompts = TokenBatch::new(&[PAIRS.0[0].source.as_slice()], 0);
        let target = TokenBatch::new(&[vec![0, 5, 6, 5]], 0);
        let logits = student.forward(&target, &mut student.prefill(&prompts, 0)).logits;
        logits.into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let (before, after) = (logits(&MODELS.student.valid()), logits(&student));
    assert_eq!(after, logits(&resumed));
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before == after, at % VOCAB as usize != HELP as usize, "logit {at}: {before}, then {after}");
    }
}

#[test]
fn reports_have_the_parts_of_the_loss_and_the_prices() {
    let (reports, _) = Run::new().train_to(12, folder().path());
    let last = &reports[11].parts;
    for name in
        ["words", "help", "forward", "path", "cost", "price", "divergence", "asked", "price 0%", "price 20%", "used 0%"]
    {
        assert!(last.contains_key(name), "{name} is not in {last:?}");
    }
    assert_eq!((last["price 0%"], last["price 100%"]), (10.0, 0.0));
    let prices = |report: &StepReport| -> Vec<f64> {
        report.parts.iter().filter(|part| part.0.starts_with("price ")).map(|part| *part.1).collect()
    };
    assert_eq!(prices(&reports[0]), prices(&reports[1]), "prices do not change while they are frozen");
    assert!(reports.iter().any(|report| prices(report) != prices(&reports[0])), "prices change afterwards");
    // The first three steps use the same rollouts. `loss` is not compared, because the prompts of its part `price`,
    // which has the largest weight, are new at each step.
    for name in ["words", "help", "forward", "path", "cost", "divergence"] {
        let (first, third) = (reports[0].parts[name], reports[2].parts[name]);
        assert!(third < first, "{name} was {first} at first and is {third} after two steps on the same rollouts");
    }
}

/// The error message of a run for which something is missing.
fn missing<B: BatchSource<T5>>(objective: &dyn Objective, student: &Student<T5>, source: B) -> String {
    let folder = folder();
    match Trainer::new(TrainerConfig::new(4), objective, student.clone(), source, folder.path()) {
        Err(error @ DistillError::Requirement { .. }) => {
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is written");
            error.to_string()
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the run is accepted"),
    }
}

#[test]
fn missing_requirements_of_an_objective_are_named_before_the_first_step() {
    let (whole, student) = (ConstrainedPath::new(), &MODELS.student);
    let plain = Student::new(student.model.clone());
    let message = missing(&whole, &plain, rollouts(rollout_config()));
    assert!(message.contains("needs a student with heads") && message.contains("with_heads"), "{message}");

    let pairs = || SupervisedBatches::new(&PAIRS.0, 120, 0, Seed(7)).expect("the pairs fit");
    for objective in [&ForwardKl as &dyn Objective, &whole] {
        let message = missing(objective, student, pairs());
        assert!(message.contains("needs a teacher") && message.contains("rollouts"), "{message}");
    }

    let alone = RolloutSampler::new(rollout_config(), &*PAIRS, &MODELS.teacher, None, vec![0, HELP]);
    let message = missing(&whole, student, Rollouts::new(alone).expect("the pairs fit"));
    assert!(message.contains("needs a help token"), "{message}");
}

/// A run whose numbers do not depend on its number of steps.
struct LongerRun {
    steps: usize,
    learning_rate: f64,
    batch_tokens: usize,
}

impl LongerRun {
    /// Starts or resumes the run in `folder`, and trains to its last step. Returns the loss and the norm of the
    /// gradient at each step.
    fn train(&self, folder: &Path) -> Result<Vec<(usize, f64, f64)>, DistillError> {
        let constraint = ConstraintConfig::new().with_frozen_steps(100);
        let rollouts = RolloutConfig::new(self.steps).with_batch_tokens(self.batch_tokens).with_constraint(constraint);
        let config = TrainerConfig::new(self.steps).with_warmup_steps(2).with_learning_rate(self.learning_rate);
        let objective = ConstrainedPath::new();
        let (student, rollouts) = (MODELS.student.clone(), support::rollouts(rollouts));
        let mut trainer = Trainer::resume(config, &objective, student, rollouts, folder)?;
        let mut numbers = Vec::new();
        trainer.train(&mut |_| Ok(0.0), &mut |report| {
            numbers.push((report.step, report.loss, report.grad_norm));
            ControlFlow::Continue(())
        })?;
        Ok(numbers)
    }
}

#[test]
fn a_finished_run_goes_on_with_more_steps() {
    let short = LongerRun { steps: 3, learning_rate: 1e-2, batch_tokens: 120 };
    let long = LongerRun { steps: 5, ..short };
    let (whole, parts) = (folder(), folder());
    let whole = long.train(whole.path()).expect("a run");
    let first = short.train(parts.path()).expect("a run");
    assert_eq!(short.train(parts.path()).expect("a finished run"), []);
    let rest = long.train(parts.path()).expect("a longer run");
    assert_eq!((first.len(), rest.len()), (3, 2));
    assert_eq!([first, rest].concat(), whole);
    let metrics = fs::read_to_string(parts.path().join("metrics.jsonl")).expect("a run writes metrics");
    assert_eq!(metrics.lines().count(), 5);
}

#[test]
fn a_run_says_with_which_configuration_it_goes_on() {
    let folder = folder();
    assert_eq!(TrainerConfig::of_run(folder.path().join("none")).expect("no run"), None);
    assert_eq!(TrainerConfig::of_run(folder.path()).expect("no run"), None);
    fs::write(folder.path().join("model.safetensors"), "").expect("the disk has room");
    let refused = TrainerConfig::of_run(folder.path()).expect_err("a model").to_string();
    assert!(refused.contains("has a model that a run would replace"), "{refused}");
    fs::remove_file(folder.path().join("model.safetensors")).expect("a file");
    Run::new().train_to(2, folder.path());
    let config = TrainerConfig::of_run(folder.path()).expect("a run").expect("a checkpoint");
    assert_eq!((config.steps, config.workers, config.learning_rate), (12, 2, 1e-2));
    fs::write(folder.path().join("checkpoint-00000002/state.json"), "{").expect("the disk has room");
    let damaged = TrainerConfig::of_run(folder.path()).expect_err("a damaged checkpoint").to_string();
    assert!(damaged.contains("checkpoint-00000002") && damaged.contains("delete this checkpoint"), "{damaged}");
}

#[test]
fn a_run_is_not_resumed_with_other_settings() {
    let run = LongerRun { steps: 2, learning_rate: 1e-2, batch_tokens: 120 };
    let folder = folder();
    run.train(folder.path()).expect("a run");
    let refused = LongerRun { learning_rate: 0.5, ..run }.train(folder.path()).expect_err("another learning rate");
    match &refused {
        DistillError::OtherConfig { field, saved, asked, .. } => {
            assert_eq!((field.as_str(), saved.as_str(), asked.as_str()), ("learning_rate", "0.01", "0.5"));
        }
        error => panic!("{error}"),
    }
    assert!(refused.to_string().contains("`TrainerConfig::learning_rate`"), "{refused}");
    let refused = LongerRun { batch_tokens: 100, ..run }.train(folder.path()).expect_err("other batches");
    let DistillError::Resume { source, .. } = refused else { panic!("{refused}") };
    assert!(matches!(*source, DistillError::SourceState { .. }), "{source}");
    assert!(source.to_string().contains("`RolloutConfig::batch_tokens` was 120"), "{source}");
}

/// A source that must not be restored.
struct Unrestorable<B>(B);

impl<B: BatchSource<T5>> BatchSource<T5> for Unrestorable<B> {
    fn provides(&self) -> Requirements {
        self.0.provides()
    }

    fn next_batches(
        &mut self,
        student: &Student<T5>,
        count: usize,
        workers: &Workers,
    ) -> Result<Vec<TrainingBatch>, DistillError> {
        self.0.next_batches(student, count, workers)
    }

    fn position(&self) -> String {
        self.0.position()
    }

    fn state(&self) -> serde_json::Value {
        self.0.state()
    }

    fn restore(&mut self, _: serde_json::Value) -> Result<(), DistillError> {
        panic!("the configuration is compared first")
    }
}

#[test]
fn another_configuration_is_refused_before_the_texts_of_a_run_are_read() {
    let folder = folder();
    let pairs = || Unrestorable(SupervisedBatches::new(&PAIRS.0, 120, 0, Seed(7)).expect("the pairs fit"));
    let config = TrainerConfig::new(1).with_warmup_steps(1);
    let objective = CrossEntropy::new();
    let student = MODELS.student.clone();
    Trainer::new(config.clone(), &objective, student.clone(), pairs(), folder.path())
        .and_then(|mut trainer| trainer.train(&mut |_| Ok(0.0), &mut |_| ControlFlow::Continue(())))
        .expect("a run");
    let refused = Trainer::resume(config.with_seed(8), &objective, student, pairs(), folder.path());
    assert!(matches!(refused.err(), Some(DistillError::OtherConfig { field, .. }) if field == "seed"));
}

/// Trains on pairs with dropout, up to step `last` of 6. Returns the loss and the norm of the gradient at each step.
fn train_on_pairs(last: usize, checkpointing: bool, folder: &Path) -> Vec<[f64; 2]> {
    let pairs = SupervisedBatches::new(&PAIRS.0, 120, 0, Seed(7)).expect("the pairs fit");
    let config = TrainerConfig::new(6)
        .with_warmup_steps(1)
        .with_learning_rate(1e-2)
        .with_dropout(true)
        .with_gradient_checkpointing(checkpointing.then_some(true));
    let (objective, student) = (CrossEntropy::new(), MODELS.student.clone());
    let mut trainer = Trainer::resume(config, &objective, student, pairs, folder).expect("a run");
    let mut numbers = Vec::new();
    while trainer.step() < last {
        let report = trainer.train_step().expect("finite numbers");
        numbers.push([report.loss, report.grad_norm]);
    }
    trainer.save().expect("the disk has room");
    numbers
}

#[test]
fn gradient_checkpointing_may_change_in_a_run_and_changes_no_numbers() {
    let (whole, checkpointed, changed) = (folder(), folder(), folder());
    let expected = train_on_pairs(6, false, whole.path());
    let mut parts = train_on_pairs(3, false, changed.path());
    parts.extend(train_on_pairs(6, true, changed.path()));
    for found in [train_on_pairs(6, true, checkpointed.path()), parts] {
        assert_eq!(found.len(), 6);
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            // Gradients in f32 differ in their last digits, and AdamW divides small ones by their own size.
            assert!((found - expected).abs() < 1e-4 * expected.abs(), "{found} is not {expected}");
        }
    }
}

/// The same model, which pads with another token.
fn padded_with(pad: u32, model: &T5, device: &Device) -> T5 {
    let folder = folder();
    Pretrained::T5(model.clone()).save(folder.path(), FloatFormat::F32).expect("the disk has room");
    let path = folder.path().join("config.json");
    let config = fs::read_to_string(&path).expect("a config");
    let padded = config.replace("\"pad_token_id\": 0", &format!("\"pad_token_id\": {pad}"));
    assert_ne!(config, padded);
    fs::write(&path, padded).expect("the disk has room");
    match Pretrained::load(folder.path(), device).expect("a model") {
        Pretrained::T5(model) => model,
        _ => panic!("another family"),
    }
}

/// Many decoder-only models have no padding token of their own. A loss that leaves out all tokens that pad would then
/// leave out the ends of texts, and the student would not learn to end them.
#[test]
fn the_end_of_a_text_is_learned_also_if_the_same_token_pads() {
    const END: u32 = 1;
    let (teacher, padded_teacher) = (&MODELS.teacher, padded_with(END, &MODELS.teacher, &Device::flex()));
    let (student, mut padded_student) = (MODELS.student.clone(), MODELS.student.clone());
    padded_student.model = padded_with(END, &student.model.valid(), &Device::flex().autodiff());
    assert_eq!((teacher.spec().pad, padded_teacher.spec().pad, padded_student.spec().pad), (0, END, END));

    fn losses<B: BatchSource<T5>>(objective: &dyn Objective, student: Student<T5>, source: B) -> Vec<(f64, f64)> {
        let (config, folder) = (TrainerConfig::new(4).with_warmup_steps(1), folder());
        let mut trainer = Trainer::new(config, objective, student, source, folder.path()).expect("a run");
        let mut report = || trainer.train_step().expect("finite numbers");
        (0..4).map(|_| report()).map(|report| (report.loss, report.nll)).collect()
    }
    let pairs = |pad| SupervisedBatches::new(&PAIRS.0, 120, pad, Seed(7)).expect("the pairs fit");
    let supervised = CrossEntropy::new();
    let expected = losses(&supervised, student.clone(), pairs(0));
    assert_eq!(losses(&supervised, padded_student.clone(), pairs(END)), expected);
    assert!(expected[3].0 < expected[0].0, "{expected:?}");

    // Token 0 pads in one run and is suppressed in both.
    let constrained = ConstrainedPath::new();
    let rollouts = |teacher| Rollouts::new(support::sampler(rollout_config(), teacher)).expect("the pairs fit");
    let expected = losses(&constrained, student, rollouts(teacher));
    assert_eq!(losses(&constrained, padded_student, rollouts(&padded_teacher)), expected);
}

#[test]
fn a_new_run_replaces_the_checkpoints_of_an_earlier_run() {
    let folder = folder();
    Run::new().train_to(4, folder.path());
    assert_eq!(checkpoints(folder.path()), ["checkpoint-00000003", "checkpoint-00000004"]);

    let (config, objective) = (TrainerConfig::new(2), CrossEntropy::new());
    let student = Student::new(MODELS.student.model.clone());
    let pairs = || SupervisedBatches::new(&PAIRS.0, 120, 0, Seed(7)).expect("the pairs fit");
    let mut trainer =
        Trainer::new(config.clone(), &objective, student.clone(), pairs(), folder.path()).expect("a new run");
    trainer.train_step().expect("finite numbers");
    trainer.save().expect("the disk has room");
    assert_eq!(checkpoints(folder.path()), ["checkpoint-00000001"]);
    let resumed = Trainer::resume(config, &objective, student, pairs(), folder.path()).expect("the new run");
    assert_eq!(resumed.step(), 1);
}

#[test]
fn a_score_that_is_not_finite_is_never_the_best() {
    let folder = folder();
    let pairs = || SupervisedBatches::new(&PAIRS.0, 120, 0, Seed(7)).expect("the pairs fit");
    let objective = CrossEntropy::new();
    let config = TrainerConfig::new(3).with_validate_every(1).with_checkpoint_every(1);
    let student = Student::new(MODELS.student.model.clone());
    let mut trainer = Trainer::new(config.clone(), &objective, student.clone(), pairs(), folder.path()).expect("a run");
    let mut scores = [f64::NAN, 2.0, f64::NAN].into_iter();
    let mut validate = |_: &Student<T5>| Ok(scores.next().expect("three validations"));
    let outcome = trainer.train(&mut validate, &mut |_| ControlFlow::Continue(())).expect("a run");
    assert_eq!(outcome.best, Some((2, 2.0)));
    assert!(Trainer::resume(config, &objective, student, pairs(), folder.path()).is_ok(), "the checkpoint can be read");
}
