//! What a distillation is, before anything is trained: a checked student and a complete configuration.

use std::path::Path;

use burn::config::Config as _;
use burn::module::{Module, ModuleDisplay};
use wheels_distill::objective::Objective;
use wheels_distill::{
    DistillError, FolderContent, MemoryPlan, PlannedModel, Rollouts, TeacherCache, TokenizedDataset, TrainerConfig,
};
use wheels_lm::{LanguageModel, Pretrained, WeightFormat};
use wheels_student::Student;

use crate::host::default_workers;
use crate::teacher_input::TeacherInput;
use crate::{DistillationConfig, Error, TextModel, TrainingData};

/// The name of the file with the configuration of a run.
pub(crate) const SETTINGS: &str = "distillation.json";

/// The parts of a run that do not change.
pub(crate) struct Setup {
    /// The student as it was given, with the adapters and the prompt template of the run.
    pub(crate) base: TextModel,
    pub(crate) help_token: Option<u32>,
    /// Whether the run trains the student to ask.
    pub(crate) asks: bool,
    pub(crate) config: DistillationConfig,
}

impl Setup {
    /// Checks that student, teacher, objective and configuration fit together, and completes the configuration.
    ///
    /// # Errors
    /// If they do not, or if the folder belongs to another run.
    pub(crate) fn new(
        student: TextModel,
        teacher: &TeacherInput,
        objective: &dyn Objective,
        mut config: DistillationConfig,
        folder: &Path,
    ) -> Result<Self, Error> {
        let earlier = TrainerConfig::of_run(folder)?;
        let content = FolderContent::of(folder)?;
        if content == FolderContent::Training {
            return Err(DistillError::OtherRun { folder: folder.into(), content }.into());
        }
        config.prices.check()?;
        teacher.limit(&mut config.rollout);
        warn_of_size(&student, teacher);
        let format = student.model.model.format();
        if format != WeightFormat::F32 {
            return Err(Error::StudentFormat { format });
        }
        let needs = objective.requirements();
        let help_token = student.tokenizer.help_token("teacher").ok();
        if needs.help_token && help_token.is_none() {
            return Err(Error::NoHelpToken);
        }
        let asks = help_token.is_some() && objective.trains_help();
        if config.heads_only && !asks {
            return Err(Error::HeadsOnly);
        }
        let mut base = student;
        if let Some(lora) = &config.lora {
            if config.heads_only {
                return Err(Error::HeadsOnlyLora);
            }
            base = base.with_lora(lora)?;
            config.trainer.dropout |= lora.dropout > 0.0;
        }
        same_parameters(folder, &config)?;
        if asks {
            base.template = base.template.stating_budget();
        }
        if !(needs.help_token && needs.value_heads) {
            // Only `ConstrainedPath` trains the price head.
            config.rollout.price_prompts = 0;
        }
        config.rollout.no_repeat_ngram_size = base.generation.no_repeat_ngram_size;
        config.rollout.forced_bos_token_id = base.generation.forced_bos_token_id();

        // The price head must see the whole budget, also if a chat template writes something before it.
        let budget_end = base.template.budget_end(&base.tokenizer)?;
        config.student.budget_tokens = config.student.budget_tokens.max(budget_end);
        complete(&mut config.trainer, earlier, &base);
        Ok(Self { base, help_token, asks, config })
    }

    /// The largest number of tokens on either side of a pair.
    pub(crate) fn max_tokens(&self, teacher: &TeacherInput) -> usize {
        let max_tokens = self.base.text_limit(self.config.max_tokens);
        teacher.model.as_ref().map_or(max_tokens, |teacher| teacher.text_limit(max_tokens))
    }

    /// The training data as tokens.
    ///
    /// # Errors
    /// If the data cannot be read, or no pair is left.
    pub(crate) fn tokenise<'s>(
        &'s self,
        train: TrainingData<'s>,
        teacher: &TeacherInput,
        folder: &Path,
    ) -> Result<TokenizedDataset<'s>, Error> {
        let pairs = train.tokenise(&self.base, self.max_tokens(teacher), folder)?;
        Ok(pairs.with_target_start(self.config.rollout.forced_bos_token_id))
    }

    /// The rollouts of the run, with the prices that the student has learned earlier.
    ///
    /// # Errors
    /// If the cache does not fit the configuration, or if the configuration states no budgets.
    pub(crate) fn rollouts<'s>(
        &self,
        teacher: &'s TeacherInput,
        cache: Option<&'s TeacherCache>,
        pairs: &'s TokenizedDataset<'_>,
    ) -> Result<Rollouts<'s, Student<Pretrained>>, Error> {
        let rollouts = Rollouts::new(teacher.sampler(cache, &self.config.rollout, pairs, &self.base)?)?;
        Ok(match &self.base.prices {
            Some(prices) => rollouts.with_prices(prices)?,
            None => rollouts,
        })
    }

    /// The student on an autodiff device, with heads if it learns to ask.
    pub(crate) fn trainable(&self) -> Student<Pretrained> {
        prepare(self.base.model.clone(), &self.config, self.help_token.filter(|_| self.asks))
    }

    /// The memory that the run needs.
    pub(crate) fn plan<T: LanguageModel + Sync>(
        &self,
        student: &Student<Pretrained>,
        teacher: &TeacherInput,
        rollouts: &Rollouts<'_, T>,
    ) -> Result<MemoryPlan, Error> {
        let DistillationConfig { trainer, rollout, .. } = &self.config;
        let teacher = teacher.model.as_ref().map(|teacher| PlannedModel::new(&teacher.model));
        let teacher = teacher.as_ref().map(|teacher| (teacher, rollout));
        Ok(MemoryPlan::new(trainer, &PlannedModel::new(student), teacher, &rollouts.shapes()?))
    }
}

/// Warns of a student that is not smaller than its teacher.
fn warn_of_size(student: &TextModel, teacher: &TeacherInput) {
    let Some(teacher) = &teacher.model else { return };
    let [student, teacher] = [student, teacher].map(|model| model.model.num_params());
    if student >= teacher {
        log::warn!("the student has {student} parameters and its teacher {teacher}: are they swapped?");
    }
}

/// Sets what a run that goes on keeps, and the number of workers.
fn complete(config: &mut TrainerConfig, earlier: Option<TrainerConfig>, base: &TextModel) {
    if let Some(TrainerConfig { warmup_steps, .. }) = earlier
        && warmup_steps != config.warmup_steps
    {
        // `with_steps` gives short runs a shorter warm-up, so that more steps would be another configuration.
        log::info!("the run keeps the warm-up of {warmup_steps} steps that it was started with");
        config.warmup_steps = warmup_steps;
    }
    if config.workers == 0 {
        config.workers = match earlier {
            Some(earlier) => earlier.workers,
            None => default_workers(&LanguageModel::device(&base.model.valid())),
        };
    }
}

/// Checks that a run in the folder trains the same parameters. Checkpoints have only their numbers.
fn same_parameters(folder: &Path, config: &DistillationConfig) -> Result<(), Error> {
    let path = folder.join(SETTINGS);
    let Ok(saved) = DistillationConfig::load(&path) else { return Ok(()) };
    let lora = |config: &DistillationConfig| serde_json::to_string(&config.lora).expect("a config serialises");
    let heads_only = |config: &DistillationConfig| config.heads_only.to_string();
    for (field, saved, asked) in
        [("lora", lora(&saved), lora(config)), ("heads_only", heads_only(&saved), heads_only(config))]
    {
        if saved != asked {
            let (config, field) = ("DistillationConfig", field.into());
            return Err(DistillError::OtherConfig { path, config, field, saved, asked }.into());
        }
    }
    Ok(())
}

/// The student on an autodiff device, with heads for `help_token` if there is one.
fn prepare<M>(student: Student<M>, config: &DistillationConfig, help_token: Option<u32>) -> Student<M>
where
    M: LanguageModel + Module + ModuleDisplay,
{
    // The student may have been opened on an autodiff device or not; `valid` makes both cases equal.
    let mut student = student.valid().train();
    if let Some(token) = help_token
        && !student.has_heads()
    {
        student = student.with_heads(&config.student, token);
    }
    if config.heads_only { student.with_frozen_model() } else { student }
}
