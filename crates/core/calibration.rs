//! Calibration: finding when a student asks, and what its teacher accepts, at given rates of help.

use burn::config::Config;
use serde::{Deserialize, Serialize};
use wheels_decode::{
    BudgetUnit, BudgetedDecoder, Calibration, CalibrationPoint, Confidence, DecodeStats, Decoded, Decoder, Enforcement,
    Expert, FoundThreshold, HelpForecast, Policy, Teacher, ThresholdSearch, Verification,
};
use wheels_eval::{CallCost, Evaluation, PairCost};
use wheels_lm::LanguageModel;
use wheels_text::{Dataset, HelpBudget, Prompt, Seed};

use crate::forecast_accuracy::cross_validate;
use crate::{Error, Pair, TextModel};

/// The configuration of [`Pair::calibrate`].
#[derive(Config, Debug)]
pub struct CalibrationConfig {
    /// The measure of confidence that thresholds apply to.
    #[config(default = "Confidence::HelpLogOdds")]
    pub confidence: Confidence,
    /// The number of texts that are used, from the start of the dataset.
    #[config(default = 300)]
    pub texts: usize,
    /// The rates of help, as fractions of the tokens between 0 and 1, in rising order.
    #[config(default = "vec![0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7]")]
    pub rates: Vec<f64>,
    /// What the teacher may verify, from the most lenient to the strictest. For each rate they are tried in this order,
    /// from the one that was chosen for the rate before, until two in a row give worse texts. Without any, the teacher only
    /// answers. The default is for calls: see [`HelpCost::verifications`].
    #[config(default = "HelpCost::Calls.verifications()")]
    pub verifications: Vec<Verification>,
    /// What help costs. A verification is chosen only if it does not cost more than plain answers at the same rate.
    #[config(default = "HelpCost::Calls")]
    pub cost: HelpCost,
    /// What a rate counts: tokens of the teacher, or its calls.
    #[config(default = "BudgetUnit::Tokens")]
    pub budget_unit: BudgetUnit,
    /// The search for a threshold ends when the help used differs from the rate by at most this fraction of the tokens.
    #[config(default = 0.005)]
    pub tolerance: f64,
    /// The largest number of thresholds to try for each rate and verification.
    #[config(default = 14)]
    pub max_trials: usize,
    /// The number of texts that are decoded together.
    #[config(default = 32)]
    pub batch_size: usize,
}

/// The search for a verification ends when this many in a row did not give better texts.
const PATIENCE: usize = 2;

/// What help costs, for the choice of a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HelpCost {
    /// The calls of the teacher, as for a teacher on another machine.
    #[default]
    Calls,
    /// The tokens that the teacher reads in its calls. The prompt counts only if each call sends it, as to a server.
    Tokens,
    /// The time at batch size 1, from the measured costs of the calls of both models on this machine
    /// ([`PairCost::latency`]). Tokens that are rolled back cost time. Only for a pair.
    Time,
}

impl HelpCost {
    /// The verifications that are worth a trial at this cost, from the most lenient to the strictest. In time, a call that
    /// verifies the end of each text pays only with tolerances of up to 1 nat.
    pub fn verifications(self) -> Vec<Verification> {
        let without_end = |nats| Verification { verify_end: false, ..Verification::regret(nats) };
        let (lenient, strict): (&[f64], &[f64]) = match self {
            Self::Calls | Self::Tokens => (&[5.0], &[5.0, 3.0, 2.0, 1.0, 0.0]),
            Self::Time => (&[5.0, 3.0, 2.0], &[1.0, 0.0]),
        };
        let lenient = lenient.iter().copied().map(without_end);
        lenient.chain(strict.iter().copied().map(Verification::regret)).collect()
    }
}

/// One threshold that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationTrial {
    /// The index of the rate in [`CalibrationConfig::rates`].
    pub index: usize,
    /// Whether this is the last trial of its rate: the result.
    pub is_result: bool,
    /// The wanted rate of help, a fraction of the tokens.
    pub rate: f64,
    /// The threshold, in the unit of the measure of confidence.
    pub threshold: f64,
    /// What the teacher verified.
    pub verification: Verification,
    /// The help used with this threshold, a fraction of the tokens.
    pub used: f64,
    /// chrF of the texts against the references, 0 to 100.
    pub chrf: f64,
}

impl Pair {
    /// Finds when the student asks, and what the teacher accepts, for each rate of help: the threshold and the
    /// [`Verification`] with the best texts (chrF) that the rate pays for. From the help that these texts then use with
    /// enforced budgets, it fits a forecast for each rate ([`Pair::forecast`]).
    ///
    /// Each trial of a threshold decodes the texts with the teacher in the loop and without enforcing budgets. The budget
    /// of the prompts is the rate, in whole percent. `on_trial` is called after each trial, and for the result of each
    /// rate.
    ///
    /// # Errors
    /// If there are no texts, the rates do not rise between 0 and 1, a prompt cannot be made or decoding fails.
    pub fn calibrate(
        &self,
        dataset: &Dataset,
        config: &CalibrationConfig,
        on_trial: &mut dyn FnMut(&CalibrationTrial),
    ) -> Result<Calibration, Error> {
        let teacher = Teacher::new(&self.teacher.model);
        let costs = |prompt: &Prompt| {
            Ok(PairCost {
                student: CallCost::measure(&self.student.model, &prompt.student),
                teacher: CallCost::measure(&self.teacher.model, &prompt.expert),
            })
        };
        self.student.search(&teacher, dataset, config, &costs, on_trial)
    }
}

impl TextModel {
    /// As [`Pair::calibrate`], with any expert as this student's teacher, such as one behind a server. Each of its answers
    /// must cost 1, as those of a remote teacher do. Verifications that the expert [cannot do](Expert::check_verification) are left out.
    ///
    /// # Errors
    /// As [`Pair::calibrate`], [`Error::UnknownCost`] if the configuration counts time, and [`Error::ExpertFailed`] if a
    /// call fails: the thresholds would be wrong.
    pub fn calibrate_with(
        &self,
        expert: &dyn Expert,
        dataset: &Dataset,
        config: &CalibrationConfig,
        on_trial: &mut dyn FnMut(&CalibrationTrial),
    ) -> Result<Calibration, Error> {
        self.search(expert, dataset, config, &|_| Err(Error::UnknownCost), on_trial)
    }

    /// `costs` measures the calls of both models for a prompt.
    fn search(
        &self,
        expert: &dyn Expert,
        dataset: &Dataset,
        config: &CalibrationConfig,
        costs: &dyn Fn(&Prompt) -> Result<PairCost, Error>,
        on_trial: &mut dyn FnMut(&CalibrationTrial),
    ) -> Result<Calibration, Error> {
        let dataset = dataset.clone().take(config.texts);
        if dataset.is_empty() {
            return Err(Error::TooFewTexts { what: "calibration", needed: 1, found: 0 });
        }
        // Rates and verifications that are not valid are refused before any text is decoded.
        let rates = config.rates.iter().map(|&rate| CalibrationPoint::new(rate, 0.0)).collect();
        Calibration::new(config.confidence, rates)?;
        let mut verifications = Vec::with_capacity(config.verifications.len());
        for &verification in &config.verifications {
            let point = CalibrationPoint { verification, ..CalibrationPoint::new(0.5, 0.0) };
            Calibration::new(config.confidence, vec![point])?;
            match expert.check_verification(&verification) {
                Ok(()) => verifications.push(verification),
                Err(error) => log::info!("left out: {}", crate::report(&error)),
            }
        }

        let evaluation = Evaluation::new(&dataset, &self.tokenizer, &self.template);
        let costs = match config.cost {
            HelpCost::Time => Some(costs(&evaluation.prompts(HelpBudget::percent(1))?[0])?),
            HelpCost::Calls | HelpCost::Tokens => None,
        };
        let verifications = &verifications;
        let mut search = Search { student: self, expert, config, verifications, evaluation, costs, on_trial };
        let mut points: Vec<CalibrationPoint> = Vec::with_capacity(config.rates.len());
        for index in 0..config.rates.len() {
            let chosen_before = points.last().map(|point| point.verification);
            points.push(search.point(index, chosen_before)?);
        }
        let calibration = Calibration::new(config.confidence, points)?;
        let forecasts = search.forecasts(&calibration)?;
        Ok(calibration.with_forecasts(forecasts))
    }
}

/// The search for the points of a calibration.
struct Search<'a> {
    student: &'a TextModel,
    expert: &'a dyn Expert,
    config: &'a CalibrationConfig,
    /// Those of the configuration that the expert can do.
    verifications: &'a [Verification],
    evaluation: Evaluation<'a>,
    /// The measured costs of both models, if time counts.
    costs: Option<PairCost>,
    on_trial: &'a mut dyn FnMut(&CalibrationTrial),
}

/// A trial, and what its help cost per token.
#[derive(Clone, Copy)]
struct Costed {
    trial: CalibrationTrial,
    cost: f64,
}

/// What a verification may cost, per token, and the first threshold to try with it.
#[derive(Clone, Copy)]
struct Limit {
    cost: f64,
    start: f64,
}

/// The budget that a prompt states for a rate of help.
pub(crate) fn stated_budget(rate: f64) -> HelpBudget {
    HelpBudget::percent((100.0 * rate).round().clamp(1.0, 100.0) as u8)
}

impl Search<'_> {
    /// The point for a rate. `chosen_before` is the verification of the rate before.
    fn point(&mut self, index: usize, chosen_before: Option<Verification>) -> Result<CalibrationPoint, Error> {
        let Self { config, verifications, .. } = *self;
        let rate = config.rates[index];
        let prompts = self.evaluation.prompts(stated_budget(rate))?;
        let mut best = self.threshold(index, Verification::default(), None, &prompts)?;
        let mut limit = Limit { cost: best.output.cost, start: best.threshold };
        let mut worse = 0;
        let from = verifications.iter().position(|&other| Some(other) == chosen_before).unwrap_or(0);
        for &verification in &verifications[from..] {
            let found = self.threshold(index, verification, Some(limit), &prompts)?;
            if found.rate > rate + config.tolerance {
                // Stricter verifications make even more calls.
                break;
            }
            limit.start = found.threshold;
            if found.output.trial.chrf > best.output.trial.chrf {
                (best, worse) = (found, 0);
            } else {
                worse += 1;
            }
            if worse == PATIENCE {
                break;
            }
        }
        let result = CalibrationTrial { is_result: true, ..best.output.trial };
        (self.on_trial)(&result);
        let CalibrationTrial { threshold, verification, used, .. } = result;
        if used > rate + 0.03 || verification.is_none() && used < rate - 0.03 {
            log::warn!(
                "no threshold gives about {:.1}% help; the nearest that was found gives {:.1}% of the tokens",
                100.0 * rate,
                100.0 * used
            );
        }
        Ok(CalibrationPoint { rate, threshold, verification })
    }

    /// The threshold at which a verification uses the rate, or what `limit` says if that is less.
    fn threshold(
        &mut self,
        index: usize,
        verification: Verification,
        limit: Option<Limit>,
        prompts: &[Prompt],
    ) -> Result<FoundThreshold<Costed>, Error> {
        let Self { student, config, .. } = *self;
        let rate = config.rates[index];
        let mut search = ThresholdSearch {
            tolerance: config.tolerance,
            max_trials: config.max_trials.max(1),
            ..ThresholdSearch::new(config.confidence, student.model.spec().vocab_size)
        };
        search.start = limit.map_or(search.start, |limit| limit.start);
        search.find(rate, |threshold| {
            let decoded = {
                let policy = student.policy().with_help_rule(config.confidence.below(threshold));
                let decoder = self.decoder(policy).with_verification(verification);
                decode(&decoder.with_enforcement(Enforcement::Off), prompts)?
            };
            let output = self.evaluation.output(decoded)?;
            let (used, chrf) = (output.stats.help_rate(), self.evaluation.stats(&output).scores().chrf);
            let trial = CalibrationTrial { index, is_result: false, rate, threshold, verification, used, chrf };
            (self.on_trial)(&trial);
            let cost = self.cost(&output.stats);
            // In the unit of the rate: whichever of help and cost is nearer to its limit.
            let used = match limit {
                Some(limit) if limit.cost > 0.0 => used.max(rate * cost / limit.cost),
                _ => used,
            };
            Ok::<_, Error>((used, Costed { trial, cost }))
        })
    }

    /// Forecasts of the charges of a text at each rate, from the charges of all texts with enforced budgets.
    fn forecasts(&self, calibration: &Calibration) -> Result<Vec<HelpForecast>, Error> {
        let Self { student, config, evaluation, .. } = self;
        let decoder = self.decoder(student.policy().with_calibration(Some(calibration)));
        let mut forecasts = Vec::with_capacity(config.rates.len());
        for &rate in &config.rates {
            let prompts = evaluation.prompts(stated_budget(rate))?;
            let decoded = decode(&decoder, &prompts)?;
            let used: Vec<f64> = decoded.trajectories.iter().map(|text| f64::from(text.cost())).collect();
            let inputs = student.forecast_inputs(&prompts);
            if let Some(mut forecast) = HelpForecast::fit(rate, &inputs, &used) {
                forecast.accuracy = cross_validate(rate, &inputs, &used);
                forecasts.push(forecast);
            }
        }
        Ok(forecasts)
    }

    fn decoder<'d>(&'d self, policy: Policy<'d>) -> BudgetedDecoder<'d> {
        let decoder = self.student.decoder_of(policy, self.expert).with_batch_size(self.config.batch_size);
        decoder.with_budget_unit(self.config.budget_unit)
    }

    /// What the help of some texts cost, per token. Only ratios matter.
    fn cost(&self, stats: &DecodeStats) -> f64 {
        match (self.config.cost, &self.costs) {
            (HelpCost::Time, Some(costs)) => costs.latency(stats),
            (HelpCost::Tokens, _) => stats.teacher_tokens_processed_per_token(),
            _ => stats.help_rate(),
        }
    }
}

/// # Errors
/// Any error of decoding, and [`Error::ExpertFailed`] if a text was finished without the expert.
fn decode(decoder: &BudgetedDecoder<'_>, prompts: &[Prompt]) -> Result<Decoded, Error> {
    let decoded = decoder.decode(prompts, Seed(7))?;
    match decoded.trajectories.iter().find_map(|text| text.failures.first()) {
        Some(failure) => Err(Error::ExpertFailed { reason: failure.reason }),
        None => Ok(decoded),
    }
}
