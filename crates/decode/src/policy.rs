//! A policy: a model, how it chooses tokens, and when it asks.

use wheels_lm::LanguageModel;
use wheels_student::Prices;
use wheels_text::{HelpBudget, Prompt};

use crate::settings::Text;
use crate::{Calibration, Confidence, DecodeError, HelpRule, Sampler, Verification, Vocabulary};

/// A model, the sampler that chooses its tokens, and the rule by which it asks for help.
///
/// The help rule can depend on the budget of a text, so that texts with different budgets can share a batch.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// The model.
    pub model: &'a dyn LanguageModel,
    /// How tokens are chosen.
    pub sampler: Sampler,
    /// The side of a prompt that the model reads.
    pub prompt_side: PromptSide,
    rules: Rules<'a>,
}

/// How a policy finds the help rule of a text.
#[derive(Clone, Copy)]
enum Rules<'a> {
    /// One rule for all texts.
    Same(HelpRule),
    /// A rule for each text, from its budget: a calibrated threshold and verification, or the help token if there is no
    /// calibration.
    ByBudget { calibration: Option<&'a Calibration>, stated: Option<Stated<'a>> },
}

/// A budget that all prompts state, with the prices of help. Each text still keeps to its own budget.
#[derive(Clone, Copy)]
struct Stated<'a> {
    budget: HelpBudget,
    prices: &'a Prices,
}

/// A side of a [`Prompt`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromptSide {
    /// The student's prompt, which can state the budget in words.
    #[default]
    Student,
    /// The expert's prompt, without a budget. A policy that reads it is the expert itself, decoding alone. Its tokens
    /// and its work count as the expert's.
    Expert,
}

impl PromptSide {
    /// This side of a prompt.
    pub fn of(self, prompt: &Prompt) -> &[u32] {
        match self {
            Self::Student => &prompt.student,
            Self::Expert => &prompt.expert,
        }
    }
}

impl<'a> Policy<'a> {
    /// A policy that reads the student side of prompts and asks by its help token ([`HelpRule::Learned`]).
    pub fn new(model: &'a dyn LanguageModel, sampler: Sampler) -> Self {
        Self { model, sampler, rules: Rules::Same(HelpRule::Learned), prompt_side: PromptSide::Student }
    }

    /// A policy that writes the most likely token at each step.
    pub fn greedy(model: &'a dyn LanguageModel) -> Self {
        Self::new(model, Sampler::Greedy)
    }

    /// The same policy with one help rule for all texts.
    #[must_use]
    pub fn with_help_rule(self, rule: HelpRule) -> Self {
        Self { rules: Rules::Same(rule), ..self }
    }

    /// The same policy, in which each text asks by the threshold of a calibration for its budget, and the teacher verifies
    /// what the calibration says. Without a calibration, the help token decides. A budget of 0 never asks, and a budget of
    /// 100% always asks.
    ///
    /// A budget in tokens is converted to a rate as if the text were as long as its expert prompt.
    #[must_use]
    pub fn with_calibration(self, calibration: Option<&'a Calibration>) -> Self {
        let stated = match self.rules {
            Rules::ByBudget { stated, .. } => stated,
            Rules::Same(_) => None,
        };
        Self { rules: Rules::ByBudget { calibration, stated }, ..self }
    }

    /// The same policy for prompts that state `budget` instead of the budget that each text has. The threshold on the
    /// help log-odds moves by the difference of the prices of the two budgets ([`Prices::offset`]). A calibration on
    /// another measure is not used; the learned threshold of 0 moves instead. Nothing is verified, because the
    /// verifications of a calibration hold for the budgets that it stated.
    #[must_use]
    pub fn with_stated_budget(self, budget: HelpBudget, prices: &'a Prices) -> Self {
        let calibration = match self.rules {
            Rules::ByBudget { calibration, .. } => calibration,
            Rules::Same(_) => None,
        };
        Self { rules: Rules::ByBudget { calibration, stated: Some(Stated { budget, prices }) }, ..self }
    }

    /// The same policy, which reads another side of the prompts.
    #[must_use]
    pub fn with_prompt_side(self, prompt_side: PromptSide) -> Self {
        Self { prompt_side, ..self }
    }

    /// The help rule of a text.
    pub fn help_rule(&self, prompt: &Prompt) -> HelpRule {
        let (calibration, stated) = match self.rules {
            Rules::Same(rule) => return rule,
            Rules::ByBudget { calibration, stated } => (calibration, stated),
        };
        let length = prompt.expert.len();
        let rate = prompt.budget.share(length);
        let rule = match calibration {
            _ if rate <= 0.0 => return HelpRule::Never,
            _ if rate >= 1.0 => return HelpRule::Always,
            Some(calibration) => calibration.help_rule(rate),
            None => HelpRule::Learned,
        };
        match stated {
            None => rule,
            Some(Stated { budget, prices }) => {
                let threshold = match rule {
                    HelpRule::Threshold { confidence: Confidence::HelpLogOdds, threshold } => threshold,
                    _ => 0.0,
                };
                Confidence::HelpLogOdds.below(threshold + prices.offset(rate, budget.share(length)))
            }
        }
    }

    /// What the teacher verifies in a text, unless the decoder has a verification of its own.
    pub fn verification(&self, prompt: &Prompt) -> Verification {
        match self.rules {
            Rules::ByBudget { calibration: Some(calibration), stated: None } => {
                calibration.verification(prompt.budget.share(prompt.expert.len()))
            }
            _ => Verification::default(),
        }
    }

    /// # Errors
    /// If a setting of the sampler, of a rule or of a verification is invalid, or a rule reads a help token that the
    /// model lacks.
    pub(crate) fn check(&self, vocabulary: &Vocabulary, texts: &[Text<'_>]) -> Result<(), DecodeError> {
        self.sampler.check()?;
        let missing = vocabulary.expert_tokens().iter().find(|&&token| token as usize >= vocabulary.size());
        for Text { rule, verification, sampler, .. } in texts {
            sampler.check()?;
            rule.check()?;
            verification.check()?;
            if let Some(&token) = missing
                && rule.reads_help_token()
            {
                return Err(DecodeError::HelpToken { token, vocab_size: vocabulary.size() });
            }
        }
        Ok(())
    }
}

/// Checks that a prompt is not empty and that the model has its tokens.
///
/// # Errors
/// [`DecodeError::EmptyPrompt`] or [`DecodeError::PromptToken`].
pub(crate) fn check_prompt(row: usize, prompt: &[u32], vocab_size: usize) -> Result<(), DecodeError> {
    if prompt.is_empty() {
        return Err(DecodeError::EmptyPrompt { row });
    }
    match prompt.iter().find(|&&token| token as usize >= vocab_size) {
        Some(&token) => Err(DecodeError::PromptToken { row, token, vocab_size }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use wheels_lm::TabularLm;
    use wheels_student::LagrangeMultiplier;

    use super::*;
    use crate::CalibrationPoint;

    /// A prompt whose two sides have different lengths.
    fn prompt(expert_length: usize, budget: HelpBudget) -> Prompt {
        Prompt { student: vec![2; 40], expert: vec![2; expert_length], budget }
    }

    fn model() -> TabularLm {
        TabularLm::from_logits(3, 0, vec![0.0; 3], &Device::flex())
    }

    /// Thresholds of 0.3 at a rate of 10% and 0.5 at a rate of 20%.
    fn calibration(confidence: Confidence) -> Calibration {
        let points = [(0.1, 0.3), (0.2, 0.5)].map(|(rate, threshold)| CalibrationPoint::new(rate, threshold));
        Calibration::new(confidence, points.to_vec()).expect("rising rates")
    }

    /// Prices that fall by 1 nat for each 10% of help, from 10 nats to 0.
    fn prices() -> Prices {
        let levels = [(0.0, 10.0), (1.0, 0.0)].map(|(budget, price)| LagrangeMultiplier { budget, price });
        Prices::new(levels.to_vec()).expect("levels from 0 to 1")
    }

    /// The threshold of a rule on the help log-odds.
    fn log_odds_threshold(rule: HelpRule) -> f64 {
        match rule {
            HelpRule::Threshold { confidence: Confidence::HelpLogOdds, threshold } => threshold,
            rule => panic!("{rule:?} is not a threshold on the help log-odds"),
        }
    }

    #[test]
    fn a_budget_of_zero_never_asks_and_a_budget_for_every_token_always_does() {
        let (model, calibration, prices) = (model(), calibration(Confidence::HelpLogOdds), prices());
        let plain = Policy::greedy(&model).with_calibration(None);
        for policy in [
            plain,
            plain.with_calibration(Some(&calibration)),
            plain.with_stated_budget(HelpBudget::percent(50), &prices),
            plain.with_calibration(Some(&calibration)).with_stated_budget(HelpBudget::percent(50), &prices),
        ] {
            for budget in [HelpBudget::percent(0), HelpBudget::tokens(0)] {
                assert_eq!(policy.help_rule(&prompt(10, budget)), HelpRule::Never);
            }
            for budget in [HelpBudget::percent(100), HelpBudget::tokens(10), HelpBudget::tokens(11)] {
                assert_eq!(policy.help_rule(&prompt(10, budget)), HelpRule::Always);
            }
        }
    }

    #[test]
    fn a_budget_in_tokens_is_a_fraction_of_its_own_expert_prompt() {
        let (model, calibration) = (model(), calibration(Confidence::MaxProb));
        let policy = Policy::greedy(&model).with_calibration(Some(&calibration));
        for (length, threshold) in [(10, 0.3), (5, 0.5)] {
            let rule = policy.help_rule(&prompt(length, HelpBudget::tokens(1)));
            assert_eq!(rule, Confidence::MaxProb.below(threshold));
        }
        let rule = policy.help_rule(&prompt(5, HelpBudget::percent(10)));
        assert_eq!(rule, Confidence::MaxProb.below(0.3), "a percentage does not depend on the length");
    }

    #[test]
    fn a_stated_budget_moves_the_threshold_by_the_difference_of_the_prices() {
        let (model, prices) = (model(), prices());
        let calibrated = calibration(Confidence::HelpLogOdds);
        let policy = Policy::greedy(&model).with_calibration(Some(&calibrated));
        let threshold = |policy: Policy<'_>, budget| log_odds_threshold(policy.help_rule(&prompt(10, budget)));
        let stated = policy.with_stated_budget(HelpBudget::percent(50), &prices);
        // The calibrated threshold, and the price of 10 or 20% minus the price of 50%.
        assert!((threshold(stated, HelpBudget::percent(10)) - (0.3 + 9.0 - 5.0)).abs() < 1e-12);
        assert!((threshold(stated, HelpBudget::tokens(2)) - (0.5 + 8.0 - 5.0)).abs() < 1e-12);
        // 4 stated tokens are 40% of the length of this expert prompt.
        let stated = policy.with_stated_budget(HelpBudget::tokens(4), &prices);
        assert!((threshold(stated, HelpBudget::percent(20)) - (0.5 + 8.0 - 6.0)).abs() < 1e-12);
        let same = policy.with_stated_budget(HelpBudget::percent(20), &prices);
        assert_eq!(threshold(same, HelpBudget::percent(20)), 0.5);
        // Without a calibration of the log-odds, the learned threshold of 0 moves.
        let other = calibration(Confidence::Entropy);
        for calibration in [None, Some(&other)] {
            let stated = policy.with_calibration(calibration).with_stated_budget(HelpBudget::percent(50), &prices);
            assert!((threshold(stated, HelpBudget::percent(20)) - (8.0 - 5.0)).abs() < 1e-12);
        }
    }

    #[test]
    fn each_text_has_the_verification_of_its_budget() {
        let model = model();
        let strict = CalibrationPoint { verification: Verification::regret(2.0), ..CalibrationPoint::new(0.3, 0.5) };
        let points = vec![CalibrationPoint::new(0.1, 0.3), strict];
        let calibration = Calibration::new(Confidence::MaxProb, points).expect("rising rates");
        let policy = Policy::greedy(&model).with_calibration(Some(&calibration));
        let at = |policy: Policy<'_>, percent| policy.verification(&prompt(10, HelpBudget::percent(percent)));
        assert_eq!([0, 10, 20, 100].map(|percent| at(policy, percent)), [Verification::default(); 4]);
        assert_eq!([30, 50].map(|percent| at(policy, percent)), [Verification::regret(2.0); 2]);
        assert_eq!(at(policy.with_help_rule(HelpRule::Always), 30), Verification::default());
        assert_eq!(at(policy.with_stated_budget(HelpBudget::percent(30), &prices()), 30), Verification::default());
    }

    #[test]
    fn calibration_and_stated_budget_can_be_set_in_any_order() {
        let (model, calibration, prices) = (model(), calibration(Confidence::HelpLogOdds), prices());
        let (policy, stated) = (Policy::greedy(&model), HelpBudget::percent(50));
        let first = policy.with_calibration(Some(&calibration)).with_stated_budget(stated, &prices);
        let last = policy.with_stated_budget(stated, &prices).with_calibration(Some(&calibration));
        let prompt = prompt(10, HelpBudget::percent(20));
        assert_eq!(first.help_rule(&prompt), last.help_rule(&prompt));
    }

    #[test]
    fn without_a_calibration_the_help_token_decides() {
        let model = model();
        let prompt = prompt(10, HelpBudget::percent(20));
        assert_eq!(Policy::greedy(&model).help_rule(&prompt), HelpRule::Learned);
        assert_eq!(Policy::greedy(&model).with_calibration(None).help_rule(&prompt), HelpRule::Learned);
    }

    #[test]
    fn one_help_rule_for_all_texts_does_not_read_the_budget() {
        let model = model();
        let policy = Policy::greedy(&model).with_help_rule(HelpRule::Every(3));
        for budget in [HelpBudget::percent(0), HelpBudget::percent(100), HelpBudget::tokens(2)] {
            assert_eq!(policy.help_rule(&prompt(10, budget)), HelpRule::Every(3));
        }
    }
}
