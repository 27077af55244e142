//! A language model that asks.

mod reader;

use std::fs;
use std::path::Path;

use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::store::SafetensorsStore;
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, IndexingUpdateOp, Tensor, TensorData};

pub use self::reader::PRICED_TOKENS;
use self::reader::Reader;
use crate::context::row_index;
use crate::nn::MASKED;
use crate::repetition::repetitions;
use crate::weights::{self, Names};
use crate::{Context, FloatFormat, LanguageModel, LmError, ModelSpec, Pretrained, TokenBatch};

const FILE: &str = "heads.safetensors";

/// A language model, and the heads by which it knows where it needs help.
///
/// The help token is one row of the vocabulary. Without heads its logit is that row's, as any token's. With heads it
/// stands so far above the log-sum-exp of all words' logits as the log-odds of asking say:
///
/// ```text
/// z(s, x) = D(s) - price(x)
/// ```
///
/// `D` reads how far the student is from its teacher from the last hidden state, from the shape of its law over words,
/// and from how much of what it wrote last it had written before: in a loop a small model is sure of itself, so that
/// neither its state nor its law would tell. `price` reads the start of the prompt, where the budget stands in words (our
/// derivation), with embeddings of its own. Two more values are read for training and forecasts: V, and V_C for the help
/// still to come.
///
/// Last hidden states are two wider than the model's own: the price, and the repetition.
#[derive(Module, Debug)]
pub struct Student<M: Module> {
    /// The language model: an ordinary checkpoint.
    pub model: M,
    heads: Option<Heads>,
}

/// What a student reads beside words.
#[derive(Module, Debug)]
struct Heads {
    distance: Perceptron,
    price: Reader,
    values: Perceptron,
    /// The width of the model's own hidden states.
    #[module(skip)]
    width: usize,
    /// The help token.
    #[module(skip)]
    help: usize,
}

/// The two values of a state.
#[derive(Clone, Debug)]
pub struct Values {
    /// V, the entropy-regularised return still to come, nats, `[batch, time]`.
    pub value: Tensor<2>,
    /// V_C, the helped tokens still to come, `[batch, time]`.
    pub cost: Tensor<2>,
}

/// The inner width of each head.
const INNER: usize = 64;

/// What a head's gradient counts in the model below it: the model bends to its words, and the heads to the model.
const PULL: f64 = 0.1;

impl<M: Module + LanguageModel> Student<M> {
    /// A model that asks by its vocabulary's row alone.
    pub fn new(model: M) -> Self {
        Self { model, heads: None }
    }

    /// The same model with fresh heads for the token `help`, which give every state a distance and a price of 0. `width`
    /// is that of the model's hidden states.
    ///
    /// # Panics
    /// If the vocabulary has no such token.
    #[must_use]
    pub fn with_heads(self, width: usize, help: u32) -> Self {
        assert!((help as usize) < self.model.spec().vocab_size, "the help token {help} is not in the vocabulary");
        let heads = Heads::init(self.model.spec(), width, help, &LanguageModel::device(&self.model));
        Self { heads: Some(heads), ..self }
    }

    /// Whether there are heads.
    pub fn has_heads(&self) -> bool {
        self.heads.is_some()
    }

    /// The same student, of whom only the heads learn from now on.
    #[must_use]
    pub fn with_fixed_model(self) -> Self {
        Self { model: self.model.no_grad(), ..self }
    }

    /// V and V_C, read from last hidden states; none without heads.
    ///
    /// # Shapes
    /// `[batch, time, d_model + 2]` to `[batch, time]` each.
    pub fn values(&self, hidden: &Tensor<3>) -> Option<Values> {
        let values = self.heads.as_ref()?.values.forward(hidden.clone());
        let [value, cost] = [0, 1].map(|column| values.clone().narrow(2, column, 1).squeeze_dim::<2>(2));
        Some(Values { value, cost })
    }

    /// What help costs by the words of each prompt's budget, nats, `[batch, 1]`; none without heads. Only the first
    /// [`PRICED_TOKENS`] tokens of a prompt are read.
    pub fn prices(&self, prompts: &TokenBatch) -> Option<Tensor<2>> {
        let device = LanguageModel::device(&self.model);
        Some(self.heads.as_ref()?.price.forward(prompts, &device))
    }

    /// The helped tokens that each prompt's text will use by V_C, before its first token; none without heads.
    pub fn forecast(&self, prompts: &TokenBatch) -> Option<Vec<f64>> {
        let mut context = self.prefill(prompts, 0);
        let output = self.forward(&TokenBatch::column(&context.starts()), &mut context);
        Some(self.values(&output.hidden)?.cost.into_data().iter::<f64>().collect())
    }
}

impl Student<Pretrained> {
    /// The same model with the heads of a folder's heads.safetensors, for the token `help`; as it is where the folder has
    /// none.
    ///
    /// # Errors
    /// [`LmError::Safetensors`] and [`LmError::Weights`] where they are torn or do not fit.
    pub fn with_heads_in(self, folder: impl AsRef<Path>, help: u32) -> Result<Self, LmError> {
        let path = folder.as_ref().join(FILE);
        match path.exists() {
            true => self.with_stored(help, SafetensorsStore::from_file(&path), &path.display().to_string()),
            false => Ok(self),
        }
    }

    /// The same model with heads from the bytes of a heads.safetensors; `origin` is what messages call it.
    ///
    /// # Errors
    /// As [`with_heads_in`](Self::with_heads_in).
    pub fn with_heads_from(self, help: u32, bytes: &[u8], origin: &str) -> Result<Self, LmError> {
        self.with_stored(help, SafetensorsStore::from_bytes(Some(bytes.to_vec())), origin)
    }

    fn with_stored(self, help: u32, store: SafetensorsStore, origin: &str) -> Result<Self, LmError> {
        let device = LanguageModel::device(&self.model);
        let mut heads = Heads::init(self.model.spec(), self.model.width(), help, &device);
        weights::load(&mut heads, store, &NAMES, &device, origin)?;
        Ok(Self { heads: Some(heads), ..self })
    }

    /// Writes the model ([`Pretrained::save`]) and, beside it, heads.safetensors if there are heads.
    ///
    /// # Errors
    /// As [`Pretrained::save`].
    pub fn save(&self, folder: impl AsRef<Path>, format: FloatFormat) -> Result<(), LmError> {
        let folder = folder.as_ref();
        self.model.save(folder, format)?;
        let path = folder.join(FILE);
        match &self.heads {
            Some(heads) => weights::save(heads, &path, &NAMES, format.into()),
            // Those of another model would be read with this one.
            None if path.exists() => fs::remove_file(&path).map_err(|source| LmError::Write { path, source }),
            None => Ok(()),
        }
    }
}

const NAMES: Names = Names { load: &[], save: &[] };

impl Heads {
    fn init(spec: &ModelSpec, width: usize, help: u32, device: &Device) -> Self {
        Self {
            distance: Perceptron::init(width + 4, 1, device),
            price: Reader::init(spec.vocab_size, device),
            values: Perceptron::init(width + 2, 2, device),
            width,
            help: help as usize,
        }
    }

    /// The logits of all tokens, from those of the words: `[positions, vocab]`.
    fn ask(&self, hidden: Tensor<2>, logits: Tensor<2>) -> Tensor<2> {
        let positions = logits.dims()[0];
        let column = Tensor::<2>::zeros([positions, 1], &logits.device());
        let words =
            logits.clone().detach().slice_assign([0..positions, self.help..self.help + 1], column.clone() + MASKED);
        let log_probs = log_softmax(words.clone(), 1);
        let likeliest = log_probs.clone().max_dim(1);
        let entropy = (log_probs.clone().exp() * log_probs).sum_dim(1).neg();
        let (best, at) = words.clone().max_dim_with_indices(1);
        let second = words.scatter(1, at, column + MASKED, IndexingUpdateOp::Add).max_dim(1);
        let margin = best.clone() - second;
        let normaliser = best - likeliest.clone();

        let state = hidden.clone().narrow(1, 0, self.width);
        let repetition = hidden.clone().narrow(1, self.width + 1, 1);
        let seen = Tensor::cat(vec![weakly(state), likeliest, entropy, repetition, margin], 1);
        let odds = self.distance.forward(seen) - hidden.narrow(1, self.width, 1);
        logits.slice_assign([0..positions, self.help..self.help + 1], normaliser + odds)
    }
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
        context.price = self.prices(prompts);
        context
    }

    fn hidden_rows(&self, tokens: &TokenBatch, rows: &[usize], context: &mut Context) -> Tensor<3> {
        let hidden = self.model.hidden_rows(tokens, rows, context);
        if self.heads.is_none() {
            return hidden;
        }
        let [count, time, _] = hidden.dims();
        let price = match &context.price {
            Some(price) if context.is_whole(rows) => price.clone(),
            Some(price) => price.clone().select(0, row_index(rows, &hidden.device())),
            None => unreachable!("prefill reads the price"),
        };
        let repetitions = repetitions(tokens, rows, context);
        let repetitions = Tensor::from_data(TensorData::new(repetitions, [count, time, 1]), &hidden.device());
        Tensor::cat(vec![hidden, price.reshape([count, 1, 1]).expand([count, time, 1]), repetitions], 2)
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        match &self.heads {
            None => self.model.head(hidden),
            Some(heads) => {
                let logits = self.model.head(hidden.clone().narrow(1, 0, heads.width));
                heads.ask(hidden, logits)
            }
        }
    }
}

/// One hidden layer; it gives zeros until it is trained.
#[derive(Module, Debug)]
struct Perceptron {
    inner: Linear,
    outer: Linear,
}

impl Perceptron {
    fn init(d_input: usize, d_output: usize, device: &Device) -> Self {
        Self {
            inner: LinearConfig::new(d_input, INNER).init(device),
            outer: LinearConfig::new(INNER, d_output).with_initializer(Initializer::Zeros).init(device),
        }
    }

    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.outer.forward(relu(self.inner.forward(x)))
    }
}

/// The same numbers, with less of a gradient.
fn weakly<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * PULL + x.detach() * (1.0 - PULL)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::LazyLock;

    use super::*;
    use crate::T5Config;

    const HELP: u32 = 11;

    /// A small model and a student of it whose heads are random, drawn once: the process has one source of chance.
    static STUDENT: LazyLock<Student<Pretrained>> = LazyLock::new(|| {
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
        let mut student = Student::new(Pretrained::T5(config.init(&device))).with_heads(8, HELP);
        let heads = student.heads.as_mut().unwrap();
        heads.distance.outer = LinearConfig::new(INNER, 1).init(&device);
        heads.price.read.outer = LinearConfig::new(INNER, 1).init(&device);
        heads.values.outer = LinearConfig::new(INNER, 2).init(&device);
        student
    });

    fn prompts() -> TokenBatch {
        TokenBatch::new(&[vec![3, 4, 5, 1], vec![6, 1]], 0)
    }

    /// The logits at every position of two texts, read at once.
    fn logits(model: &dyn LanguageModel) -> Vec<f32> {
        let inputs = TokenBatch::new(&[vec![0, 7, 7], vec![0, 9, 2]], 0);
        let output = model.forward(&inputs, &mut model.prefill(&prompts(), 0));
        output.logits.into_data().iter::<f32>().collect()
    }

    /// The log-odds of asking at each position.
    fn log_odds(logits: &[f32]) -> Vec<f32> {
        let odds = |row: &[f32]| {
            let words = row.iter().enumerate().filter(|(id, _)| *id != HELP as usize).map(|(_, logit)| logit.exp());
            row[HELP as usize] - words.sum::<f32>().ln()
        };
        logits.chunks_exact(12).map(odds).collect()
    }

    #[test]
    fn fresh_heads_leave_words_alone_and_ask_with_even_odds() {
        let model = &STUDENT.model;
        let fresh = logits(&Student::new(model.clone()).with_heads(8, HELP));
        for (at, (fresh, plain)) in fresh.iter().zip(logits(model)).enumerate() {
            assert!(at % 12 == HELP as usize || *fresh == plain, "the logit {at}");
        }
        assert!(log_odds(&fresh).iter().all(|odds| odds.abs() < 1e-4), "{:?}", log_odds(&fresh));
        assert!(log_odds(&logits(&*STUDENT)).iter().all(|odds| odds.abs() > 1e-4), "random ones have opinions");
    }

    #[test]
    fn with_heads_too_a_cache_equals_no_cache_and_rows_stand_alone() {
        let whole = logits(&*STUDENT);
        let mut context = STUDENT.prefill(&prompts(), 4);
        // One row goes ahead, then the other follows alone, and the last step has the rows the other way round.
        let mut read = |rows: &[usize], tokens: &[Vec<u32>]| -> Vec<f32> {
            let hidden = STUDENT.hidden_rows(&TokenBatch::new(tokens, 0), rows, &mut context);
            STUDENT.head(hidden.flatten(0, 1)).into_data().iter::<f32>().collect()
        };
        let parts = [read(&[0], &[vec![0, 7]]), read(&[1], &[vec![0, 9]]), read(&[1, 0], &[vec![2], vec![7]])].concat();
        let order = [0, 1, 3, 4, 5, 2];
        for (part, at) in parts.chunks_exact(12).zip(order) {
            for (part, whole) in part.iter().zip(&whole[at * 12..]) {
                assert!((part - whole).abs() < 1e-4, "position {at}: {part} is not {whole}");
            }
        }
        context.select_rows(&[1]);
        assert_eq!(context.price.unwrap().dims(), [1, 1]);
    }

    #[test]
    fn heads_are_saved_beside_the_model_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        STUDENT.save(folder.path(), FloatFormat::F32).unwrap();
        let plain = || Student::new(Pretrained::load(folder.path(), &device).unwrap());
        let read = plain().with_heads_in(folder.path(), HELP).unwrap();
        assert_eq!(logits(&read), logits(&*STUDENT));
        let bytes = fs::read(folder.path().join(FILE)).unwrap();
        assert_eq!(logits(&plain().with_heads_from(HELP, &bytes, "memory").unwrap()), logits(&read));

        fs::write(folder.path().join(FILE), &bytes[..bytes.len() / 2]).unwrap();
        let torn = plain().with_heads_in(folder.path(), HELP).unwrap_err();
        assert!(torn.to_string().contains(FILE), "{torn}");
        Student::new(STUDENT.model.clone()).save(folder.path(), FloatFormat::F32).unwrap();
        assert!(!plain().with_heads_in(folder.path(), HELP).unwrap().has_heads(), "heads of another model do not stay");
    }

    #[test]
    fn values_and_forecasts_come_from_heads() {
        let forecast = STUDENT.forecast(&prompts()).unwrap();
        assert_eq!(forecast.len(), 2);
        assert!(forecast[0] != forecast[1]);
        let prices: Vec<f32> = STUDENT.prices(&prompts()).unwrap().into_data().iter::<f32>().collect();
        assert!(prices.len() == 2 && prices[0] != prices[1]);
        assert!(Student::new(STUDENT.model.clone()).forecast(&prompts()).is_none());
    }
}
