//! Scoring a dataset with a teacher behind a server.

use std::error::Error as StdError;
use std::path::Path;

use wheels_distill::{
    CacheManifest, CacheProgress, TeacherCacheConfig, TokenPair, TokenPairs, TopKCacheWriter, TopKTeacher,
    TopKVocabulary, TopTokenList,
};
use wheels_lm::LanguageModel;
use wheels_remote::RemoteTeacher;

use crate::{Error, TextModel, TrainingData};

impl TextModel {
    /// Scores the targets of a dataset with a teacher behind a server, and writes its most likely tokens into a folder, with
    /// which [`Distillation::from_cache`](crate::Distillation::from_cache) trains this student, as
    /// [`Pair::cache_teacher`](crate::Pair::cache_teacher) does with a teacher on this machine. The server must have this
    /// student's tokenizer. Examples with more than `max_tokens` tokens on either side are left out.
    ///
    /// A server gives log-probs at the temperature 1, so the temperature of `config` and
    /// [`RolloutConfig::teacher_temperature`](wheels_distill::RolloutConfig) of the run must be 1. A second call with the same
    /// arguments goes on where the first one was interrupted.
    ///
    /// # Errors
    /// [`Error::Distill`] as for [`Pair::cache_teacher`](crate::Pair::cache_teacher), and if the teacher fails.
    pub fn cache_remote_teacher<'d>(
        &self,
        teacher: &RemoteTeacher,
        data: impl Into<TrainingData<'d>>,
        max_tokens: usize,
        config: &TeacherCacheConfig,
        folder: impl AsRef<Path>,
        on_progress: &mut dyn FnMut(CacheProgress),
    ) -> Result<CacheManifest, Error> {
        let folder = folder.as_ref();
        let pairs = data.into().tokenise(self, self.text_limit(max_tokens), folder)?;
        let pairs = pairs.with_target_start(self.generation.forced_bos_token_id());
        log::info!("scoring {} pairs with {}", pairs.count(), teacher.identity());
        let first_help = self.tokenizer.help_tokens().first().map(|(_, id)| *id as usize);
        let size = first_help.unwrap_or_else(|| self.tokenizer.vocab_size());
        let vocabulary = TopKVocabulary { size, excluded: self.suppressed_ids() };
        let special = (self.tokenizer.pad(), self.model.spec().eos.clone());
        let scored = Scored(teacher);
        let writer = TopKCacheWriter::new(config.clone(), &pairs, &scored, vocabulary, special);
        Ok(writer.write(folder, on_progress)?)
    }
}

struct Scored<'a>(&'a RemoteTeacher);

impl TopKTeacher for Scored<'_> {
    fn identity(&self) -> String {
        self.0.identity()
    }

    fn score(&self, pairs: &[TokenPair], k: usize) -> Result<Vec<Vec<TopTokenList>>, Box<dyn StdError + Send + Sync>> {
        let pairs: Vec<(&[u32], &[u32])> =
            pairs.iter().map(|pair| (pair.source.as_slice(), pair.target.as_slice())).collect();
        Ok(self.0.score(&pairs, k)?)
    }
}
