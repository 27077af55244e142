//! `wheels texts`: the data of sequence-level distillation.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use training_wheels::prelude::*;
use training_wheels::text::Example;
use wheels_text::write_atomically;

use super::Outcome;
use crate::command_line::App;
use crate::flags::{DataFlags, ModelFlags};
use crate::run::{self, interrupt};
use crate::screen::console;

const EXAMPLES: &str = "\
Examples:
  wheels texts --model teacher --data train.jsonl --out teacher-texts.jsonl
  wheels train --init student --data teacher-texts.jsonl --valid valid.jsonl --out trained";

/// Writes a model's texts for the sources of a dataset.
///
/// They are the data of sequence-level distillation. The student may have another tokenizer than the teacher. The same command again goes on where it stopped.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The model: a folder or a model of the hub.
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// The data: JSON lines, a JSON list, CSV or TSV. The targets are not used.
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    fields: DataFlags,
    /// The file for the texts: JSON lines with `source` and `target`. If it exists, the command goes on after its last
    /// text. FILE.writer.json beside it says which model wrote the texts, so that those of several are not mixed.
    #[arg(long)]
    out: PathBuf,
    /// Write texts for this many sources only.
    #[arg(long)]
    limit: Option<usize>,
    /// The number of texts that are written between two writes of the file.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,
    /// The seed of texts that are sampled (`do_sample` in generation_config.json).
    #[arg(long, default_value_t = 7)]
    seed: u64,
    #[command(flatten)]
    models: ModelFlags,
}

pub(crate) fn run(flags: &Flags, app: &App) -> Outcome {
    let (device, dtype) = flags.models.open()?;
    let folder = run::trained_model_folder(&flags.model)?;
    let model = TextModel::open(&folder, (&device, dtype))?;
    let data = flags.fields.open(&flags.data)?.take(flags.limit.unwrap_or(usize::MAX));
    // A source that cannot become a prompt is an error now, and not after hours.
    for (index, example) in data.iter().enumerate() {
        let prompt = model.template.prompt_of(&model.tokenizer, example, HelpBudget::percent(0));
        prompt.map_err(|error| format!("example {}: {error}", index + 1))?;
    }
    let writer = Writer {
        model: flags.model.clone(),
        files: run::hash_folders(&[folder])?,
        dtype: dtype.to_string(),
        seed: flags.seed,
    };
    let mut texts: Vec<Example> = match fs::metadata(&flags.out) {
        Ok(file) if file.len() > 0 => {
            writer.check(&flags.out)?;
            Dataset::open(&flags.out)?.into_iter().collect()
        }
        _ => {
            writer.save(&flags.out)?;
            vec![]
        }
    };
    let done = done(&data, &texts)
        .ok_or_else(|| format!("{} has texts for other data: give another --out", flags.out.display()))?;
    let rest = &data.examples()[done..];
    let bar = console::bar(Some(data.len() as u64), "{bar:30} {pos}/{len} texts, {per_sec}, {eta} left");
    bar.set_position(done as u64);
    bar.reset_eta();
    interrupt::enter(interrupt::Phase::Writing);
    for (index, chunk) in rest.chunks(flags.save_every as usize).enumerate() {
        let seed = Seed(flags.seed).nth((done + index * flags.save_every as usize) as u64);
        texts.extend(model.write_texts(chunk, seed)?);
        texts.iter().cloned().collect::<Dataset>().save_jsonl(&flags.out)?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish();
    let (written, sources) = (texts.len(), data.len());
    console::say(format_args!("{written} texts for {sources} sources in {}", flags.out.display()));
    app.output.json(&json!({ "out": flags.out, "texts": written, "sources": sources }))?;
    Ok(())
}

/// What the texts of a file depend on, besides their sources. It is kept in a file beside them.
#[derive(Serialize, Deserialize)]
struct Writer {
    model: PathBuf,
    /// The hash of the model's files.
    files: String,
    /// The format of the model's matrices.
    dtype: String,
    seed: u64,
}

impl Writer {
    fn path(texts: &Path) -> PathBuf {
        let mut path = texts.as_os_str().to_owned();
        path.push(".writer.json");
        path.into()
    }

    fn save(&self, texts: &Path) -> Result<(), Box<dyn Error>> {
        Ok(write_atomically(Self::path(texts), serde_json::to_string(self)?)?)
    }

    /// Checks that the same model wrote the texts of a file, in the same format and with the same seed.
    fn check(&self, texts: &Path) -> Result<(), Box<dyn Error>> {
        let (path, texts) = (Self::path(texts), texts.display());
        let Ok(json) = fs::read_to_string(&path) else {
            return Err(format!(
                "{texts} has texts, and no {} says who wrote them: give another --out",
                path.display()
            )
            .into());
        };
        let there: Self = serde_json::from_str(&json).map_err(|error| format!("{}: {error}", path.display()))?;
        let difference = if there.files != self.files && there.model == self.model {
            format!("{} before its files changed", self.model.display())
        } else if there.files != self.files {
            format!("another model (--model {})", there.model.display())
        } else if there.dtype != self.dtype {
            format!("the same model in another format (--dtype {})", there.dtype)
        } else if there.seed != self.seed {
            format!("another seed (--seed {})", there.seed)
        } else {
            return Ok(());
        };
        Err(format!("{texts} has texts of {difference}: give another --out").into())
    }
}

/// The number of examples up to the last one that has a text. The texts are in the order of the data, and an example for
/// which the model wrote nothing has none. None if a text belongs to no example.
fn done(data: &Dataset, texts: &[Example]) -> Option<usize> {
    let mut done = 0;
    for text in texts {
        let same = |example: &Example| (&example.source, &example.turns) == (&text.source, &text.turns);
        done += 1 + data.examples()[done..].iter().position(same)?;
    }
    Some(done)
}
