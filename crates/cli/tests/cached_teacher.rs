//! `wheels cache-teacher` scores a corpus with a teacher, and training without the teacher.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use burn::config::Config;
use burn::tensor::Device;
use training_wheels::CalibrationConfig;
use training_wheels::distill::{PriceFitConfig, RolloutConfig, StepReport, TrainerConfig};
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

use support::{fails, short_lines, succeeds, unpack, wheels};

/// A folder with short data, the embedded models, and the configuration of a run of some seconds.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let this = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let lines = short_lines(60);
        fs::write(this.path("data.jsonl"), lines.join("\n")).expect("room");
        fs::write(this.path("valid.jsonl"), lines[..8].join("\n")).expect("room");
        unpack(TRANSLATION.teacher, &[], &this.path("teacher"));
        unpack(TRANSLATION.student, &[], &this.path("student"));
        let trainer = TrainerConfig::new(4).with_warmup_steps(1).with_checkpoint_every(2).with_validate_every(4);
        let config = DistillationConfig::new()
            .with_trainer(trainer)
            .with_rollout(RolloutConfig::new(4).with_batch_tokens(600).with_price_prompts(16))
            .with_valid_texts(2)
            .with_report_budgets(vec![20])
            .with_prices(PriceFitConfig::new().with_texts(4))
            .with_calibration(CalibrationConfig::new().with_rates(vec![0.2]).with_max_trials(2).with_texts(4));
        config.save(this.path("config.json")).expect("room");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, name: &str, flags: &str) -> Command {
        let mut command = wheels(name);
        command.current_dir(self.folder.path()).args(["--device", "cpu"]).args(flags.split_whitespace());
        command
    }

    fn cache(&self, flags: &str) -> Command {
        self.command("cache-teacher", &format!("--teacher teacher --data data.jsonl {flags}"))
    }

    fn distill(&self, flags: &str) -> Command {
        let data = "--student student --data data.jsonl --valid valid.jsonl --settings config.json";
        self.command("distill", &format!("{data} {flags}"))
    }

    /// The loss of each step of a run.
    fn losses(&self, run: &str) -> Vec<f64> {
        let metrics = fs::read_to_string(self.path(run).join("metrics.jsonl")).expect("metrics");
        let report = |line| serde_json::from_str::<StepReport>(line).expect("a report is a line of JSON");
        metrics.lines().map(|line| report(line).loss).collect()
    }

    /// The content of each file of a folder, apart from the command that made it.
    fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(self.path(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            files.insert(name, fs::read(path).expect("a file"));
        }
        files.remove("run.toml").expect("the command");
        files
    }
}

#[test]
fn a_student_learns_to_ask_from_a_cache_and_is_calibrated_with_the_teacher() {
    let scratch = Scratch::new();
    let [_, report] = succeeds(&mut scratch.cache("--out cache --top-k 16"));
    assert!(report.contains("66 bytes per token; ") && report.contains("of 60 examples take"), "{report}");

    let [_, report] = succeeds(&mut scratch.distill("--teacher-cache cache --out alone"));
    assert!(report.contains("calibrate --student alone --teacher MODEL"), "{report}");
    let open = |run: &str| TextModel::open(scratch.path(run), &Device::flex()).expect("the folder opens");
    let student = open("alone");
    assert!(student.prices.is_some() && student.calibration.is_none() && student.model.has_heads());
    let written = DistillationConfig::load(scratch.path("alone").join("distillation.json")).expect("a configuration");
    assert_eq!(written.rollout.mixture, training_wheels::distill::Mixture::references());

    let calibrate = "--student alone --teacher teacher --data valid.jsonl --texts 4 --rates 20 --max-trials 2";
    succeeds(&mut scratch.command("calibrate", calibrate));
    assert!(open("alone").calibration.is_some());

    succeeds(&mut scratch.distill("--teacher-cache cache --teacher teacher --out both"));
    assert!(open("both").calibration.is_some(), "the teacher calibrates the student at the end");
    assert_eq!(scratch.losses("both"), scratch.losses("alone"));
}

#[test]
fn the_whole_distribution_gives_the_losses_of_the_teacher() {
    let scratch = Scratch::new();
    succeeds(&mut scratch.distill("--teacher teacher --method forward-kl --out taught"));
    let expected = scratch.losses("taught");
    assert_eq!(expected.len(), 4);
    for (cache, flags) in [("whole", "--top-k 5000"), ("hidden", "--hidden")] {
        succeeds(&mut scratch.cache(&format!("--out {cache} --full-precision {flags}")));
        let run = format!("{cache}-run");
        succeeds(&mut scratch.distill(&format!("--teacher-cache {cache} --method forward-kl --out {run}")));
        for (found, expected) in scratch.losses(&run).iter().zip(&expected) {
            // The teacher reads other batches for a cache, so that sums round apart, and four steps add to it.
            assert!((found - expected).abs() < 1e-4 * expected, "{cache}: {found} is not {expected}");
        }
    }
}

#[test]
fn a_killed_command_goes_on_and_ends_with_the_same_files() {
    let scratch = Scratch::new();
    // A token takes 16 kB, so that a file has about 64 tokens.
    let flags = "--top-k 5000 --full-precision --file-mb 1";
    succeeds(&mut scratch.cache(&format!("--out whole {flags}")));
    let whole = scratch.files("whole");
    assert!(whole.len() > 10, "{} files", whole.len());

    let mut command = scratch.cache(&format!("--out killed {flags}"));
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut running = spawned.expect("the program runs");
    let started = Instant::now();
    while !scratch.path("killed").join("shard-00002.safetensors").exists() {
        assert!(started.elapsed() < Duration::from_secs(300), "the command writes its third file");
        assert!(running.try_wait().expect("it can be asked").is_none(), "the command is killed before it ends");
        std::thread::sleep(Duration::from_millis(2));
    }
    running.kill().expect("it is killed");
    running.wait().expect("it has ended");
    let message = fails(&mut scratch.distill("--teacher-cache killed --method forward-kl --out run"));
    assert!(message.contains("the cache in killed has ") && message.contains("writes the rest"), "{message}");
    assert!(!scratch.path("run").join("metrics.jsonl").exists(), "nothing is trained");

    succeeds(&mut scratch.cache(&format!("--out killed {flags}")));
    assert!(scratch.files("killed") == whole, "the files differ");
}

#[test]
fn a_cache_that_does_not_fit_is_refused() {
    let scratch = Scratch::new();
    succeeds(&mut scratch.cache("--out cache --top-k 4"));
    let refuse = |flags: &str, expected: &[&str]| {
        let message = fails(&mut scratch.distill(&format!("--teacher-cache cache --out run {flags}")));
        for part in expected {
            assert!(message.contains(part), "{flags}: {message}");
        }
    };
    refuse("--teacher student", &["another value of the teacher's weights"]);
    refuse("--method sequence", &["writing texts needs the teacher", "teacher_fraction"]);
    fs::write(scratch.path("other.jsonl"), support::short_lines(70)[60..].join("\n")).expect("room");
    // The last flag counts.
    refuse("--data other.jsonl", &["lacks 10 of the 10 pairs of the data"]);
    let remedy = "give a folder that `cache-teacher` wrote, or a model as --teacher";
    refuse("--teacher-cache teacher", &["--teacher-cache teacher has a model and no cache", remedy]);
    refuse("--teacher-cache elsewhere", &["elsewhere/cache.json cannot be used (there is no such file)"]);

    let message = fails(&mut scratch.cache("--out cache --top-k 8"));
    assert!(message.contains("another value of content") && message.contains("another folder"), "{message}");
    assert!(fails(&mut scratch.cache("--out new --hidden --top-k 8")).contains("cannot be used with"));
    assert!(fails(&mut scratch.cache("--out new --top-k 0")).contains("--top-k"));
    assert!(fails(&mut scratch.cache("--out new --temperature 0")).contains("above 0"));
    let shard = scratch.path("cache").join("shard-00000.safetensors");
    let content = fs::read(&shard).expect("a shard");
    fs::write(&shard, &content[..content.len() / 2]).expect("room");
    refuse("", &["shard-00000.safetensors cannot be used", "and should have"]);
}
