//! The teacher of a distillation: a model, a cache of its distributions, or both.

use std::path::PathBuf;

use burn::module::Module;
use wheels_distill::{
    CacheManifest, Mixture, RolloutConfig, RolloutSampler, TeacherCache, TokenPairs, TokenizedDataset, weights_digest,
};
use wheels_lm::{LanguageModel, Pretrained};
use wheels_student::Student;

use crate::{Error, TextModel};

/// The teacher of a distillation. At least one of the fields is set.
pub(crate) struct TeacherInput {
    /// The teacher itself.
    pub(crate) model: Option<TextModel>,
    /// The folder of a cache. If it is set, training takes the teacher's distributions from there.
    pub(crate) cache: Option<PathBuf>,
}

impl TeacherInput {
    /// The student and the teacher with the same end tokens. The files of a cache are not checked yet.
    ///
    /// # Errors
    /// [`Error::Vocabularies`] if they do not have the same tokenizer, and [`Error::Distill`] if the cache is not complete
    /// or was made by another teacher.
    pub(crate) fn paired_with(self, student: TextModel) -> Result<(TextModel, Self), Error> {
        let Self { model, cache } = self;
        let manifest = cache.as_ref().map(CacheManifest::of_folder).transpose()?;
        if let (Some(manifest), Some(folder), Some(teacher)) = (&manifest, &cache, &model) {
            manifest.check_teacher(folder, &weights_digest(&teacher.model))?;
        }
        match (model, manifest) {
            (Some(teacher), _) => {
                let (student, teacher) = student.paired_with(teacher)?;
                Ok((student, Self { model: Some(teacher), cache }))
            }
            (None, manifest) => {
                let ends = manifest.map(|manifest| manifest.eos).unwrap_or_default();
                Ok((student.ending_at(&ends), Self { model: None, cache }))
            }
        }
    }

    /// Leaves out the texts that the student would write, for which a cache has no distributions.
    pub(crate) fn limit(&self, config: &mut RolloutConfig) {
        let Mixture { teacher_fraction, on_policy_fraction, .. } = config.mixture;
        if self.cache.is_some() && teacher_fraction == 0.0 && on_policy_fraction > 0.0 {
            log::warn!(
                "the student writes no texts in this run: the cache has the teacher's distributions for references"
            );
            config.mixture = Mixture::references();
        }
    }

    /// The cache, opened for the pairs of a run. None without a cache.
    ///
    /// # Errors
    /// [`Error::Distill`] if a file is missing or damaged, or if the cache lacks some of the pairs.
    pub(crate) fn open_cache(
        &self,
        pairs: &dyn TokenPairs,
        student: &TextModel,
    ) -> Result<Option<TeacherCache>, Error> {
        let Some(folder) = &self.cache else { return Ok(None) };
        let device = LanguageModel::device(&student.model.valid());
        Ok(Some(TeacherCache::open(folder, pairs, &device)?))
    }

    /// The sampler of a run, with its cache if there is one.
    ///
    /// # Errors
    /// [`Error::Distill`] if the cache does not fit the configuration.
    pub(crate) fn sampler<'s>(
        &'s self,
        cache: Option<&'s TeacherCache>,
        config: &RolloutConfig,
        pairs: &'s TokenizedDataset<'_>,
        student: &TextModel,
    ) -> Result<RolloutSampler<'s, Student<Pretrained>>, Error> {
        let help_token = student.tokenizer.help_token("teacher").ok();
        let (config, excluded) = (config.clone(), student.suppressed_ids());
        match (cache, &self.model) {
            (Some(cache), _) => Ok(RolloutSampler::from_cache(config, pairs, cache, help_token, excluded)?),
            (None, Some(teacher)) => Ok(RolloutSampler::new(config, pairs, &teacher.model, help_token, excluded)),
            (None, None) => Err(Error::NoTeacher),
        }
    }
}
