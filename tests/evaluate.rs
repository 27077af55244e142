//! The example that evaluates, on the embedded sample.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use training_wheels::embedded;
use training_wheels::eval::Results;

use support::example;

fn evaluate(folder: &Path, flags: &str) -> Output {
    let mut command = Command::new(example("evaluate"));
    command.arg("--out").arg(folder);
    command.args("--limit 5 --devices cpu --budgets 20,50".split(' ')).args(flags.split_whitespace());
    command.output().expect("`cargo test` builds the examples")
}

fn results(folder: &Path) -> Results {
    let json = std::fs::read_to_string(folder.join("results.json")).expect("results");
    serde_json::from_str(&json).expect("results are read back")
}

#[test]
fn an_evaluation_leaves_tables_figures_and_a_page_and_goes_on() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("evaluation");
    let output = evaluate(&folder, "--decoders learned,random,draft:2,adaptive:2");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let first = results(&folder);
    let decoders: Vec<&str> = first.points.iter().map(|point| point.row.decoder.as_str()).collect();
    assert_eq!(decoders, ["student", "teacher", "learned", "learned", "random", "random", "draft:2", "adaptive:2"]);
    let point = |decoder: &str| first.points.iter().find(|point| point.row.decoder == decoder).expect("a point");
    assert_eq!(point("student").row.teacher_calls_per_token, 0.0);
    for latency in [point("teacher").latency, point("teacher").latency_modelled] {
        assert!((latency - 1.0).abs() < 1e-9, "the teacher's own is the unit");
    }
    for lossless in ["draft:2", "adaptive:2"] {
        let found = point(lossless);
        assert_eq!(found.row.scores, point("teacher").row.scores, "{lossless} writes what the teacher does");
        assert!(found.row.teacher_calls_per_token < 1.0);
    }
    assert!(point("learned").row.over_random.is_some() && !first.log_odds.is_empty());
    let tokens: u64 = point("learned").by_position.iter().map(|share| share.tokens).sum();
    let kinds: u64 = point("learned").by_kind.values().map(|share| share.tokens).sum();
    assert_eq!(tokens, kinds);
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap_or_else(|_| panic!("{file}"));
    for figure in ["help", "calls", "latency", "latency-modelled", "budget", "position", "kind", "log-odds"] {
        assert!(read(&format!("{figure}.png")).starts_with(b"\x89PNG"));
        assert!(read(&format!("{figure}.svg")).starts_with(b"<svg"));
    }
    assert_eq!(String::from_utf8(read("table.csv")).expect("text").lines().count(), 1 + 8);
    let page = String::from_utf8(read("report.html")).expect("text");
    assert!(page.contains("<svg") && page.contains(&embedded::TRANSLATION.sample().examples()[0].target));

    // A lost outcome is decoded again, and nothing else is: the times of the others stay.
    std::fs::remove_file(folder.join("outcomes/cpu/learned-20.json")).expect("it is there");
    let output = evaluate(&folder, "--decoders learned,random,draft:2,adaptive:2");
    assert!(output.status.success());
    let again = results(&folder);
    for (before, after) in first.points.iter().zip(&again.points) {
        assert_eq!((before.row.scores, before.by_position), (after.row.scores, after.by_position));
        let lost = before.row.decoder == "learned" && before.row.budget == 0.2;
        assert_eq!(before.row.seconds == after.row.seconds, !lost, "{}", before.row.decoder);
    }

    let refused = evaluate(&folder, "--seed 8");
    let message = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && message.contains("choose another --out"), "{message}");
}

#[test]
fn thresholds_are_found_on_other_texts_or_not_at_all() {
    let scratch = tempfile::tempdir().expect("a folder");
    let refused = evaluate(&scratch.path().join("none"), "--decoders max-prob");
    let message = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && message.contains("--valid"), "{message}");

    let valid = scratch.path().join("valid.jsonl");
    let lines: Vec<&str> = embedded::SUMMARY.sample.lines().rev().take(6).collect();
    std::fs::write(&valid, lines.join("\n")).expect("room");
    let folder = scratch.path().join("some");
    let flags = format!("--task summary --decoders max-prob,entropy,margin,oracle,bild:2 --valid {}", valid.display());
    let output = evaluate(&folder, &flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = results(&folder);
    assert!(found.points[2..].iter().all(|point| point.threshold.is_some()));
    assert!(found.points[2..].iter().any(|point| point.row.help_rate > 0.0));
    assert!(found.points.iter().any(|point| point.over_max_prob.is_some()));
}

#[test]
fn decoders_that_do_not_exist_are_told_which_do() {
    let scratch = tempfile::tempdir().expect("a folder");
    for wrong in ["beam", "draft:0", "draft", "bild:-1", "hindsight:NaN", "oracle:2"] {
        let refused = evaluate(scratch.path(), &format!("--decoders {wrong}"));
        let message = String::from_utf8(refused.stderr).expect("text");
        assert!(!refused.status.success() && message.contains("adaptive:TOKENS"), "{wrong}: {message}");
    }
}
