//! `wheels distill`, with tiny configurations.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use burn::config::Config;
use burn::tensor::Device;
use serde_json::Value;
use training_wheels::decode::Calibration;
use training_wheels::distill::{Decay, PriceFitConfig, RolloutConfig, StepReport, TrainerConfig};
use training_wheels::lm::LanguageModel;
use training_wheels::prelude::*;
use training_wheels::text::BudgetPlacement;
use training_wheels::{BudgetReport, CalibrationConfig};
use wheels_embedded::TRANSLATION;

use support::{fails, short_lines, succeeds, unpack, wheels};

/// A configuration for a run of some seconds.
fn tiny(steps: usize) -> DistillationConfig {
    let trainer = TrainerConfig::new(steps)
        .with_learning_rate(1e-3)
        .with_warmup_steps(1)
        .with_decay(Decay::Linear)
        .with_checkpoint_every(2)
        .with_validate_every(3);
    DistillationConfig::new()
        .with_trainer(trainer)
        .with_rollout(RolloutConfig::new(steps).with_batch_tokens(600).with_price_prompts(16))
        .with_max_tokens(48)
        .with_valid_texts(4)
        .with_report_budgets(vec![0, 20, 50])
        .with_prices(PriceFitConfig::new().with_texts(4))
        .with_calibration(CalibrationConfig::new().with_rates(vec![0.2]).with_max_trials(2).with_texts(4))
}

/// Saves a configuration in a folder.
fn saved(config: &DistillationConfig, folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    config.save(&path).expect("the configuration is written");
    path
}

fn distill(config: &Path, out: &Path, flags: &[&str]) -> Command {
    let mut command = wheels("distill");
    command.args(["--device", "cpu", "--settings"]).arg(config).arg("--out").arg(out).args(flags);
    command
}

fn json(folder: &Path, file: &str) -> Value {
    let text = fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn reports(folder: &Path) -> Vec<StepReport> {
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).expect("metrics");
    metrics.lines().map(|line| serde_json::from_str(line).expect("a report is a line of JSON")).collect()
}

#[test]
fn a_short_run_leaves_a_student_that_reads_its_budget() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("run");
    let config = saved(&tiny(4), scratch.path(), "config.json");
    let [table, _] = succeeds(&mut distill(&config, &out, &[]));
    assert_eq!(table.lines().count(), 7 + 3, "the header, and a line for each budget:\n{table}");

    let steps = reports(&out);
    assert_eq!(steps.len(), 4);
    assert!(steps.iter().all(|report| report.parts.contains_key("price 20%")));
    let picture = fs::read_to_string(out.join("curves.svg")).expect("curves");
    assert!(picture.contains("prices of help") && picture.contains("<circle"), "the curves are drawn");

    let budgets: Vec<BudgetReport> = serde_json::from_value(json(&out, "budgets.json")).expect("budget reports");
    assert_eq!(budgets.iter().map(|report| report.budget).collect::<Vec<_>>(), [0, 20, 50]);
    assert_eq!(budgets[0].used, 0.0, "a budget of 0 never asks");
    let written = DistillationConfig::load(out.join("distillation.json")).expect("a configuration");
    assert_eq!((written.trainer.steps, written.rollout.batch_tokens, written.max_tokens), (4, 600, 48));
    let calibration: Calibration = serde_json::from_value(json(&out, "calibration.json")).expect("a calibration");
    assert_eq!(calibration.points().iter().map(|point| point.rate).collect::<Vec<_>>(), [0.2]);

    let student = TextModel::open(&out, &Device::flex()).expect("the folder opens");
    assert_eq!(student.template.budget, BudgetPlacement::Before);
    assert_eq!(student.calibration, Some(calibration));
    assert!(student.prices.is_some() && student.model.has_heads());
    let prompt = |percent| {
        let budget = HelpBudget::percent(percent);
        student.template.prompt(&student.tokenizer, "a text editor", budget).expect("a prompt").student
    };
    assert_ne!(prompt(20), prompt(50));
}

/// Starts a run and kills it when its first checkpoint is written.
fn killed_after_a_checkpoint(mut command: Command, out: &Path) {
    let mut run: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    let started = Instant::now();
    while !out.join("checkpoint-00000002").exists() {
        assert!(started.elapsed() < Duration::from_secs(300), "the run reaches its first checkpoint");
        assert!(run.try_wait().expect("the run can be asked").is_none(), "the run is killed before it ends");
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().expect("the run is killed");
    run.wait().expect("the run has ended");
}

#[test]
fn the_same_command_goes_on_and_ends_with_the_same_model() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let (whole, killed) = (scratch.path().join("whole"), scratch.path().join("killed"));
    let config = saved(&tiny(6), scratch.path(), "config.json");
    let [whole_table, _] = succeeds(&mut distill(&config, &whole, &[]));

    killed_after_a_checkpoint(distill(&config, &killed, &[]), &killed);
    assert!(!killed.join("model.safetensors").exists(), "a killed run has no model yet");
    let files = ["model.safetensors", "heads.safetensors", "prices.json", "calibration.json", "budgets.json"];
    let contents = |folder: &Path| files.map(|file| fs::read(folder.join(file)).expect("a finished run has it"));
    assert_eq!(succeeds(&mut distill(&config, &killed, &[]))[0], whole_table);
    assert!(contents(&killed) == contents(&whole), "both runs end with the same files");
    let losses = |folder: &Path| reports(folder).iter().map(|report| (report.step, report.loss)).collect::<Vec<_>>();
    assert_eq!(losses(&killed), losses(&whole), "every step is reported once, with the same loss");
    assert_eq!(losses(&whole).len(), 6);

    // A finished run is neither trained nor calibrated again, and an interrupted calibration goes on.
    let written = |file: &str| fs::metadata(killed.join(file)).and_then(|data| data.modified()).expect("a time");
    let files = ["calibration.json", "budgets.json", "run.toml"];
    let times = files.map(written);
    assert_eq!(succeeds(&mut distill(&config, &killed, &[]))[0], whole_table);
    assert!(contents(&killed) == contents(&whole) && files.map(written) == times);
    fs::remove_file(killed.join("budgets.json")).expect("a file");
    assert_eq!(succeeds(&mut distill(&config, &killed, &[]))[0], whole_table);
    assert!(contents(&killed) == contents(&whole) && written("calibration.json") == times[0]);

    let mut changed = tiny(6);
    changed.trainer.learning_rate = 0.5;
    let changed = saved(&changed, scratch.path(), "changed.json");
    let message = fails(&mut distill(&changed, &killed, &[]));
    assert!(message.contains("(trainer.learning_rate of --settings: 0.001 there, 0.5 here)"), "{message}");
    let message = fails(&mut distill(&config, &killed, &["--heads-only"]));
    assert!(message.contains("(--heads-only: false there, true here)"), "{message}");
    assert_eq!(json(&killed, "distillation.json")["trainer"]["learning_rate"], 0.001, "a refused run writes nothing");
}

#[test]
fn a_finished_run_goes_on_with_more_steps_and_the_warm_up_that_it_had() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("run");
    let mut config = tiny(9);
    config.trainer.warmup_steps = 100;
    let config = saved(&config, scratch.path(), "config.json");
    // Of 5 steps, the warm-up takes at most one, and of 10 it would take two.
    for (steps, earlier) in [("5", None), ("10", Some("5")), ("10", None), ("11", Some("10"))] {
        let [_, report] = succeeds(&mut distill(&config, &out, &["--steps", steps]));
        assert_eq!(reports(&out).len().to_string(), steps);
        assert_eq!(json(&out, "distillation.json")["trainer"]["warmup_steps"], 1, "after {steps} steps");
        let goes_on =
            earlier.map(|earlier| format!("started for {earlier} steps and goes on to {steps}: from here on"));
        assert!(goes_on.is_none_or(|goes_on| report.contains(&goes_on)), "{report}");
    }
}

#[test]
fn invalid_requests_are_refused() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("run");
    let mut levels = tiny(2);
    levels.rollout.constraint.levels = vec![0.1, 0.5, 1.0];
    let levels = saved(&levels, scratch.path(), "levels.json");
    let message = fails(&mut distill(&levels, &out, &[]));
    assert!(message.contains("[0.1, 0.5, 1.0]") && message.contains("rise from 0 to 1"), "{message}");

    let config = saved(&tiny(2), scratch.path(), "config.json");
    let message = fails(&mut distill(&config, &out, &["--method", "magic"]));
    assert!(message.contains("magic") && message.contains("forward-kl"), "{message}");
    let message = fails(&mut distill(&config, &out, &["--method", "forward-kl", "--heads-only"]));
    assert!(message.contains("--heads-only trains how a student asks"), "{message}");
    let torn = scratch.path().join("torn.json");
    fs::write(&torn, "{\"trainer\": ").expect("written");
    let message = fails(&mut distill(&torn, &out, &[]));
    assert!(message.contains("torn.json"), "{message}");
}

#[test]
fn training_the_heads_alone_leaves_the_model_as_it_is() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("run");
    let config = saved(&tiny(4), scratch.path(), "config.json");
    succeeds(&mut distill(&config, &out, &["--heads-only", "--steps", "2"]));
    assert_eq!(reports(&out).len(), 2, "--steps has precedence over the configuration");
    let before = TextModel::from_files("the student", TRANSLATION.student, &Device::flex()).expect("it opens");
    let after = TextModel::open(&out, &Device::flex()).expect("it opens");
    let pair = |student: &TextModel| {
        let teacher = TextModel::from_files("the teacher", TRANSLATION.teacher, &Device::flex()).expect("it opens");
        Pair::new(student.clone(), teacher).expect("one tokenizer")
    };
    let prompts = pair(&before).prompts(&["a text editor", "a game"], HelpBudget::percent(20)).expect("prompts");
    let alone = |student: &TextModel| {
        pair(student).student_alone().decode(&prompts, Seed(7)).expect("decoding works").trajectories
    };
    assert_eq!(alone(&after), alone(&before), "it writes the same texts");
    let forecast = |student: &TextModel| pair(student).forecast(&prompts).expect("heads");
    assert_ne!(forecast(&after), forecast(&before), "its heads have learned");
}

/// Short translations in a file.
fn short_data(folder: &Path) -> PathBuf {
    let path = folder.join("data.jsonl");
    fs::write(&path, short_lines(60).join("\n")).expect("the data is written");
    path
}

/// Distils from one folder into another, and opens the result with its teacher.
fn distilled(scratch: &Path, student: &Path, teacher: &Path) -> Pair {
    let config = saved(&tiny(2), scratch, "config.json");
    let out = student.with_extension("distilled");
    let mut command = distill(&config, &out, &[]);
    let data = scratch.join("data.jsonl");
    command.arg("--student").arg(student).arg("--teacher").arg(teacher);
    command.arg("--data").arg(&data).arg("--valid").arg(&data);
    succeeds(&mut command);
    let pair = Pair::open(&out, teacher, &Device::flex()).expect("the folders open");
    assert!(pair.help_token.is_some() && pair.student.model.has_heads() && pair.student.calibration.is_some());
    let answer = pair.generate("a text editor", HelpBudget::percent(100)).expect("it decodes");
    assert_eq!(answer.helped, answer.tokens, "the teacher answers");
    pair
}

#[test]
fn a_student_and_a_teacher_from_train_can_be_distilled() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let data = short_data(scratch.path());
    let train = |out: &str, flags: &[&str]| {
        let out = scratch.path().join(out);
        let mut command = wheels("train");
        command.arg("--data").arg(&data).arg("--valid").arg(&data).arg("--out").arg(&out);
        command.args("--d-model 32 --layers 1 --decoder-layers 1 --steps 4 --batch-tokens 512".split(' '));
        command.args("--max-tokens 256 --workers 1 --valid-texts 2 --device cpu".split(' '));
        command.current_dir(scratch.path()).args(flags);
        succeeds(&mut command);
        out
    };
    let teacher = train("teacher", &["--vocab", "300"]);
    let student = train("student", &["--tokenizer", "teacher"]);
    let asking = train("asking", &["--tokenizer", "teacher", "--help-token", "teacher"]);
    for student in [student, asking] {
        let Pair { student, teacher, .. } = distilled(scratch.path(), &student, &teacher);
        assert!(teacher.tokenizer.help_tokens().is_empty(), "the teacher has no help token");
        assert_eq!(student.model.spec().vocab_size, teacher.model.spec().vocab_size + 1);
    }
}

#[test]
fn a_student_without_a_help_token_gets_one() {
    for has_token in [true, false] {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        short_data(scratch.path());
        let [student, teacher] = ["student", "teacher"].map(|name| scratch.path().join(name));
        // The student starts as a copy of the teacher.
        unpack(TRANSLATION.teacher, &[], &teacher);
        unpack(TRANSLATION.teacher, &[], &student);
        let before = Tokenizer::from_dir(&student).expect("it opens");
        let token = before.help_token("teacher").expect("the embedded tokenizer has the token");
        if !has_token {
            let mut tokenizer = json(&student, "tokenizer.json");
            let added = tokenizer["added_tokens"].as_array_mut().expect("a list of tokens");
            added.retain(|added| added["content"] != "<help:teacher>");
            fs::write(student.join("tokenizer.json"), tokenizer.to_string()).expect("written");
            let without = Tokenizer::from_dir(&student).expect("it opens");
            assert!(without.help_token("teacher").is_err());
        }
        let pair = distilled(scratch.path(), &student, &teacher);
        assert_eq!(pair.help_token, Some(token), "it has the next free id");
    }
}
