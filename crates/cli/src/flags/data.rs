//! How data files are read.

use std::path::Path;

use training_wheels::text::{Dataset, DatasetOptions, ExampleStream, TextError};
use wheels_text::ReadProgress;

use crate::screen::console;

/// How a command reads its data files.
#[derive(clap::Args)]
#[command(next_help_heading = "Data")]
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
                console::bar(None, "{msg} {bar:30} {bytes}/{total_bytes} {elapsed}<{eta}").with_message(message.clone())
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
