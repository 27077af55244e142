//! Values and gradients of the objectives, compared with their definitions. The definitions are written in `f64` and
//! differentiated by finite differences.

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;
use wheels_distill::objective::{
    AllActionConsistency, ConstrainedPath, CrossEntropy, ForwardKl, GeneralizedJsd, HelpValue, PathConsistency,
    Requirements, ValueSource,
};
use wheels_distill::{Loss, Objective, PriceTargets, Scored, TeacherTensors};
use wheels_student::Values;
use wheels_text::Seed;

const ROWS: usize = 3;
const TIME: usize = 6;
const VOCAB: usize = 7;
/// The help column.
const HELP: usize = 5;
const LENGTHS: [usize; ROWS] = [6, 4, 5];
const ENDED: [bool; ROWS] = [true, true, false];
const PRICES: [f64; ROWS] = [0.8, 2.0, 0.1];
/// The true prices of the price prompts.
const PROMPT_PRICES: [f64; 4] = [0.3, 1.0, 2.5, 7.0];

/// A batch of random numbers.
struct Batch {
    logits: Vec<f64>,
    value: Vec<f64>,
    cost: Vec<f64>,
    predicted_prices: Vec<f64>,
    /// Log-probs; -30 in the help column.
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
            row.iter_mut().for_each(|log_prob| *log_prob = (*log_prob - total).max(-30.0));
        }
        let (value, cost) = (numbers(ROWS * TIME, 1.5), numbers(ROWS * TIME, 2.0));
        let predicted_prices = numbers(PROMPT_PRICES.len(), 3.0);
        let targets = (0..ROWS * TIME).map(|at| [0, 3, 6, 1, 4, 2, 3][at % 7]).collect();
        let helped = (0..ROWS * TIME).map(|at| at % 3 == 1).collect();
        Self { logits, value, cost, predicted_prices, teacher, targets, helped }
    }

    fn inputs(&self) -> Inputs {
        let Self { logits, value, cost, predicted_prices, .. } = self;
        Inputs {
            logits: logits.clone(),
            value: value.clone(),
            cost: cost.clone(),
            predicted_prices: predicted_prices.clone(),
        }
    }

    fn scored(&self, device: &Device) -> Scored {
        let plain = device.clone().without_autodiff();
        let floats = |values: &[f64], device: &Device| {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Tensor::<1>::from_floats(values.as_slice(), device)
        };
        let flags = |is_set: &dyn Fn(usize, usize) -> bool| {
            let values: Vec<f32> =
                (0..ROWS * TIME).map(|at| f32::from(u8::from(is_set(at / TIME, at % TIME)))).collect();
            Tensor::<2>::from_data(TensorData::new(values, [ROWS, TIME]), &plain)
        };
        let column = |value_of: &dyn Fn(usize) -> f64| {
            floats(&(0..ROWS).map(value_of).collect::<Vec<_>>(), &plain).reshape([ROWS, 1])
        };
        let tracked = |values: &[f64]| floats(values, device).reshape([ROWS, TIME]).require_grad();
        let targets: Vec<i32> = self.targets.iter().map(|&target| target as i32).collect();
        Scored {
            logits: floats(&self.logits, device).reshape([ROWS, TIME, VOCAB]).require_grad(),
            values: Some(Values { value: tracked(&self.value), cost: tracked(&self.cost) }),
            price_targets: Some(PriceTargets {
                predicted: floats(&self.predicted_prices, device).reshape([PROMPT_PRICES.len(), 1]).require_grad(),
                price: floats(&PROMPT_PRICES, &plain).reshape([PROMPT_PRICES.len(), 1]),
                batch_tokens: LENGTHS.iter().sum(),
            }),
            targets: Tensor::<2, Int>::from_data(TensorData::new(targets, [ROWS, TIME]), &plain),
            mask: flags(&|row, t| t < LENGTHS[row]),
            teacher: Some(TeacherTensors {
                log_probs: floats(&self.teacher, &plain).reshape([ROWS, TIME, VOCAB]),
                help_token: Some(HELP),
                helped: flags(&|row, t| t < LENGTHS[row] && self.helped[row * TIME + t]),
                price: column(&|row| PRICES[row]),
                deployed: column(&|row| f64::from(u8::from(row != 1))),
                ended: column(&|row| f64::from(u8::from(ENDED[row]))),
            }),
            target_network: None,
            batch_sums: None,
        }
    }
}

/// The inputs of a loss that have gradients.
#[derive(Clone)]
struct Inputs {
    logits: Vec<f64>,
    value: Vec<f64>,
    cost: Vec<f64>,
    predicted_prices: Vec<f64>,
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + values.iter().map(|value| (value - max).exp()).sum::<f64>().ln()
}

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

/// The log-probs of the words without the help column, and the log-sum-exp of the words' logits.
fn word_log_probs(logits: &[f64]) -> (Vec<f64>, f64) {
    let mut words = logits.to_vec();
    words[HELP] = f64::NEG_INFINITY;
    let total = log_sum_exp(&words);
    (words.iter().map(|logit| logit - total).collect(), total)
}

/// The row and the flat index of each target.
fn positions() -> impl Iterator<Item = (usize, usize)> {
    (0..ROWS).flat_map(|row| (0..LENGTHS[row]).map(move |t| (row, row * TIME + t)))
}

fn row_of(values: &[f64], at: usize) -> &[f64] {
    &values[at * VOCAB..(at + 1) * VOCAB]
}

/// KL(p || q) over the words, from log-probs.
fn kl(p: &[f64], q: &[f64]) -> f64 {
    let words = (0..VOCAB).filter(|&word| word != HELP);
    words.map(|word| p[word].exp() * (p[word] - q[word])).sum()
}

fn rewards(teacher: &[f64]) -> Vec<f64> {
    teacher.iter().map(|log_prob| log_prob.max(-10.0)).collect()
}

/// Checks an objective. Its value must equal `value`. Its gradients must equal the central differences of `potential`,
/// a function that has the gradients of the objective at the batch.
fn check(objective: &dyn Objective, value: impl Fn(&Inputs) -> f64, potential: impl Fn(&Inputs) -> f64) {
    let batch = Batch::new();
    let scored = batch.scored(&Device::flex().autodiff());
    let loss = objective.loss(&scored);
    let inputs = batch.inputs();
    let (found, expected) = (f64::from(loss.value.into_scalar::<f32>()), value(&inputs));
    assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "the value is {found}, not {expected}");

    let gradients = loss.total.backward();
    let values = scored.values.as_ref().expect("the batch has values");
    let predicted = &scored.price_targets.as_ref().expect("the batch has price targets").predicted;
    type Field = fn(&mut Inputs) -> &mut Vec<f64>;
    let fields: [(&str, Option<Vec<f64>>, Field); 4] = [
        ("logits", scored.logits.grad(&gradients).map(read), |inputs| &mut inputs.logits),
        ("value", values.value.grad(&gradients).map(read), |inputs| &mut inputs.value),
        ("cost", values.cost.grad(&gradients).map(read), |inputs| &mut inputs.cost),
        ("predicted_prices", predicted.grad(&gradients).map(read), |inputs| &mut inputs.predicted_prices),
    ];
    for (name, gradient, field) in fields {
        let count = field(&mut inputs.clone()).len();
        let gradient = gradient.unwrap_or_else(|| vec![0.0; count]);
        for (index, found) in gradient.into_iter().enumerate() {
            let potential_at = |offset: f64| {
                let mut moved = inputs.clone();
                field(&mut moved)[index] += offset;
                potential(&moved)
            };
            let expected = (potential_at(1e-5) - potential_at(-1e-5)) / 2e-5;
            assert!((found - expected).abs() < 2e-4, "{name} {index}: gradient {found}, not {expected}");
        }
    }
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn forward_kl(inputs: &Inputs) -> f64 {
    let batch = Batch::new();
    positions().map(|(_, at)| kl(row_of(&batch.teacher, at), &word_log_probs(row_of(&inputs.logits, at)).0)).sum()
}

fn reverse_kl(inputs: &Inputs) -> f64 {
    let batch = Batch::new();
    let divergence = |at| kl(&word_log_probs(row_of(&inputs.logits, at)).0, &rewards(row_of(&batch.teacher, at)));
    positions().map(|(_, at)| divergence(at)).sum()
}

/// `L_words` without its stop-gradients. It has the value of `L_words`, but another gradient.
fn words_loss(inputs: &Inputs) -> f64 {
    let batch = Batch::new();
    let mut loss = 0.0;
    for (_, at) in positions() {
        let (own, rewards) = (word_log_probs(row_of(&inputs.logits, at)).0, rewards(row_of(&batch.teacher, at)));
        let mean = -kl(&own, &rewards);
        let words = (0..VOCAB).filter(|&word| word != HELP);
        loss += words.map(|word| 0.5 * own[word].exp() * (rewards[word] - own[word] - mean).powi(2)).sum::<f64>();
    }
    loss
}

/// `L_help`. The target and the log-sum-exp are those of the batch, because no gradient flows through them.
fn help_loss(help_value: HelpValue, inputs: &Inputs) -> f64 {
    let batch = Batch::new();
    let most_likely = |log_probs: &[f64]| {
        let words = (0..VOCAB).filter(|&word| word != HELP);
        words.max_by(|&a, &b| log_probs[a].total_cmp(&log_probs[b])).expect("there are words")
    };
    let divergence = |at| kl(&word_log_probs(row_of(&batch.logits, at)).0, &rewards(row_of(&batch.teacher, at)));
    let mut loss = 0.0;
    for (row, at) in positions() {
        let (own, total) = word_log_probs(row_of(&batch.logits, at));
        let teacher = row_of(&batch.teacher, at);
        let value = match help_value {
            HelpValue::Divergence => divergence(at),
            HelpValue::Lookahead => {
                let end = (row * TIME + LENGTHS[row]).min(at + 4);
                (at..end).map(|later| 0.5_f64.powi((later - at) as i32) * divergence(later)).sum::<f64>() / 1.875
            }
            HelpValue::Regret => teacher[most_likely(teacher)] - teacher[most_likely(&own)],
            HelpValue::Disagreement if most_likely(teacher) == most_likely(&own) => 0.0,
            HelpValue::Disagreement => 2.0,
        };
        loss += huber(row_of(&inputs.logits, at)[HELP] - total - (value.min(4.0) - PRICES[row]));
    }
    loss
}

fn huber(residual: f64) -> f64 {
    if residual.abs() <= 1.0 { residual * residual / 2.0 } else { residual.abs() - 0.5 }
}

/// `L_path`. `centre` is subtracted from each step term. The values at the ends of sub-paths come from `end`, if it is
/// given.
fn path_loss(config: &PathConsistency, inputs: &Inputs, end: Option<&Inputs>, centre: f64) -> f64 {
    let batch = Batch::new();
    let mut loss = 0.0;
    for (row, &length) in LENGTHS.iter().enumerate() {
        let value = |inputs: &Inputs, t: usize| {
            let at = row * TIME + t;
            match config.value {
                _ if t >= length => 0.0,
                ValueSource::Head => inputs.value[at],
                ValueSource::Unified => log_sum_exp(row_of(&inputs.logits, at)),
            }
        };
        for t in 0..length {
            if t + config.length >= length && !ENDED[row] {
                continue;
            }
            let steps = (t..length.min(t + config.length)).map(|t| step_term(config, inputs, &batch, row, t) - centre);
            let end_value = value(end.unwrap_or(inputs), t + config.length);
            loss += huber(end_value - value(inputs, t) + steps.sum::<f64>());
        }
    }
    loss
}

fn step_term(config: &PathConsistency, inputs: &Inputs, batch: &Batch, row: usize, t: usize) -> f64 {
    let at = row * TIME + t;
    let logits = row_of(&inputs.logits, at);
    let target = batch.targets[at];
    let (action, reward) = match batch.helped[at] {
        true => (HELP, -PRICES[row]),
        false => (target, row_of(&batch.teacher, at)[target].max(-10.0)),
    };
    let charge = config.alpha * softplus(-PRICES[row] / config.alpha);
    reward - charge - config.alpha * (logits[action] - log_sum_exp(logits))
}

fn cost_loss(inputs: &Inputs) -> f64 {
    let batch = Batch::new();
    let mut loss = 0.0;
    for (row, at) in positions().filter(|(row, _)| *row != 1) {
        let to_come = (at..row * TIME + LENGTHS[row]).filter(|&later| batch.helped[later]).count();
        loss += huber(inputs.cost[at] - to_come as f64);
    }
    loss
}

fn price_loss(inputs: &Inputs) -> f64 {
    let losses = inputs.predicted_prices.iter().zip(PROMPT_PRICES).map(|(predicted, price)| huber(predicted - price));
    losses.sum::<f64>() / PROMPT_PRICES.len() as f64 * positions().count() as f64
}

#[test]
fn forward_kl_goes_from_teacher_to_student() {
    check(&ForwardKl, forward_kl, forward_kl);
}

#[test]
fn the_words_loss_has_the_gradient_of_the_reverse_kl() {
    check(&AllActionConsistency::new().with_help(0.0), words_loss, reverse_kl);
}

#[test]
fn the_help_loss_pulls_the_log_odds_to_the_help_value_minus_the_price() {
    for help_value in [HelpValue::Divergence, HelpValue::Regret, HelpValue::Disagreement, HelpValue::Lookahead] {
        let objective = AllActionConsistency::new()
            .with_help(0.5)
            .with_help_huber(1.0)
            .with_help_value(help_value)
            .with_help_value_cap(4.0);
        let help = |inputs: &Inputs| 0.5 * help_loss(help_value, inputs);
        check(&objective, |inputs| words_loss(inputs) + help(inputs), |inputs| reverse_kl(inputs) + help(inputs));
    }
}

#[test]
fn generalized_jsd_equals_its_definition() {
    for beta in [0.1, 0.5, 0.9] {
        let divergence = move |inputs: &Inputs| {
            let batch = Batch::new();
            let mut sum = 0.0;
            for (_, at) in positions() {
                let (own, teacher) = (word_log_probs(row_of(&inputs.logits, at)).0, row_of(&batch.teacher, at));
                let pairs = own.iter().zip(teacher);
                let mixture: Vec<f64> =
                    pairs.map(|(own, teacher)| (beta * teacher.exp() + (1.0 - beta) * own.exp()).ln()).collect();
                sum += beta * kl(teacher, &mixture) + (1.0 - beta) * kl(&own, &mixture);
            }
            sum
        };
        check(&GeneralizedJsd { beta }, divergence, divergence);
    }
    check(&GeneralizedJsd { beta: 0.0 }, forward_kl, forward_kl);
}

#[test]
fn the_path_loss_has_gradients_in_the_policy_and_the_values() {
    for value in [ValueSource::Head, ValueSource::Unified] {
        for (length, alpha) in [(1, 1.0), (3, 1.0), (9, 1.0), (2, 0.6)] {
            if alpha != 1.0 && value == ValueSource::Unified {
                continue;
            }
            let config =
                PathConsistency::new().with_length(length).with_alpha(alpha).with_centred(false).with_value(value);
            let loss = |inputs: &Inputs| path_loss(&config, inputs, None, 0.0);
            check(&config, loss, loss);
        }
    }
}

/// An objective on batches that a target network has also scored.
struct WithTargetNetwork(PathConsistency);

impl WithTargetNetwork {
    fn batch() -> Batch {
        let mut batch = Batch::new();
        batch.logits.iter_mut().for_each(|logit| *logit *= -0.5);
        batch.value.iter_mut().for_each(|value| *value += 0.7);
        batch
    }
}

impl Objective for WithTargetNetwork {
    fn requirements(&self) -> Requirements {
        self.0.requirements()
    }

    fn loss(&self, scored: &Scored) -> Loss {
        let target = Self::batch().scored(&Device::flex().autodiff());
        self.0.loss(&Scored { target_network: Some(Box::new(target)), ..scored.clone() })
    }
}

#[test]
fn the_values_at_the_ends_of_paths_come_from_the_target_network() {
    for value in [ValueSource::Head, ValueSource::Unified] {
        let config = PathConsistency::new().with_length(2).with_centred(false).with_value(value);
        let end = WithTargetNetwork::batch().inputs();
        let loss = |inputs: &Inputs| path_loss(&config, inputs, Some(&end), 0.0);
        check(&WithTargetNetwork(config), loss, loss);
    }
}

#[test]
fn centring_subtracts_the_mean_step_term() {
    let config = PathConsistency::new();
    let batch = Batch::new();
    let inputs = batch.inputs();
    let steps: Vec<f64> =
        positions().map(|(row, at)| step_term(&config, &inputs, &batch, row, at - row * TIME)).collect();
    let centre = steps.iter().sum::<f64>() / steps.len() as f64;
    let loss = |inputs: &Inputs| path_loss(&config, inputs, None, centre);
    check(&config, loss, loss);
}

#[test]
fn constrained_path_is_the_weighted_sum_of_its_parts() {
    let paths = PathConsistency::new().with_centred(false);
    let config = ConstrainedPath::new().with_help(0.5).with_help_huber(1.0).with_help_value_cap(4.0).with_paths(paths);
    let rest = |inputs: &Inputs| {
        0.5 * help_loss(HelpValue::Divergence, inputs)
            + forward_kl(inputs)
            + 0.1 * path_loss(&paths, inputs, None, 0.0)
            + 0.05 * cost_loss(inputs)
            + 5.0 * price_loss(inputs)
    };
    check(&config, |inputs| 0.3 * words_loss(inputs) + rest(inputs), |inputs| 0.3 * reverse_kl(inputs) + rest(inputs));
}

/// A batch in which most probabilities of the teacher and many of the student are exactly 0, also those of targets.
fn batch_with_zeros() -> Batch {
    let mut batch = Batch::new();
    for (at, row) in batch.teacher.chunks_exact_mut(VOCAB).enumerate() {
        let certain = [0, 1, 2, 3, 4, 6][at % 6];
        row.fill(f64::NEG_INFINITY);
        row[certain] = 0.0;
        // In every other position, the teacher is torn between two words.
        if at % 2 == 0 {
            let other = [0, 1, 2, 3, 4, 6][(at + 1) % 6];
            (row[certain], row[other]) = (0.5_f64.ln(), 0.5_f64.ln());
        }
    }
    for (at, row) in batch.logits.chunks_exact_mut(VOCAB).enumerate() {
        if at % 3 == 0 {
            // The probabilities of all words but one are below the smallest f32.
            row.iter_mut().for_each(|logit| *logit *= 1e4);
        }
    }
    batch
}

#[test]
fn exact_zeros_in_the_distributions_give_finite_losses_and_gradients() {
    let batch = batch_with_zeros();
    let unified = PathConsistency::new().with_value(ValueSource::Unified);
    let helped_by = |help_value| AllActionConsistency::new().with_help_value(help_value);
    let objectives: [(&str, &dyn Objective); 14] = [
        ("cross-entropy", &CrossEntropy::new()),
        ("cross-entropy, smoothed", &CrossEntropy::new().with_label_smoothing(0.1)),
        ("forward KL", &ForwardKl),
        ("JSD, beta 0", &GeneralizedJsd { beta: 0.0 }),
        ("JSD, beta 0.1", &GeneralizedJsd { beta: 0.1 }),
        ("JSD, beta 0.5", &GeneralizedJsd { beta: 0.5 }),
        ("JSD, beta 0.9", &GeneralizedJsd { beta: 0.9 }),
        ("JSD, beta 1", &GeneralizedJsd { beta: 1.0 }),
        ("all-action, divergence", &AllActionConsistency::new()),
        ("all-action, regret", &helped_by(HelpValue::Regret)),
        ("all-action, look-ahead", &helped_by(HelpValue::Lookahead)),
        ("paths", &PathConsistency::new().with_reward_floor(f64::NEG_INFINITY)),
        ("paths, unified", &unified),
        ("constrained", &ConstrainedPath::new()),
    ];
    for (name, objective) in objectives {
        let scored = batch.scored(&Device::flex().autodiff());
        let loss = objective.loss(&scored);
        let mut numbers = vec![("value", read(loss.value)), ("nll", read(loss.nll))];
        numbers.extend(loss.parts.into_iter().map(|(part, value)| (part, read(value))));
        let gradients = loss.total.backward();
        numbers.extend(scored.logits.grad(&gradients).map(|gradient| ("gradient", read(gradient))));
        let values = scored.values.as_ref().expect("the batch has values");
        numbers.extend(values.value.grad(&gradients).map(|gradient| ("gradient of V", read(gradient))));
        assert!(numbers.len() >= 3, "{name} has a gradient");
        for (what, numbers) in numbers {
            assert!(numbers.iter().all(|number| number.is_finite()), "{name}: the {what} is {numbers:?}");
        }
    }
}

/// A number at a position, from the log-probs of student and teacher there.
type OfPosition<'a> = dyn Fn(&[f64], &[f64], usize) -> f64 + 'a;

#[test]
fn words_to_which_the_teacher_gives_no_probability_add_nothing_to_its_divergences() {
    let batch = batch_with_zeros();
    let device = Device::flex().autodiff();
    // 0 log 0 is 0.
    let term = |p: f64, log_ratio: f64| if p == 0.0 { 0.0 } else { p * log_ratio };
    let sum = |of_position: &OfPosition<'_>| -> f64 {
        let words = (0..VOCAB).filter(|&word| word != HELP);
        let pairs = positions().flat_map(|(_, at)| words.clone().map(move |word| (at, word)));
        pairs
            .map(|(at, word)| {
                of_position(&word_log_probs(row_of(&batch.logits, at)).0, row_of(&batch.teacher, at), word)
            })
            .sum()
    };
    let forward = sum(&|own, teacher, word| term(teacher[word].exp(), teacher[word] - own[word]));
    let jsd = sum(&|own, teacher, word| {
        let (p, q) = (teacher[word].exp(), own[word].exp());
        let log_mixture = (0.5 * p + 0.5 * q).ln();
        0.5 * term(p, teacher[word] - log_mixture) + 0.5 * term(q, own[word] - log_mixture)
    });
    for (objective, expected) in [(&ForwardKl as &dyn Objective, forward), (&GeneralizedJsd::new(), jsd)] {
        let found = f64::from(objective.loss(&batch.scored(&device)).value.into_scalar::<f32>());
        assert!((found - expected).abs() < 1e-4 * expected.max(1.0), "the value is {found}, not {expected}");
    }
}

#[test]
fn the_parts_of_a_loss_have_the_documented_names() {
    let scored = Batch::new().scored(&Device::flex().autodiff());
    let names = |objective: &dyn Objective| -> Vec<&str> {
        objective.loss(&scored).parts.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&AllActionConsistency::new()), ["words", "divergence", "help"]);
    let all = ["words", "help", "forward", "path", "cost", "divergence", "asked", "price"];
    assert_eq!(names(&ConstrainedPath::new()), all);
    assert!(names(&ForwardKl).is_empty() && names(&PathConsistency::new()).is_empty());
}

#[test]
fn each_objective_names_what_it_requires() {
    let teacher = Requirements { teacher: true, ..Requirements::default() };
    assert_eq!(CrossEntropy::new().requirements(), Requirements::default());
    assert_eq!(ForwardKl.requirements(), teacher);
    assert_eq!(GeneralizedJsd::new().requirements(), teacher);
    assert_eq!(AllActionConsistency::new().requirements(), teacher);
    let unified = PathConsistency::new().with_value(ValueSource::Unified);
    assert_eq!(unified.requirements(), teacher);
    assert_eq!(PathConsistency::new().requirements(), Requirements { value_heads: true, ..teacher });
    let all = Requirements { teacher: true, help_token: true, value_heads: true };
    assert_eq!(ConstrainedPath::new().requirements(), all);
}

#[test]
fn help_values_are_read_by_their_earlier_names() {
    for (text, help_value) in [
        ("\"Distance\"", HelpValue::Divergence),
        ("\"Divergence\"", HelpValue::Divergence),
        ("\"Ahead\"", HelpValue::Lookahead),
        ("\"Lookahead\"", HelpValue::Lookahead),
    ] {
        assert_eq!(serde_json::from_str::<HelpValue>(text).expect("a help value"), help_value);
    }
    assert_eq!(serde_json::to_string(&HelpValue::Divergence).expect("a string"), "\"Divergence\"");
}
