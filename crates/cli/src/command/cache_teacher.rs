//! `wheels cache-teacher`: the distributions of a teacher, scored once.

use std::path::{Path, PathBuf};

use clap::builder::RangedU64ValueParser;
use indicatif::ProgressBar;
use serde_json::json;
use training_wheels::TrainingData;
use training_wheels::distill::{CacheContent, TeacherCacheConfig};
use training_wheels::prelude::*;
use wheels_distill::{CacheManifest, CacheProgress, FolderContent};
use wheels_embedded::TRANSLATION;

use super::Outcome;
use crate::command_line::App;
use crate::flags::{DataFlags, ModelFlags, RemoteFlags, at_least_1, url};
use crate::run::{self, interrupt};
use crate::screen::console;

const EXAMPLES: &str = "\
Examples:
  wheels cache-teacher --teacher teacher --data train.jsonl --out teacher-cache
  wheels distill --teacher-cache teacher-cache --student S --data train.jsonl --valid valid.jsonl

A token takes 4 k + 2 bytes with the k most likely tokens of a vocabulary of at most 65,536 tokens, 6 k + 2 bytes of a larger
one, and 2 d_model bytes with --hidden.";

/// Scores a corpus with a teacher once, to train students without it.
///
/// The same command again goes on where it stopped. Without flags, it scores the embedded sample with the embedded teacher.
#[derive(clap::Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The teacher: a folder, a model of the hub, or the address of a server with OpenAI's API that has the student's
    /// tokenizer. If absent: the embedded teacher.
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// The folder or hub name of a student, if its prompt template is not that of the teacher. Needed with a server.
    #[arg(long)]
    student: Option<PathBuf>,
    /// The data: JSON lines, a JSON list, CSV or TSV, of any size. If absent: the embedded sample.
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    fields: DataFlags,
    /// The folder for the cache.
    #[arg(long, default_value = "teacher-cache")]
    out: PathBuf,
    /// The number of most likely tokens to keep at each position, with the mass of all others. If absent: 64, or 20 of a teacher
    /// behind a server. Servers have limits: vLLM gives 20 unless it is told otherwise.
    #[arg(long, value_parser = at_least_1())]
    top_k: Option<usize>,
    /// Keep the teacher's hidden states and its output head, which give the whole distribution.
    #[arg(long, conflicts_with = "top_k")]
    hidden: bool,
    /// Keep numbers in f32 instead of f16.
    #[arg(long)]
    full_precision: bool,
    /// The temperature of the teacher's distribution (`rollout.teacher_temperature` of distill). If absent: 0.7, or 1 behind a
    /// server, where no other is possible.
    #[arg(long)]
    temperature: Option<f64>,
    /// The largest number of tokens on either side of an example (`max_tokens` of distill). Longer ones are left out.
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// The largest size of a file, megabytes. An interrupted run loses at most one file.
    #[arg(long, default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    file_mb: usize,
    #[command(flatten)]
    remote: RemoteFlags,
    #[command(flatten)]
    models: ModelFlags,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let _lock = run::FolderLock::new(&flags.out, FolderContent::TeacherCache)?;
    flags.remote.check(flags.teacher.as_deref())?;
    if flags.remote.has_span() {
        return Err("--span is for help: a cache scores texts that are given".into());
    }
    let (device, dtype) = flags.models.open()?;
    let open = |name: &Path| run::open_model(name, (&device, dtype));
    let server = flags.teacher.as_deref().and_then(url);
    let teacher = match &flags.teacher {
        Some(_) if server.is_some() => None,
        Some(name) => Some(open(name)?),
        None => Some(TextModel::from_files("the embedded teacher", TRANSLATION.teacher, (&device, dtype))?),
    };
    let student = match (&flags.student, &teacher) {
        (Some(name), _) => open(name)?,
        (None, Some(teacher)) => teacher.clone(),
        (None, None) => return Err("a teacher behind a server needs --student, whose tokenizer it must have".into()),
    };
    let student = student.with_help_token("teacher")?;
    let remote = flags.remote.connect(flags.teacher.as_deref(), &student)?;
    let sample = Dataset::from_reader(TRANSLATION.sample.as_bytes(), "the sample")?;
    let data: TrainingData<'_> = match &flags.data {
        Some(path) => flags.fields.stream(path, "tokenising")?.into(),
        None => (&sample).into(),
    };
    let is_remote = remote.is_some();
    let (top_k, temperature) = if is_remote { (20, 1.0) } else { (64, 0.7) };
    let (top_k, temperature) = (flags.top_k.unwrap_or(top_k), flags.temperature.unwrap_or(temperature));
    let config = TeacherCacheConfig::new()
        .with_content(if flags.hidden { CacheContent::HiddenStates } else { CacheContent::TopK(top_k) })
        .with_half_precision(!flags.full_precision)
        .with_teacher_temperature(temperature)
        .with_shard_bytes(flags.file_mb << 20);
    let mut bar = None;
    let on_progress = &mut |progress| {
        interrupt::enter(interrupt::Phase::Writing);
        // The cache has passed its checks, so that no other command is replaced.
        if bar.is_none() {
            app.invocation.save_or_warn(&flags.out, None);
        }
        show(&mut bar, progress);
    };
    let manifest = match (remote, teacher) {
        (Some(remote), _) => {
            let scored =
                student.cache_remote_teacher(&remote, data, flags.max_tokens, &config, &flags.out, on_progress);
            console::say(format_args!("the server was asked for {}", remote.spending()));
            scored?
        }
        (None, Some(teacher)) => {
            Pair::new(student, teacher)?.cache_teacher(data, flags.max_tokens, &config, &flags.out, on_progress)?
        }
        (None, None) => unreachable!("without a server there is a teacher"),
    };
    bar.iter().for_each(ProgressBar::finish);
    let CacheManifest { pairs, tokens, bytes_per_token, .. } = &manifest;
    let megabytes = manifest.bytes() as f64 / 1e6;
    console::say(format_args!(
        "{bytes_per_token} bytes per token; {tokens} tokens of {pairs} examples take {megabytes:.1} MB\n\
         the cache is in {}: train with wheels distill --teacher-cache {0}{}",
        flags.out.display(),
        // The default of training is that of a teacher on this machine.
        if is_remote { " --set rollout.teacher_temperature=1" } else { "" }
    ));
    app.output.json(&json!({ "out": flags.out, "examples": pairs, "tokens": tokens, "bytes": manifest.bytes() }))?;
    Ok(())
}

/// Shows the progress in a bar, which begins at what an earlier call has scored.
fn show(bar: &mut Option<ProgressBar>, progress: CacheProgress) {
    let CacheProgress { tokens, total } = progress;
    let bar = bar.get_or_insert_with(|| {
        let bar = console::bar(Some(total as u64), "{bar:30} {human_pos}/{human_len} tokens, {per_sec}, {eta} left");
        bar.set_position(tokens as u64);
        bar.reset_eta();
        bar
    });
    bar.set_position(tokens as u64);
}
