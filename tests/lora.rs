//! Adapters in training and on the disk, as a user of the library has them.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use training_wheels::distill::objective::CrossEntropy;
use training_wheels::distill::{DistillError, SupervisedBatches, TokenPair, Trainer, TrainerConfig};
use training_wheels::lm::{FloatFormat, LmError};
use training_wheels::prelude::*;
use training_wheels::student::Student;
use wheels_embedded::TRANSLATION;

use support::{logits, open, tiny, worst};

/// Writes the embedded student without its heads into a folder, as a base model.
fn base(folder: &Path) {
    let mut student = TextModel::from_files("student", TRANSLATION.student, &Device::flex()).unwrap();
    student.model = Student::new(student.model.model);
    (student.calibration, student.prices) = (None, None);
    student.save(folder, FloatFormat::F32).unwrap();
}

fn lora(base: &Path) -> LoraConfig {
    let modules = vec!["q".to_owned(), "v".to_owned(), "wo".to_owned()];
    LoraConfig::new(2).with_target_modules(modules).with_base_model(Some(base.to_str().unwrap().to_owned()))
}

fn data() -> (Dataset, Dataset) {
    let sample = Dataset::from_reader(TRANSLATION.sample.as_bytes(), "sample").unwrap();
    let short: Dataset = sample.into_iter().filter(|example| example.source.len() < 60).collect();
    let (valid, train) = short.split(24);
    (train, valid)
}

/// The parameters of a module by path.
#[derive(Default)]
struct Weights {
    path: Vec<String>,
    found: Vec<(String, Vec<f32>)>,
}

impl ModuleVisitor for Weights {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((self.path.join("."), param.val().into_data().iter::<f32>().collect()));
    }
}

fn weights(module: &impl Module) -> Vec<(String, Vec<f32>)> {
    let mut weights = Weights::default();
    module.visit(&mut weights);
    weights.found
}

#[test]
fn training_changes_only_adapters_and_is_resumed_bit_for_bit() {
    let scratch = tempfile::tempdir().unwrap();
    let start = open({
        base(scratch.path());
        scratch.path()
    });
    let start = start.with_lora(&lora(scratch.path()).with_dropout(0.1)).unwrap();
    let pairs: Vec<TokenPair> =
        (0..12).map(|i| TokenPair { source: vec![5 + i, 6, 7, 1], target: vec![8 + i, 9, 1] }).collect();
    let objective = CrossEntropy { label_smoothing: 0.0 };
    let train_to = |steps: usize, folder: &Path| {
        let config = TrainerConfig::new(steps)
            .with_accumulate(2)
            .with_warmup_steps(1)
            .with_dropout(true)
            .with_decay(training_wheels::distill::Decay::Constant)
            .with_target_decay(Some(0.9))
            .with_validate_every(2)
            .with_checkpoint_every(2);
        let batches = SupervisedBatches::new(&pairs, 40, 0, Seed(1)).unwrap();
        let student = start.model.valid().train();
        let mut trainer = Trainer::resume(config, &objective, student, batches, folder).unwrap();
        trainer.train(&mut |_| Ok(0.0), &mut |_| ControlFlow::Continue(())).unwrap();
        // The first validation was the best.
        [trainer.best().unwrap(), trainer.student()].map(|student| weights(&student))
    };
    let (whole, parts) = (scratch.path().join("whole"), scratch.path().join("parts"));
    let [best, trained] = train_to(6, &whole);
    train_to(2, &parts);
    assert!(best != trained);
    assert!([best, trained.clone()] == train_to(6, &parts), "a resumed run ends with the same bits");
    let before = weights(&start.model);
    assert_eq!(before.len(), trained.len());
    for ((path, before), (_, after)) in before.iter().zip(&trained) {
        assert_eq!(before != after, path.contains(".lora."), "{path}");
    }
    // A checkpoint has the numbers of the adapters and two moments for each, and nothing else of this size.
    let bytes = |name: &str| fs::metadata(whole.join("checkpoint-00000006").join(name)).unwrap().len() as usize;
    let size = bytes("optimizer.bpk");
    let adapters: usize =
        trained.iter().filter(|(path, _)| path.contains(".lora.")).map(|(_, after)| after.len()).sum();
    let all: usize = trained.iter().map(|(_, after)| after.len()).sum();
    assert!(size > 8 * adapters && size < 8 * all / 4, "{size} bytes for {adapters} of {all} numbers");
    let size = bytes("model.bpk");
    assert!(size > 4 * adapters && size < 4 * all / 4, "{size} bytes for {adapters} of {all} numbers");
}

/// Adds a little to every weight.
struct Shift;

impl ModuleMapper for Shift {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weights| weights + 0.01)
    }
}

#[test]
fn a_run_on_another_base_is_not_resumed() {
    let scratch = tempfile::tempdir().unwrap();
    base(scratch.path());
    let pairs = vec![TokenPair { source: vec![5, 6, 1], target: vec![8, 1] }];
    let objective = CrossEntropy { label_smoothing: 0.0 };
    let run = scratch.path().join("run");
    let start = |student: Student<Pretrained>, steps| {
        let batches = SupervisedBatches::new(&pairs, 40, 0, Seed(1)).unwrap();
        Trainer::resume(TrainerConfig::new(steps), &objective, student, batches, &run)
    };
    let adapted = |model: TextModel| model.with_lora(&lora(scratch.path())).unwrap().model.valid().train();
    let model = open(scratch.path());
    let mut first = start(adapted(model.clone()), 1).unwrap();
    first.train(&mut |_| Ok(0.0), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(start(adapted(model.clone()), 2).is_ok());

    let mut other = model.clone();
    other.model = Student::new(model.model.model.map(&mut Shift));
    let error = start(adapted(other), 2).map(|_| ()).unwrap_err();
    assert!(matches!(error, DistillError::OtherBase { .. }), "{error}");
}

#[test]
fn a_distilled_adapter_opens_on_its_base_and_merges() {
    let scratch = tempfile::tempdir().unwrap();
    let [student, out, full] = ["student", "out", "full"].map(|name| scratch.path().join(name));
    base(&student);
    let teacher = TextModel::from_files("teacher", TRANSLATION.teacher, &Device::flex()).unwrap();
    let (train, valid) = data();
    let mut config = tiny();
    config.lora = Some(lora(&student).with_dropout(0.1));
    let run = |config: &DistillationConfig| {
        let distillation = Distillation::new(open(&student), &teacher).config(config.clone());
        distillation.run(&train, &valid, &out)
    };
    let distilled = run(&config).unwrap().pair.student;
    assert!(!out.join("model.safetensors").exists() && out.join("adapter_model.safetensors").exists());
    let saved: DistillationConfig = burn::config::Config::load(out.join("distillation.json")).unwrap();
    assert!(saved.lora == config.lora && saved.trainer.dropout, "dropout of adapters turns dropout on");

    let opened = open(&out);
    assert!(opened.model.has_heads() && opened.model.model.lora().is_some());
    assert_eq!(logits(&opened), logits(&distilled));
    assert_eq!(opened.calibration, distilled.calibration);
    assert!(worst(&logits(&opened), &logits(&open(&student))) > 1e-4, "the adapters were trained");
    let elsewhere = TextModel::open_adapter(&out, &student, &Device::flex()).unwrap();
    assert_eq!(logits(&elsewhere), logits(&opened));

    opened.clone().merged().save(&full, FloatFormat::F32).unwrap();
    assert!(!full.join("adapter_config.json").exists());
    assert!(worst(&logits(&open(&full)), &logits(&opened)) < 1e-4);

    config.lora = Some(lora(&student).with_alpha(3.0));
    let error = run(&config).unwrap_err();
    assert!(matches!(&error, Error::Distill(DistillError::OtherConfig { field, .. }) if field == "lora"), "{error}");
    config.heads_only = true;
    assert!(matches!(run(&config).unwrap_err(), Error::HeadsOnlyLora));
}

#[test]
fn help_tokens_have_the_same_row_when_adapters_are_opened_again() {
    let scratch = tempfile::tempdir().unwrap();
    let [student, out] = ["student", "out"].map(|name| scratch.path().join(name));
    base(&student);
    // The vocabulary of the base model is full, so the new help token gets a new row.
    let model = open(&student).with_help_token("search").unwrap().with_lora(&lora(&student)).unwrap();
    assert_eq!(model.model.spec().vocab_size, open(&student).model.spec().vocab_size + 1);
    model.save(&out, FloatFormat::F32).unwrap();
    assert_eq!(logits(&open(&out)), logits(&model));
}

#[test]
fn an_adapter_of_peft_has_the_other_files_of_its_base() {
    let scratch = tempfile::tempdir().unwrap();
    let [student, out] = ["student", "out"].map(|name| scratch.path().join(name));
    base(&student);
    let model = open(&student).with_lora(&lora(&student)).unwrap();
    model.save(&out, FloatFormat::F32).unwrap();
    for file in ["tokenizer.json", "generation_config.json", "prompt.json"] {
        fs::remove_file(out.join(file)).unwrap();
    }
    let opened = open(&out);
    assert_eq!((&opened.template, &opened.generation), (&model.template, &model.generation));
    assert_eq!(logits(&opened), logits(&model));

    // Without the name of a base model, it must be given.
    let path = out.join("adapter_config.json");
    let config = fs::read_to_string(&path).unwrap().replace("base_model_name_or_path", "auto_mapping");
    fs::write(&path, config).unwrap();
    assert!(matches!(TextModel::open(&out, &Device::flex()), Err(Error::NoBaseModel { .. })));
    assert_eq!(logits(&TextModel::open_adapter(&out, &student, &Device::flex()).unwrap()), logits(&model));
    // Adapters of adapters are refused.
    let error = TextModel::open_adapter(&out, &out, &Device::flex()).unwrap_err();
    assert!(matches!(error, Error::Lm(LmError::OnlyAdapter { .. })), "{error}");
}
