//! What the examples share: logging, error messages, and the texts that they read.

#[path = "console.rs"]
pub(crate) mod console;
#[path = "flag_names.rs"]
mod flag_names;

use std::error::Error;
use std::io::{BufRead, IsTerminal, stderr, stdin};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use env_logger::{Builder, Env, Target, WriteStyle};
use indicatif::{ProgressBar, ProgressStyle};
use training_wheels::distill::FolderContent;
use training_wheels::text::{Dataset, DatasetOptions, ExampleStream, ReadProgress, TextError, write_atomically};

/// Runs an example with its flags and with logging on, and prints an error with its causes in one line.
pub(crate) fn main<F: clap::Parser>(run: impl FnOnce(F) -> Result<(), Box<dyn Error>>) -> ExitCode {
    let flags = F::parse();
    // wgpu logs an error for each driver that it skips. RUST_LOG=error shows them.
    let filter = "warn,train=info,distill=info,training_wheels=info,wheels_text=info,wheels_distill=info,wgpu_hal=off";
    let has_colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Builder::from_env(Env::default().default_filter_or(filter))
        .format_timestamp(None)
        .target(Target::Pipe(Box::new(console::Log(F::command()))))
        .write_style(if has_colours { WriteStyle::Always } else { WriteStyle::Never })
        .init();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = training_wheels::report(error.as_ref());
            console::clear();
            eprintln!("error: {}", flag_names::with_flags(&message, &F::command()));
            ExitCode::FAILURE
        }
    }
}

/// How a program reads its data files.
#[derive(clap::Args)]
#[allow(dead_code)]
pub(crate) struct DataFlags {
    /// The field of the source text, such as `article` or `translation.en`. If absent: `source`, or that of a common layout
    /// (input and output, question and answer, messages, ...).
    #[arg(long = "source-field", id = "source", value_name = "FIELD")]
    pub(crate) source_field: Option<String>,
    /// The field of the target text, such as `summary` or `translation.it`. Needed with `--source-field`, unless that is a
    /// conversation.
    #[arg(long = "target-field", id = "target", value_name = "FIELD")]
    pub(crate) target_field: Option<String>,
    /// Skip lines of the data that cannot be read, and log their number.
    #[arg(long)]
    skip_bad: bool,
}

#[allow(dead_code)]
impl DataFlags {
    /// Opens JSON lines, a JSON list, CSV or TSV, also with gzip.
    pub(crate) fn open(&self, path: &Path) -> Result<Dataset, TextError> {
        Dataset::open_with(path, &self.options())
    }

    /// Opens a file that may be larger than memory. A bar shows how much of it is read. `work` is what is done with it.
    pub(crate) fn stream(&self, path: &Path, work: &str) -> Result<ExampleStream, TextError> {
        let message = format!("{work} {}", path.display());
        let mut bar = None;
        Ok(Dataset::stream(path, &self.options())?.on_read(move |ReadProgress { bytes, total }| {
            let bar = bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {elapsed}<{eta}");
                let style = style.expect("the template of the bar is valid");
                console::draw(ProgressBar::no_length().with_style(style).with_message(message.clone()))
            });
            total.into_iter().for_each(|total| bar.set_length(total));
            bar.set_position(bytes);
            if Some(bytes) == total {
                bar.finish_and_clear();
            }
        }))
    }

    fn options(&self) -> DatasetOptions {
        let Self { source_field, target_field, skip_bad } = self;
        DatasetOptions { source: source_field.clone(), target: target_field.clone(), skip_bad: *skip_bad }
    }
}

/// The folder of a model: the given one, or that of a model of the hub, which is downloaded with a progress bar.
#[allow(dead_code)]
pub(crate) fn model_folder(name: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut bar = None;
    let folder = training_wheels::hub::fetch(name, |progress| {
        let bar = bar.get_or_insert_with(|| {
            let style = "{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
            let style = ProgressStyle::with_template(style).expect("the template of the bar is valid");
            console::draw(ProgressBar::no_length().with_style(style))
        });
        if bar.message() != progress.file {
            bar.set_message(progress.file.to_owned());
            bar.set_position(progress.done);
            bar.reset_eta();
        }
        progress.total.into_iter().for_each(|total| bar.set_length(total));
        bar.set_position(progress.done);
    })?;
    bar.iter().for_each(ProgressBar::finish_and_clear);
    Ok(folder)
}

/// As [`model_folder`]. The folder of a run that has no model yet is an error.
#[allow(dead_code)]
pub(crate) fn trained_model_folder(name: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let folder = model_folder(name)?;
    let has = |file: &str| folder.join(file).exists();
    if FolderContent::of(&folder)? == FolderContent::TeacherCache {
        let folder = folder.display();
        return Err(
            format!("{folder} is the cache of a teacher and no model: give it to distill --teacher-cache").into()
        );
    }
    if has("command.txt") && !has("config.json") && !has("adapter_config.json") {
        let folder = folder.display();
        return Err(format!(
            "{folder} has no model yet: it is the folder of a run that has not ended; the command in {folder}/command.txt \
             goes on with it"
        )
        .into());
    }
    Ok(folder)
}

/// Writes command.txt into the folder of a run: the command line of this program, with which the run goes on.
#[allow(dead_code)]
pub(crate) fn save_command(folder: &Path) -> Result<(), TextError> {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let example = Path::new(&program).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let is_plain =
        |word: &String| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=,%@".contains(&byte));
    let quoted = words.map(|word| if is_plain(&word) { word } else { format!("'{}'", word.replace('\'', "'\\''")) });
    let command: Vec<String> = quoted.collect();
    let text = format!(
        "# If the run is stopped, this command goes on from its last checkpoint.\n\
         cargo run --release --example {example} -- {}\n",
        command.join(" ")
    );
    write_atomically(folder.join("command.txt"), text)
}

/// Checks that an output folder has nothing that would be replaced or mixed with other files. `own` is what the program
/// itself writes, with which it goes on.
#[allow(dead_code)]
pub(crate) fn check_out(folder: &Path, own: FolderContent) -> Result<(), Box<dyn Error>> {
    match (FolderContent::of(folder)?, folder.display()) {
        (FolderContent::File, folder) => Err(format!("{folder} is a file: give a folder as --out").into()),
        (content, folder) if content != FolderContent::Free && content != own => {
            Err(format!("{folder} has {content}: give another folder as --out").into())
        }
        _ => Ok(()),
    }
}

/// A fraction as a percentage with as many decimals as it needs, at most two.
#[allow(dead_code)]
pub(crate) fn percent(fraction: f64) -> String {
    format!("{}%", (10_000.0 * fraction).round() / 100.0)
}

/// Removes the folder of a run that was not started.
#[allow(dead_code)]
pub(crate) fn remove_if_empty(folder: &Path) {
    // A folder with files stays.
    let _ = std::fs::remove_dir(folder);
}

/// The lines of standard input that are not blank. Empty if standard input is a terminal.
#[allow(dead_code)]
pub(crate) fn piped_lines() -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = Vec::new();
    if !stdin().is_terminal() {
        for (index, line) in stdin().lock().lines().enumerate() {
            let line = line.map_err(|error| format!("standard input, line {}: {error}", index + 1))?;
            if !line.trim().is_empty() {
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

/// The first `count` sources of a sample (JSON lines) that end in a full stop and have a number of words in `words`.
#[allow(dead_code)]
pub(crate) fn short_texts(
    sample: &str,
    words: RangeInclusive<usize>,
    count: usize,
) -> Result<Vec<String>, Box<dyn Error>> {
    let sample = Dataset::from_reader(sample.as_bytes(), "the sample")?;
    let sources = sample.into_iter().map(|example| example.source);
    let whole = |text: &String| text.ends_with('.') && words.contains(&text.split_whitespace().count());
    Ok(sources.filter(whole).take(count).collect())
}
