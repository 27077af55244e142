//! Scoring a dataset with a teacher once.

use std::path::Path;

use wheels_distill::{CacheManifest, CacheProgress, TeacherCacheConfig, TeacherCacheWriter, TokenPairs, Workers};
use wheels_lm::LanguageModel;

use crate::host::default_workers;
use crate::{Error, Pair, TrainingData};

impl Pair {
    /// Scores the targets of a dataset with the teacher, and writes its distributions into a folder, with which
    /// [`Distillation::from_cache`](crate::Distillation::from_cache) trains students. The student of this pair gives the
    /// prompts: all students must have its tokenizer and its prompt template, apart from budgets.
    ///
    /// `max_tokens` is the largest number of tokens on either side of an example. Longer ones are left out. A second call
    /// with the same arguments goes on where the first one was interrupted.
    ///
    /// # Errors
    /// [`Error::Distill`] if a text cannot be used, if the folder has a cache of other data, of another teacher or with
    /// other settings, if the teacher's numbers cannot be kept, or if a file cannot be written.
    pub fn cache_teacher<'d>(
        &self,
        data: impl Into<TrainingData<'d>>,
        max_tokens: usize,
        config: &TeacherCacheConfig,
        folder: impl AsRef<Path>,
        on_progress: &mut dyn FnMut(CacheProgress),
    ) -> Result<CacheManifest, Error> {
        let Self { student, teacher, .. } = self;
        let max_tokens = teacher.text_limit(student.text_limit(max_tokens));
        let folder = folder.as_ref();
        let pairs = data.into().tokenise(student, max_tokens, folder)?;
        let pairs = pairs.with_target_start(student.generation.forced_bos_token_id());
        log::info!("scoring {} pairs with the teacher", pairs.count());
        let workers = Workers::new(default_workers(&LanguageModel::device(&teacher.model)))?;
        let writer = TeacherCacheWriter::new(config.clone(), &pairs, &teacher.model, &student.suppressed_ids());
        Ok(writer.write(folder, &workers, on_progress)?)
    }
}
