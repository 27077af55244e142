//! Splits of a corpus: training, validation and test.

use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use training_wheels::text::{Dataset, Example, TextError};

/// A corpus in three splits. All examples of a group are in the same split.
#[derive(Debug)]
pub(crate) struct Splits {
    /// Examples for training, about 96%.
    pub(crate) train: Dataset,
    /// Examples for choosing settings, about 2%.
    pub(crate) valid: Dataset,
    /// Examples for the reported results, about 2%.
    pub(crate) test: Dataset,
}

impl Splits {
    /// Splits examples by the first byte of the MD5 of their group's name: 0 to 4 test, 5 to 9 validation, else train.
    ///
    /// The split of a group depends only on its name. So if the corpus is made again from newer lists, no group moves
    /// from the test split to the training split.
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

    /// The splits with their names.
    pub(crate) fn parts(&self) -> [(&'static str, &Dataset); 3] {
        [("train", &self.train), ("valid", &self.valid), ("test", &self.test)]
    }

    /// Writes `NAME.train.jsonl`, `NAME.valid.jsonl` and `NAME.test.jsonl` into a folder and returns their paths.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn save(&self, folder: &Path, name: &str) -> Result<Vec<PathBuf>, TextError> {
        let mut paths = Vec::new();
        for (part, dataset) in self.parts() {
            let path = folder.join(format!("{name}.{part}.jsonl"));
            dataset.save_jsonl(&path)?;
            paths.push(path);
        }
        Ok(paths)
    }
}
