//! The tasks of the sample models.

use std::error::Error;
use std::ops::RangeInclusive;

use clap::ValueEnum;
use training_wheels::text::Dataset;
use wheels_embedded::{EmbeddedPair, SUMMARY, TRANSLATION};

/// The task of the sample models, which are part of the program.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Task {
    /// English to Italian.
    Translation,
    /// Package descriptions to one line.
    Summary,
}

impl Task {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Translation => "translation",
            Self::Summary => "summary",
        }
    }

    pub(crate) fn embedded(self) -> EmbeddedPair {
        match self {
            Self::Translation => TRANSLATION,
            Self::Summary => SUMMARY,
        }
    }

    /// The number of words of short texts, which suit the small models, and how many of them are shown.
    pub(crate) fn short(self) -> (RangeInclusive<usize>, usize) {
        match self {
            Self::Translation => (4..=8, 6),
            Self::Summary => (20..=40, 4),
        }
    }

    /// Short texts of the sample, which no model was trained on. They end in a full stop.
    pub(crate) fn short_texts(self) -> Result<Vec<String>, Box<dyn Error>> {
        let (words, count) = self.short();
        let sample = Dataset::from_reader(self.embedded().sample.as_bytes(), "the sample")?;
        let sources = sample.into_iter().map(|example| example.source);
        let whole = |text: &String| text.ends_with('.') && words.contains(&text.split_whitespace().count());
        Ok(sources.filter(whole).take(count).collect())
    }
}
