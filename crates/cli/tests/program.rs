//! The program as scripts see it: files with flags, exit codes, JSON, pipes, completions and manual pages.

mod support;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{answered, run_with, short_lines, succeeds, wheels};

/// The exit code and the message of a command.
fn code(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().expect("the program runs");
    (status.code().expect("no signal"), String::from_utf8(stderr).expect("messages are text"))
}

fn written(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, content).expect("room");
    path.display().to_string()
}

#[test]
fn flags_come_from_a_file_and_the_command_line_wins() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = written(scratch.path(), "a.toml", "texts = [\"a game\"]\nbudget = 0\ndevice = \"cpu\"\n");
    let generate =
        |flags: &[&str]| answered(&wheels("generate").args(flags).arg("--json").output().expect("the program runs"));
    let (sources, helped) = generate(&["--config", &file]);
    assert_eq!((sources, helped), (vec!["a game".to_owned()], 0));
    let (_, helped) = generate(&["--config", &file, "--budget", "100%"]);
    assert!(helped > 0, "the command line has another budget");
    let (sources, _) = generate(&["a map", "--config", &file]);
    assert_eq!(sources, ["a map"]);
    // What the command line excludes is left out.
    let file = written(scratch.path(), "b.toml", "task = \"summary\"\nsentences = true\n");
    let teacher = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/models/en-it/teacher");
    let (sources, _) = generate(&["--config", &file, "--teacher", teacher, "One. Two."]);
    assert_eq!(sources.len(), 2, "a switch of the file");
    let (sources, _) = generate(&["--config", &file, "--teacher", teacher, "--sentences=false", "One. Two."]);
    assert_eq!(sources.len(), 1, "it is turned off");
}

#[test]
fn invalid_files_are_usage_errors_that_name_the_nearest_key() {
    let scratch = tempfile::tempdir().expect("a folder");
    for (content, parts) in [
        ("bugdet = 10", &["a.toml", "`bugdet`", "did you mean `budget`?"][..]),
        ("budget = \"much\"", &["--budget", "much", "are from ", "a.toml"]),
        ("sentences = 1", &["sentences is 1, and must be true or false"]),
        ("texts = [[1]]", &["texts is [1], and must be a text"]),
        ("command = \"train\"", &["has the flags of `wheels train`, not of `wheels generate`"]),
        ("budget = = 1", &["a.toml is not valid TOML", "line 1"]),
    ] {
        let file = written(scratch.path(), "a.toml", content);
        let (code, message) = code(wheels("generate").args(["--config", &file]));
        assert_eq!(code, 2, "{content}: {message}");
        for part in parts {
            assert!(message.contains(part), "{content}: {message}");
        }
    }
    let (code, message) = code(wheels("generate").args(["--config", "no such file", "a game"]));
    assert_eq!((code, message.contains("cannot read --config no such file")), (2, true), "{message}");
}

#[test]
fn settings_of_a_distillation_are_checked_before_anything_is_opened() {
    let scratch = tempfile::tempdir().expect("a folder");
    let distill = |flags: &[&str]| code(wheels("distill").current_dir(scratch.path()).args(flags));
    let (exit, message) = distill(&["--set", "trainer.learnrate=1"]);
    assert!(exit == 2 && message.contains("did you mean `trainer.learning_rate`?"), "{message}");
    let (exit, message) = distill(&["--set", "lora.rnk=4"]);
    assert!(exit == 2 && message.contains("did you mean `lora.rank`?"), "{message}");
    let (exit, message) = distill(&["--set", "trainer"]);
    assert!(exit == 2 && message.contains("must be KEY=VALUE"), "{message}");
    let file = written(scratch.path(), "a.toml", "[settings.trainer]\nsteps = \"many\"\n");
    let (exit, message) = distill(&["--config", &file]);
    assert!(exit == 2 && message.contains("trainer.steps is \"many\", and must be a number"), "{message}");
    assert!(!scratch.path().join("distilled").exists());
}

#[test]
fn a_run_saves_the_file_that_repeats_it() {
    let scratch = tempfile::tempdir().expect("a folder");
    let data = written(scratch.path(), "data.jsonl", &short_lines(40).join("\n"));
    let mut distill = wheels("distill");
    distill.current_dir(scratch.path()).args(["--data", &data, "--valid", &data, "--out", "run", "--device", "cpu"]);
    distill.args(
        "--steps 2 --calibration-texts 4 --set calibration.rates=[0.2] --set calibration.max_trials=1".split(' '),
    );
    distill.args("--set report_budgets=[20] --set valid_texts=2 --set rollout.batch_tokens=600 --json".split(' '));
    let [printed, _] = succeeds(&mut distill);
    let events: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().expect("a name")).collect();
    assert_eq!(names, ["step", "step", "budget", "end"]);
    assert_eq!((&events[0]["report"]["step"], &events[2]["report"]["budget"]), (&1.into(), &20.into()));

    let saved = fs::read_to_string(scratch.path().join("run/run.toml")).expect("it is saved");
    for line in ["command = \"distill\"", "steps = 2", "batch_tokens = 600", "wheels distill --config run/run.toml"] {
        assert!(saved.contains(line), "{line}: {saved}");
    }
    let model = |run: &str| fs::read(scratch.path().join(run).join("model.safetensors")).expect("a model");
    let repeat = |flags: &[&str]| succeeds(wheels("distill").current_dir(scratch.path()).args(flags));
    repeat(&["--config", "run/run.toml", "--out", "again"]);
    assert!(model("run") == model("again"), "the same command in another folder");
    // The run has ended, so nothing is done again.
    let [printed, _] = repeat(&["--config", "run/run.toml", "--json"]);
    assert!(!printed.contains("\"step\":1") && printed.contains("\"end\""), "{printed}");
}

#[test]
fn a_switch_of_a_saved_run_can_be_turned_off() {
    let scratch = tempfile::tempdir().expect("a folder");
    let data = written(scratch.path(), "data.jsonl", &short_lines(40).join("\n"));
    let run = |out: &str, flags: &[&str]| {
        succeeds(wheels("distill").current_dir(scratch.path()).args(["--out", out]).args(flags));
        let saved = fs::read_to_string(scratch.path().join(out).join("distillation.json")).expect("all settings");
        let json: Value = serde_json::from_str(&saved).expect("JSON");
        [&json["half_precision"], &json["heads_only"], &json["trainer"]["gradient_checkpointing"]]
            .map(|switch| switch.as_bool().unwrap_or(false))
    };
    let mut flags = vec!["--data", &data, "--valid", &data, "--device", "cpu"];
    flags.extend("--steps 2 --calibration-texts 4 --set calibration.rates=[0.2] --set valid_texts=2".split(' '));
    flags.extend("--set calibration.max_trials=1 --set report_budgets=[20] --set rollout.batch_tokens=600".split(' '));
    flags.extend(["--half", "--heads-only", "--gradient-checkpointing"]);
    assert_eq!(run("run", &flags), [true; 3]);
    let saved = fs::read_to_string(scratch.path().join("run/run.toml")).expect("it is saved");
    for line in ["half = true", "heads_only = true", "gradient_checkpointing = true", "batch_tokens = 600"] {
        assert!(saved.contains(line), "{line}: {saved}");
    }
    assert_eq!(run("again", &["--config", "run/run.toml"]), [true; 3], "the same command in another folder");
    let off = ["--half=false", "--heads-only=false", "--gradient-checkpointing=false"];
    assert_eq!(run("off", &[&["--config", "run/run.toml"], &off[..]].concat()), [false; 3]);
}

#[test]
fn the_exit_codes_tell_usage_from_failure() {
    assert_eq!(code(&mut wheels("--version")).0, 0);
    let (exit, message) = code(&mut wheels("distil"));
    assert!(exit == 2 && message.contains("distill"), "{message}");
    assert_eq!(code(wheels("generate").arg("--budget=much")).0, 2);
    assert_eq!(code(wheels("inspect").arg("no/such/folder")).0, 1);
    let help = succeeds(&mut wheels("--help"))[0].clone();
    for part in ["Exit codes:", "130", "generate", "chat", "plan", "completions"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[test]
fn every_command_has_examples_in_its_help_and_no_line_is_too_long() {
    let [help, _] = succeeds(&mut wheels("--help"));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    assert!(names.len() >= 15, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let [help, _] = succeeds(wheels(name).arg("--help"));
        assert!(help.contains("Examples:\n  wheels "), "{name}: {help}");
        for line in help.lines() {
            assert!(line.chars().count() <= 130, "{name}: {line}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_ends_early_is_no_error() {
    let mut run = wheels("generate")
        .args(["--device", "cpu", "a game", "a map", "a text editor"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(run.stdout.take());
    let mut messages = String::new();
    run.stderr.take().expect("a pipe").read_to_string(&mut messages).expect("text");
    assert!(run.wait().expect("it ends").success(), "{messages}");
    assert!(!messages.contains("error") && !messages.contains("panicked"), "{messages}");
}

#[test]
fn completions_and_manual_pages_have_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let [script, _] = succeeds(wheels("completions").arg(shell));
        assert!(script.contains("cache-teacher") && script.contains("budget"), "{shell}");
    }
    let scratch = tempfile::tempdir().expect("a folder");
    succeeds(wheels("man").arg(scratch.path()));
    for page in ["wheels.1", "wheels-distill.1", "wheels-chat.1"] {
        let page = fs::read_to_string(scratch.path().join(page)).expect("it is written");
        assert!(page.contains("Examples:"), "{page}");
    }
}

#[test]
fn pull_prints_the_folder_of_a_model() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/models/en-it/teacher");
    let [printed, _] = succeeds(wheels("pull").arg(folder));
    assert_eq!(printed.trim(), folder);
    let missing = wheels("pull").arg("nobody/nothing").env("HF_HUB_OFFLINE", "1").env("HF_HOME", "/nowhere").output();
    let missing = missing.expect("the program runs");
    let message = String::from_utf8_lossy(&missing.stderr);
    assert!(missing.status.code() == Some(1) && message.contains("nobody/nothing"), "{message}");
}

#[test]
fn the_cpu_passes_its_self_test() {
    let [printed, _] = succeeds(wheels("devices").args(["--device", "cpu", "--json"]));
    let device: Value = serde_json::from_str(printed.trim()).expect("one object");
    assert_eq!((&device["ok"], &device["adapter"]["platform"]), (&true.into(), &"cpu".into()));
}

/// Runs a chat with these lines on its standard input.
fn chat(flags: &[&str], lines: &str) -> Output {
    run_with(wheels("chat").args(["--device", "cpu"]).args(flags), lines.as_bytes())
}

#[test]
fn a_chat_in_a_pipe_answers_each_line_and_keeps_its_budget() {
    let output = chat(&["--json"], "a text editor\n\n/budget 0\na fast web browser\n/reset\n/quit\nnot this\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), 2, "{text}");
    let [first, second] = [0, 1].map(|index| &answers[index]);
    assert_eq!((&first["source"], &first["budget"]), (&"a text editor".into(), &"20%".into()));
    let number = |answer: &Value, field: &str| answer[field].as_u64().expect("a number");
    let allowed = (20 * number(first, "tokens")).div_ceil(100);
    assert_eq!(number(first, "spent") + number(first, "left"), allowed);
    assert_eq!((number(second, "helped"), number(second, "left")), (0, 0), "nothing is allowed");

    let output = chat(&[], "a game\n/help\n/budget\n");
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(messages.contains("/reset") && messages.contains("in 1 answer, "), "{messages}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    for (lines, part) in [("/bugdet 3\n", "line 1: /bugdet is no command"), ("a map\n/budget x\n", "line 2: ")] {
        let output = chat(&[], lines);
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && messages.contains(part), "{messages}");
    }
    let output = chat(&["--system", "Be brief."], "a map\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--system needs a model with a chat template"));
}
