//! Data as users have it, read by `wheels train`: other fields, broken lines, long texts. Runs that go on.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{fails, short_lines, succeeds, wheels};

/// Short translations: `source` and `target` of each.
fn pairs() -> Vec<(String, String)> {
    let text = |object: &Value, field: &str| object[field].as_str().expect("a text").to_owned();
    let mut pairs = Vec::new();
    for line in short_lines(30) {
        let object: Value = serde_json::from_str(line).expect("the sample is JSON");
        pairs.push((text(&object, "source"), text(&object, "target")));
    }
    pairs
}

fn written(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("the data is written");
    path
}

/// Trains a tiny model for one step, unless `flags` say another number.
fn train(data: &Path, out: &Path, flags: &[&str]) -> Command {
    tiny(wheels("train"), data, out, flags)
}

/// A command that takes the flags of `train`.
fn tiny(mut command: Command, data: &Path, out: &Path, flags: &[&str]) -> Command {
    command.arg("--data").arg(data).arg("--valid").arg(data).arg("--out").arg(out);
    command.args("--vocab 300 --d-model 32 --layers 1 --decoder-layers 1 --steps 1 --batch-tokens 512".split(' '));
    command.args("--max-tokens 256 --valid-texts 1 --device cpu".split(' ')).args(flags);
    command
}

#[test]
fn data_with_other_fields_is_read_with_the_flags_that_the_error_names() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("model");
    let nested = |(en, it): &(String, String)| json!({"id": "7", "translation": {"en": en, "it": it}});
    let lines: String = pairs().iter().map(|pair| format!("{}\n", nested(pair))).collect();
    let data = written(scratch.path(), "opus.jsonl", lines);
    let flags = ["--source-field", "translation.en", "--target-field", "translation.it"];
    let message = fails(&mut train(&data, &out, &[]));
    assert!(message.contains("opus.jsonl:1") && message.contains(&flags.join(" ")), "{message}");
    succeeds(&mut train(&data, &out, &flags));

    let message = fails(&mut train(&data, &out, &["--source-field", "en", "--target-field", "it"]));
    assert!(message.contains("opus.jsonl:1: name the fields of the source and the target"), "{message}");
    assert!(message.contains("missing field `en`; the fields of the line are id, translation.en"), "{message}");
    let message = fails(&mut train(&data, &out, &flags[..2]));
    assert!(message.contains("opus.jsonl:1: invalid example; give --target-field too"), "{message}");

    // The layouts that are recognised need no flags.
    let list: Value = pairs().iter().map(|(en, it)| json!({"document": en, "summary": it})).collect();
    let out = |name: &str| scratch.path().join(name);
    succeeds(&mut train(&written(scratch.path(), "xsum.json", list.to_string()), &out("xsum"), &[]));
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let chat = |(en, it): &(String, String)| json!({"messages": [turn("user", en), turn("assistant", it)]});
    let lines: String = pairs().iter().map(|pair| format!("{}\n", chat(pair))).collect();
    succeeds(&mut train(&written(scratch.path(), "chat.jsonl", lines), &out("chat"), &[]));
}

#[test]
fn a_broken_line_is_named_and_can_be_skipped_with_a_count() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("model");
    let mut lines = short_lines(30);
    lines.insert(20, "null");
    let data = written(scratch.path(), "data.jsonl", lines.join("\n"));
    let message = fails(&mut train(&data, &out, &[]));
    assert!(message.contains("data.jsonl:21") && message.contains("--skip-bad"), "{message}");
    let [_, report] = succeeds(&mut train(&data, &out, &["--skip-bad"]));
    assert!(report.contains("skipped 1 of 31 lines; line 21"), "{report}");
}

#[test]
fn pairs_that_are_too_long_are_reported_with_their_number_and_the_longest() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("model");
    let words: Vec<String> = pairs().into_iter().map(|(source, _)| source).collect();
    let long = json!({"source": words.join(" "), "target": "y"}).to_string();
    let lines = [&[long.as_str()], short_lines(30).as_slice()].concat();
    let data = written(scratch.path(), "data.jsonl", lines.join("\n"));
    let [_, report] = succeeds(&mut train(&data, &out, &[]));
    assert!(report.contains("kept 30 of 31 pairs; the rest has more than 256 tokens (longest "), "{report}");
    assert_eq!(report.matches("kept 30 of 31").count(), 2, "validation texts are left out, too: {report}");
    let message = fails(&mut train(&data, &scratch.path().join("short"), &["--max-tokens", "2"]));
    assert!(message.contains("no training pairs are left: all 31 have more than 2 tokens"), "{message}");
    for text in [&report, &message] {
        assert!(text.contains("raise --max-tokens") && !text.contains("DistillationConfig"), "{text}");
    }
}

#[test]
fn a_run_goes_on_with_more_steps_and_its_own_number_of_workers() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("model");
    let data = written(scratch.path(), "data.jsonl", short_lines(30).join("\n"));
    // No machine has this number of cores more than itself.
    let cores = std::thread::available_parallelism().expect("a number of cores").get();
    let workers = (cores + 1).to_string();
    succeeds(&mut train(&data, &out, &["--steps", "2", "--workers", &workers]));
    let message = fails(&mut train(&data, &out, &["--steps", "3", "--workers", &cores.to_string()]));
    assert!(message.contains(&format!("workers: {workers} there, {cores} here")), "{message}");
    let [_, report] = succeeds(&mut train(&data, &out, &["--steps", "3"]));
    assert!(report.contains("going on from step 2 of 3"), "{report}");
    assert!(report.contains(&format!("{workers} workers")), "{report}");
    assert!(report.contains("started for 2 steps and goes on to 3: from here on its learning rate"), "{report}");
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).expect("a run writes metrics");
    assert_eq!(metrics.lines().count(), 3);
}

#[test]
fn a_folder_with_another_model_or_run_is_refused_and_stays_as_it_is() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let data = written(scratch.path(), "data.jsonl", short_lines(30).join("\n"));
    let model = scratch.path().join("model");
    fs::create_dir(&model).expect("a folder");
    written(&model, "model.safetensors", "the weights of somebody");
    let message = fails(&mut train(&data, &model, &[]));
    assert!(message.contains("has a model: give another folder as --out"), "{message}");
    assert_eq!(fs::read_dir(&model).expect("a folder").count(), 1, "nothing is written");

    let out = scratch.path().join("run");
    succeeds(&mut train(&data, &out, &[]));
    let command = fs::read_to_string(out.join("run.toml")).expect("the command of the run");
    let message = fails(&mut train(&data, &out, &["--d-model", "64"]));
    assert!(message.contains("has a model with ") && message.contains("choose another folder"), "{message}");
    let message = fails(&mut train(&data, &out, &["--label-smoothing", "0.2"]));
    assert!(message.contains("another --label-smoothing (0.1 there, 0.2 here)"), "{message}");
    let fewer = written(scratch.path(), "fewer.jsonl", short_lines(29).join("\n"));
    let message = fails(&mut train(&fewer, &out, &[]));
    assert!(
        message.contains("cannot go on with the run in ")
            && message.contains("it has 30 pairs, and this run has 29 pairs"),
        "{message}"
    );
    let mut distill = wheels("distill");
    distill.args(["--device", "cpu", "--out"]).arg(&out);
    let message = fails(&mut distill);
    assert!(message.contains("has a run of `train`: give another folder as --out"), "{message}");
    assert_eq!(message.lines().count(), 1, "nothing is logged before: {message}");
    let kept = fs::read_to_string(out.join("run.toml")).expect("the command of the run");
    assert_eq!(kept, command, "a command that fails replaces none");
}

#[test]
fn a_plan_prints_the_memory_and_the_traffic_of_a_run_and_writes_nothing() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let data = written(scratch.path(), "data.jsonl", short_lines(30).join("\n"));
    let out = scratch.path().join("run");
    let plan = |flags: &[&str]| {
        let mut command = wheels("plan");
        command.arg("train");
        tiny(command, &data, &out, flags)
    };
    let [table, _] = succeeds(&mut plan(&[]));
    let [memory, traffic] = table.split("\n\n").collect::<Vec<_>>().try_into().expect("two tables");
    assert!(memory.contains("activations") && memory.lines().last().is_some_and(|l| l.starts_with("peak ")), "{table}");
    assert!(traffic.starts_with("memory traffic of a step") && traffic.contains("\noptimizer "), "{table}");
    assert!(traffic.lines().last().is_some_and(|l| l.starts_with("total ")), "{table}");
    let [again, _] = succeeds(&mut plan(&["--gradient-checkpointing"]));
    assert!(again.contains("one block again") && !table.contains("one block again"), "{again}");
    let json: Value = serde_json::from_str(&succeeds(&mut plan(&["--json"]))[0]).expect("one JSON object");
    assert!(json["peak"].as_u64() > json["student"].as_u64() && json["traffic"].is_object(), "{json}");
    assert!(!out.exists());
}
