//! A student and its teacher, ready to work together.

use std::path::Path;

use burn::tensor::Device;

use crate::decode::{Asking, BudgetedDecoder, HelpDesk, Policy, Side, Teacher};
use crate::embedded::Embedded;
use crate::{Bundle, Error};

/// A student, its teacher, and the token by which one calls the other.
#[derive(Debug)]
pub struct Models {
    /// The student.
    pub student: Bundle,
    /// The teacher.
    pub teacher: Bundle,
    /// The student's help token of the name `teacher`.
    pub help: u32,
}

impl Models {
    /// Opens two folders.
    ///
    /// # Errors
    /// As [`Bundle::from_dir`] and [`Bundle::check_teacher`], and where the student has no help token of the name.
    pub fn from_dirs(student: impl AsRef<Path>, teacher: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        Self::new(Bundle::from_dir(student, device)?, Bundle::from_dir(teacher, device)?)
    }

    /// Opens models that come with this crate.
    ///
    /// # Errors
    /// As [`from_dirs`](Self::from_dirs).
    pub fn embedded(models: &Embedded, device: &Device) -> Result<Self, Error> {
        Self::new(Bundle::from_files(&models.student, device)?, Bundle::from_files(&models.teacher, device)?)
    }

    /// Opens the folders of a student and a teacher where there are any, and else models that come with this crate.
    ///
    /// # Errors
    /// As [`from_dirs`](Self::from_dirs).
    pub fn open(folders: Option<(&Path, &Path)>, otherwise: &Embedded, device: &Device) -> Result<Self, Error> {
        match folders {
            Some((student, teacher)) => Self::from_dirs(student, teacher, device),
            None => Self::embedded(otherwise, device),
        }
    }

    /// Puts a student and its teacher together.
    ///
    /// # Errors
    /// [`Error::Vocabularies`] where they differ in a word, and where the student has no help token of the name.
    pub fn new(student: Bundle, teacher: Bundle) -> Result<Self, Error> {
        student.check_teacher(&teacher)?;
        Ok(Self { help: student.tokenizer.help_token("teacher")?, student, teacher })
    }

    /// The student, greedy, which asks its teacher by a rule.
    pub fn asking(&self, rule: Asking) -> BudgetedDecoder<'_> {
        self.asking_of(Teacher::new(&self.teacher.model), rule)
    }

    /// The student, greedy, which asks a teacher of its teacher's model by a rule.
    pub fn asking_of<'a>(&'a self, teacher: Teacher<'a>, rule: Asking) -> BudgetedDecoder<'a> {
        let desk = HelpDesk::new().with(self.help, teacher);
        let policy = Policy::greedy(&self.student.model).asking(rule);
        BudgetedDecoder::new(policy, desk).with_format(&self.student.format)
    }

    /// The student's own greedy texts.
    pub fn student_alone(&self) -> BudgetedDecoder<'_> {
        self.alone(&self.student, Side::Student)
    }

    /// The teacher's own greedy texts.
    pub fn teacher_alone(&self) -> BudgetedDecoder<'_> {
        self.alone(&self.teacher, Side::Expert)
    }

    fn alone<'a>(&'a self, bundle: &'a Bundle, side: Side) -> BudgetedDecoder<'a> {
        let policy = Policy::greedy(&bundle.model).asking(Asking::Never).reading(side);
        BudgetedDecoder::new(policy, HelpDesk::new().closed(self.help)).with_format(&self.student.format)
    }
}
