//! The example that distils, on its embedded defaults.

mod support;

use std::process::Command;

use burn::tensor::Device;
use training_wheels::distill::StepReport;
use training_wheels::prelude::*;
use training_wheels::text::BudgetPlace;

use support::example;

#[test]
fn a_short_run_leaves_a_student_that_reads_its_budget() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let run = |extra: &str| {
        let mut command = Command::new(example("distill"));
        command.args("--batch-tokens 600 --valid-texts 4 --validate-every 3 --checkpoint-every 2".split(' '));
        command.args("--warmup 1 --max-tokens 48 --device cpu".split(' ')).args(extra.split_whitespace());
        command.arg("--out").arg(scratch.path());
        command.output().expect("`cargo test` builds the examples")
    };
    let output = run("--steps 4");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).expect("text");
    assert_eq!(table.lines().count(), 6, "a line for each budget:\n{table}");

    let metrics = std::fs::read_to_string(scratch.path().join("metrics.jsonl")).expect("metrics");
    let reports: Vec<StepReport> =
        metrics.lines().map(|line| serde_json::from_str(line).expect("a report is a line of JSON")).collect();
    assert_eq!(reports.len(), 4);
    assert!(reports.iter().all(|report| report.parts.contains_key("price 20%")));
    let picture = std::fs::read_to_string(scratch.path().join("curves.svg")).expect("curves");
    assert!(picture.contains("prices of help") && picture.contains("<circle"), "the curves are drawn");

    let student = Bundle::from_dir(scratch.path(), &Device::flex()).expect("the folder opens");
    assert_eq!(student.format.budget, BudgetPlace::Before);
    let prompt = |percent| {
        let budget = HelpBudget::percent(percent);
        student.format.prompt(&student.tokenizer, "a text editor", budget).expect("a prompt").student
    };
    assert_ne!(prompt(20), prompt(50));

    let refused = run("--steps 4 --resume --learning-rate 0.5");
    let message = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && message.contains("learning_rate"), "{message}");
    let refused = run("--objective forward-kl --heads-only");
    let message = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && message.contains("--heads-only trains how a student asks"), "{message}");
    let refused = run("--budgets 10,50,100");
    let message = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && message.contains("--budgets must rise from 0 to 100"), "{message}");
}
