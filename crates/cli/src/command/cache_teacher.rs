//! `wheels cache-teacher`: the distributions of a teacher, scored once.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use indicatif::ProgressBar;
use serde_json::json;
use training_wheels::TrainingData;
use training_wheels::distill::{CacheContent, CacheManifest, CacheProgress, FolderContent, TeacherCacheConfig};
use training_wheels::prelude::*;
use wheels_embedded::TRANSLATION;

use super::Outcome;
use crate::command_line::App;
use crate::flags::{DataFlags, ModelFlags, at_least_1};
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
    /// The folder of the teacher, or a model of the hub (owner/name). If absent: the embedded teacher.
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// The folder or hub name of a student, if its prompt template is not that of the teacher.
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
    /// The number of most likely tokens to keep at each position, with the mass of all others.
    #[arg(long, default_value_t = 64, value_parser = at_least_1())]
    top_k: usize,
    /// Keep the teacher's hidden states and its output head, which give the whole distribution.
    #[arg(long, conflicts_with = "top_k")]
    hidden: bool,
    /// Keep numbers in f32 instead of f16.
    #[arg(long)]
    full_precision: bool,
    /// The temperature of the teacher's distribution (`rollout.teacher_temperature` of distill).
    #[arg(long, default_value_t = 0.7)]
    temperature: f64,
    /// The largest number of tokens on either side of an example (`max_tokens` of distill). Longer ones are left out.
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// The largest size of a file, megabytes. An interrupted run loses at most one file.
    #[arg(long, default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    file_mb: usize,
    #[command(flatten)]
    models: ModelFlags,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    run::check_out(&flags.out, FolderContent::TeacherCache)?;
    let (device, dtype) = flags.models.open()?;
    let teacher = match &flags.teacher {
        Some(folder) => TextModel::open(run::trained_model_folder(folder)?, (&device, dtype))?,
        None => TextModel::from_files("the embedded teacher", TRANSLATION.teacher, (&device, dtype))?,
    };
    let student = match &flags.student {
        Some(folder) => TextModel::open(run::trained_model_folder(folder)?, (&device, dtype))?,
        None => teacher.clone(),
    };
    let pair = Pair::new(student.with_help_token("teacher")?, teacher)?;
    let sample = Dataset::from_reader(TRANSLATION.sample.as_bytes(), "the sample")?;
    let data: TrainingData<'_> = match &flags.data {
        Some(path) => flags.fields.stream(path, "tokenising")?.into(),
        None => (&sample).into(),
    };
    let config = TeacherCacheConfig::new()
        .with_content(if flags.hidden { CacheContent::HiddenStates } else { CacheContent::TopK(flags.top_k) })
        .with_half_precision(!flags.full_precision)
        .with_teacher_temperature(flags.temperature)
        .with_shard_bytes(flags.file_mb << 20);
    let mut bar = None;
    let manifest = pair.cache_teacher(data, flags.max_tokens, &config, &flags.out, &mut |progress| {
        interrupt::enter(interrupt::Phase::Writing);
        // The cache has passed its checks, so that no other command is replaced.
        if bar.is_none() {
            app.invocation.save_or_warn(&flags.out, None);
        }
        show(&mut bar, progress);
    })?;
    bar.iter().for_each(ProgressBar::finish);
    let CacheManifest { pairs, tokens, bytes_per_token, .. } = &manifest;
    let megabytes = manifest.bytes() as f64 / 1e6;
    console::say(format_args!(
        "{bytes_per_token} bytes per token; {tokens} tokens of {pairs} examples take {megabytes:.1} MB\n\
         the cache is in {}: train with wheels distill --teacher-cache {0}",
        flags.out.display()
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
