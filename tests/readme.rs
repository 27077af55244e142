//! The README's commands run.

mod support;

use std::path::Path;
use std::process::Command;

use support::example;
use training_wheels::embedded;

const README: &str = include_str!("../README.md");

/// The lines of the README that call cargo.
fn commands() -> Vec<&'static str> {
    let inside = |line: &&str| line.trim_start().starts_with("cargo ");
    README.lines().filter(inside).map(str::trim).collect()
}

#[test]
fn the_two_commands_are_there() {
    assert!(commands().contains(&"cargo run --release --example translate"));
    assert!(commands().contains(&"cargo test"));
}

/// Runs that take long are cut short, and what would be read from this machine is read from a fixture.
fn shortened(example: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    match example {
        "train" => "--steps 2 --vocab 600 --d-model 32 --layers 1 --batch-tokens 600 --valid-texts 2".into(),
        "distill" => "--steps 2 --batch-tokens 600 --valid-texts 4".into(),
        "evaluate" => "--limit 6 --valid-texts 3 --budgets 20".into(),
        "calibrate" => "--texts 8 --rates 20 --bisections 2".into(),
        "prepare" => format!("--lists {root}/crates/text/tests/lists"),
        _ => String::new(),
    }
}

/// Data, a teacher and a student under the names that the README gives them. The summaries' data are translations, too:
/// what an evaluation of them finds is nonsense, but it runs.
fn furnish(folder: &Path) {
    let sample: Vec<&str> = embedded::TRANSLATION.sample.lines().collect();
    std::fs::create_dir(folder.join("data")).expect("a folder");
    for (index, split) in ["train", "valid", "test"].into_iter().enumerate() {
        let lines = sample[index * 40..(index + 1) * 40].join("\n");
        for task in ["en-it", "summary-en"] {
            std::fs::write(folder.join(format!("data/debian-{task}.{split}.jsonl")), &lines).expect("room");
        }
    }
    for model in ["teacher", "student"] {
        std::fs::create_dir(folder.join(model)).expect("a folder");
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models/en-it").join(model);
        for file in assets.read_dir().expect("the models are there").map(|entry| entry.expect("a file")) {
            std::fs::copy(file.path(), folder.join(model).join(file.file_name())).expect("room");
        }
    }
}

#[test]
fn every_command_of_the_readme_runs() {
    let scratch = tempfile::tempdir().expect("a folder");
    furnish(scratch.path());
    let mut ran = 0;
    for command in commands() {
        let Some((_, rest)) = command.split_once("--example ") else { continue };
        let (name, flags) = rest.split_once(" -- ").unwrap_or((rest, ""));
        let name = name.trim();
        // No flag or text of these holds a space but the quoted ones.
        let quoted = flags.split('"').enumerate().flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().collect::<Vec<_>>(),
            _ => vec![part],
        });
        let mut program = Command::new(example(name));
        let made = tempfile::tempdir().expect("a folder");
        // What `prepare` makes of the fixture is too little for the commands after it.
        program.current_dir(if name == "prepare" { made.path() } else { scratch.path() });
        let output = program.args(quoted).args(shortened(name).split_whitespace()).output();
        let output = output.expect("`cargo test` builds the examples");
        assert!(output.status.success(), "`{command}` fails: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty() || name == "train", "`{command}` says nothing");
        ran += 1;
    }
    assert!(ran >= 9, "the README shows its examples");
}

#[test]
fn every_path_that_the_readme_links_to_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(link.starts_with("http") || root.join(link).exists(), "the README links to {link}");
    }
}
