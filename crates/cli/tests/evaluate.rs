//! `wheels evaluate`, on the embedded sample.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use wheels_embedded::{SUMMARY, TRANSLATION};
use wheels_eval::{Measurement, Results};

use support::{sample, wheels};

fn evaluate(folder: &Path, flags: &str) -> Output {
    let mut command = wheels("evaluate");
    command.arg("--out").arg(folder);
    command.args("--limit 5 --devices cpu --budgets 20,50".split(' ')).args(flags.split_whitespace());
    command.output().expect("the program runs")
}

/// The standard output of an evaluation that succeeds.
fn evaluated(folder: &Path, flags: &str) -> String {
    let output = evaluate(folder, flags);
    assert!(output.status.success(), "{flags}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("tables are text")
}

/// The message of an evaluation that fails.
fn refused(folder: &Path, flags: &str) -> String {
    let output = evaluate(folder, flags);
    assert!(!output.status.success(), "{flags} is refused");
    String::from_utf8(output.stderr).expect("messages are text")
}

fn results(folder: &Path) -> Results {
    let json = std::fs::read_to_string(folder.join("results.json")).expect("results");
    Results::from_json(&json).expect("results are read back")
}

fn point<'r>(results: &'r Results, decoder: &str, percent: u8) -> &'r Measurement {
    let budget = f64::from(percent) / 100.0;
    let wanted = |point: &&Measurement| point.row.decoder == decoder && point.row.budget == budget;
    results.points.iter().find(wanted).unwrap_or_else(|| panic!("there is no {decoder} at {percent}%"))
}

#[test]
fn times_are_measured_in_rounds_and_kept_until_there_is_another_decoder() {
    let scratch = tempfile::tempdir().expect("a folder");
    let times = |decoders: &str| -> Vec<f64> {
        evaluated(scratch.path(), &format!("--batch 1 --decoders {decoders}"));
        assert!(scratch.path().join("outputs/cpu/latencies.json").exists(), "five texts are five rounds");
        results(scratch.path()).points.iter().map(|point| point.latency).collect()
    };
    let first = times("draft:2");
    assert!(first.len() == 3 && first[0] > 0.0 && first[1] == 1.0 && first[2] > 0.0, "{first:?}");
    assert_eq!(times("draft:2"), first);
    assert_eq!(times("draft:2,draft:4").len(), 4);
}

#[test]
fn an_evaluation_leaves_tables_figures_and_a_page_and_goes_on() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("evaluation");
    evaluated(&folder, "--decoders calibrated,random,draft:2,adaptive:2");

    let first = results(&folder);
    let decoders: Vec<&str> = first.points.iter().map(|point| point.row.decoder.as_str()).collect();
    let expected = ["student", "teacher", "calibrated", "calibrated", "random", "random", "draft:2", "adaptive:2"];
    assert_eq!(decoders, expected);
    assert_eq!(point(&first, "student", 0).row.teacher_calls_per_token, 0.0);
    let teacher = point(&first, "teacher", 100);
    for latency in [teacher.latency, teacher.latency_modelled] {
        assert!((latency - 1.0).abs() < 1e-9, "the teacher's own latency is the unit");
    }
    for lossless in ["draft:2", "adaptive:2"] {
        let found = point(&first, lossless, 100);
        assert_eq!(found.row.scores, teacher.row.scores, "{lossless} writes the teacher's texts");
        assert!(found.row.teacher_calls_per_token < 1.0);
    }
    let calibrated = point(&first, "calibrated", 20);
    assert!(calibrated.row.versus_random.is_some() && !first.log_odds.is_empty());
    let tokens: u64 = calibrated.by_position.iter().map(|counts| counts.tokens).sum();
    let kinds: u64 = calibrated.by_kind.values().map(|counts| counts.tokens).sum();
    assert_eq!(tokens, kinds);
    assert_files(&folder);

    // A lost output is decoded again, and nothing else is: the other times stay.
    std::fs::remove_file(folder.join("outputs/cpu/calibrated-20.json")).expect("it is there");
    evaluated(&folder, "--decoders calibrated,random,draft:2,adaptive:2 --budgets 20%,50%");
    let again = results(&folder);
    assert_eq!(first.points.len(), again.points.len());
    for (before, after) in first.points.iter().zip(&again.points) {
        assert_eq!(before.row.decoder, after.row.decoder);
        assert_eq!((before.row.scores, before.by_position), (after.row.scores, after.by_position));
        let lost = before.row.decoder == "calibrated" && before.row.budget == 0.2;
        assert_eq!(before.row.seconds == after.row.seconds, !lost, "{}", before.row.decoder);
    }

    let message = refused(&folder, "--seed 8");
    assert!(message.contains("--seed is 7 there and 8 here"), "{message}");
    let remedy = format!("To keep both, add --out {0}-2; to replace it, remove {0}", folder.display());
    assert!(message.contains(&remedy), "{message}");
    assert!(!message.contains("Settings"), "no debug output: {message}");
    let message = refused(&folder, "--stated-budget 10%");
    assert!(message.contains("stated-budget is not given there and \"10%\" here"), "{message}");
}

/// All figures, the table and the page are in a folder.
fn assert_files(folder: &Path) {
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap_or_else(|_| panic!("{file} is there"));
    for figure in
        ["calls", "latency", "latency-modelled", "latency-equal-calls", "budget", "position", "kind", "log-odds"]
    {
        assert!(read(&format!("{figure}.png")).starts_with(b"\x89PNG"));
        assert!(read(&format!("{figure}.svg")).starts_with(b"<svg"));
    }
    assert_eq!(String::from_utf8(read("table.csv")).expect("text").lines().count(), 1 + 8);
    let page = String::from_utf8(read("report.html")).expect("text");
    assert!(page.contains("<svg") && page.contains(&sample(&TRANSLATION).examples()[0].target));
}

/// Enforced budgets are kept. In each text they are rounded up to a whole token.
fn assert_enforced(points: &[Measurement], texts: usize) {
    let enforced: Vec<&Measurement> = points.iter().filter(|point| point.row.decoder == "enforced").collect();
    assert_eq!(enforced.len(), 2);
    for point in enforced {
        let tokens: u64 = point.by_position.iter().map(|counts| counts.tokens).sum();
        let allowed = point.row.budget * tokens as f64 + texts as f64;
        let helped = point.row.help_rate * tokens as f64;
        assert!(helped <= allowed, "{helped} of {tokens} tokens at {}", point.row.budget);
    }
}

#[test]
fn budgets_in_tokens_have_a_table_of_their_own() {
    let scratch = tempfile::tempdir().expect("a folder");
    let printed = evaluated(scratch.path(), "--decoders draft:2 --token-budgets 1,3");
    assert!(printed.contains("Tokens of the teacher in a text"), "{printed}");
    let rows = results(scratch.path()).token_budgets;
    let cases: Vec<(&str, u32)> = rows.iter().map(|row| (row.decoder.as_str(), row.budget)).collect();
    assert_eq!(cases, ["calibrated", "uncalibrated", "enforced"].map(|name| [(name, 1), (name, 3)]).concat());
    for row in &rows[4..] {
        assert!(row.used <= f64::from(row.budget) && row.exceeded == 0.0, "{row:?}");
    }
    let table = std::fs::read_to_string(scratch.path().join("table.md")).expect("a table");
    assert!(table.contains("\n| enforced | 3 | "), "{table}");
    // The outputs are kept.
    evaluated(scratch.path(), "--decoders draft:2 --token-budgets 1,3");
    assert_eq!(results(scratch.path()).token_budgets, rows);
}

#[test]
fn budgets_in_tokens_hold_with_another_stated_budget() {
    let scratch = tempfile::tempdir().expect("a folder");
    evaluated(scratch.path(), "--limit 20 --decoders draft:2 --token-budgets 3 --stated-budget 50%");
    let rows = results(scratch.path()).token_budgets;
    let uncalibrated = rows.iter().find(|row| row.decoder == "uncalibrated").expect("it is measured");
    // The stated budget alone would give about half of all tokens, and both budgets together about one token.
    assert!((2.0..4.0).contains(&uncalibrated.used), "{uncalibrated:?}");
}

#[test]
fn json_prints_one_measurement_per_row() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("evaluation");
    // Of a flag that is given twice, the last one counts. These are names of an earlier version.
    let printed = evaluated(&folder, "--decoders random --decoders as-trained,ledger --json");
    let rows: Vec<Measurement> =
        printed.lines().map(|line| serde_json::from_str(line).expect("each line is a measurement")).collect();
    assert_eq!(rows, results(&folder).points);
    assert_eq!(rows.len(), 2 + 2 + 2);
    assert_enforced(&rows, 5);
}

#[test]
fn a_stated_budget_changes_the_prompts_and_not_the_budget() {
    let scratch = tempfile::tempdir().expect("a folder");
    let run = |name: &str, flags: &str| {
        let folder = scratch.path().join(name);
        let all = format!("--decoders calibrated,enforced,uncalibrated --limit 30 {flags}");
        evaluated(&folder, &all);
        let settings = std::fs::read_to_string(folder.join("settings.json")).expect("settings");
        (results(&folder), serde_json::from_str::<Value>(&settings).expect("settings are JSON"))
    };
    let (plain, settings) = run("plain", "");
    assert_eq!((&settings["stated_budget"], &settings["wording"]), (&Value::Null, &Value::Null));
    let (stated, settings) = run("stated", "--stated-budget 10%");
    assert_eq!(settings["stated_budget"], "10%");
    let (reworded, settings) = run("reworded", "--wording 7");
    assert_eq!(settings["wording"], 7);

    for (decoder, percent) in [("student", 0), ("teacher", 100)] {
        let [before, after] = [&plain, &stated].map(|results| point(results, decoder, percent).row.scores);
        assert_eq!(before, after, "the {decoder} alone is the same");
    }
    assert_eq!(point(&plain, "teacher", 100).row.scores, point(&reworded, "teacher", 100).row.scores);
    // The student reads "10%", and its threshold moves: it still uses more help under a larger budget.
    let used = |results: &Results, percent| point(results, "calibrated", percent).row.help_rate;
    assert!(used(&stated, 20) < used(&stated, 50), "{} and {}", used(&stated, 20), used(&stated, 50));
    assert_ne!(used(&stated, 50), used(&plain, 50));
    for results in [&plain, &stated] {
        assert_enforced(&results.points, results.texts);
    }
}

#[test]
fn random_help_follows_the_calibrated_student_also_if_that_is_added_later() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("evaluation");
    evaluated(&folder, "--decoders random --limit 20 --budgets 20");
    evaluated(&folder, "--decoders random,calibrated --limit 20 --budgets 20");
    let file = std::fs::read_to_string(folder.join("outputs/cpu/random-20.json")).expect("an output");
    let random: Value = serde_json::from_str(&file).expect("outputs are JSON");
    assert_eq!(random["random_rate"], point(&results(&folder), "calibrated", 20).row.help_rate);
}

#[test]
fn each_decoder_is_compared_with_random_help_at_its_own_rate() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("evaluation");
    evaluated(&folder, "--decoders random,calibrated,uncalibrated,enforced,verify:1,draft:2 --limit 20");
    let found = results(&folder);
    let mut at_other_rates = 0;
    for point in &found.points {
        let is_compared = ["calibrated", "uncalibrated", "enforced", "verify:1"].contains(&point.row.decoder.as_str());
        assert_eq!(point.random_help.is_some(), is_compared, "{}", point.row.decoder);
        assert_eq!(point.row.versus_random.is_some(), is_compared);
        let Some(random) = point.random_help else { continue };
        assert!((random.rate - point.row.help_rate).abs() <= 0.005 + 1e-9, "{}: {random:?}", point.row.decoder);
        // Five standard deviations of the rate over several hundred tokens.
        assert!((random.help_rate - random.rate).abs() < 0.1, "{random:?}");
        at_other_rates += usize::from((random.rate - point.row.budget).abs() > 0.05);
    }
    assert!(at_other_rates > 0, "verification uses more help than its budget");
}

#[test]
fn the_printed_table_fits_into_a_terminal_and_has_no_empty_columns() {
    let scratch = tempfile::tempdir().expect("a folder");
    let valid = scratch.path().join("valid.jsonl");
    std::fs::write(&valid, TRANSLATION.sample.lines().take(5).collect::<Vec<_>>().join("\n")).expect("written");
    let folder = scratch.path().join("evaluation");
    let flags = "--decoders random,uncalibrated,verify:1,adaptive:4,rollback:3";
    let printed = evaluated(&folder, flags);
    assert!(printed.contains("vs random") && !printed.contains("vs max-prob") && !printed.contains("**"), "{printed}");
    assert!(printed.contains("uncalibrated 20%") && printed.contains("student alone"), "{printed}");
    // Thresholds do not change the outputs that are there, so that validation texts can be added later.
    let wide = evaluated(&folder, &format!("{flags},max-prob --valid {}", valid.display()));
    assert!(wide.contains("vs max-prob"), "{wide}");
    for line in printed.lines().chain(wide.lines()) {
        assert!(line.chars().count() <= 100, "{} characters: {line}", line.chars().count());
    }
    assert!(!evaluated(&folder, "--decoders verify:1").contains("vs random"), "nothing is compared with random help");
}

#[test]
fn validation_texts_that_no_decoder_needs_are_reported() {
    let scratch = tempfile::tempdir().expect("a folder");
    let output = evaluate(&scratch.path().join("evaluation"), "--decoders draft:2 --valid missing.jsonl");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.contains("--valid missing.jsonl is not used"), "{message}");
    assert!(message.contains("max-prob"), "{message}");
}

#[test]
fn each_student_has_a_default_folder_of_its_own() {
    let scratch = tempfile::tempdir().expect("a folder");
    for (name, files) in [("student", TRANSLATION.student), ("teacher", TRANSLATION.teacher)] {
        support::unpack(files, &[], &scratch.path().join("my").join(name));
    }
    let run = |flags: &str| {
        let mut command = wheels("evaluate");
        command.current_dir(scratch.path()).args("--limit 2 --devices cpu --decoders draft:2".split(' '));
        let output = command.args(flags.split_whitespace()).output().expect("the program runs");
        (output.status.success(), String::from_utf8(output.stderr).expect("messages are text"))
    };
    let own = "--student my/student --teacher my/teacher";
    for (flags, folder) in
        [("", "evaluation-translation"), ("--task summary", "evaluation-summary"), (own, "evaluation-student")]
    {
        let (succeeds, message) = run(flags);
        assert!(succeeds && message.contains(&format!("{folder}/table.md")), "{message}");
        assert!(scratch.path().join(folder).join("results.json").exists(), "{folder}");
    }
    // A model that was trained again, and another model.
    let config = scratch.path().join("my/student/generation_config.json");
    std::fs::write(config, "{\"max_new_tokens\": 3}").expect("written");
    let (succeeds, message) = run(own);
    assert!(!succeeds && message.contains("have changed since") && message.contains("add --out"), "{message}");
    let (succeeds, message) = run("--student my/teacher --teacher my/teacher --out evaluation-student");
    assert!(!succeeds && message.contains("--student is \"my/student\" there"), "{message}");
    assert!(!message.contains("have changed since"), "{message}");
}

#[test]
fn batches_of_help_change_no_score_and_are_a_setting_of_the_folder() {
    let scratch = tempfile::tempdir().expect("a folder");
    let [plain, batched] = ["plain", "batched"].map(|name| scratch.path().join(name));
    evaluated(&plain, "--decoders calibrated,draft:2");
    evaluated(&batched, "--decoders calibrated,draft:2 --batch 3 --help-batch 3 --refill 1");
    for (left, right) in results(&plain).points.iter().zip(&results(&batched).points) {
        assert_eq!((&left.row.decoder, left.row.scores.bleu), (&right.row.decoder, right.row.scores.bleu));
        assert_eq!(left.row.teacher_calls_per_token, right.row.teacher_calls_per_token);
    }
    let message = refused(&plain, "--help-batch 2 --refill 4");
    assert!(
        message.contains("--help-batch is not given there and 2 here; --refill is not given there and 4"),
        "{message}"
    );
}

#[test]
fn thresholds_are_found_on_other_texts() {
    let scratch = tempfile::tempdir().expect("a folder");
    let none = scratch.path().join("none");
    let message = refused(&none, "--decoders calibrated,max-prob");
    assert!(message.contains("max-prob") && message.contains("--valid"), "{message}");
    assert!(!none.exists(), "nothing is decoded before the check");

    let valid = scratch.path().join("valid.jsonl");
    let lines: Vec<&str> = SUMMARY.sample.lines().rev().take(6).collect();
    std::fs::write(&valid, lines.join("\n")).expect("the data is written");
    let folder = scratch.path().join("some");
    let decoders = "max-prob,entropy,margin,oracle,bild:2";
    evaluated(&folder, &format!("--task summary --decoders {decoders} --valid {}", valid.display()));
    let found = results(&folder);
    assert!(found.points[2..].iter().all(|point| point.threshold.is_some()));
    assert!(found.points[2..].iter().any(|point| point.row.help_rate > 0.0));
    assert!(found.points.iter().any(|point| point.versus_max_prob.is_some()));
}

#[cfg(unix)]
#[test]
fn ctrl_c_says_how_to_go_on() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("evaluation");
    let mut command = wheels("evaluate");
    command.arg("--out").arg(&folder).args(["--devices", "cpu", "--decoders", "calibrated,random"]);
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let run = spawned.expect("the program runs");
    let started = Instant::now();
    while !folder.join("outputs/cpu/student-0.json").exists() {
        assert!(started.elapsed() < Duration::from_secs(300), "the first output is written");
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = Command::new("kill").args(["-INT", &run.id().to_string()]).status().expect("a shell command");
    assert!(kill.success());
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let message = String::from_utf8(output.stderr).expect("messages are text");
    assert!(message.contains("the same command goes on with the outputs that are decoded"), "{message}");
}

#[test]
fn unknown_decoders_are_refused_with_a_list() {
    let scratch = tempfile::tempdir().expect("a folder");
    for wrong in ["beam", "draft:0", "draft", "bild:-1", "verify:NaN", "oracle:2"] {
        let message = refused(scratch.path(), &format!("--decoders {wrong}"));
        assert!(message.contains(wrong) && message.contains("adaptive:TOKENS"), "{wrong}: {message}");
    }
}
