//! A distillation in its folder: what is trained, what is found on validation texts, and what is saved.

use std::path::Path;

use burn::config::Config as _;
use wheels_decode::PromptSide;
use wheels_distill::{
    BatchSource, HelpHeadConfig, TeacherCache, TokenizedDataset, Trainer, TrainingOutcome, WorkProgress, Workers,
};
use wheels_eval::Evaluation;
use wheels_lm::{FloatFormat, Pretrained};
use wheels_student::{Prices, Student};
use wheels_text::{Dataset, HelpBudget, Seed};

use crate::callbacks::{Callbacks, OnStep};
use crate::setup::{SETTINGS, Setup};
use crate::teacher_input::TeacherInput;
use crate::text_model::{read_json, save_json, save_or_remove};
use crate::{BudgetReport, DistillationConfig, Error, Pair, TextModel};

/// The name of the file with the budget reports, which a finished run has.
const BUDGETS: &str = "budgets.json";

/// A run in its folder.
pub(crate) struct Run<'a> {
    pub(crate) setup: &'a Setup,
    /// None if there is only a cache.
    pub(crate) teacher: Option<&'a TextModel>,
    pub(crate) folder: &'a Path,
}

impl Run<'_> {
    /// A student of this run.
    pub(crate) fn student(&self, model: &Student<Pretrained>, prices: Option<Prices>) -> TextModel {
        TextModel { model: model.clone(), calibration: None, prices, ..self.setup.base.clone() }
    }

    /// A student of this run with its teacher.
    pub(crate) fn pair(&self, student: TextModel) -> Option<Pair> {
        Some(Pair { student, teacher: self.teacher?.clone(), help_token: self.setup.help_token })
    }

    /// Writes everything but the weights, so that the folder of an unfinished run shows its settings.
    pub(crate) fn save_settings(&self) -> Result<(), Error> {
        self.setup.base.tokenizer.save(self.folder)?;
        self.setup.base.template.save(self.folder)?;
        self.setup.base.generation.save(self.folder)?;
        save_json(&self.setup.config, self.folder.join(SETTINGS))
    }

    /// Whether the folder has the settings of this run.
    pub(crate) fn has_saved_settings(&self) -> bool {
        let json = |config: &DistillationConfig| serde_json::to_value(config).expect("a config serialises");
        DistillationConfig::load(self.folder.join(SETTINGS)).is_ok_and(|saved| json(&saved) == json(&self.setup.config))
    }

    /// Trains, with the chrF of the student under one budget as the validation score.
    pub(crate) fn train<B: BatchSource<Pretrained>>(
        &self,
        trainer: &mut Trainer<'_, Pretrained, B>,
        valid: &Dataset,
        on_step: &mut OnStep<'_>,
    ) -> Result<TrainingOutcome, Error> {
        let texts = valid.clone().take(self.setup.config.valid_texts);
        let evaluation = Evaluation::new(&texts, &self.setup.base.tokenizer, &self.setup.base.template);
        let helped = self.setup.asks && self.teacher.is_some();
        let budget = HelpBudget::percent(if helped { self.setup.config.valid_budget } else { 0 });
        let mut validate = |model: &Student<Pretrained>| {
            let student = self.student(model, None);
            let pair = self.pair(student.clone()).filter(|_| helped);
            // With enforcement, a student that asks too often gains nothing by it.
            let decoder = pair.as_ref().map_or_else(|| student.decoder_for(PromptSide::Student), Pair::decoder);
            let output = evaluation.run(&decoder, &evaluation.prompts(budget)?, Seed(0))?;
            Ok(evaluation.stats(&output).scores().chrf)
        };
        Ok(trainer.train(&mut validate, on_step)?)
    }

    /// The format of the student's weights in files.
    pub(crate) fn format(&self) -> FloatFormat {
        if self.setup.config.half_precision { FloatFormat::F16 } else { FloatFormat::F32 }
    }

    /// A student with the heads that the folder has, and with the prices to which they were fitted.
    pub(crate) fn with_saved_help(&self, student: TextModel, prices: Option<Prices>) -> Result<TextModel, Error> {
        let Some(help_token) = self.setup.help_token else { return Ok(student) };
        Ok(TextModel { model: student.model.with_heads_in(self.folder, help_token)?, prices, ..student })
    }

    /// Fits the help head to training texts, if the configuration says so.
    pub(crate) fn fit_help_head(
        &self,
        student: TextModel,
        teacher: &TeacherInput,
        cache: Option<&TeacherCache>,
        pairs: &TokenizedDataset<'_>,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<TextModel, Error> {
        let Setup { base, config, .. } = self.setup;
        let default = config.heads_only.then(HelpHeadConfig::new);
        let Some(fit) = config.help_head.clone().or(default) else { return Ok(student) };
        let sampler = teacher.sampler(cache, &config.rollout, pairs, base)?;
        let workers = Workers::new(config.trainer.workers)?;
        let (model, found) = sampler.fit_help_head(&student.model, &fit, &workers, callbacks.progress.get_mut())?;
        if let Some(found) = found {
            let [fitted, trained, max_prob] = [found.fitted, found.trained, found.max_prob].map(|share| 100.0 * share);
            log::info!(
                "help head: fitted to {} tokens, it catches {fitted:.1}% of the regret at the 5, 10 and 20% of {} held-out \
                 tokens where it asks first (mean); the trained head {trained:.1}%, max-prob {max_prob:.1}%. {}",
                found.tokens,
                found.held_out,
                if found.is_better() { "It replaces the trained head." } else { "The trained head remains." }
            );
        }
        Ok(TextModel { model, ..student })
    }

    /// Finds the prices of help on the validation texts, and fits the student's price head to them.
    pub(crate) fn fit_prices(
        &self,
        student: TextModel,
        teacher: &TeacherInput,
        valid: &Dataset,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<TextModel, Error> {
        let Setup { base, config, .. } = self.setup;
        let pairs = TokenizedDataset::new(valid, &base.tokenizer, &base.template, self.setup.max_tokens(teacher))?;
        let pairs = pairs.with_target_start(config.rollout.forced_bos_token_id);
        let sampler = teacher.sampler(None, &config.rollout, &pairs, base)?;
        let workers = Workers::new(config.trainer.workers)?;
        let mut fit = config.prices.clone();
        if config.trainer.steps > 0 {
            fit.steps = fit.steps.min(10 * config.trainer.steps);
        }
        let on_progress = callbacks.progress.get_mut();
        let (model, prices) = sampler.fit_prices(&student.model, &fit, &workers, on_progress)?;
        Ok(TextModel { model, prices: Some(prices), ..student })
    }

    /// Calibrates the student unless it has been calibrated, and reports how it uses its budgets.
    pub(crate) fn calibrate(
        &self,
        pair: &mut Pair,
        valid: &Dataset,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Vec<BudgetReport>, Error> {
        let Callbacks { trial, report: on_report, progress: on_progress, .. } = callbacks;
        let path = self.folder.join(BUDGETS);
        if pair.student.calibration.is_none() {
            save_or_remove(&None::<()>, path.clone())?;
            let calibration = pair.calibrate(valid, &self.setup.config.calibration, trial)?;
            TextModel::save_calibration(&calibration, self.folder)?;
            pair.student.calibration = Some(calibration);
        } else if let Some(budgets) = read_json::<Vec<BudgetReport>>(&path, "remove it, and it is made again")? {
            budgets.iter().for_each(on_report);
            return Ok(budgets);
        }
        let student = TextModel { calibration: None, ..pair.student.clone() };
        let uncalibrated = Pair { student, ..pair.clone() };
        let texts = valid.clone().take(self.setup.config.calibration.texts);
        let measured = &self.setup.config.report_budgets;
        log::info!("measuring the help used under {} budgets", measured.len());
        let on_progress = on_progress.get_mut();
        let total = BudgetReport::PARTS * measured.len();
        let mut progress = WorkProgress { work: "budget report", done: 0, total };
        on_progress(progress);
        let mut budgets = Vec::new();
        for &percent in measured {
            let report = BudgetReport::measure(pair, &uncalibrated, &texts, percent, &mut || {
                progress.done += 1;
                on_progress(progress);
            })?;
            on_report(&report);
            budgets.push(report);
        }
        save_json(&budgets, path)?;
        Ok(budgets)
    }
}
