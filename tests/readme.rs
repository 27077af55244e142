//! The README: its two commands, its length, and its links. The tests of the program run its other commands.

mod support;

use std::path::Path;
use std::process::Command;

use support::example;

const README: &str = include_str!("../README.md");

#[test]
fn the_readme_gives_the_two_commands() {
    let has = |command: &str| README.lines().any(|line| line.trim() == command);
    assert!(has("cargo run --release --example translate"));
    assert!(has("cargo test --release"));
}

#[test]
fn the_main_command_translates_and_marks_what_the_teacher_wrote() {
    let output = Command::new(example("translate")).output().expect("`cargo test` builds the examples");
    let printed = String::from_utf8(output.stdout).expect("translations are text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A line of explanation and an empty one come first.
    let sentences: Vec<&str> = printed.lines().skip(2).take_while(|line| !line.is_empty()).step_by(2).collect();
    assert_eq!(sentences.len(), 6, "{printed}");
    assert!(printed.contains('[') && printed.contains("help     used"), "{printed}");
}

#[test]
fn the_readme_is_short() {
    let words = README.split_whitespace().count();
    assert!(words <= 900, "the README has {words} words: what is more belongs into assets/results/README.md");
}

#[test]
fn every_path_in_the_readme_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(link.starts_with("http") || root.join(link).exists(), "the README links to {link}");
    }
}
