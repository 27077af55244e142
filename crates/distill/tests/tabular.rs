//! Training of models that are small tables, compared with the exact optimum.

use std::ops::ControlFlow;

use burn::tensor::{Device, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wheels_distill::objective::{PathConsistency, Requirements, ValueSource};
use wheels_distill::testing::{TabularDistribution, TabularProblem, Usage, WordPolicy, ascend};
use wheels_distill::{
    BatchSource, ConstraintConfig, Decay, DistillError, RolloutRow, TeacherDistributions, TeacherTargets, Trainer,
    TrainerConfig, TrainingBatch, Workers,
};
use wheels_lm::{TabularLm, TabularLmConfig, TokenBatch};
use wheels_student::{LagrangeMultiplier, Prices, Student};
use wheels_text::{HelpBudget, Prompt, Seed};

const WORDS: usize = 4;
const HELP: usize = 4;
const EOS: usize = 1;
const PRICE: f64 = 1.2;
const MAX_TOKENS: usize = 10;
const ROWS: usize = 64;
/// A number of tokens so large that a help rate times it can be rounded to a whole number of helped tokens. The error
/// of the rate is below 1e-9.
const TOKENS: f64 = 1e9;

/// A teacher of four words, of which 1 ends a text. The last word is the state.
fn teacher() -> TabularDistribution {
    let logits = [[0.2, -0.5, 1.0, 0.4], [0.1, 0.0, -0.3, 0.9], [0.8, -0.2, -0.6, 1.1], [-0.4, 0.5, 1.3, 0.0]];
    TabularDistribution::from_logits(WORDS, EOS as u32, &logits.concat())
}

/// Who chooses the actions of a path.
#[derive(Clone, Copy)]
enum Writer {
    /// The student samples from its own policy, so the paths are on-policy.
    Student,
    /// Every action is equally likely, so the paths are off-policy.
    Uniform,
    /// Even rows are from the student, and odd rows are uniform.
    Both,
}

/// A batch source that draws paths over the table, with the teacher's log-probs.
struct Paths {
    writer: Writer,
    rng: ChaCha8Rng,
}

/// One path.
struct TabularPath {
    start: u32,
    tokens: Vec<u32>,
    helped: Vec<bool>,
    ended: bool,
}

impl Paths {
    /// Draws a path. `policy` is the student's table of logits; with `None`, every action is equally likely.
    fn draw_path(&mut self, policy: Option<&[f32]>) -> TabularPath {
        let teacher = teacher();
        let start = self.rng.random_range(0..WORDS);
        let mut path = TabularPath { start: start as u32, tokens: vec![], helped: vec![], ended: false };
        let mut state = start;
        while path.tokens.len() < MAX_TOKENS && !path.ended {
            let action = match policy {
                None => self.rng.random_range(0..=WORDS),
                Some(logits) => self.draw_action(&logits[state * (WORDS + 1)..(state + 1) * (WORDS + 1)]),
            };
            let log_probs = teacher.log_probs(state);
            let answer = (0..WORDS).max_by(|&a, &b| log_probs[a].total_cmp(&log_probs[b])).expect("there are words");
            state = if action == HELP { answer } else { action };
            path.tokens.push(state as u32);
            path.helped.push(action == HELP);
            path.ended = state == EOS;
        }
        path
    }

    fn draw_action(&mut self, logits: &[f32]) -> usize {
        let weights: Vec<f32> = logits.iter().map(|logit| logit.exp()).collect();
        let mut remaining = self.rng.random::<f32>() * weights.iter().sum::<f32>();
        for (action, weight) in weights.iter().enumerate() {
            remaining -= weight;
            if remaining < 0.0 {
                return action;
            }
        }
        weights.len() - 1
    }

    /// Draws a batch of paths. `policy` is the student's table of logits.
    fn draw_batch(&mut self, policy: &[f32]) -> TrainingBatch {
        let teacher = teacher();
        let (mut starts, mut targets, mut rows) = (vec![], vec![], vec![]);
        for row in 0..ROWS {
            let on_policy = match self.writer {
                Writer::Student => true,
                Writer::Uniform => false,
                Writer::Both => row % 2 == 0,
            };
            let path = self.draw_path(on_policy.then_some(policy));
            rows.push(RolloutRow {
                prompt: Prompt {
                    student: vec![path.start],
                    expert: vec![path.start],
                    budget: HelpBudget::percent(100),
                },
                tokens: path.tokens.clone(),
                helped: path.helped,
                budget: 1.0,
                price: PRICE as f32,
                deployed: false,
                ended: path.ended,
            });
            starts.push(vec![path.start]);
            targets.push(path.tokens);
        }
        let targets = TokenBatch::new(&targets, 0);
        let mut log_probs = Vec::new();
        for (row, start) in starts.iter().enumerate() {
            let states = start.iter().chain(targets.row(row)).take(targets.row(row).len());
            for &state in states {
                log_probs.extend(teacher.log_probs(state as usize).iter().map(|log_prob| *log_prob as f32));
                log_probs.push(-30.0);
            }
            log_probs.resize((row + 1) * targets.width() * (WORDS + 1), 0.0);
        }
        let shape = [targets.rows(), targets.width(), WORDS + 1];
        let teacher = TeacherTargets {
            distributions: TeacherDistributions::LogProbs(TensorData::new(log_probs, shape)),
            help_token: Some(HELP as u32),
            rows,
            price_prompts: None,
        };
        TrainingBatch { prompts: TokenBatch::new(&starts, 0), targets, decoder_inputs: None, teacher: Some(teacher) }
    }
}

impl BatchSource<TabularLm> for Paths {
    fn provides(&self) -> Requirements {
        Requirements { teacher: true, help_token: true, value_heads: false }
    }

    fn next_batches(
        &mut self,
        student: &Student<TabularLm>,
        count: usize,
        _: &Workers,
    ) -> Result<Vec<TrainingBatch>, DistillError> {
        let policy: Vec<f32> = student.model.logits.val().into_data().iter::<f32>().collect();
        Ok((0..count).map(|_| self.draw_batch(&policy)).collect())
    }

    fn position(&self) -> String {
        "a table".into()
    }

    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn restore(&mut self, _: serde_json::Value) -> Result<(), DistillError> {
        Ok(())
    }
}

/// Trains a random table by unified path consistency on the paths of `writer`. The trained log-policy and values must
/// be close to the optimum.
fn assert_optimum_is_found(writer: Writer) {
    let device = Device::flex().autodiff();
    device.seed(5);
    let student = Student::new(TabularLmConfig::new(WORDS + 1, 1).init(&device));
    let objective =
        PathConsistency::new().with_centred(false).with_length(3).with_value(ValueSource::Unified).with_huber(1e9);
    let config = TrainerConfig::new(1500)
        .with_learning_rate(0.05)
        .with_warmup_steps(10)
        .with_weight_decay(0.0)
        .with_clip_norm(100.0)
        .with_decay(Decay::Linear)
        .with_checkpoint_every(usize::MAX)
        .with_validate_every(usize::MAX);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paths = Paths { writer, rng: Seed(9).rng() };
    let mut trainer = Trainer::new(config, &objective, student, paths, folder.path()).expect("a trainer");
    trainer.train(&mut |_| Ok(0.0), &mut |_| ControlFlow::Continue(())).expect("finite numbers");

    let logits: Vec<f64> = trainer.student().model.logits.val().into_data().iter::<f64>().collect();
    let teacher = teacher();
    let solution = TabularProblem::new(&teacher, PRICE, 400).solve();
    let (mut policy_error, mut value_error) = (0.0_f64, 0.0_f64);
    for state in (0..WORDS).filter(|&state| state != EOS) {
        let row = &logits[state * (WORDS + 1)..(state + 1) * (WORDS + 1)];
        let value = row.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        value_error = value_error.max((value - solution.value(0, state)).abs());
        for (logit, optimal) in row.iter().zip(solution.log_policy(0, state)) {
            policy_error = policy_error.max((logit - value - optimal).abs());
        }
    }
    assert!(policy_error < 0.02 && value_error < 0.02, "errors {policy_error}, {value_error}");
}

#[test]
fn path_consistency_finds_the_optimum_on_policy() {
    assert_optimum_is_found(Writer::Student);
}

#[test]
fn path_consistency_finds_the_optimum_off_policy() {
    assert_optimum_is_found(Writer::Uniform);
}

#[test]
fn path_consistency_finds_the_optimum_on_mixed_paths() {
    assert_optimum_is_found(Writer::Both);
}

#[test]
fn dual_ascent_finds_the_price_that_bisection_finds() {
    let teacher = teacher();
    let weak = TabularDistribution::from_logits(WORDS, EOS as u32, &[0.0, 0.3, 0.1, -0.2].repeat(WORDS));
    let problem = TabularProblem { words: WordPolicy::Fixed(&weak), ..TabularProblem::new(&teacher, 0.0, 60) };
    for budget in [0.1, 0.2, 0.3, 0.5] {
        let config = ConstraintConfig::new().with_levels(vec![0.0, budget, 1.0]).with_rate(0.6).with_max_price(10.0);
        let level = |budget, price| LagrangeMultiplier { budget, price };
        let levels = vec![level(0.0, 10.0), level(budget, 3.0), level(1.0, 0.0)];
        let mut prices = Prices::new(levels).expect("the levels rise from 0 to 1");
        let mut rate = 0.0;
        for step in 0..2000 {
            let expected = TabularProblem { price: prices.price(budget), ..problem }.solve().expected_use(2);
            rate = expected.helped / expected.length;
            let usage = Usage { budget, helped: (rate * TOKENS).round() as usize, tokens: TOKENS as usize };
            ascend(&mut prices, &[usage], &config, f64::from(step) / 2000.0);
        }
        assert!((rate - budget).abs() < 0.01 * budget, "budget {budget}: rate {rate}");
        let (found, expected) = (prices.price(budget), problem.price_for(budget, 2));
        assert!((found - expected).abs() < 0.01, "budget {budget}: the price is {found}, not {expected}");
    }
}
