//! Values and gradients of the objectives against their definitions, written out in `f64` and differentiated by finite
//! differences.

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;
use wheels_distill::objective::{
    AllActionConsistency, ConstrainedPath, ForwardKl, GeneralizedJsd, HelpWorth, PathConsistency, ValueSource,
};
use wheels_distill::{Guided, Loss, Objective, Priced, Scored};
use wheels_lm::Values;
use wheels_text::Seed;

const ROWS: usize = 3;
const TIME: usize = 6;
const VOCAB: usize = 7;
/// The help column.
const HELP: usize = 5;
const LENGTHS: [usize; ROWS] = [6, 4, 5];
const ENDED: [bool; ROWS] = [true, true, false];
const PRICES: [f64; ROWS] = [0.8, 2.0, 0.1];
/// Prices of further budgets.
const PRICED: [f64; 4] = [0.3, 1.0, 2.5, 7.0];

/// A batch of numbers without pattern.
struct Batch {
    logits: Vec<f64>,
    value: Vec<f64>,
    cost: Vec<f64>,
    said: Vec<f64>,
    /// Log-probabilities; e^-30 in the help column.
    teacher: Vec<f64>,
    targets: Vec<usize>,
    helped: Vec<bool>,
}

impl Batch {
    fn new() -> Self {
        let mut rng = Seed(3).rng();
        let mut numbers = |count: usize, scale: f64| {
            (0..count).map(|_| f64::from(scale as f32 * (2.0 * rng.random::<f32>() - 1.0))).collect::<Vec<_>>()
        };
        let logits = numbers(ROWS * TIME * VOCAB, 2.0);
        let mut teacher = numbers(ROWS * TIME * VOCAB, 3.0);
        for row in teacher.chunks_exact_mut(VOCAB) {
            row[HELP] = f64::NEG_INFINITY;
            let total = log_sum_exp(row);
            row.iter_mut().for_each(|log| *log = (*log - total).max(-30.0));
        }
        let (value, cost) = (numbers(ROWS * TIME, 1.5), numbers(ROWS * TIME, 2.0));
        let said = numbers(PRICED.len(), 3.0);
        let targets = (0..ROWS * TIME).map(|at| [0, 3, 6, 1, 4, 2, 3][at % 7]).collect();
        let helped = (0..ROWS * TIME).map(|at| at % 3 == 1).collect();
        Self { logits, value, cost, said, teacher, targets, helped }
    }

    fn point(&self) -> Point {
        let Self { logits, value, cost, said, .. } = self;
        Point { logits: logits.clone(), value: value.clone(), cost: cost.clone(), said: said.clone() }
    }

    fn scored(&self, device: &Device) -> Scored {
        let plain = device.clone().without_autodiff();
        let floats = |values: &[f64], device: &Device| {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Tensor::<1>::from_floats(values.as_slice(), device)
        };
        let flags = |flag: &dyn Fn(usize, usize) -> bool| {
            let values: Vec<f32> = (0..ROWS * TIME).map(|at| f32::from(u8::from(flag(at / TIME, at % TIME)))).collect();
            Tensor::<2>::from_data(TensorData::new(values, [ROWS, TIME]), &plain)
        };
        let column =
            |of: &dyn Fn(usize) -> f64| floats(&(0..ROWS).map(of).collect::<Vec<_>>(), &plain).reshape([ROWS, 1]);
        let targets: Vec<i32> = self.targets.iter().map(|&target| target as i32).collect();
        let grid = |values: &[f64]| floats(values, device).reshape([ROWS, TIME]).require_grad();
        Scored {
            logits: floats(&self.logits, device).reshape([ROWS, TIME, VOCAB]).require_grad(),
            hidden: Tensor::zeros([ROWS, TIME, 1], device),
            values: Some(Values { value: grid(&self.value), cost: grid(&self.cost) }),
            priced: Some(Priced {
                said: floats(&self.said, device).reshape([PRICED.len(), 1]).require_grad(),
                price: floats(&PRICED, &plain).reshape([PRICED.len(), 1]),
            }),
            targets: Tensor::<2, Int>::from_data(TensorData::new(targets, [ROWS, TIME]), &plain),
            mask: flags(&|row, t| t < LENGTHS[row]),
            guided: Some(Guided {
                teacher: floats(&self.teacher, &plain).reshape([ROWS, TIME, VOCAB]),
                help: Some(HELP),
                helped: flags(&|row, t| t < LENGTHS[row] && self.helped[row * TIME + t]),
                price: column(&|row| PRICES[row]),
                deployed: column(&|row| f64::from(u8::from(row != 1))),
                ended: column(&|row| f64::from(u8::from(ENDED[row]))),
            }),
            target: None,
        }
    }
}

/// The numbers that a loss depends on.
#[derive(Clone)]
struct Point {
    logits: Vec<f64>,
    value: Vec<f64>,
    cost: Vec<f64>,
    said: Vec<f64>,
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + values.iter().map(|value| (value - max).exp()).sum::<f64>().ln()
}

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

/// Log-probabilities of words (help closed), and the log-sum-exp of the words' logits.
fn words(logits: &[f64]) -> (Vec<f64>, f64) {
    let mut words = logits.to_vec();
    words[HELP] = f64::NEG_INFINITY;
    let total = log_sum_exp(&words);
    (words.iter().map(|logit| logit - total).collect(), total)
}

fn positions() -> impl Iterator<Item = (usize, usize)> {
    (0..ROWS).flat_map(|row| (0..LENGTHS[row]).map(move |t| (row, row * TIME + t)))
}

fn row_of(values: &[f64], at: usize) -> &[f64] {
    &values[at * VOCAB..(at + 1) * VOCAB]
}

fn kl(p: &[f64], q: &[f64]) -> f64 {
    let words = (0..VOCAB).filter(|&word| word != HELP);
    words.map(|word| p[word].exp() * (p[word] - q[word])).sum()
}

fn floored(teacher: &[f64]) -> Vec<f64> {
    teacher.iter().map(|log| log.max(-10.0)).collect()
}

/// Checks an objective: its value against `value`, and its slopes against central differences of `potential`, a function
/// whose gradient at the batch is that of the objective.
fn check(objective: &dyn Objective, value: impl Fn(&Point) -> f64, potential: impl Fn(&Point) -> f64) {
    let batch = Batch::new();
    let scored = batch.scored(&Device::flex().autodiff());
    let loss = objective.loss(&scored);
    let point = batch.point();
    let (got, expected) = (f64::from(loss.value.into_scalar::<f32>()), value(&point));
    assert!((got - expected).abs() < 1e-4 * expected.abs().max(1.0), "the value is {got}, not {expected}");

    let gradients = loss.total.backward();
    let values = scored.values.as_ref().expect("set");
    type Coordinate = fn(&mut Point) -> &mut Vec<f64>;
    let slopes: [(&str, Option<Vec<f64>>, Coordinate); 4] = [
        ("logits", scored.logits.grad(&gradients).map(read), |point| &mut point.logits),
        ("value", values.value.grad(&gradients).map(read), |point| &mut point.value),
        ("cost", values.cost.grad(&gradients).map(read), |point| &mut point.cost),
        ("said", scored.priced.as_ref().expect("set").said.grad(&gradients).map(read), |point| &mut point.said),
    ];
    for (name, slope, coordinate) in slopes {
        let count = coordinate(&mut point.clone()).len();
        let slope = slope.unwrap_or_else(|| vec![0.0; count]);
        for (index, slope) in slope.into_iter().enumerate() {
            let moved = |by: f64| {
                let mut point = point.clone();
                coordinate(&mut point)[index] += by;
                potential(&point)
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - expected).abs() < 2e-4, "{name} {index}: slope {slope}, not {expected}");
        }
    }
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn forward_kl(point: &Point) -> f64 {
    let batch = Batch::new();
    positions().map(|(_, at)| kl(row_of(&batch.teacher, at), &words(row_of(&point.logits, at)).0)).sum()
}

fn reverse_kl(point: &Point) -> f64 {
    let batch = Batch::new();
    let distance = |at| kl(&words(row_of(&point.logits, at)).0, &floored(row_of(&batch.teacher, at)));
    positions().map(|(_, at)| distance(at)).sum()
}

/// `L_words`, where the law that weighs is the same as that which is weighed.
fn words_loss(point: &Point) -> f64 {
    let batch = Batch::new();
    let at_position = |at| {
        let (own, rewards) = (words(row_of(&point.logits, at)).0, floored(row_of(&batch.teacher, at)));
        let mean = -kl(&own, &rewards);
        let each = (0..VOCAB).filter(|&word| word != HELP);
        each.map(|word| 0.5 * own[word].exp() * (rewards[word] - own[word] - mean).powi(2)).sum::<f64>()
    };
    positions().map(|(_, at)| at_position(at)).sum()
}

/// `L_help`, whose target and normaliser stay at the batch.
fn help_loss(worth: HelpWorth, point: &Point) -> f64 {
    let batch = Batch::new();
    let likeliest = |law: &[f64]| {
        (0..VOCAB).filter(|&word| word != HELP).max_by(|&a, &b| law[a].total_cmp(&law[b])).expect("words")
    };
    let at_position = |row: usize, at: usize| {
        let (own, total) = words(row_of(&batch.logits, at));
        let teacher = row_of(&batch.teacher, at);
        let distance = |at| kl(&words(row_of(&batch.logits, at)).0, &floored(row_of(&batch.teacher, at)));
        let worth = match worth {
            HelpWorth::Distance => distance(at),
            HelpWorth::Ahead => {
                let last = row * TIME + LENGTHS[row];
                (at..last.min(at + 4)).map(|later| 0.5_f64.powi((later - at) as i32) * distance(later)).sum::<f64>()
                    / 1.875
            }
            HelpWorth::Regret => teacher[likeliest(teacher)] - teacher[likeliest(&own)],
            HelpWorth::Disagreement if likeliest(teacher) == likeliest(&own) => 0.0,
            HelpWorth::Disagreement => 2.0,
        };
        huber(row_of(&point.logits, at)[HELP] - total - (worth.min(4.0) - PRICES[row]))
    };
    positions().map(|(row, at)| at_position(row, at)).sum()
}

fn huber(residual: f64) -> f64 {
    if residual.abs() <= 1.0 { residual * residual / 2.0 } else { residual.abs() - 0.5 }
}

/// The value at the end of a path is that of `end`, where it is given.
fn path_loss(config: &PathConsistency, point: &Point, end: Option<&Point>, centre: f64) -> f64 {
    let batch = Batch::new();
    let mut loss = 0.0;
    for (row, &length) in LENGTHS.iter().enumerate() {
        let value = |point: &Point, t: usize| {
            let at = row * TIME + t;
            match config.value {
                _ if t >= length => 0.0,
                ValueSource::Head => point.value[at],
                ValueSource::Unified => log_sum_exp(row_of(&point.logits, at)),
            }
        };
        for t in 0..length {
            if t + config.length >= length && !ENDED[row] {
                continue;
            }
            let steps = (t..length.min(t + config.length)).map(|t| step(config, point, &batch, row, t) - centre);
            let end = value(end.unwrap_or(point), t + config.length);
            loss += huber(end - value(point, t) + steps.sum::<f64>());
        }
    }
    loss
}

fn step(config: &PathConsistency, point: &Point, batch: &Batch, row: usize, t: usize) -> f64 {
    let at = row * TIME + t;
    let logits = row_of(&point.logits, at);
    let target = batch.targets[at];
    let (action, reward) = match batch.helped[at] {
        true => (HELP, -PRICES[row]),
        false => (target, row_of(&batch.teacher, at)[target].max(-10.0)),
    };
    let charge = config.alpha * softplus(-PRICES[row] / config.alpha);
    reward - charge - config.alpha * (logits[action] - log_sum_exp(logits))
}

fn cost_loss(point: &Point) -> f64 {
    let batch = Batch::new();
    let deployed = positions().filter(|(row, _)| *row != 1);
    deployed
        .map(|(row, at)| {
            let to_come = (at..row * TIME + LENGTHS[row]).filter(|&later| batch.helped[later]).count();
            huber(point.cost[at] - to_come as f64)
        })
        .sum()
}

fn price_loss(point: &Point) -> f64 {
    let mean =
        point.said.iter().zip(PRICED).map(|(said, price)| huber(said - price)).sum::<f64>() / PRICED.len() as f64;
    mean * positions().count() as f64
}

#[test]
fn forward_kl_is_that_from_teacher_to_student() {
    check(&ForwardKl, forward_kl, forward_kl);
}

#[test]
fn the_all_action_loss_has_the_gradient_of_the_reverse_kl() {
    check(&AllActionConsistency::new().with_help(0.0), words_loss, reverse_kl);
}

#[test]
fn the_help_loss_is_what_the_log_odds_miss_of_the_worth_of_help() {
    for worth in [HelpWorth::Distance, HelpWorth::Regret, HelpWorth::Disagreement, HelpWorth::Ahead] {
        let objective =
            AllActionConsistency::new().with_help(0.5).with_help_huber(1.0).with_worth(worth).with_worth_cap(4.0);
        let help = |point: &Point| 0.5 * help_loss(worth, point);
        check(&objective, |point| words_loss(point) + help(point), |point| reverse_kl(point) + help(point));
    }
}

#[test]
fn generalized_jsd_is_its_definition() {
    for beta in [0.1, 0.5, 0.9] {
        let divergence = move |point: &Point| {
            let batch = Batch::new();
            let at_position = |at| {
                let (own, teacher) = (words(row_of(&point.logits, at)).0, row_of(&batch.teacher, at).to_vec());
                let mixed: Vec<f64> = own
                    .iter()
                    .zip(&teacher)
                    .map(|(own, teacher)| (beta * teacher.exp() + (1.0 - beta) * own.exp()).ln())
                    .collect();
                beta * kl(&teacher, &mixed) + (1.0 - beta) * kl(&own, &mixed)
            };
            positions().map(|(_, at)| at_position(at)).sum()
        };
        check(&GeneralizedJsd { beta }, divergence, divergence);
    }
    check(&GeneralizedJsd { beta: 0.0 }, forward_kl, forward_kl);
}

#[test]
fn path_residuals_send_their_gradient_through_policy_and_values() {
    for value in [ValueSource::Head, ValueSource::Unified] {
        for (length, alpha) in [(1, 1.0), (3, 1.0), (9, 1.0), (2, 0.6)] {
            if alpha != 1.0 && value == ValueSource::Unified {
                continue;
            }
            let config =
                PathConsistency::new().with_length(length).with_alpha(alpha).with_centred(false).with_value(value);
            check(&config, |point| path_loss(&config, point, None, 0.0), |point| path_loss(&config, point, None, 0.0));
        }
    }
}

/// An objective on batches that a target network scores, too.
struct WithTarget(PathConsistency);

impl WithTarget {
    fn network() -> Batch {
        let mut batch = Batch::new();
        batch.logits.iter_mut().for_each(|logit| *logit *= -0.5);
        batch.value.iter_mut().for_each(|value| *value += 0.7);
        batch
    }
}

impl Objective for WithTarget {
    fn loss(&self, scored: &Scored) -> Loss {
        let target = Self::network().scored(&Device::flex().autodiff());
        self.0.loss(&Scored { target: Some(Box::new(target)), ..scored.clone() })
    }
}

#[test]
fn a_target_network_gives_the_values_at_the_ends_of_paths() {
    for value in [ValueSource::Head, ValueSource::Unified] {
        let config = PathConsistency::new().with_length(2).with_centred(false).with_value(value);
        let end = WithTarget::network().point();
        let loss = |point: &Point| path_loss(&config, point, Some(&end), 0.0);
        check(&WithTarget(config), loss, loss);
    }
}

#[test]
fn centring_takes_off_the_mean_step() {
    let config = PathConsistency::new();
    let batch = Batch::new();
    let point = batch.point();
    let steps: Vec<f64> = positions().map(|(row, at)| step(&config, &point, &batch, row, at - row * TIME)).collect();
    let centre = steps.iter().sum::<f64>() / steps.len() as f64;
    check(&config, |point| path_loss(&config, point, None, centre), |point| path_loss(&config, point, None, centre));
}

#[test]
fn the_whole_recipe_is_the_sum_of_its_parts() {
    let paths = PathConsistency::new().with_centred(false);
    let config = ConstrainedPath::new().with_help(0.5).with_help_huber(1.0).with_worth_cap(4.0).with_paths(paths);
    let rest = |point: &Point| {
        0.5 * help_loss(HelpWorth::Distance, point)
            + forward_kl(point)
            + 0.1 * path_loss(&paths, point, None, 0.0)
            + 0.05 * cost_loss(point)
            + 5.0 * price_loss(point)
    };
    check(&config, |point| 0.3 * words_loss(point) + rest(point), |point| 0.3 * reverse_kl(point) + rest(point));
}
