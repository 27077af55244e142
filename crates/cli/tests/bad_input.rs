//! What a user can get wrong, and what the program says about it.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{answered, run_with, unpack, wheels};
use wheels_embedded::TRANSLATION;

/// Runs a command on the CPU, unless the arguments name a device.
fn run(name: &str, device_flag: &str, arguments: &[&str], input: &[u8]) -> Output {
    let named = arguments.iter().any(|argument| argument.starts_with(device_flag));
    let device = [device_flag, "cpu"].into_iter().filter(|_| !named);
    run_with(wheels(name).args(device).args(arguments), input)
}

fn generate(arguments: &[&str], input: &[u8]) -> Output {
    run("generate", "--device", arguments, input)
}

/// The program has failed without a panic, and its message has all of `parts`.
fn assert_refused(output: &Output, arguments: &[&str], parts: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} is refused");
    assert!(!message.contains("panicked"), "{arguments:?} panics: {message}");
    for part in parts {
        assert!(message.contains(part), "{arguments:?} says {part:?}: {message}");
    }
}

/// `generate` refuses its arguments or its input.
fn refuses(arguments: &[&str], input: &[u8], parts: &[&str]) {
    assert_refused(&generate(arguments, input), arguments, parts);
}

/// `evaluate` refuses its arguments.
fn evaluate_refuses(arguments: &[&str], parts: &[&str]) {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("evaluation").display().to_string();
    let all = [arguments, &["--out", &out]].concat();
    assert_refused(&run("evaluate", "--devices", &all, b""), arguments, parts);
}

/// The texts that a successful `generate` answered.
fn sources(arguments: &[&str], input: &[u8]) -> Vec<String> {
    answered(&generate(&[&["--json"], arguments].concat(), input)).0
}

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets")
}

#[test]
fn piped_lines_are_answered_line_by_line() {
    assert_eq!(sources(&[], b"A web browser.\n"), ["A web browser."]);
    let lines = b"a text editor\n\nA library for the C language.\n";
    assert_eq!(sources(&[], lines), ["a text editor", "A library for the C language."]);
    assert_eq!(sources(&["a game"], b"not this\n"), ["a game"], "texts in the arguments come first");
    let output = generate(&[], lines);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2, "standard output has the answers only");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(messages.contains("budget   20%") && messages.contains("help     used"), "{messages}");
}

#[test]
fn texts_of_files_are_answered_and_a_missing_file_is_named() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let file = scratch.path().join("texts.txt");
    std::fs::write(&file, "a text editor\n\na game\n").expect("written");
    let file = file.display().to_string();
    assert_eq!(sources(&["--file", &file], b""), ["a text editor", "a game"]);
    assert_eq!(sources(&["--file", &file, "--file", "-"], b"a map\n"), ["a text editor", "a game", "a map"]);
    refuses(&["--file", "no such file"], b"", &["no such file", "cannot read --file"]);
}

#[test]
fn piped_lines_are_summarized() {
    let text = "Small and fast text editor. It has macros, many windows, and colours for all common languages.";
    assert_eq!(sources(&["--task", "summary"], format!("{text}\n").as_bytes()), [text]);
}

#[test]
fn a_text_that_was_cut_says_so_and_the_limit_is_that_of_its_folder() {
    let teacher = assets().join("models/en-it/teacher").display().to_string();
    let student = tempfile::tempdir().expect("a temporary folder");
    unpack(TRANSLATION.student, &[], student.path());
    let folder = student.path().display().to_string();
    let text = "A fast web browser with many extensions.";
    for (limit, is_cut) in [(3, true), (200, false), (usize::MAX, false)] {
        let config = format!("{{\"max_new_tokens\": {limit}}}");
        std::fs::write(student.path().join("generation_config.json"), config).expect("written");
        let arguments = ["--student", &folder, "--teacher", &teacher, text];
        let messages = String::from_utf8(generate(&arguments, b"").stderr).expect("a text");
        assert_eq!(messages.contains("1 of 1 texts were cut at the length limit"), is_cut, "{messages}");
        let output = generate(&[&["--json"], &arguments[..]].concat(), b"").stdout;
        let line = output.split(|byte| *byte == b'\n').next().expect("a line");
        let answer: serde_json::Value = serde_json::from_slice(line).expect("JSON");
        assert_eq!((&answer["truncated"], answer["tokens"] == 3), (&is_cut.into(), is_cut), "{answer}");
    }
}

#[test]
fn without_any_text_sentences_of_the_sample_are_translated() {
    let samples = sources(&[], b"");
    assert_eq!(samples.len(), 6, "{samples:?}");
    assert_eq!(sources(&[], b"\n \n"), samples, "blank lines are no texts");
    let closed = wheels("generate").args(["--device", "cpu", "--json"]).output().expect("it runs");
    assert_eq!(answered(&closed).0, samples);
    #[cfg(unix)]
    {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#""$0" generate --json --device cpu <&-"#]).arg(env!("CARGO_BIN_EXE_wheels"));
        assert_eq!(answered(&shell.output().expect("there is a shell")).0, samples, "standard input is closed");
    }
}

#[test]
fn sentences_are_translated_one_by_one_on_request() {
    let found = sources(&["--sentences", "A text editor. It is small! (Version 2.0)", "a game"], b"");
    let expected = ["A text editor.", "It is small!", "(Version 2.0)", "a game"];
    assert_eq!(found, expected);
    refuses(&["--sentences", " "], b"", &["text 1", "empty"]);
}

#[test]
fn json_has_one_object_per_text_and_one_with_the_statistics() {
    let output = generate(&["--json", "a text editor", "a game"], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    let objects: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(objects.len(), 3, "{text}");
    let mut tokens = 0;
    for answer in &objects[..2] {
        tokens += answer["tokens"].as_u64().expect("a number of tokens");
        let spans = answer["spans"].as_array().expect("spans").iter();
        let whole: String = spans.map(|span| span["text"].as_str().expect("a text")).collect();
        assert_eq!(answer["text"], whole, "the spans are the text");
    }
    for (answer, source) in objects.iter().zip(["a text editor", "a game"]) {
        assert_eq!(answer["source"], source);
    }
    assert_eq!(objects[2]["tokens"], tokens);
}

#[test]
fn texts_that_cannot_be_translated_are_named() {
    refuses(&[""], b"", &["text 1", "empty"]);
    refuses(&["a text editor", &"word ".repeat(2000)], b"", &["text 2", "256"]);
    refuses(&[], b"caf\xe9\n", &["standard input", "line 1", "UTF-8"]);
}

#[test]
fn invalid_budgets_are_refused_with_an_example() {
    refuses(&["--budget=-3%", "a"], b"", &["negative", "20%"]);
    refuses(&["--budget", "-5%", "a"], b"", &["negative", "20%"]);
    refuses(&["--budget=twenty", "a"], b"", &["number", "20%"]);
    evaluate_refuses(&["--stated-budget", "twenty"], &["number", "20%"]);
    evaluate_refuses(&["--stated-budget", "-5%"], &["negative", "20%"]);
    for budget in ["0", "100%", "3 tokens"] {
        evaluate_refuses(&["--budgets", budget], &["--budgets", "10,20 or 10%,20%"]);
    }
    evaluate_refuses(&["--budgets", "-5%"], &["--budgets", "negative"]);
    evaluate_refuses(&["--batch", "0"], &["--batch"]);
    evaluate_refuses(&["--wording", "32"], &["--wording"]);
}

#[test]
fn devices_that_do_not_exist_are_named() {
    refuses(&["--device=toaster", "a"], b"", &["toaster"]);
    #[cfg(not(feature = "cuda"))]
    refuses(&["--device=cuda", "a"], b"", &["--features cuda"]);
}

#[test]
fn broken_data_and_folders_are_named() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let data = scratch.path().join("data.jsonl");
    std::fs::write(&data, "{\"source\": \"a\", \"target\": \"b\"}\n{\"source\": \"a\"\n").expect("written");
    evaluate_refuses(&["--data", &data.display().to_string()], &["data.jsonl", "2"]);
    evaluate_refuses(&["--data", "no such file"], &["no such file"]);
    let folder = scratch.path().display().to_string();
    refuses(&["--student", &folder, "--teacher", &folder, "a"], b"", &["config.json"]);
}

#[test]
fn broken_files_of_a_student_are_named_with_a_remedy() {
    let teacher = assets().join("models/en-it/teacher").display().to_string();
    for (file, content, remedy) in [
        ("calibration.json", &b"["[..], "calibrate"),
        ("calibration.json", b"{\"confidence\": \"entropy\", \"points\": []}", "calibrate"),
        ("prices.json", b"{\"levels\": []}", "distill"),
        ("student_config.json", b"{\"hidden_width\": ", "copy it again"),
        ("generation_config.json", b"{\"max_new_tokens\": \"many\"}", "remove them to use the defaults"),
        ("generation_config.json", b"{\"top_p\": 7}", "at most 1"),
        ("prompt.json", b"{\"prefx\": \"\"}", "remove the file"),
        ("heads.safetensors", b"torn", "safetensors"),
    ] {
        let student = tempfile::tempdir().expect("a temporary folder");
        unpack(TRANSLATION.student, &[], student.path());
        std::fs::write(student.path().join(file), content).expect("written");
        let student = student.path().display().to_string();
        refuses(&["--student", &student, "--teacher", &teacher, "a"], b"", &[file, remedy]);
    }
    // The calibration of an earlier version.
    let student = tempfile::tempdir().expect("a temporary folder");
    unpack(TRANSLATION.student, &["calibration.json"], student.path());
    std::fs::write(student.path().join("asking.json"), b"[").expect("written");
    let student = student.path().display().to_string();
    refuses(&["--student", &student, "--teacher", &teacher, "a"], b"", &["asking.json", "calibrate"]);
}

#[test]
fn students_that_cannot_ask_are_refused_with_a_remedy() {
    let [student, teacher] =
        ["student", "teacher"].map(|name| assets().join("models/en-it").join(name).display().to_string());
    let swapped = ["--student", &teacher, "--teacher", &student];
    refuses(&[&swapped[..], &["a"]].concat(), b"", &["swapped", "distilled model as the student"]);
    evaluate_refuses(&swapped, &["swapped"]);
    let undistilled = ["--student", &teacher, "--teacher", &teacher];
    let remedies = ["not learned to ask", "`wheels distill`", "--measure max-prob"];
    refuses(&[&undistilled[..], &["a"]].concat(), b"", &remedies);
    evaluate_refuses(&undistilled, &remedies);
    // A help token alone is not enough.
    let untrained = tempfile::tempdir().expect("a temporary folder");
    unpack(TRANSLATION.student, &["heads.safetensors", "calibration.json", "prices.json"], untrained.path());
    let untrained = untrained.path().display().to_string();
    let parts = ["not learned to ask", "heads.safetensors"];
    refuses(&["--student", &untrained, "--teacher", &teacher, "a"], b"", &parts);
    // Neither is missed by decoders that ask by themselves.
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let out = scratch.path().join("evaluation").display().to_string();
    let flags = ["--decoders", "random,draft:2", "--limit", "2", "--budgets", "20", "--out", &out];
    let output = run("evaluate", "--devices", &[&undistilled[..], &flags].concat(), b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_folder_of_an_unfinished_run_names_the_command_that_goes_on() {
    let teacher = assets().join("models/en-it/teacher").display().to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    unpack(TRANSLATION.student, &["config.json", "model.safetensors"], folder.path());
    std::fs::write(folder.path().join("run.toml"), "command = \"distill\"\n").expect("written");
    let folder = folder.path().display().to_string();
    let parts = ["has no model yet", &format!("`wheels distill --config {folder}/run.toml` goes on")];
    refuses(&["--student", &folder, "--teacher", &teacher, "a"], b"", &parts);
    evaluate_refuses(&["--student", &folder, "--teacher", &teacher], &parts);
    assert_refused(&run("inspect", "--device", &[&folder], b""), &["inspect"], &parts);
}

#[test]
fn own_models_need_texts() {
    let teacher = assets().join("models/en-it/teacher").display().to_string();
    refuses(&["--teacher", &teacher], b"", &["no text given"]);
}

#[test]
fn a_budget_cannot_be_stated_to_a_student_without_prices() {
    let teacher = assets().join("models/en-it/teacher").display().to_string();
    let models = ["--student", &teacher, "--teacher", &teacher];
    evaluate_refuses(&[&models[..], &["--stated-budget", "20%"]].concat(), &["prices.json", "distil"]);
    evaluate_refuses(&[&models[..], &["--wording", "7"]].concat(), &["prompt.json", "--wording"]);
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for (folder, file) in [
        ("golden/t5/v1.0", "config.json"),
        ("golden/t5/v1.0", "model.safetensors"),
        ("models/en-it/student", "tokenizer.json"),
    ] {
        std::fs::copy(assets().join(folder).join(file), scratch.path().join(file)).expect("copied");
    }
    let folder = scratch.path().display().to_string();
    refuses(&["--student", &folder, "--teacher", &folder, "a"], b"", &["tokenizer", "64 rows"]);
}
