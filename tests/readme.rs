//! The README's commands name examples and flags that exist.

mod support;

use std::path::Path;
use std::process::Command;

use support::example;

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

#[test]
fn every_example_and_flag_that_the_readme_names_exists() {
    let mut checked = 0;
    for command in commands() {
        let Some((_, rest)) = command.split_once("--example ") else { continue };
        let name = rest.split_whitespace().next().expect("an example has a name");
        let output = Command::new(example(name)).arg("--help").output().expect("`cargo test` builds the examples");
        let help = String::from_utf8(output.stdout).expect("help is text");
        assert!(output.status.success(), "{name} has no --help");
        let flags = rest.split_once(" -- ").map_or("", |(_, flags)| flags);
        for flag in flags.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "`{command}`: {name} has no {flag}");
        }
        checked += 1;
    }
    assert!(checked >= 3, "the README shows its examples");
}

#[test]
fn every_path_that_the_readme_links_to_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(link.starts_with("http") || root.join(link).exists(), "the README links to {link}");
    }
}
