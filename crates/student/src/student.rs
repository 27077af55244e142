//! A language model with a help token.

use std::any::Any;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use wheels_lm::{Context, Hidden, LanguageModel, ModelSpec, ModelState, Positions, TokenBatch};

use crate::heads::{Heads, PRICE};
use crate::repetition::repetitions;
use crate::{Mlp, StudentConfig, Values};

/// A language model with a help token, and the heads that decide when to ask for help.
///
/// Without heads, the student is the plain model, and the help token has the logit that the model gives it. With heads,
/// the logit of the help token is `logsumexp(other logits) + z`. Here `z` is the log-odds of asking in state `s` of a
/// text with prompt `x`:
///
/// ```text
/// z(s, x) = D(s) - price(x)
/// ```
///
/// - `D`, the output of the help head, estimates what help is worth, nats. It is trained with the model to estimate the
///   student's divergence from its teacher. If it is fitted to a finished student, it estimates the regret of the student's
///   most likely token. Its inputs are the last hidden state, three numbers of the next-token distribution, and the
///   repetition. The numbers are the maximum log-prob, the entropy and the difference of the two largest logits, all
///   without the help token. The repetition is the length of the longest suffix of the text that occurs earlier in it,
///   divided by its maximum.
/// - `price` is the price of help, nats. It is predicted from the start of the prompt, which states the budget in
///   words (our derivation).
///
/// A third head predicts [`Values`] for training and forecasts.
///
/// The price and the repetition at each position are the [`Hidden::features`] of a student.
#[derive(Module, Debug)]
pub struct Student<M: Module> {
    /// The base language model.
    pub model: M,
    pub(crate) heads: Option<Heads>,
}

/// The price of help for each row of a context, nats, `[batch, 1]`, as predicted from its prompt.
#[derive(Debug)]
struct PromptPrices(Tensor<2>);

impl ModelState for PromptPrices {
    fn select_rows(&mut self, rows: &[usize]) {
        self.0 = select(&self.0, rows);
    }

    fn truncate(&mut self, _row: usize, _length: usize) {
        // A rollback does not reach into the prompt.
    }

    fn can_append(&self) -> bool {
        true
    }

    fn append(&mut self, other: Box<dyn Any>, _lengths: &[usize]) {
        let Self(added) = *other.downcast::<Self>().expect("a state of the same type");
        self.0.inplace(|own| Tensor::cat(vec![own, added], 0));
    }
}

impl<M: Module + LanguageModel> Student<M> {
    /// A student without heads.
    pub fn new(model: M) -> Self {
        Self { model, heads: None }
    }

    /// The same model with new heads for a help token. Until they are trained, they predict the divergence 0 in every
    /// state and the price 0 for every prompt.
    ///
    /// # Panics
    /// If the help token is not in the vocabulary.
    #[must_use]
    pub fn with_heads(self, config: &StudentConfig, help_token: u32) -> Self {
        let spec = self.model.spec();
        assert!((help_token as usize) < spec.vocab_size, "the help token {help_token} is not in the vocabulary");
        let heads = Heads::init(config, spec, help_token, &LanguageModel::device(&self.model));
        Self { heads: Some(heads), ..self }
    }

    /// Whether the student has heads.
    pub fn has_heads(&self) -> bool {
        self.heads.is_some()
    }

    /// The same student with a frozen base model: training changes only the heads.
    #[must_use]
    pub fn with_frozen_model(self) -> Self {
        Self { model: self.model.no_grad(), ..self }
    }

    /// What the help head reads at each position, without gradients: the last hidden state and
    /// [`HELP_FACTS`](crate::HELP_FACTS) numbers, the maximum log-prob first. None without heads.
    ///
    /// # Shapes
    /// `logits`: `[positions, vocab]`, from [`head`](LanguageModel::head). The result: `[positions, d_model + HELP_FACTS]`.
    pub fn help_inputs(&self, hidden: &Hidden, logits: Tensor<2>) -> Option<Tensor<2>> {
        Some(self.heads.as_ref()?.help_inputs(hidden, logits))
    }

    /// The help head, which computes D in the log-odds of asking. None without heads.
    pub fn help_head(&self) -> Option<&Mlp> {
        self.heads.as_ref().map(|heads| &heads.distance)
    }

    /// The same student with another help head, which reads [`help_inputs`](Self::help_inputs) and has the hidden width of the
    /// student's config. A student without heads does not change.
    #[must_use]
    pub fn with_help_head(mut self, head: Mlp) -> Self {
        if let Some(heads) = &mut self.heads {
            heads.distance = head;
        }
        self
    }

    /// V and V_C at the hidden states of a grid `[batch, time]`, row after row. None without heads.
    pub fn values(&self, hidden: &Hidden, grid: [usize; 2]) -> Option<Values> {
        Some(self.heads.as_ref()?.values(hidden, grid))
    }

    /// The price of help that the student predicts from each prompt, nats, `[batch, 1]`. None without heads.
    pub fn prices(&self, prompts: &TokenBatch) -> Option<Tensor<2>> {
        Some(self.heads.as_ref()?.price.forward(prompts, &LanguageModel::device(&self.model)))
    }

    /// The number of helped tokens that V_C predicts for the output of each prompt. None without heads.
    pub fn forecast(&self, prompts: &TokenBatch) -> Option<Vec<f64>> {
        let heads = self.heads.as_ref()?;
        let mut context = self.prefill(prompts, 0);
        let output = self.forward(&TokenBatch::column(&context.starts()), &mut context);
        Some(heads.values(&output.hidden, [prompts.rows(), 1]).cost.into_data().iter::<f64>().collect())
    }

    /// The price and the repetition at each selected position, `[positions, 2]`.
    fn features(
        heads: &Heads,
        tokens: &TokenBatch,
        rows: &[usize],
        positions: Positions<'_>,
        context: &Context,
    ) -> Tensor<2> {
        let PromptPrices(prices) =
            context.state().expect("this context was made by the prefill of a student with heads");
        let prices = if context.is_whole(rows) { prices.clone() } else { select(prices, rows) };
        let (batch, time) = (tokens.rows(), tokens.width());
        let prices = prices.reshape([batch, 1, 1]).expand([batch, time, 1]);
        let prices = positions.select(prices, tokens.lengths());
        let repetitions = repetitions(tokens, rows, positions, context, heads.config().max_repetition);
        let shape = [repetitions.len(), 1];
        let repetitions = Tensor::from_data(TensorData::new(repetitions, shape), &prices.device());
        debug_assert_eq!(PRICE, 0, "the price is the first feature");
        Tensor::cat(vec![prices, repetitions], 1)
    }
}

/// Selects rows of a column, `[rows, 1]`.
fn select(column: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let index: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [rows.len()]), &column.device());
    column.clone().select(0, index)
}

impl<M: Module + LanguageModel> LanguageModel for Student<M> {
    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }

    fn device(&self) -> Device {
        LanguageModel::device(&self.model)
    }

    fn prefill(&self, prompts: &TokenBatch, capacity: usize) -> Context {
        let mut context = self.model.prefill(prompts, capacity);
        if let Some(prices) = self.prices(prompts) {
            context.insert(PromptPrices(prices));
        }
        context
    }

    fn hidden(&self, tokens: &TokenBatch, rows: &[usize], positions: Positions<'_>, context: &mut Context) -> Hidden {
        let hidden = self.model.hidden(tokens, rows, positions, context);
        match &self.heads {
            Some(heads) => hidden.with_features(Self::features(heads, tokens, rows, positions, context)),
            None => hidden,
        }
    }

    fn with_dropout(self, seed: u64) -> Self {
        Self { model: self.model.with_dropout(seed), ..self }
    }

    fn with_gradient_checkpointing(self) -> Self {
        Self { model: self.model.with_gradient_checkpointing(), ..self }
    }

    fn head(&self, hidden: &Hidden) -> Tensor<2> {
        let logits = self.model.head(hidden);
        match &self.heads {
            Some(heads) => heads.add_help_logit(hidden, logits),
            None => logits,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::LazyLock;

    use burn::nn::LinearConfig;
    use wheels_lm::{Pretrained, T5Config};

    use super::*;

    pub(crate) const HELP: u32 = 11;

    /// A student with random heads. All tests share it, because they share one random generator for weights.
    pub(crate) static STUDENT: LazyLock<Student<Pretrained>> = LazyLock::new(|| {
        let config = T5Config {
            vocab_size: 12,
            d_model: 8,
            d_kv: 4,
            d_ff: 16,
            num_layers: 1,
            num_heads: 2,
            ..T5Config::default()
        };
        let device = Device::flex();
        device.seed(7);
        let model = Pretrained::T5(config.init(&device));
        let mut student = Student::new(model).with_heads(&StudentConfig::new(), HELP);
        let heads = student.heads.as_mut().unwrap();
        heads.distance.outer = LinearConfig::new(64, 1).init(&device);
        heads.price.read.outer = LinearConfig::new(64, 1).init(&device);
        heads.price.length = LinearConfig::new(1, 256).with_bias(false).init(&device);
        heads.values.outer = LinearConfig::new(64, 2).init(&device);
        // Burn draws weights when they are first read. They are read here, before other tests draw from the generator.
        let _ = student.num_params();
        student
    });

    fn prompts() -> TokenBatch {
        TokenBatch::new(&[vec![3, 4, 5, 1], vec![6, 1]], 0)
    }

    /// The logits at every position of two texts, in one call.
    pub(crate) fn logits(model: &dyn LanguageModel) -> Vec<f32> {
        let inputs = TokenBatch::new(&[vec![0, 7, 7], vec![0, 9, 2]], 0);
        let output = model.forward(&inputs, &mut model.prefill(&prompts(), 0));
        output.logits.into_data().iter::<f32>().collect()
    }

    /// The log-odds of asking at each position.
    fn log_odds(logits: &[f32]) -> Vec<f32> {
        let mut odds = Vec::new();
        for row in logits.chunks_exact(12) {
            let words = row.iter().enumerate().filter(|(id, _)| *id != HELP as usize).map(|(_, logit)| logit.exp());
            odds.push(row[HELP as usize] - words.sum::<f32>().ln());
        }
        odds
    }

    #[test]
    fn untrained_heads_keep_the_other_logits_and_ask_with_even_odds() {
        let model = &STUDENT.model;
        let fresh = logits(&Student::new(model.clone()).with_heads(&StudentConfig::new(), HELP));
        for (at, (fresh, plain)) in fresh.iter().zip(logits(model)).enumerate() {
            assert!(at % 12 == HELP as usize || *fresh == plain, "the logit {at}");
        }
        assert!(log_odds(&fresh).iter().all(|odds| odds.abs() < 1e-4), "{:?}", log_odds(&fresh));
        assert!(log_odds(&logits(&*STUDENT)).iter().all(|odds| odds.abs() > 1e-4), "random heads prefer something");
    }

    #[test]
    fn with_heads_a_cache_does_not_change_the_logits_and_rows_are_independent() {
        let whole = logits(&*STUDENT);
        let mut context = STUDENT.prefill(&prompts(), 4);
        // First one row is read alone, then the other row alone, then both in reverse order.
        let mut read = |rows: &[usize], tokens: &[Vec<u32>]| -> Vec<f32> {
            let hidden = STUDENT.hidden(&TokenBatch::new(tokens, 0), rows, Positions::All, &mut context);
            STUDENT.head(&hidden).into_data().iter::<f32>().collect()
        };
        let parts = [read(&[0], &[vec![0, 7]]), read(&[1], &[vec![0, 9]]), read(&[1, 0], &[vec![2], vec![7]])].concat();
        let order = [0, 1, 3, 4, 5, 2];
        for (part, at) in parts.chunks_exact(12).zip(order) {
            for (part, whole) in part.iter().zip(&whole[at * 12..]) {
                assert!((part - whole).abs() < 1e-4, "position {at}: {part} is not {whole}");
            }
        }
        context.select_rows(&[1]);
        assert_eq!(context.state::<PromptPrices>().unwrap().0.dims(), [1, 1]);
        let price = |context: &Context, row: usize| {
            context.state::<PromptPrices>().unwrap().0.clone().into_data().iter::<f32>().nth(row)
        };
        let added = STUDENT.prefill(&prompts(), 4);
        let [first, second] = [0, 1].map(|row| price(&added, row));
        context.append(added);
        assert_eq!([0, 1, 2].map(|row| price(&context, row)), [second, first, second]);
    }

    #[test]
    fn the_model_of_a_student_is_checkpointed() {
        let student = STUDENT.clone().train().with_gradient_checkpointing();
        let inputs = TokenBatch::new(&[vec![0, 7, 7], vec![0, 9]], 0);
        let mut context = student.prefill(&prompts(), 0);
        let hidden = student.hidden(&inputs, &[0, 1], Positions::All, &mut context);
        assert!(hidden.states().is_require_grad() && hidden.features().is_some(), "the states are a leaf");
        assert!(context.take_tape().is_some_and(|tape| !tape.is_empty()));
    }

    #[test]
    fn selecting_the_last_positions_does_not_change_their_logits() {
        let inputs = TokenBatch::new(&[vec![0, 7, 7], vec![0, 9]], 0);
        let all = STUDENT.hidden(&inputs, &[0, 1], Positions::All, &mut STUDENT.prefill(&prompts(), 4));
        let last = STUDENT.hidden(&inputs, &[0, 1], Positions::Last(&[2, 1]), &mut STUDENT.prefill(&prompts(), 4));
        let read = |hidden: &Hidden| STUDENT.head(hidden).into_data().iter::<f32>().collect::<Vec<_>>();
        let (all, last) = (read(&all), read(&last));
        for (found, at) in last.chunks_exact(12).zip([1, 2, 4]) {
            for (found, expected) in found.iter().zip(&all[at * 12..]) {
                assert!((found - expected).abs() < 1e-5, "position {at}: {found} is not {expected}");
            }
        }
        let hidden = STUDENT.hidden(&inputs, &[0, 1], Positions::All, &mut STUDENT.prefill(&prompts(), 4));
        let chunked: Vec<f32> = hidden.chunks(4).flat_map(|chunk| read(&chunk)).collect();
        assert!(
            chunked.iter().zip(&all).all(|(chunked, whole)| (chunked - whole).abs() < 1e-5),
            "chunks change nothing"
        );
    }

    #[test]
    fn a_price_depends_on_the_first_tokens_and_on_the_length_of_its_prompt_alone() {
        let prompt =
            |length: usize, last: u32| [vec![3; StudentConfig::new().budget_tokens], vec![last; length]].concat();
        let prompts = TokenBatch::new(&[prompt(2, 4), prompt(2, 5), prompt(9, 4)], 0);
        let prices: Vec<f32> = STUDENT.prices(&prompts).unwrap().into_data().iter::<f32>().collect();
        assert_eq!(prices[0], prices[1]);
        assert!((prices[0] - prices[2]).abs() > 1e-4, "{prices:?}");
        let alone: Vec<f32> =
            STUDENT.prices(&TokenBatch::new(&[prompt(2, 4)], 0)).unwrap().into_data().iter().collect();
        assert!((prices[0] - alone[0]).abs() < 1e-5, "{prices:?} {alone:?}");
    }

    #[test]
    fn values_prices_and_forecasts_come_from_the_heads() {
        let forecast = STUDENT.forecast(&prompts()).unwrap();
        assert_eq!(forecast.len(), 2);
        assert!(forecast[0] != forecast[1]);
        let prices: Vec<f32> = STUDENT.prices(&prompts()).unwrap().into_data().iter::<f32>().collect();
        assert!(prices.len() == 2 && prices[0] != prices[1]);
        assert!(Student::new(STUDENT.model.clone()).forecast(&prompts()).is_none());
    }
}
