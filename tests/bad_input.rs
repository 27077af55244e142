//! What a user can get wrong, and what `translate` says to it.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::example;

fn translate(arguments: &[&str], input: &[u8]) -> Output {
    let device = ["--device", "cpu"].into_iter().filter(|_| !arguments.iter().any(|word| word.starts_with("--device")));
    let mut run = Command::new(example("translate"))
        .args(device)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`cargo test` builds the examples");
    // A program that fails before it reads closes its input: that is no failure of this test.
    let _ = run.stdin.take().expect("the input is a pipe").write_all(input);
    run.wait_with_output().expect("the program ends")
}

/// The program fails, says all of `parts`, and does not panic.
fn refuses(arguments: &[&str], input: &[u8], parts: &[&str]) {
    let output = translate(arguments, input);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} is refused");
    assert!(!message.contains("panicked"), "{arguments:?} panics: {message}");
    for part in parts {
        assert!(message.contains(part), "{arguments:?} says {part:?}: {message}");
    }
}

#[test]
fn good_text_is_translated() {
    let output = translate(&["--file", "-"], b"a text editor\n\nA library for the C language.\n");
    let text = String::from_utf8(output.stdout).expect("translations are text");
    assert!(output.status.success());
    assert!(text.contains("a text editor\n  ") && text.contains("help     budget 20%"), "{text}");
}

#[test]
fn sentences_are_translated_one_by_one_if_wanted() {
    let output = translate(&["--sentences", "A text editor. It is small! (Version 2.0)", "a game"], b"");
    let text = String::from_utf8(output.stdout).expect("translations are text");
    assert!(output.status.success());
    let sources: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).step_by(2).collect();
    assert_eq!(sources, ["A text editor.", "It is small!", "(Version 2.0)", "a game"], "{text}");
    refuses(&["--sentences", " "], b"", &["text 1", "empty"]);
}

#[test]
fn texts_that_cannot_be_translated_are_named() {
    refuses(&[""], b"", &["text 1", "empty"]);
    refuses(&["a text editor", &"word ".repeat(2000)], b"", &["text 2", "256"]);
    refuses(&["--file", "-"], b"caf\xe9\n", &["line 1", "UTF-8"]);
    refuses(&["--file", "-"], b"\n\n", &["holds no text"]);
    refuses(&["--file", "no such file"], b"", &["no such file"]);
}

#[test]
fn budgets_that_make_no_sense_are_told_what_does() {
    refuses(&["--budget=-3%", "a"], b"", &["negative", "20%"]);
    refuses(&["--budget=twenty", "a"], b"", &["number", "20%"]);
    refuses(&["--batch", "0", "a"], b"", &["--batch"]);
}

#[test]
fn devices_that_are_not_there_are_told_what_is() {
    refuses(&["--device=toaster", "a"], b"", &["toaster"]);
    #[cfg(not(feature = "cuda"))]
    {
        let output = Command::new(example("translate")).args(["--device", "cuda", "a"]).output().expect("it runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains("--features cuda"), "{message}");
    }
}

#[test]
fn broken_data_and_folders_are_named() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let data = scratch.path().join("data.jsonl");
    std::fs::write(&data, "{\"source\": \"a\", \"target\": \"b\"}\n{\"source\": \"a\"\n").expect("written");
    refuses(&["--sweep", "--data", &data.display().to_string()], b"", &["data.jsonl", "2"]);
    let folder = scratch.path().display().to_string();
    refuses(&["--student", &folder, "--teacher", &folder, "a"], b"", &["config.json"]);
}

#[test]
fn a_student_with_broken_parts_is_named() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let models = root.join("assets/models/en-it");
    let copy = |broken: &str, content: &[u8]| {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        for file in models.join("student").read_dir().expect("the student is there") {
            let path = file.expect("a file").path();
            std::fs::copy(&path, scratch.path().join(path.file_name().expect("a name"))).expect("copied");
        }
        std::fs::write(scratch.path().join(broken), content).expect("written");
        scratch
    };
    let teacher = models.join("teacher").display().to_string();
    for (file, content, part) in [
        ("prices.json", &b"{\"levels\": []}"[..], "distill"),
        ("asking.json", b"[", "calibrate"),
        ("heads.safetensors", b"torn", "safetensors"),
    ] {
        let student = copy(file, content);
        let student = student.path().display().to_string();
        refuses(&["--student", &student, "--teacher", &teacher, "a"], b"", &[file, part]);
    }
    refuses(&["--student", &teacher, "--teacher", &teacher, "--told", "20%", "a"], b"", &["prices.json", "distill"]);
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/golden/t5/v1.0");
    let student = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models/en-it/student");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join(file), scratch.path().join(file)).expect("copied");
    }
    std::fs::copy(student.join("tokenizer.json"), scratch.path().join("tokenizer.json")).expect("copied");
    let folder = scratch.path().display().to_string();
    refuses(&["--student", &folder, "--teacher", &folder, "a"], b"", &["tokenizer", "64 rows"]);
}
