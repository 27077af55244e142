//! The help head of a finished student, fitted to what help saves.

mod components;

use burn::config::Config;
use burn::module::{Module, ModuleDisplay};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use components::Components;
use rand::RngExt;
use rand::seq::SliceRandom;
use wheels_lm::LanguageModel;
use wheels_student::{HELP_FACTS, Mlp, Student};
use wheels_text::Seed;

use crate::diagnostics::each_position;
use crate::objective::all_action_consistency::regret;
use crate::objective::with_gradient;
use crate::trainer::optimizer;
use crate::{Decay, DistillError, RolloutSampler, SupervisedBatches, TrainerConfig, WorkProgress, Workers};

/// One text in this number is held out to compare the heads.
const HELD_OUT: usize = 5;
/// The fractions of the tokens at which heads are compared.
const FRACTIONS: [f64; 3] = [0.05, 0.1, 0.2];
/// The number of positions in an optimizer step.
const STEP_POSITIONS: usize = 512;

/// The configuration of [`RolloutSampler::fit_help_head`].
#[derive(Config, Debug)]
pub struct HelpHeadConfig {
    /// The number of tokens to fit the head to. Each one takes `4 (d_model + 4)` bytes of memory. With 0, the trained head
    /// remains.
    #[config(default = 50_000)]
    pub tokens: usize,
    /// The number of principal components of the hidden states that the head reads.
    #[config(default = 128)]
    pub components: usize,
    /// The number of times that each token is read.
    #[config(default = 4)]
    pub epochs: usize,
    /// The largest learning rate.
    #[config(default = 4e-3)]
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay.
    #[config(default = 1.0)]
    pub weight_decay: f32,
    /// The highest regret, nats at the teacher's temperature. Higher ones count as this one.
    #[config(default = 6.0)]
    pub max_regret: f64,
}

/// A comparison of two help heads. The shares of the regret are means over the 5, 10 and 20% of tokens where a head asks first,
/// 0 to 1, on texts to which the new head was not fitted. The trained head may have seen them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HelpHeadFit {
    /// The number of tokens to which the new head was fitted.
    pub tokens: usize,
    /// The number of tokens in the comparison.
    pub held_out: usize,
    /// The share that the trained head catches.
    pub trained: f64,
    /// The share that the new head catches.
    pub fitted: f64,
    /// The share at the tokens whose largest probability is lowest.
    pub max_prob: f64,
}

impl HelpHeadFit {
    /// Whether the new head is better, so that it replaces the trained one.
    pub fn is_better(&self) -> bool {
        self.fitted > self.trained
    }
}

/// What the help head reads at the tokens of some texts, and what it should predict.
#[derive(Default)]
struct Positions {
    /// Row after row, `[tokens, d_model + HELP_FACTS]`.
    inputs: Vec<f32>,
    /// Nats.
    regrets: Vec<f32>,
}

impl<T: LanguageModel + Sync> RolloutSampler<'_, T> {
    /// Fits the help head of a finished student to its regret: what its most likely token loses against that of the teacher,
    /// by the teacher's log-probs. The texts are those of the mixture. The better head on held-out texts is kept. Nothing
    /// else of the student changes, but if the head does, prices and V_C belong to the earlier one: find the prices
    /// after this.
    ///
    /// The head reads only the first principal components of the hidden states, and its weights decay strongly. A head
    /// that reads whole hidden states learns single texts by heart. The projection becomes a part of the first layer.
    ///
    /// The result is None, with the student as it was, if there are fewer than five texts or if no tokens are wanted.
    ///
    /// # Errors
    /// [`DistillError::Vocabularies`] if student and teacher do not fit together, [`DistillError::HelpHead`] if a hidden state
    /// or a log-prob is not finite, and those of batches, prompts and decoding.
    ///
    /// # Panics
    /// If the student has no heads.
    pub fn fit_help_head<M>(
        &self,
        student: &Student<M>,
        config: &HelpHeadConfig,
        workers: &Workers,
        on_progress: &mut dyn FnMut(WorkProgress),
    ) -> Result<(Student<M>, Option<HelpHeadFit>), DistillError>
    where
        M: LanguageModel + Module + ModuleDisplay + Sync,
    {
        self.check(student)?;
        let student = student.clone().valid();
        let seed = Seed(self.config().seed).stream("help-head");
        let [fitted, held_out] = self.positions(&student, config.tokens, seed, workers, on_progress)?;
        if fitted.regrets.is_empty() || held_out.regrets.is_empty() {
            return Ok((student, None));
        }
        let trained = student.help_head().expect("a student with heads");
        let device = LanguageModel::device(&student).without_autodiff();
        let head = fitted.fit(trained.hidden_width(), config, seed, &device);
        let width = held_out.width();
        let max_log_probs = held_out.inputs.iter().skip(width - HELP_FACTS).step_by(width);
        let fit = HelpHeadFit {
            tokens: fitted.regrets.len(),
            held_out: held_out.regrets.len(),
            trained: held_out.caught(&held_out.scores(trained, &device)),
            fitted: held_out.caught(&held_out.scores(&head, &device)),
            max_prob: held_out.caught(&max_log_probs.map(|log_prob| -log_prob).collect::<Vec<_>>()),
        };
        Ok((if fit.is_better() { student.with_help_head(head) } else { student }, Some(fit)))
    }

    /// At least `tokens` tokens of texts, or all that there are, and about a quarter more that are held out. They do not depend
    /// on the number of workers.
    fn positions<M: LanguageModel + Module + Sync>(
        &self,
        student: &Student<M>,
        tokens: usize,
        seed: Seed,
        workers: &Workers,
        on_progress: &mut dyn FnMut(WorkProgress),
    ) -> Result<[Positions; 2], DistillError> {
        let config = self.config();
        let mut batches =
            SupervisedBatches::new(self.prompts(), config.batch_tokens, self.pad(), seed.stream("pairs"))?;
        let batches: Vec<Vec<u32>> = (0..batches.batches_in_epoch()).map(|_| batches.next_indices()).collect();
        let batches: Vec<(u64, Vec<u32>)> = (0..).zip(batches).collect();
        let [mut fitted, mut held_out] = [Positions::default(), Positions::default()];
        let mut texts = 0;
        for batches in batches.chunks(workers.count()) {
            let done = fitted.regrets.len().min(tokens);
            on_progress(WorkProgress { work: "help head", done, total: tokens });
            if done == tokens {
                break;
            }
            let read = workers.map_chunks(batches, |batches| {
                let texts = batches.iter().map(|(index, pairs)| self.read_texts(student, pairs, seed.nth(*index)));
                texts.collect::<Result<Vec<_>, _>>()
            });
            for text in read.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().flatten() {
                if fitted.regrets.len() >= tokens {
                    break;
                }
                texts += 1;
                let part = if texts % HELD_OUT == 0 { &mut held_out } else { &mut fitted };
                part.inputs.extend(text.inputs);
                part.regrets.extend(text.regrets);
            }
        }
        on_progress(WorkProgress { work: "help head", done: tokens, total: tokens });
        Ok([fitted, held_out])
    }

    /// The positions of some texts, text by text.
    fn read_texts<M: LanguageModel + Module>(
        &self,
        student: &Student<M>,
        pairs: &[u32],
        seed: Seed,
    ) -> Result<Vec<Positions>, DistillError> {
        let rollout = self.sample(student, pairs, seed)?;
        let texts = each_position(self, student, &rollout, |distributions, hidden, logits| {
            let inputs = student.help_inputs(hidden, logits).expect("a student with heads");
            let regrets: Vec<f32> = regret(distributions).into_data().iter::<f32>().collect();
            let inputs: Vec<f32> = inputs.into_data().iter::<f32>().collect();
            let rows = inputs.chunks_exact(inputs.len() / regrets.len()).map(<[f32]>::to_vec);
            rows.zip(regrets).collect::<Vec<_>>()
        });
        let mut read = Vec::with_capacity(texts.len());
        for text in texts {
            let (inputs, regrets): (Vec<_>, Vec<_>) = text.into_iter().unzip();
            let text = Positions { inputs: inputs.concat(), regrets };
            if !text.inputs.iter().chain(&text.regrets).all(|number| number.is_finite()) {
                return Err(DistillError::HelpHead);
            }
            read.push(text);
        }
        Ok(read)
    }
}

impl Positions {
    /// The number of inputs at a position.
    fn width(&self) -> usize {
        self.inputs.len().checked_div(self.regrets.len()).unwrap_or(0)
    }

    /// A new head, fitted to the regrets by smooth L1.
    fn fit(&self, hidden_width: usize, config: &HelpHeadConfig, seed: Seed, device: &Device) -> Mlp {
        let components = Components::of(&self.inputs, self.width(), config.components, seed, device);
        let inputs = components.project(&self.inputs);
        let width = components.count();
        let steps = config.epochs * self.regrets.len().div_ceil(STEP_POSITIONS);
        let schedule = TrainerConfig::new(steps)
            .with_learning_rate(config.learning_rate)
            .with_weight_decay(config.weight_decay)
            .with_warmup_steps(steps / 10)
            .with_decay(Decay::Linear);
        let mut optimizer = optimizer(&schedule);
        let (mut rng, bound) = (seed.stream("weights").rng(), (width as f32).sqrt().recip());
        let weight = (0..width * hidden_width).map(|_| rng.random_range(-bound..bound)).collect();
        let mut head = Mlp::with_first_layer(tensor(weight, hidden_width, device), 1).train();
        let mut order: Vec<usize> = (0..self.regrets.len()).collect();
        let mut step = 0;
        for epoch in 0..config.epochs {
            order.shuffle(&mut seed.stream("order").nth(epoch as u64).rng());
            for batch in order.chunks(STEP_POSITIONS) {
                let rows = batch.iter().flat_map(|&at| &inputs[at * width..(at + 1) * width]);
                let x = tensor(rows.copied().collect(), width, device);
                let capped = |&at: &usize| self.regrets[at].min(config.max_regret as f32);
                let target = tensor(batch.iter().map(capped).collect(), 1, device);
                let predicted = head.forward(Tensor::from_inner(x));
                let error = predicted.clone().without_autodiff() - target;
                let gradient = error.clamp(-1.0, 1.0) / batch.len() as f64;
                let gradients = with_gradient(&predicted, gradient).backward();
                let gradients = GradientsParams::from_grads(gradients, &head);
                step += 1;
                head = optimizer.step(schedule.learning_rate_at(step), head, gradients);
            }
        }
        components.into_first_layer(head.valid())
    }

    /// The predictions of a head, nats.
    fn scores(&self, head: &Mlp, device: &Device) -> Vec<f32> {
        let width = self.width().max(1);
        let chunks = self.inputs.chunks(width * 16 * STEP_POSITIONS);
        let scores = chunks.map(|rows| head.forward(tensor(rows.to_vec(), width, device)).into_data());
        scores.flat_map(|data| data.iter::<f32>().collect::<Vec<_>>()).collect()
    }

    /// The mean share of the regret at the tokens with the highest scores, 0 to 1. NaN if a score is not finite.
    fn caught(&self, scores: &[f32]) -> f64 {
        if !scores.iter().all(|score| score.is_finite()) {
            return f64::NAN;
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&one, &other| scores[other].total_cmp(&scores[one]));
        let sum = |tokens: &[usize]| tokens.iter().map(|&at| f64::from(self.regrets[at])).sum::<f64>();
        let whole = sum(&order).max(f64::MIN_POSITIVE);
        let shares = FRACTIONS.map(|tokens| sum(&order[..(tokens * order.len() as f64).round() as usize]) / whole);
        shares.iter().sum::<f64>() / shares.len() as f64
    }
}

fn tensor(rows: Vec<f32>, width: usize, device: &Device) -> Tensor<2> {
    let count = rows.len() / width;
    Tensor::from_data(TensorData::new(rows, [count, width]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens whose regret is large where one direction of the state is, and where the largest probability is low by chance.
    fn positions(seed: u64, tokens: usize) -> Positions {
        let mut rng = Seed(seed).rng();
        let mut positions = Positions::default();
        for _ in 0..tokens {
            let mut state: [f32; 12] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
            let regret = 4.0 * (state[2] + state[5]).max(0.0);
            state[7] *= 0.01;
            positions.inputs.extend(state);
            positions.inputs.extend([-1.0 - rng.random_range(0.0..1.0), 1.0, 0.0, 1.0]);
            positions.regrets.push(regret);
        }
        positions
    }

    #[test]
    fn a_head_learns_from_hidden_states_where_regret_is() {
        let device = Device::flex();
        let (fitted, held_out) = (positions(1, 6000), positions(2, 2000));
        let config = HelpHeadConfig::new().with_components(11).with_epochs(10);
        let head = fitted.fit(16, &config, Seed(3), &device);
        let again = fitted.fit(16, &config, Seed(3), &device);
        let scores = held_out.scores(&head, &device);
        assert_eq!(scores, held_out.scores(&again, &device), "the same seed gives the same head");
        let oracle = held_out.caught(&held_out.regrets);
        let untrained = held_out.caught(&vec![0.0; 2000]);
        let found = held_out.caught(&scores);
        assert!(found > 0.9 * oracle && untrained < 0.3 * oracle, "{found}, {oracle}, {untrained}");
    }
}
