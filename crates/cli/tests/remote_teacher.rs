//! A teacher behind a server, as the commands call it.

#[path = "../../remote/tests/server/mod.rs"]
mod server;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;
use server::model::{Dialect, model_handler};
use server::{Fault, MODEL, MockServer};
use support::{fails, pair, succeeds, unpack, wheels};
use training_wheels::TextModel;
use wheels_embedded::TRANSLATION;

const TEXT: &str = "A fast web browser.";

/// A server of the embedded teacher, and the folders of both embedded models.
fn start(folder: &Path) -> (MockServer, [PathBuf; 2]) {
    let TextModel { model, tokenizer, .. } = pair(&TRANSLATION, &Device::flex()).teacher;
    let server = MockServer::start(model_handler(model, tokenizer, Dialect::VLLM));
    let folders = [("student", TRANSLATION.student), ("teacher", TRANSLATION.teacher)].map(|(name, files)| {
        let folder = folder.join(name);
        unpack(files, &[], &folder);
        folder
    });
    (server, folders)
}

/// A command with a student on this machine and a teacher behind a server, or on this machine.
fn command(name: &str, student: &Path, teacher: &str) -> std::process::Command {
    let mut command = wheels(name);
    command.args(["--device", "cpu", "--json", "--teacher", teacher, "--student"]).arg(student);
    if teacher.starts_with("http") {
        command.args(["--teacher-model", MODEL]);
    }
    command
}

/// The lines of a program's standard output.
fn lines(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn texts_and_thresholds_are_those_with_the_teacher_on_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, [student, teacher]) = start(folder.path());
    let teacher = teacher.to_str().expect("a path");
    let [local, remote] = [teacher, server.url.as_str()].map(|teacher| {
        let [printed, _] = succeeds(command("generate", &student, teacher).args(["--budget", "50%", TEXT]));
        lines(&printed).remove(0)
    });
    assert_eq!(remote, local);
    assert!(remote["helped"].as_u64() > Some(0), "{remote}");
    let by_calls = ["--span", "3", "--budget", "5 calls", TEXT];
    let [printed, messages] = succeeds(command("generate", &student, &server.url).args(by_calls));
    let [answer, stats] = &lines(&printed)[..] else { panic!("one text: {printed}") };
    let [calls, tokens] = [&stats["help_given"], &answer["helped"]].map(|count| count.as_u64().unwrap_or_default());
    assert!((1..tokens).contains(&calls), "{calls} calls bring {tokens} tokens: {messages}");

    let data = folder.path().join("valid.jsonl");
    let sample: Vec<&str> = TRANSLATION.sample.lines().filter(|line| line.len() < 120).take(12).collect();
    fs::write(&data, sample.join("\n")).expect("a file");
    let [local, remote] = [teacher, server.url.as_str()].map(|teacher| {
        let mut calibrate = command("calibrate", &student, teacher);
        let [printed, _] = succeeds(calibrate.arg("--data").arg(&data).args(["--rates", "20", "--dry-run"]));
        lines(&printed)
    });
    assert_eq!(remote, local);

    let cache = |teacher: &str, out: &str, temperature: &[&str]| {
        let out = folder.path().join(out);
        let mut command = command("cache-teacher", &student, teacher);
        let [printed, _] = succeeds(command.arg("--data").arg(&data).arg("--out").arg(out).args(temperature));
        lines(&printed)[0]["tokens"].clone()
    };
    assert_eq!(cache(&server.url, "remote", &[]), cache(teacher, "local", &["--temperature", "1"]));
}

#[test]
fn a_text_is_finished_without_a_teacher_that_fails_and_a_calibration_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, [student, _]) = start(folder.path());
    // The first calls find out what the server can do.
    let mut generate = command("generate", &student, &server.url);
    let [printed, messages] = succeeds(generate.args(["--budget", "50%", "--cap-calls", "6", TEXT, TEXT]));
    let answers = lines(&printed);
    assert!(answers[..2].iter().any(|answer| answer["failures"][0]["reason"] == "spending_cap"), "{printed}");
    assert!(messages.contains("finished without the teacher"), "{messages}");
    let data = folder.path().join("valid.jsonl");
    fs::write(&data, TRANSLATION.sample.lines().take(4).collect::<Vec<_>>().join("\n")).expect("a file");
    let mut calibrate = command("calibrate", &student, &server.url);
    let message = fails(calibrate.arg("--data").arg(&data).args(["--rates", "20", "--cap-calls", "6"]));
    assert!(message.contains("would be wrong"), "{message}");

    server.fail_always(Some(Fault::Drop));
    let message = fails(command("generate", &student, &server.url).args(["--call-timeout", "2", TEXT]));
    assert!(message.contains(&server.url[..server.url.len() - 3]), "{message}");
}

#[test]
fn flags_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, [student, _]) = start(folder.path());
    let url = server.url.as_str();
    let refused = |arguments: &[&str], parts: &[&str]| {
        let student = student.to_str().expect("a path");
        let arguments = arguments.iter().map(|argument| if *argument == "STUDENT" { student } else { argument });
        let message = fails(wheels("generate").args(["--device", "cpu"]).args(arguments).arg(TEXT));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(!message.contains("sk-secret"), "{message}");
    };
    refused(&["--student", "STUDENT", "--teacher", url], &["--teacher-model"]);
    refused(&["--teacher", url, "--teacher-model", MODEL], &["--student"]);
    refused(&["--student", "STUDENT", "--teacher", url, "--teacher-model", "none"], &["none", MODEL]);
    refused(&["--span", "3"], &["--span", "--teacher"]);
    refused(&["--prices", "1"], &["0.5,1.5"]);
    refused(&["--cap-cost", "1"], &["--prices"]);
    let mut serve = command("serve", &student, url);
    let message = fails(serve.args(["--listen", "127.0.0.1:0", "--no-verification", "--max-budget", "3 calls"]));
    assert!(message.contains("--max-budget"), "{message}");
    refused(&["--budget", "3 tokens", "--budget-unit", "calls"], &["--budget-unit"]);
    refused(&["--student", "STUDENT", "--no-verification"], &["--no-verification", "--teacher"]);
    refused(&["--student", "STUDENT", "--teacher", url, "--api-key-env", "sk-secret"], &["environment variable"]);
    // What the library calls its options are flags here.
    let timeout = ["--student", "STUDENT", "--teacher", url, "--teacher-model", MODEL, "--call-timeout", "0"];
    refused(&timeout, &["--call-timeout is 0"]);
}
