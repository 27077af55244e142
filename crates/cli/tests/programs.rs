//! What the commands `generate`, `calibrate`, `inspect` and others say and accept.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{fails, pair, short_lines, succeeds, wheels};
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

const TEXT: &str = "a text editor";

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/models/en-it").join(name)
}

fn command(name: &str, flags: &[&str]) -> Command {
    let mut command = wheels(name);
    command.args(["--device", "cpu"]).args(flags);
    command
}

#[test]
fn a_model_alone_writes_without_help() {
    let device = device::open(&"cpu".parse().expect("a device")).expect("a CPU").device;
    let pair = pair(&TRANSLATION, &device);
    for (name, decoder) in [("student", pair.student_alone()), ("teacher", pair.teacher_alone())] {
        let prompts = pair.prompts(&[TEXT], HelpBudget::percent(0)).expect("a prompt");
        let expected = &pair.answers(&decoder.decode(&prompts, Seed(7)).expect("a text")).expect("tokens")[0].text;
        let flag = format!("--{name}");
        let run = |flags: &[&str]| {
            let mut command = command("generate", flags);
            command.arg(&flag).arg(model(name)).arg(TEXT);
            command
        };
        let [printed, _] = succeeds(&mut run(&["--json"]));
        let answer: Value = serde_json::from_str(printed.lines().next().expect("a line")).expect("JSON");
        assert_eq!(answer["text"], expected.as_str());
        let [printed, messages] = succeeds(&mut run(&[]));
        assert_eq!(printed, format!("{expected}\n"));
        assert!(
            messages.contains(&format!("The {name} wrote everything")) && !messages.contains("budget"),
            "{messages}"
        );
        let message = fails(&mut run(&["--budget", "10%"]));
        assert!(message.contains("--budget needs --student and --teacher"), "{message}");
    }
}

#[test]
fn batches_of_help_and_refills_change_no_translation() {
    let printed = |flags: &[&str]| {
        let [printed, _] = succeeds(command("generate", &["--json"]).args(flags).args([
            "a text editor",
            "a fast browser",
            "free fonts",
        ]));
        let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let (stats, answers) = lines.split_last().expect("statistics");
        (answers.to_vec(), stats["help_asked"].clone(), stats["teacher"]["forwards"].as_u64().expect("a number"))
    };
    let (plain, batched) = (printed(&[]), printed(&["--help-batch", "3", "--refill", "2"]));
    assert_eq!((&batched.0, &batched.1), (&plain.0, &plain.1));
    assert!(batched.2 < plain.2, "{} passes of the teacher, and {} without waiting", batched.2, plain.2);
    let message = fails(&mut command("generate", &["--help-batch", "0"]));
    assert!(message.contains("--help-batch"), "{message}");
}

#[test]
fn calibrate_says_where_it_wrote_and_for_which_students_it_works() {
    let scratch = tempfile::tempdir().expect("a folder");
    let student = scratch.path().join("student");
    support::unpack(TRANSLATION.student, &["calibration.json"], &student);
    let data = scratch.path().join("valid.jsonl");
    fs::write(&data, short_lines(4).join("\n")).expect("written");
    let calibrate = |student: &Path, teacher: &Path, flags: &[&str]| {
        let mut command = command("calibrate", &["--texts", "4", "--max-trials", "2"]);
        command.arg("--student").arg(student).arg("--teacher").arg(teacher).arg("--data").arg(&data).args(flags);
        command
    };
    let file = student.join("calibration.json");
    let [_, messages] = succeeds(&mut calibrate(&student, &model("teacher"), &["--rates", "20%", "--dry-run"]));
    assert!(messages.contains("not written") && !file.exists(), "{messages}");
    let [_, messages] = succeeds(&mut calibrate(&student, &model("teacher"), &["--rates", "20%,50"]));
    assert!(messages.contains(&format!("wrote {}", file.display())) && file.exists(), "{messages}");

    for (flags, expected) in
        [("0,20", "between 0% and 100%"), ("-5%", "between 0% and 100%"), ("50,20", "rising rates: write 20,50")]
    {
        let message = fails(&mut calibrate(&student, &model("teacher"), &["--rates", flags]));
        assert!(message.contains(expected), "{flags}: {message}");
    }
    let rates = ["--rates", "0.5", "--measure", "max-prob"];
    let [printed, _] = succeeds(&mut calibrate(&student, &model("teacher"), &rates));
    assert!(printed.starts_with(" 0.5%: threshold "), "{printed}");
    let message = fails(&mut calibrate(&model("teacher"), &student, &[]));
    assert!(message.contains("swapped"), "{message}");
    let message = fails(&mut calibrate(&model("teacher"), &model("teacher"), &[]));
    assert!(message.contains("not learned to ask") && message.contains("--measure max-prob"), "{message}");
}

#[test]
fn inspect_shows_budgets_prices_and_calibration_of_a_student() {
    let inspect = |folder: &Path, flags: &[&str]| {
        let [printed, _] = succeeds(command("inspect", flags).arg(folder));
        printed
    };
    let printed = inspect(&model("student"), &[]);
    for part in
        ["help token  for: teacher, trained", "at most 20 percent", "prices      of help", "log-odds of its help token"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let printed = inspect(&model("teacher"), &[]);
    assert!(
        printed.contains("help token  for: teacher, not trained") && printed.contains("prices      none"),
        "{printed}"
    );
    assert!(printed.contains("parameters") && printed.contains("tensors     all are used"), "{printed}");

    // A model without a help token can ask by its calibration.
    let scratch = tempfile::tempdir().expect("a folder");
    support::unpack(TRANSLATION.teacher, &["tokenizer.json"], scratch.path());
    let tokenizer = fs::read_to_string(model("teacher").join("tokenizer.json")).expect("a tokenizer");
    fs::write(scratch.path().join("tokenizer.json"), tokenizer.replace("<help:teacher>", "<other>")).expect("written");
    let calibration = r#"{"confidence": "max_prob", "points": [{"rate": 0.025, "threshold": 0.6}]}"#;
    fs::write(scratch.path().join("calibration.json"), calibration).expect("written");
    let printed = inspect(scratch.path(), &[]);
    assert!(printed.contains("help token  none: this model asks by its calibration"), "{printed}");
    assert!(printed.contains("most likely token is below the threshold, by help used: 2.5%: 0.600"), "{printed}");

    // Without --target, the decoder reads its start token.
    let json = |flags: &[&str]| -> Value { serde_json::from_str(&inspect(&model("student"), flags)).expect("JSON") };
    let [absent, start] = [vec![], vec!["--target", "0"]]
        .map(|target| json(&[&["--json", "--source", "5,6,1"], target.as_slice()].concat()));
    assert_eq!(absent["logits"], start["logits"]);
    assert_eq!(absent["logits"].as_array().map(Vec::len), absent["vocab_size"].as_u64().map(|size| size as usize));
    assert!(absent["help"]["prices"]["levels"].is_array() && absent["help"]["calibration"]["points"].is_array());
}

#[test]
fn texts_of_several_models_are_not_mixed_in_one_file() {
    let scratch = tempfile::tempdir().expect("a folder");
    let [data, out] = ["data.jsonl", "texts.jsonl"].map(|name| scratch.path().join(name));
    fs::write(&data, short_lines(4).join("\n")).expect("written");
    let texts = |name: &str, flags: &[&str]| {
        let mut command = command("texts", flags);
        command.arg("--model").arg(model(name)).arg("--data").arg(&data).arg("--out").arg(&out);
        command
    };
    let lines = || fs::read_to_string(&out).expect("texts").lines().count();
    succeeds(&mut texts("student", &["--limit", "2"]));
    assert_eq!(lines(), 2);
    let message = fails(&mut texts("teacher", &[]));
    assert!(message.contains("has texts of another model (--model ") && message.contains("student)"), "{message}");
    let message = fails(&mut texts("student", &["--seed", "8"]));
    assert!(message.contains("has texts of another seed (--seed 7): give another --out"), "{message}");
    let message = fails(&mut texts("student", &["--dtype", "bf16"]));
    assert!(message.contains("the same model in another format (--dtype f32): give another --out"), "{message}");
    assert_eq!(lines(), 2, "nothing is added");
    succeeds(&mut texts("student", &[]));
    assert_eq!(lines(), 4, "the same command goes on");
    fs::remove_file(scratch.path().join("texts.jsonl.writer.json")).expect("a file");
    let message = fails(&mut texts("student", &[]));
    assert!(message.contains("texts.jsonl.writer.json says who wrote them"), "{message}");
}

#[test]
fn programs_refuse_to_write_into_the_folder_of_a_model() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("model");
    fs::create_dir(&out).expect("a folder");
    fs::write(out.join("config.json"), "{}").expect("a file");
    let [student, teacher] = [model("student"), model("teacher")];
    let mut halved = wheels("student");
    halved.args(["--every-block", "2", "--from"]).arg(&teacher);
    let mut compared = wheels("evaluate");
    compared.args(["--limit", "2", "--student"]).arg(&student).arg("--teacher").arg(&teacher);
    for program in [&mut halved, &mut compared, &mut command("cache-teacher", &[])] {
        let message = fails(program.arg("--out").arg(&out));
        assert!(message.contains("has a model: give another folder as --out"), "{message}");
        assert_eq!(fs::read_dir(&out).expect("a folder").count(), 1, "nothing is written");
    }
    // Of a flag that is given twice, the last one counts. These programs write into no folder of others either.
    let data = scratch.path().join("data.jsonl");
    fs::write(&data, short_lines(8).join("\n")).expect("written");
    let evaluation = scratch.path().join("evaluation");
    fs::create_dir_all(evaluation.join("outputs")).expect("a folder");
    fs::write(evaluation.join("settings.json"), "{}").expect("written");
    let mut train = command("train", &["--steps", "1"]);
    train.arg("--data").arg(&data).arg("--valid").arg(&data);
    for (program, name) in [
        (&mut command("distill", &[]), "distill"),
        (&mut train, "train"),
        (wheels("student").arg("--from").arg(&teacher), "student"),
        (&mut command("cache-teacher", &[]), "cache-teacher"),
        (&mut wheels("evaluate"), "evaluate"),
    ] {
        let message = fails(program.arg("--out").arg(&data));
        assert!(message.contains("data.jsonl is a file: give a folder as --out"), "{name}: {message}");
        assert_eq!(message.lines().count(), 1, "{name}: {message}");
        assert_eq!(fs::read_to_string(&data).expect("the data"), short_lines(8).join("\n"));
    }
    for name in ["train", "distill"] {
        let mut program = command(name, &[]);
        if name == "train" {
            program.arg("--data").arg(&data).arg("--valid").arg(&data);
        }
        let message = fails(program.arg("--out").arg(&evaluation));
        assert!(message.contains("has an evaluation (`evaluate`): give another folder as --out"), "{message}");
        assert_eq!(fs::read_dir(&evaluation).expect("a folder").count(), 2, "nothing is written");
    }
}
