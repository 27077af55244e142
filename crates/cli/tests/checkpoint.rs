//! A run that was killed goes on from its last checkpoint, bit for bit.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{short_lines, wheels};

fn command(data: &Path, out: &Path, steps: usize) -> Command {
    let mut command = wheels("train");
    command.arg("--data").arg(data).arg("--valid").arg(data).arg("--out").arg(out);
    command.args("--vocab 300 --d-model 32 --layers 1 --decoder-layers 1 --batch-tokens 512".split(' '));
    command.args("--max-tokens 256 --workers 2 --valid-texts 2 --validate-every 12 --checkpoint-every 4".split(' '));
    command.args("--device cpu --steps".split(' ')).arg(steps.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn train(data: &Path, out: &Path) -> Child {
    command(data, out, 24).spawn().expect("the program runs")
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let data = scratch.path().join("data.jsonl");
    std::fs::write(&data, short_lines(60).join("\n")).expect("the data is written");
    let (whole, killed) = (scratch.path().join("whole"), scratch.path().join("killed"));

    assert!(train(&data, &whole).wait().expect("the run ends").success());

    let mut run = train(&data, &killed);
    let started = Instant::now();
    while !killed.join("checkpoint-00000008").exists() {
        assert!(started.elapsed() < Duration::from_secs(300), "the run reaches its second checkpoint");
        assert!(run.try_wait().expect("the run can be asked").is_none(), "the run is killed before it ends");
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().expect("the run is killed");
    run.wait().expect("the run has ended");
    assert!(!killed.join("model.safetensors").exists(), "a killed run has no model yet");
    assert!(train(&data, &killed).wait().expect("the run ends").success());

    let read = |folder: &Path| std::fs::read(folder.join("model.safetensors")).expect("a finished run has a model");
    assert!(read(&whole) == read(&killed), "both runs end with the same weights");
    let steps = |folder: &Path| {
        let metrics = std::fs::read_to_string(folder.join("metrics.jsonl")).expect("a run writes metrics");
        let losses = metrics.lines().map(|line| line.split("\"seconds\"").next().map(str::to_owned));
        losses.collect::<Vec<_>>()
    };
    assert_eq!(steps(&whole), steps(&killed), "every step is reported once, with the same numbers");
    assert_eq!(steps(&whole).len(), 24);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_run_after_its_step_and_says_how_to_go_on() {
    use std::io::Read;

    let scratch = tempfile::tempdir().expect("a temporary folder");
    let data = scratch.path().join("data.jsonl");
    std::fs::write(&data, short_lines(60).join("\n")).expect("the data is written");
    let out = scratch.path().join("model");
    let mut run = command(&data, &out, 100_000).stderr(Stdio::piped()).spawn().expect("the program runs");
    let started = Instant::now();
    while !out.join("checkpoint-00000004").exists() {
        assert!(started.elapsed() < Duration::from_secs(300), "the run reaches its first checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = Command::new("kill").args(["-INT", &run.id().to_string()]).status().expect("a shell command");
    assert!(kill.success());
    assert_eq!(run.wait().expect("the run ends").code(), Some(130));
    let mut report = String::new();
    run.stderr.take().expect("a pipe").read_to_string(&mut report).expect("messages are text");
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).expect("a run writes metrics");
    let steps = metrics.lines().count();
    assert!(report.contains(&format!("stopped after step {steps} of 100000; the command in ")), "{report}");
    assert!(out.join(format!("checkpoint-{steps:08}")).exists(), "the last step is saved");
}
