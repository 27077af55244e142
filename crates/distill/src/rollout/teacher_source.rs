//! Where the teacher's distributions come from.

use wheels_lm::LanguageModel;

use crate::{DistillError, TeacherCache};

/// A teacher, or a cache of its distributions.
pub(super) enum TeacherSource<'a, T> {
    Model(&'a T),
    Cache(&'a TeacherCache),
}

impl<'a, T: LanguageModel> TeacherSource<'a, T> {
    /// The teacher itself, which writes texts and answers.
    ///
    /// # Errors
    /// [`DistillError::CacheNeedsTeacher`] if there is only a cache.
    pub(super) fn model(&self) -> Result<&'a T, DistillError> {
        match *self {
            Self::Model(teacher) => Ok(teacher),
            Self::Cache(_) => {
                let remedy = "give the teacher, or use references only";
                Err(DistillError::CacheNeedsTeacher { what: "writing texts", remedy })
            }
        }
    }

    pub(super) fn pad(&self) -> u32 {
        match self {
            Self::Model(teacher) => teacher.spec().pad,
            Self::Cache(cache) => cache.manifest().pad,
        }
    }

    pub(super) fn vocab_size(&self) -> usize {
        match self {
            Self::Model(teacher) => teacher.spec().vocab_size,
            Self::Cache(cache) => cache.manifest().vocab_size,
        }
    }
}
