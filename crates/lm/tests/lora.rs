//! Low-rank adapters: what PEFT computes with them, its files, and their gradients. The fixtures and the script that made
//! them are in assets/golden/lora.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::Value;
use wheels_lm::{FloatFormat, LanguageModel, LmError, LoraConfig, Pretrained, WeightFormat};

use support::{Row, TOLERANCE, folder, forward, values, worst};

/// The base models of the fixtures, of which each family has one.
const NAMES: [&str; 3] = ["bart", "llama2", "t5-v1.1"];

/// What PEFT computes with one adapter.
#[derive(Deserialize)]
struct Golden {
    rows: Vec<Row>,
}

fn adapter_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/lora").join(name)
}

fn rows(name: &str) -> Vec<Row> {
    let json = fs::read_to_string(adapter_folder(name).join("golden.json")).unwrap();
    serde_json::from_str::<Golden>(&json).unwrap().rows
}

fn base(name: &str, device: &Device) -> Pretrained {
    Pretrained::load(folder(name), device).unwrap()
}

fn adapted(name: &str) -> Pretrained {
    base(name, &Device::flex()).with_adapter_in(adapter_folder(name)).unwrap()
}

/// The largest difference of the logits of a model from those of PEFT, without and with a cache.
fn deviation(model: &Pretrained, name: &str) -> f32 {
    let mut largest: f32 = 0.0;
    for row in rows(name) {
        for capacity in [0, 4] {
            largest = largest.max(worst(&values(forward(model, &row, 1, capacity)), &row.logits.concat()));
        }
    }
    largest
}

#[test]
fn adapters_compute_what_peft_computes_alone_and_merged() {
    for name in NAMES {
        let model = adapted(name);
        let (apart, merged) = (deviation(&model, name), deviation(&model.merged(), name));
        eprintln!("{name}: off by {apart:.1e}, merged by {merged:.1e}");
        assert!(apart <= TOLERANCE && merged <= TOLERANCE, "{name}: off by {apart}, merged by {merged}");
    }
}

#[test]
fn saved_adapters_and_merged_models_open_again() {
    let scratch = tempfile::tempdir().unwrap();
    // assets/golden/lora/check_saved.py opens these folders with PEFT.
    let folder = std::env::var_os("WHEELS_SAVED").map_or(scratch.path().to_owned(), PathBuf::from);
    for name in NAMES {
        let model = adapted(name);
        let (adapter, merged) = (folder.join("adapter").join(name), folder.join("merged").join(name));
        model.save_adapter(&adapter, FloatFormat::F32).unwrap();
        // Whole models replace adapters.
        model.save_adapter(&merged, FloatFormat::F32).unwrap();
        model.save(&merged, FloatFormat::F32).unwrap();

        let read = |folder: &Path| fs::read(folder.join("adapter_model.safetensors")).unwrap();
        let (ours, theirs) = (read(&adapter), read(&adapter_folder(name)));
        let (ours, theirs) = (SafeTensors::deserialize(&ours).unwrap(), SafeTensors::deserialize(&theirs).unwrap());
        assert_eq!(ours.len(), theirs.len());
        for (tensor, view) in theirs.tensors() {
            assert_eq!(ours.tensor(&tensor).unwrap(), view, "{tensor}");
        }
        let again = base(name, &Device::flex()).with_adapter_in(&adapter).unwrap();
        assert_eq!(again.lora(), model.lora());
        assert_eq!(deviation(&again, name), deviation(&model, name));
        assert!(deviation(&Pretrained::load(&merged, &Device::flex()).unwrap(), name) <= TOLERANCE);
    }
}

#[test]
fn a_torn_or_foreign_adapter_is_refused_with_the_names_of_its_tensors() {
    let scratch = tempfile::tempdir().unwrap();
    let [config, weights] = ["adapter_config.json", "adapter_model.safetensors"].map(|file| scratch.path().join(file));
    let good = adapter_folder("bart");
    fs::copy(good.join("adapter_config.json"), &config).unwrap();
    let open = || base("bart", &Device::flex()).with_adapter_in(scratch.path()).unwrap_err();
    assert!(matches!(open(), LmError::Read { path, .. } if path == weights));

    let bytes = fs::read(good.join("adapter_model.safetensors")).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(open(), LmError::Safetensors { .. }));

    let problems = || match open() {
        LmError::Adapter { problems, .. } => problems,
        error => panic!("{error}"),
    };
    let first = "base_model.model.model.encoder.layers.0.self_attn.q_proj.lora_A.weight";
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let others = tensors.tensors().into_iter().map(|(name, view)| {
        (if name == first { "base_model.model.lm_head.lora_A.weight".to_owned() } else { name }, view)
    });
    fs::write(&weights, safetensors::serialize(others, None).unwrap()).unwrap();
    let expected = [
        format!("{first} is missing"),
        "base_model.model.lm_head.lora_A.weight belongs to no layer with an adapter".into(),
    ];
    assert_eq!(problems(), expected);

    // The adapter of a model of another width.
    fs::copy(good.join("adapter_model.safetensors"), &weights).unwrap();
    let mut fields: Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    fields["r"] = 2.into();
    fs::write(&config, fields.to_string()).unwrap();
    assert!(problems().contains(&format!("{first} has the shape [3, 24] and should have [2, 24]")), "{:?}", problems());
}

#[test]
fn an_adapter_alone_is_no_model() {
    let adapter = adapter_folder("bart");
    let error = Pretrained::load(&adapter, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("../families/bart"), "{error}");
    assert!(matches!(Pretrained::inspect(&adapter), Err(LmError::OnlyAdapter { .. })));
    let config = LoraConfig::from_dir(&adapter).unwrap().unwrap();
    assert_eq!((config.rank, config.base_model.as_deref()), (3, Some("../families/bart")));
    assert_eq!(LoraConfig::from_dir(folder("bart")).unwrap(), None);
}

#[test]
fn settings_that_do_not_fit_the_model_are_refused() {
    let with = |config: LoraConfig| base("llama2", &Device::flex()).with_lora(&config).unwrap_err().to_string();
    let error = with(LoraConfig::new(2).with_target_modules(vec!["q_proj".into(), "wi_0".into()]));
    assert!(error.contains("\"wi_0\"") && error.contains("down_proj, gate_proj, k_proj, o_proj"), "{error}");
    assert!(with(LoraConfig::new(2).with_target_modules(vec!["lm_head".into()])).contains("\"lm_head\""));
    assert!(with(LoraConfig::new(2).with_target_modules(vec!["proj".into()])).contains("\"proj\""), "a part of a name");
    assert!(with(LoraConfig::new(0)).contains("rank is 0"));
    assert!(with(LoraConfig::new(2).with_dropout(1.0)).contains("dropout is 1"));
    let error = adapted("llama2").with_lora(&LoraConfig::new(2)).unwrap_err();
    assert!(matches!(error, LmError::HasAdapters));
    let error = base("llama2", &Device::flex()).save_adapter(std::env::temp_dir(), FloatFormat::F32).unwrap_err();
    assert!(error.to_string().contains("no adapters"), "{error}");
    let itself = folder("llama2");
    let config = LoraConfig::new(2).with_base_model(Some(itself.to_str().unwrap().into()));
    let model = base("llama2", &Device::flex()).with_lora(&config).unwrap();
    assert!(model.save_adapter(&itself, FloatFormat::F32).unwrap_err().to_string().contains("folder of the base"));
}

/// The parameters of a model by path, with their gradients.
#[derive(Default)]
struct Parameters {
    path: Vec<String>,
    gradients: GradientsParams,
    /// The values, and the gradient of those that have one, `[rows, columns]`.
    found: BTreeMap<String, (Tensor<2>, Option<Tensor<2>>)>,
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(param.id);
        let value = param.val().inner();
        let matrix = |tensor: Tensor<D>| {
            if D == 2 { tensor.flatten::<2>(0, 0) } else { tensor.flatten::<1>(0, D - 1).unsqueeze() }
        };
        self.found.insert(self.path.join("."), (matrix(value), gradient.map(matrix)));
    }
}

/// The parameters of a model with the gradients of a loss that depends on all logits.
fn gradients(model: &Pretrained, row: &Row) -> BTreeMap<String, (Tensor<2>, Option<Tensor<2>>)> {
    let logits = forward(model, row, 1, 0);
    let loss = burn::tensor::activation::log_softmax(logits, 2).narrow(2, 3, 1).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    let mut parameters = Parameters { gradients, ..Parameters::default() };
    model.visit(&mut parameters);
    parameters.found
}

#[test]
fn gradients_equal_those_of_the_merged_weights_and_the_base_has_none() {
    for name in NAMES {
        let model = base(name, &Device::flex().autodiff()).with_adapter_in(adapter_folder(name)).unwrap();
        let (scale, row) = (model.lora().unwrap().scale(), &rows(name)[0]);
        let apart = gradients(&model, row);
        let merged = gradients(&model.merged(), row);
        let mut compared = 0;
        for (path, (_, gradient)) in &apart {
            let Some(layer) = path.strip_suffix(".lora.a") else {
                assert!(gradient.is_none() || path.ends_with(".lora.b"), "{path} is frozen");
                continue;
            };
            // W + scale a b has the gradient G, so a has scale G b^T, and b has scale a^T G.
            let (a, of_a) = apart[path].clone();
            let (b, of_b) = apart[&format!("{layer}.lora.b")].clone();
            let whole = merged[layer].1.clone().expect("a merged weight is trained");
            for (found, expected) in [
                (of_a.unwrap(), whole.clone().matmul(b.transpose()) * scale),
                (of_b.unwrap(), a.transpose().matmul(whole) * scale),
            ] {
                let (found, expected) = (values(found), values(expected));
                let largest = expected.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
                assert!(largest > 1e-3, "{path}: the gradient is 0");
                // Both sides are sums of a few hundred terms in another order.
                assert!(
                    worst(&found, &expected) <= 1e-4 * largest.max(1.0),
                    "{path}: off by {}",
                    worst(&found, &expected)
                );
                compared += 1;
            }
        }
        assert_eq!(compared, apart.keys().filter(|path| path.contains(".lora.")).count());
        assert!(compared > 0);
    }
}

#[test]
fn new_adapters_change_nothing_and_are_all_that_is_trained() {
    for name in NAMES {
        let plain = base(name, &Device::flex());
        let model = plain.clone().with_lora(&LoraConfig::new(2)).unwrap();
        let row = &rows(name)[0];
        assert_eq!(values(forward(&model, row, 1, 0)), values(forward(&plain, row, 1, 0)));
        let again = plain.clone().with_lora(&LoraConfig::new(2)).unwrap();
        let other = plain.with_lora(&LoraConfig::new(2).with_seed(8)).unwrap();
        let trained = |model: &Pretrained| -> BTreeMap<String, Vec<f32>> {
            let model = model.valid().train();
            let found = gradients(&model, row).into_iter();
            found.filter(|(_, value)| value.1.is_some()).map(|(path, value)| (path, values(value.0))).collect()
        };
        let first = trained(&model);
        assert!(first.keys().all(|path| path.contains(".lora.")), "{:?}", first.keys());
        assert!(!first.is_empty() && first == trained(&again) && first != trained(&other), "the seed decides");
        assert_eq!(first.len(), if name == "llama2" { 8 } else { 24 });
        let default = if name == "t5-v1.1" { ["q", "v"] } else { ["q_proj", "v_proj"] };
        assert_eq!(model.lora().unwrap().target_modules, default);
    }
}

#[test]
fn all_linear_stands_for_every_layer_but_the_head() {
    for (name, layers) in [("bart", 2 * 6 + 2 * 10), ("llama2", 2 * 7), ("t5-v1.1", 2 * 7 + 2 * 11)] {
        let config = LoraConfig::new(2).with_target_modules(vec!["all-linear".into()]);
        let model = base(name, &Device::flex()).with_lora(&config).unwrap();
        let mut parameters = Parameters::default();
        model.visit(&mut parameters);
        assert_eq!(parameters.found.keys().filter(|path| path.ends_with(".lora.a")).count(), layers, "{name}");
    }
}

#[test]
fn dropout_drops_inputs_of_adapters_in_training_only() {
    // The other dropout rates of this model are 0.
    let config = LoraConfig::from_dir(adapter_folder("llama2")).unwrap().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    adapted("llama2").save_adapter(scratch.path(), FloatFormat::F32).unwrap();
    let path = scratch.path().join("adapter_config.json");
    let mut fields: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    fields["lora_dropout"] = 0.5.into();
    fs::write(&path, fields.to_string()).unwrap();
    let model = base("llama2", &Device::flex()).with_adapter_in(scratch.path()).unwrap();
    assert_eq!((model.lora().unwrap().dropout, config.dropout), (0.5, 0.0));

    let row = &rows("llama2")[0];
    let logits = |model: &Pretrained| values(forward(model, row, 1, 0));
    assert_eq!(logits(&model), logits(&adapted("llama2")), "not without a seed");
    let seeded = |seed| logits(&model.clone().with_dropout(seed));
    assert_eq!(seeded(1), seeded(1));
    assert!(worst(&seeded(1), &logits(&model)) > 1e-2 && worst(&seeded(1), &seeded(2)) > 1e-2);
    assert_eq!(logits(&adapted("llama2").with_dropout(1)), logits(&model), "the rate decides");
}

#[test]
fn a_smaller_model_has_merged_weights() {
    let model = adapted("bart").with_every_nth_block(2);
    assert!(model.lora().is_none());
    let scratch = tempfile::tempdir().unwrap();
    model.save(scratch.path(), FloatFormat::F32).unwrap();
    Pretrained::load(scratch.path(), &Device::flex()).unwrap();
}

/// Adapters stay in f32 beside 16-bit weights, and merged weights are in f32.
#[test]
fn adapters_fit_a_base_model_in_half_precision() {
    for name in NAMES {
        let base = Pretrained::load(folder(name), (&Device::flex(), WeightFormat::BF16)).unwrap();
        let model = base.with_adapter_in(adapter_folder(name)).unwrap();
        assert_eq!(model.format(), WeightFormat::BF16);
        let merged = model.clone().merged();
        assert_eq!(merged.format(), WeightFormat::F32);
        for row in rows(name) {
            let (apart, merged) = (values(forward(&model, &row, 1, 4)), values(forward(&merged, &row, 1, 4)));
            assert!(worst(&apart, &merged) <= 1e-4, "{name}: {}", worst(&apart, &merged));
        }
    }
}
