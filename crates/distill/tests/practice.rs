//! Practice with a tiny student and its teacher.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

use burn::module::Module;
use burn::tensor::Device;
use wheels_decode::{Asking, BudgetedDecoder, Decoder, Enforcement, HelpDesk, Measure, Policy, Teacher};
use wheels_distill::objective::ConstrainedPath;
use wheels_distill::{
    Checkpoints, ConstraintConfig, DistillError, Lessons, Pair, Practice, PracticeConfig, StepReport, Trainer,
    TrainerConfig, TrainingBatch, Workers,
};
use wheels_lm::{LanguageModel, Student, T5, T5Config, TokenBatch};
use wheels_text::{HelpBudget, Prompt, Seed, TextError};

const VOCAB: u32 = 24;
const HELP: u32 = VOCAB - 1;
const WIDTH: usize = 8;

fn model(vocab: u32, device: &Device) -> T5 {
    T5Config {
        vocab_size: vocab as usize,
        d_model: WIDTH,
        d_kv: 4,
        d_ff: 16,
        num_layers: 1,
        num_heads: 2,
        initializer_factor: 0.3,
        ..T5Config::default()
    }
    .init(device)
}

fn pairs() -> Vec<Pair> {
    let word = |i: u32| 2 + i % (HELP - 2);
    let text = |seed: u32, length: u32| (0..length).map(|t| word(seed * 7 + t * 3)).chain([1]).collect::<Vec<u32>>();
    (0..40).map(|i| Pair { source: text(i, 3 + i % 4), target: text(i + 1, 2 + i % 5) }).collect()
}

static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(pairs);

/// The budget is a token before the source.
fn prompt(index: usize, budget: HelpBudget, _: usize) -> Result<Prompt, TextError> {
    let expert = PAIRS[index].source.clone();
    let word = match budget {
        HelpBudget::Percent(percent) => 2 + u32::from(percent) / 10,
        HelpBudget::Tokens(tokens) => 13 + tokens.min(5),
    };
    Ok(Prompt { student: [&[word], expert.as_slice()].concat(), expert, budget })
}

fn config() -> PracticeConfig {
    PracticeConfig::new(12)
        .with_batch_tokens(120)
        .with_constraint(ConstraintConfig::new().with_frozen_steps(2).with_evidence(1.0))
}

fn practice(teacher: &T5) -> Practice<'_, T5> {
    Practice::new(config(), &PAIRS, &prompt, teacher, HELP, vec![0, HELP]).expect("the pairs fit")
}

/// A student, its teacher, and a teacher of another vocabulary, of random weights that are drawn once for all tests: the
/// process has one source of chance, and tests that run side by side would draw in between.
static MODELS: LazyLock<(Student<T5>, T5, T5)> = LazyLock::new(|| {
    let (plain, tracked) = (Device::flex(), Device::flex().autodiff());
    tracked.seed(3);
    let student = Student::new(model(VOCAB, &tracked)).with_heads(WIDTH, HELP);
    // Weights are drawn when they are first read, and until then clones share what is set on one of them.
    let _ = student.valid();
    (student, model(VOCAB, &plain), model(VOCAB + 1, &plain))
});

/// Trains for so many steps and gives all reports, without their times.
fn train(folder: &Path, steps: usize, resume: bool) -> Vec<StepReport> {
    train_with(MODELS.0.clone(), None, folder, steps, resume).0
}

fn train_with(
    student: Student<T5>,
    target_decay: Option<f64>,
    folder: &Path,
    steps: usize,
    resume: bool,
) -> (Vec<StepReport>, Student<T5>) {
    let objective = ConstrainedPath::new();
    let training = TrainerConfig::new(12)
        .with_workers(2)
        .with_warmup_steps(2)
        .with_learning_rate(1e-2)
        .with_target_decay(target_decay)
        .with_checkpoint_every(1)
        .with_validate_every(usize::MAX);
    let practice = practice(&MODELS.1);
    let mut trainer = Trainer::new(training, &objective, student, practice, folder, resume).expect("a run");
    let reports = (trainer.step()..steps).map(|_| {
        let mut report = trainer.train_step().expect("finite numbers");
        trainer.save().expect("room");
        report.seconds = 0.0;
        report
    });
    (reports.collect(), trainer.model())
}

#[test]
fn a_run_that_is_cut_anywhere_goes_on_bit_for_bit() {
    let folder = || tempfile::tempdir().expect("a folder");
    let whole = train(folder().path(), 12, false);
    assert!(whole == train(folder().path(), 12, false), "a run repeats itself");
    for cut in [1, 5, 7] {
        let folder = folder();
        let mut parts = train(folder.path(), cut, false);
        parts.extend(train(folder.path(), 12, true));
        assert!(parts == whole, "cut after step {cut}");
    }
}

#[test]
fn a_run_that_is_broken_off_keeps_its_last_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let objective = ConstrainedPath::new();
    let config = TrainerConfig::new(12).with_checkpoint_every(100).with_validate_every(100);
    let mut trainer =
        Trainer::new(config, &objective, MODELS.0.clone(), practice(&MODELS.1), folder.path(), false).expect("a run");
    let third = |report: &StepReport| if report.step == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let outcome = trainer.train(&mut |_| Ok(0.0), &mut |report| third(report)).expect("finite numbers");
    assert_eq!((outcome.steps, outcome.stopped_early), (3, false));
    assert_eq!(Checkpoints::new(folder.path()).expect("a folder").steps().expect("checkpoints"), [3]);
}

#[test]
fn a_target_network_changes_the_run_and_goes_on_bit_for_bit_too() {
    let folder = || tempfile::tempdir().expect("a folder");
    let train = |folder: &Path, steps, resume| train_with(MODELS.0.clone(), Some(0.9), folder, steps, resume).0;
    let whole = train(folder().path(), 6, false);
    assert!(whole != self::train(folder().path(), 6, false));
    let cut = folder();
    let mut parts = train(cut.path(), 3, false);
    parts.extend(train(cut.path(), 6, true));
    assert!(parts == whole);
}

#[test]
fn a_fixed_model_keeps_its_words_while_its_heads_learn_before_a_cut_and_after() {
    let folder = || tempfile::tempdir().expect("a folder");
    let train =
        |folder: &Path, steps, resume| train_with(MODELS.0.clone().with_fixed_model(), None, folder, steps, resume);
    let (whole, student) = train(folder().path(), 6, false);
    let cut = folder();
    let mut parts = train(cut.path(), 3, false).0;
    let (rest, resumed) = train(cut.path(), 6, true);
    parts.extend(rest);
    assert!(parts == whole);

    let logits = |student: &Student<T5>| {
        let prompts = TokenBatch::new(&[PAIRS[0].source.as_slice()], 0);
        let target = TokenBatch::new(&[vec![0, 5, 6, 5]], 0);
        let logits = student.forward(&target, &mut student.prefill(&prompts, 0)).logits;
        logits.into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let (before, after) = (logits(&MODELS.0.valid()), logits(&student));
    assert_eq!(after, logits(&resumed));
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before == after, at % VOCAB as usize != HELP as usize, "the logit {at}: {before}, then {after}");
    }
}

#[test]
fn reports_name_prices_and_parts() {
    let reports = train(tempfile::tempdir().expect("a folder").path(), 12, false);
    let last = &reports[11].parts;
    for name in
        ["words", "help", "forward", "path", "cost", "priced", "distance", "asked", "price 0%", "price 20%", "used 0%"]
    {
        assert!(last.contains_key(name), "{name} is not in {last:?}");
    }
    assert_eq!((last["price 0%"], last["price 100%"]), (10.0, 0.0));
    let prices = |report: &StepReport| -> Vec<f64> {
        report.parts.iter().filter(|part| part.0.starts_with("price ")).map(|part| *part.1).collect()
    };
    assert_eq!(prices(&reports[0]), prices(&reports[1]), "prices stay while they are frozen");
    assert!(reports.iter().any(|report| prices(report) != prices(&reports[0])), "and move afterwards");
    assert!(reports[2].loss < reports[0].loss, "the first lesson is learned");
}

#[test]
fn settled_prices_are_those_at_which_budgets_are_used() {
    let (_, student) = train_with(MODELS.0.clone(), None, tempfile::tempdir().expect("a folder").path(), 12, false);
    let budgets = [0.2, 0.4, 0.6];
    let levels = [&[0.0], budgets.as_slice(), &[1.0]].concat();
    // Texts of one length have room for as many tokens, whichever batch they are in.
    let alike: Vec<usize> = (0..PAIRS.len()).filter(|&index| PAIRS[index].target.len() == 7).collect();
    let pairs: Vec<Pair> = alike.iter().map(|&index| PAIRS[index].clone()).collect();
    let make_prompt = |index: usize, budget, wording| prompt(alike[index], budget, wording);
    let constraint = ConstraintConfig::new().with_levels(levels).with_frozen_steps(12).with_settled_on(pairs.len());
    let settling = config().with_constraint(constraint);
    let mut practice =
        Practice::new(settling, &pairs, &make_prompt, &MODELS.1, HELP, vec![0, HELP]).expect("the pairs fit");
    let workers = Workers::new(2).expect("two threads");
    practice.next_batches(&student, 2, &workers).expect("practice");
    let prices = practice.prices().expect("lessons set them").clone();
    practice.next_batches(&student, 2, &workers).expect("practice");
    assert_eq!(practice.prices(), Some(&prices), "frozen prices stay");

    for budget in budgets {
        let said = HelpBudget::percent((100.0 * budget) as u8);
        let prompts: Vec<Prompt> = alike.iter().map(|&index| prompt(index, said, 0).expect("a prompt")).collect();
        let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.student.as_slice()).collect();
        let read = student.prices(&TokenBatch::new(&rows, 0)).expect("heads").mean().into_scalar::<f64>();
        let asking = Asking::Confidence { measure: Measure::HelpLogOdds, threshold: prices.price(budget) - read };
        let desk = HelpDesk::new().with(HELP, Teacher::new(&MODELS.1));
        let decoder = BudgetedDecoder::new(Policy::greedy(&student).asking(asking), desk).enforcement(Enforcement::Off);
        let used = decoder.max_tokens(2 * 7 + 8).decode(&prompts, Seed(7)).expect("texts").stats.help_rate();
        assert!((used - budget).abs() < 0.05, "{used} of the tokens for a budget of {budget}");
    }
}

#[test]
fn rows_say_who_wrote_them() {
    let (student, teacher, _) = &*MODELS;
    let student = student.valid();
    let mut practice = practice(teacher);
    let workers = Workers::new(2).expect("two threads");
    let batches = practice.next_batches(&student, 6, &workers).expect("practice");
    let mut deployed = 0;
    for TrainingBatch { targets, guidance, .. } in &batches {
        let guidance = guidance.as_ref().expect("a teacher's law");
        assert_eq!(guidance.rows.len(), targets.rows());
        let rehearsal = guidance.rehearsal.as_ref().expect("prompts to price");
        assert_eq!((rehearsal.prompts.rows(), rehearsal.prices.len()), (192, 192));
        assert!(rehearsal.prices.iter().all(|price| (0.0..=10.0).contains(price)));
        for (index, row) in guidance.rows.iter().enumerate() {
            assert_eq!(row.helped.len(), targets.row(index).len());
            assert_eq!(row.ended, targets.row(index).last() == Some(&1));
            assert!(!targets.row(index).contains(&HELP), "help is no word");
            assert!((0.0..=10.0).contains(&row.price));
            deployed += usize::from(row.deployed);
        }
        let law: Vec<f32> = guidance.teacher.iter::<f32>().collect();
        for position in law.chunks_exact(VOCAB as usize).take(targets.row(0).len()) {
            let total: f32 = position.iter().map(|log| log.exp()).sum();
            assert!((total - 1.0).abs() < 5e-3, "half precision keeps a law: {total}");
            assert!(position[HELP as usize] <= -29.0);
        }
    }
    assert!(deployed > 0);
}

#[test]
fn a_survey_reads_every_token_that_the_student_writes() {
    let (student, teacher, _) = &*MODELS;
    let student = student.valid();
    let practice = practice(teacher);
    let indices: Vec<u32> = (0..40).collect();
    let readings = practice.survey(&student, &indices, HelpBudget::percent(30), 0).expect("texts");
    assert!(readings.len() >= 40, "{} tokens", readings.len());
    for reading in &readings {
        // Fresh heads have even odds, at which nobody asks; all rewards are clipped at -10.
        assert!(reading.log_odds.abs() < 1e-3 && (0.0..=10.0).contains(&reading.distance), "{reading:?}");
    }
}

#[test]
fn a_teacher_of_another_vocabulary_is_refused() {
    let (student, _, teacher) = &*MODELS;
    let mut practice = practice(teacher);
    let workers = Workers::new(1).expect("a thread");
    let refused = practice.next_batches(student, 1, &workers).expect_err("two vocabularies");
    assert!(matches!(refused, DistillError::Vocabularies { student: 24, teacher: 25 }), "{refused}");
}
