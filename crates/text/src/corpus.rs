//! Corpora that anyone can make again from public data.

use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use crate::{Dataset, Example, TextError};

mod debian;
mod stanza;

pub use debian::{DebianArchive, DebianLists};

/// A corpus cut into three parts that share no group of examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splits {
    /// Examples to learn from, about 96%.
    pub train: Dataset,
    /// Examples to choose settings with, about 2%.
    pub valid: Dataset,
    /// Examples to report on, about 2%.
    pub test: Dataset,
}

impl Splits {
    /// Cuts examples by the first byte of the MD5 of their group's name: below 5 test, below 10 valid, else train.
    ///
    /// The part of a group depends on its name alone, so that a corpus made again later keeps its parts apart.
    pub(crate) fn by_group<'a>(examples: impl IntoIterator<Item = (&'a str, Example)>) -> Self {
        let [mut train, mut valid, mut test] = [const { Vec::new() }; 3];
        for (group, example) in examples {
            match Md5::digest(group)[0] {
                0..5 => test.push(example),
                5..10 => valid.push(example),
                _ => train.push(example),
            }
        }
        Self {
            train: train.into_iter().collect(),
            valid: valid.into_iter().collect(),
            test: test.into_iter().collect(),
        }
    }

    /// The parts with their names.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, &Dataset); 3] {
        [("train", &self.train), ("valid", &self.valid), ("test", &self.test)]
    }

    /// Writes `NAME.train.jsonl`, `NAME.valid.jsonl` and `NAME.test.jsonl` into a folder, each atomically, and returns
    /// their paths.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>, name: &str) -> Result<Vec<PathBuf>, TextError> {
        self.parts()
            .into_iter()
            .map(|(part, dataset)| {
                let path = folder.as_ref().join(format!("{name}.{part}.jsonl"));
                dataset.save_jsonl(&path)?;
                Ok(path)
            })
            .collect()
    }
}
