//! A run that was killed goes on from its last checkpoint, bit for bit.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{example, short_lines};

fn train(data: &Path, out: &Path, resume: bool) -> Child {
    let mut command = Command::new(example("train"));
    command.arg("--data").arg(data).arg("--valid").arg(data).arg("--out").arg(out);
    command.args("--vocab 300 --d-model 32 --layers 1 --decoder-layers 1 --steps 24 --batch-tokens 512".split(' '));
    command.args("--max-tokens 256 --workers 2 --valid-texts 2 --validate-every 12 --checkpoint-every 4".split(' '));
    command.args("--device cpu".split(' ')).args(resume.then_some("--resume"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("`cargo test` builds the examples")
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let data = scratch.path().join("data.jsonl");
    std::fs::write(&data, short_lines(60).join("\n")).expect("the data is written");
    let (whole, killed) = (scratch.path().join("whole"), scratch.path().join("killed"));

    assert!(train(&data, &whole, false).wait().expect("the run ends").success());

    let mut run = train(&data, &killed, false);
    let started = Instant::now();
    while !killed.join("checkpoint-00000008").exists() {
        assert!(started.elapsed() < Duration::from_secs(300), "the run reaches its second checkpoint");
        assert!(run.try_wait().expect("the run can be asked").is_none(), "the run is killed before it ends");
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().expect("the run is killed");
    run.wait().expect("the run has ended");
    assert!(!killed.join("model.safetensors").exists(), "a killed run has no model yet");
    assert!(train(&data, &killed, true).wait().expect("the run ends").success());

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
