//! Clients of other makers work: the Python package openai, and the commands in the README.

use std::path::Path;
use std::process::Command;

use crate::support::*;
use training_wheels::text::HelpBudget;
use wheels_serve::{ApiKey, ServerConfig};

const README: &str = include_str!("../../README.md");

/// The Python that has the package openai: that of the variable WHEELS_PYTHON, or else `python3`.
fn python_with_openai() -> Option<String> {
    let given = std::env::var("WHEELS_PYTHON").ok();
    let python = given.clone().unwrap_or_else(|| "python3".into());
    let found =
        Command::new(&python).args(["-c", "import openai"]).output().is_ok_and(|output| output.status.success());
    assert!(found || given.is_none(), "WHEELS_PYTHON is {python}, which has no package openai");
    if !found {
        eprintln!("skipped: there is no Python with the package openai; name one in WHEELS_PYTHON");
    }
    found.then_some(python)
}

/// Runs a command, and returns what it prints.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [printed, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}\n{printed}\n{errors}");
    printed
}

/// The blocks of the README in a language, for a server at this address.
fn blocks(language: &str, server: &Running) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = README.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| block.replace("127.0.0.1:8000", &server.address.to_string())).collect()
}

#[test]
fn the_python_package_openai_works_as_the_client() {
    let Some(python) = python_with_openai() else { return };
    let (api_key, max_budget) = (Some(ApiKey::new("secret")), HelpBudget::percent(50));
    let server = translation(ServerConfig { api_key, max_budget, ..config() });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai_client.py");
    assert!(run(Command::new(python).arg(script).arg(server.url("/v1"))).contains("works"));
}

#[test]
fn the_commands_of_the_readme_work() {
    let server = translation(config());
    let commands = blocks("sh", &server);
    let curl: Vec<&String> = commands.iter().filter(|command| command.contains("curl")).collect();
    assert_eq!(curl.len(), 1);
    for command in curl {
        assert!(run(Command::new("sh").args(["-c", command])).contains("teacher_tokens"));
    }
}

#[test]
fn the_python_code_of_the_readme_works() {
    let Some(python) = python_with_openai() else { return };
    let server = translation(config());
    let [chat, stream] = &blocks("python", &server)[..] else { panic!("two examples") };
    assert!(run(Command::new(&python).args(["-c", chat])).contains("tokens of the student"));
    assert!(run(Command::new(&python).args(["-c", stream])).contains('['), "the teacher wrote a part");
}
