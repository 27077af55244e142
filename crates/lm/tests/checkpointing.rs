//! Gradient checkpointing: its gradients equal those of the whole graph, in `f64`.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, FloatDType, Gradients, Tensor, TensorData};
use serde_json::{Value, json};
use wheels_lm::{Context, LanguageModel, LoraConfig, Positions, Pretrained, TokenBatch};

use support::load_with;

/// One fixture for each form of a block: T5 with plain and gated layers and with a position bias in each block, Llama with
/// all heads and in groups, with biases, windows and norms of heads, and the four models of the BART family.
const NAMES: [&str; 12] = [
    "t5-v1.0",
    "t5-v1.1",
    "umt5",
    "llama2",
    "llama3",
    "mistral",
    "qwen2-window",
    "qwen3",
    "bart",
    "mbart",
    "marian",
    "m2m100",
];

/// All tensors of this test are `f64`, which must be set before the first tensor exists.
static DEVICE: LazyLock<Device> = LazyLock::new(|| {
    let mut device = Device::flex();
    device.configure(FloatDType::F64).unwrap();
    device
});

/// What a model is trained with.
#[derive(Clone, Copy, Debug)]
struct Training {
    dropout: bool,
    lora: bool,
    positions: Positions<'static>,
}

/// Adds small numbers to all weights, so that no factor of a new adapter is 0.
struct Shift;

impl ModuleMapper for Shift {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weights| {
            let shape = weights.shape();
            let numbers: Vec<f32> = (0..shape.num_elements()).map(|index| 0.05 * (index as f32).sin()).collect();
            let numbers = Tensor::from_data(TensorData::new(numbers, shape), &weights.device());
            weights + numbers
        })
    }
}

/// A fixture that tracks gradients.
fn model(name: &str, training: Training) -> Pretrained {
    let _ = &*DEVICE;
    let rates: &[&str] = match name {
        _ if name.contains("t5") => &["dropout_rate"],
        "bart" | "mbart" | "marian" | "m2m100" => &["dropout", "attention_dropout", "activation_dropout"],
        _ => &["attention_dropout"],
    };
    let rates: Vec<(&str, Value)> = rates.iter().map(|&rate| (rate, json!(0.3))).collect();
    let mut model = load_with(name, &rates).unwrap();
    if training.lora {
        let config = LoraConfig::new(2).with_dropout(0.3).with_target_modules(vec!["all-linear".into()]);
        model = model.with_lora(&config).unwrap();
    }
    model = model.map(&mut Shift).train();
    if training.dropout { model.with_dropout(7) } else { model }
}

/// The gradients of all parameters by path, after a loss of the logits at some positions. Frozen parameters have none.
#[derive(Default)]
struct Found {
    path: Vec<String>,
    gradients: GradientsParams,
    found: BTreeMap<String, Option<Vec<f64>>>,
}

impl ModuleVisitor for Found {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(param.id);
        assert!(gradient.is_none() || param.val().is_require_grad(), "{} is frozen", self.path.join("."));
        self.found.insert(self.path.join("."), gradient.map(|gradient| gradient.into_data().iter::<f64>().collect()));
    }
}

/// Two prompts and two texts of different lengths. The second prompt of an encoder-decoder could not be shorter.
fn prompts() -> TokenBatch {
    TokenBatch::new(&[vec![5, 9, 7, 33], vec![8, 2]], 0)
}

fn texts(context: &Context) -> TokenBatch {
    let starts = context.starts();
    TokenBatch::new(&[vec![starts[0], 6, 44, 8, 6], vec![starts[1], 50, 7]], 0)
}

/// The loss, and the gradient of each parameter.
fn gradients(model: &Pretrained, positions: Positions<'_>) -> (f64, BTreeMap<String, Option<Vec<f64>>>) {
    let mut context = model.prefill(&prompts(), 0);
    let hidden = model.hidden(&texts(&context), &[0, 1], positions, &mut context);
    let log_probs = log_softmax(model.head(&hidden), 1);
    let weights: Vec<f32> = (0..log_probs.shape().num_elements()).map(|index| (index as f32 * 0.7).cos()).collect();
    let weights = Tensor::<2>::from_data(TensorData::new(weights, log_probs.shape()), &*DEVICE);
    let loss = (log_probs * weights).sum();
    let mut gradients = loss.backward();
    let mut sum = GradientsAccumulator::new();
    let mut add = |gradients: Gradients| sum.accumulate(model, GradientsParams::from_grads(gradients, model));
    if let Some(tape) = context.take_tape() {
        assert!(!tape.is_empty());
        let of_hidden = hidden.states().grad_remove(&mut gradients).expect("the hidden states are a leaf");
        tape.backward(of_hidden, &mut add);
    }
    add(gradients);
    let mut found = Found { gradients: sum.grads(), ..Found::default() };
    model.visit(&mut found);
    (loss.into_data().iter::<f64>().sum(), found.found)
}

#[test]
fn checkpointing_does_not_change_the_gradients() {
    let all = [
        Training { dropout: false, lora: false, positions: Positions::All },
        Training { dropout: true, lora: false, positions: Positions::Last(&[2, 3]) },
        Training { dropout: false, lora: true, positions: Positions::Last(&[4, 1]) },
        Training { dropout: true, lora: true, positions: Positions::All },
    ];
    for name in NAMES {
        for training in all {
            let model = model(name, training);
            let (loss, whole) = gradients(&model, training.positions);
            let model = model.with_gradient_checkpointing();
            assert!(model.prefill(&prompts(), 0).take_tape().is_some(), "{name} has a tape");
            let (again, found) = gradients(&model, training.positions);
            // Both sides are the same numbers, which are added in another order.
            assert!((loss - again).abs() <= 1e-10 * loss.abs(), "{name}, {training:?}: loss {again}, not {loss}");
            let mut compared = 0;
            for (path, expected) in &whole {
                let (Some(expected), Some(found)) = (expected, &found[path]) else {
                    assert_eq!(expected.is_none(), found[path].is_none(), "{name}, {training:?}: {path}");
                    continue;
                };
                let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
                // Without rotations, the bias of keys adds the same number to all scores of a query. Its gradient is 0.
                if path.ends_with(".k.bias") {
                    assert!(found.iter().all(|value| value.abs() < 1e-9), "{name}, {training:?}: {path} has {found:?}");
                    continue;
                }
                assert!(largest > 1e-6, "{name}, {training:?}: the gradient of {path} is 0");
                for (found, expected) in found.iter().zip(expected) {
                    let error = (found - expected).abs();
                    assert!(error <= 1e-9 * largest, "{name}, {training:?}: {path} has {found}, not {expected}");
                }
                compared += 1;
            }
            assert!(compared >= 20, "{name}, {training:?}: {compared} of {} parameters", whole.len());
        }
    }
}

#[test]
fn a_frozen_model_records_nothing() {
    for name in ["t5-v1.0", "llama2", "bart"] {
        let frozen = model(name, Training { dropout: true, lora: false, positions: Positions::All }).no_grad();
        let read = |model: &Pretrained| {
            let mut context = model.prefill(&prompts(), 0);
            let hidden = model.hidden(&texts(&context), &[0, 1], Positions::All, &mut context).states();
            (hidden, context.take_tape())
        };
        let (expected, _) = read(&frozen);
        let (hidden, tape) = read(&frozen.with_gradient_checkpointing());
        assert!(tape.unwrap().is_empty() && !hidden.is_tracked(), "{name}");
        // Without autodiff, burn computes some functions in another order.
        let difference = (hidden.inner() - expected.inner()).abs().max().into_data().iter::<f64>().sum::<f64>();
        assert!(difference < 1e-10, "{name}: off by {difference}");
    }
}

#[test]
fn contexts_with_caches_have_no_tape() {
    for name in ["t5-v1.0", "llama2", "bart"] {
        let model = model(name, Training { dropout: false, lora: false, positions: Positions::All });
        let logits = |model: &Pretrained| {
            let mut context = model.prefill(&prompts(), 4);
            let logits = model.forward(&texts(&context), &mut context).logits;
            assert!(context.take_tape().is_none());
            logits.into_data()
        };
        assert_eq!(logits(&model.clone().with_gradient_checkpointing()), logits(&model), "{name}");
    }
}

fn checkpointed() -> (Pretrained, Context) {
    let training = Training { dropout: false, lora: false, positions: Positions::All };
    let model = model("llama2", training).with_gradient_checkpointing();
    let context = model.prefill(&prompts(), 0);
    (model, context)
}

#[test]
#[should_panic(expected = "reads the texts of a context once")]
fn a_context_with_a_tape_is_not_read_twice() {
    let (model, mut context) = checkpointed();
    for _ in 0..2 {
        model.forward(&texts(&context), &mut context);
    }
}

#[test]
#[should_panic(expected = "reads all rows of a context")]
fn a_context_with_a_tape_is_read_as_a_whole() {
    let (model, mut context) = checkpointed();
    model.hidden(&TokenBatch::column(&context.starts()[1..]), &[1], Positions::All, &mut context);
}
