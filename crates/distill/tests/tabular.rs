//! Training on tables whose optimum is known.

use std::ops::ControlFlow;

use burn::tensor::{Device, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wheels_distill::exact::{Problem, Table, Words};
use wheels_distill::objective::{PathConsistency, ValueSource};
use wheels_distill::{
    Decay, DistillError, Guidance, GuidedRow, LagrangeMultiplier, Lessons, Trainer, TrainerConfig, TrainingBatch,
    Workers,
};
use wheels_lm::{TabularLm, TabularLmConfig, TokenBatch};
use wheels_text::Seed;

const WORDS: usize = 4;
const HELP: usize = 4;
const EOS: usize = 1;
const PRICE: f64 = 1.2;
const LONGEST: usize = 10;

/// Logits of a teacher of four words, 1 the end of texts, by the last word.
fn teacher() -> Table {
    let logits = [[0.2, -0.5, 1.0, 0.4], [0.1, 0.0, -0.3, 0.9], [0.8, -0.2, -0.6, 1.1], [-0.4, 0.5, 1.3, 0.0]];
    Table::from_logits(WORDS, EOS as u32, &logits.concat())
}

#[derive(Clone, Copy)]
enum Author {
    Student,
    Chance,
    Both,
}

/// Paths over the table, with the teacher's law along them.
struct Paths {
    author: Author,
    rng: ChaCha8Rng,
}

impl Paths {
    /// One path: its tokens, whose they are, and whether it ended.
    fn walk(&mut self, policy: Option<&[f32]>) -> (u32, Vec<u32>, Vec<bool>, bool) {
        let teacher = teacher();
        let start = self.rng.random_range(0..WORDS);
        let (mut state, mut tokens, mut helped) = (start, vec![], vec![]);
        while tokens.len() < LONGEST {
            let action = match policy {
                None => self.rng.random_range(0..=WORDS),
                Some(logits) => self.draw(&logits[state * (WORDS + 1)..(state + 1) * (WORDS + 1)]),
            };
            let row = teacher.row(state);
            let answer = (0..WORDS).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("words");
            state = if action == HELP { answer } else { action };
            tokens.push(state as u32);
            helped.push(action == HELP);
            if state == EOS {
                return (start as u32, tokens, helped, true);
            }
        }
        (start as u32, tokens, helped, false)
    }

    fn draw(&mut self, logits: &[f32]) -> usize {
        let weights: Vec<f32> = logits.iter().map(|logit| logit.exp()).collect();
        let mut left = self.rng.random::<f32>() * weights.iter().sum::<f32>();
        let place = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        place.unwrap_or(weights.len() - 1)
    }
}

impl Lessons<TabularLm> for Paths {
    fn next_batches(
        &mut self,
        model: &TabularLm,
        count: usize,
        _: &Workers,
    ) -> Result<Vec<TrainingBatch>, DistillError> {
        let logits: Vec<f32> = model.logits.val().into_data().iter::<f32>().collect();
        let teacher = teacher();
        let batches = (0..count).map(|_| {
            let (mut starts, mut targets, mut rows) = (vec![], vec![], vec![]);
            for row in 0..64 {
                let own = match self.author {
                    Author::Student => true,
                    Author::Chance => false,
                    Author::Both => row % 2 == 0,
                };
                let (start, tokens, helped, ended) = self.walk(own.then_some(logits.as_slice()));
                starts.push(vec![start]);
                targets.push(tokens);
                rows.push(GuidedRow { helped, price: PRICE as f32, deployed: false, ended });
            }
            let targets = TokenBatch::new(&targets, 0);
            let mut law = Vec::new();
            for (row, start) in starts.iter().enumerate() {
                let before = start.iter().chain(targets.row(row)).take(targets.row(row).len());
                for &state in before {
                    law.extend(teacher.row(state as usize).iter().map(|log| *log as f32).chain([-30.0]));
                }
                law.resize((row + 1) * targets.width() * (WORDS + 1), 0.0);
            }
            let shape = [targets.rows(), targets.width(), WORDS + 1];
            let teacher = TensorData::new(law, shape);
            let guidance = Guidance { teacher, help: Some(HELP as u32), rows, rehearsal: None };
            TrainingBatch { prompts: TokenBatch::new(&starts, 0), targets, read: None, guidance: Some(guidance) }
        });
        Ok(batches.collect())
    }

    fn place(&self) -> String {
        "a table".into()
    }

    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn restore(&mut self, _: serde_json::Value) -> Result<(), String> {
        Ok(())
    }
}

/// Trains a random table by unified path consistency on an author's paths, and demands that its log-policy and its
/// values come near those of the optimum.
fn finds_the_optimum(author: Author) {
    let device = Device::flex().autodiff();
    device.seed(5);
    let model = TabularLmConfig::new(WORDS + 1, 1).init(&device);
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
    let paths = Paths { author, rng: Seed(9).rng() };
    let mut trainer = Trainer::new(config, &objective, model, paths, folder.path(), false).expect("a trainer");
    trainer.train(&mut |_| Ok(0.0), &mut |_| ControlFlow::Continue(())).expect("finite numbers");

    let logits: Vec<f64> = trainer.model().logits.val().into_data().iter::<f64>().collect();
    let teacher = teacher();
    let solution = Problem::new(&teacher, PRICE, 400).solve();
    let (mut policy_error, mut value_error) = (0.0_f64, 0.0_f64);
    for state in (0..WORDS).filter(|&state| state != EOS) {
        let row = &logits[state * (WORDS + 1)..(state + 1) * (WORDS + 1)];
        let value = row.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        value_error = value_error.max((value - solution.value(0, state)).abs());
        for (logit, best) in row.iter().zip(solution.log_policy(0, state)) {
            policy_error = policy_error.max((logit - value - best).abs());
        }
    }
    assert!(policy_error < 0.02 && value_error < 0.02, "errors {policy_error}, {value_error}");
}

#[test]
fn path_consistency_finds_the_optimum_on_policy() {
    finds_the_optimum(Author::Student);
}

#[test]
fn path_consistency_finds_the_optimum_off_policy() {
    finds_the_optimum(Author::Chance);
}

#[test]
fn path_consistency_finds_the_optimum_on_mixed_paths() {
    finds_the_optimum(Author::Both);
}

#[test]
fn dual_ascent_finds_the_price_that_bisection_finds() {
    let teacher = teacher();
    let weak = Table::from_logits(WORDS, EOS as u32, &[0.0, 0.3, 0.1, -0.2].repeat(WORDS));
    let problem = Problem { words: Words::Fixed(&weak), ..Problem::new(&teacher, 0.0, 60) };
    for budget in [0.1, 0.2, 0.3, 0.5] {
        let mut multiplier = LagrangeMultiplier { budget, price: 3.0 };
        let mut rate = 0.0;
        for step in 0..2000 {
            let expected = Problem { price: multiplier.price, ..problem }.solve().expected(2);
            rate = expected.helped / expected.length;
            multiplier.ascend(rate, 0.6 / (1.0 + 3.0 * f64::from(step) / 2000.0), 10.0);
        }
        assert!((rate - budget).abs() < 0.01 * budget, "budget {budget}: rate {rate}");
        let price = problem.price_for(budget, 2);
        assert!((multiplier.price - price).abs() < 0.01, "budget {budget}: {} is not {price}", multiplier.price);
    }
}
