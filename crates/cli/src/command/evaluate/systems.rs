//! The systems that can be evaluated, by their names.

use std::fmt;
use std::str::FromStr;

use training_wheels::decode::{AcceptanceRule, Enforcement};
use training_wheels::prelude::*;
use wheels_decode::ThresholdSearch;

/// A way to write texts with a student and its teacher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum System {
    /// The student alone.
    Student,
    /// The teacher alone.
    Teacher,
    /// The student asks and the teacher verifies as the student's calibration says for each budget.
    Calibrated,
    /// The student asks by its help token, as it was trained.
    Uncalibrated,
    /// As calibrated, with budgets enforced.
    Enforced,
    /// The student asks at random.
    Random,
    /// The student asks when its confidence is low.
    Confidence(Confidence),
    /// The teacher reads every token, and corrects those that it regrets most.
    Oracle,
    /// The student asks when its most likely token has a low probability, and the teacher rolls back tokens whose
    /// surprise exceeds this many nats (BiLD, arXiv 2302.07863).
    Bild(f64),
    /// As calibrated, with the rollback of BiLD.
    Rollback(f64),
    /// As calibrated, and the teacher rolls back tokens whose regret exceeds this many nats, also at the end of a text.
    Verify(f64),
    /// Lossless speculative decoding with drafts of this many tokens.
    Draft(usize),
    /// The same, with drafts that start at this many tokens and adapt to what is accepted.
    Adaptive(usize),
}

/// The systems for `--help`.
pub(crate) const DESCRIPTIONS: &str = "\
Decoders:
  calibrated       The student asks and the teacher verifies as calibration.json says for each budget
  uncalibrated     Without calibration: the student asks as it was trained, and the teacher verifies nothing
  enforced         As calibrated, and the decoder closes help while the budget is spent
  random           The student asks at random, at the rate that calibrated used. All decoders with a budget are
                   compared with random help at their own rate
  learned          The student asks by its help token, and the teacher verifies nothing [needs --valid]
  max-prob         It asks when its most likely token has a low probability [needs --valid]
  margin           It asks when its two most likely tokens have similar probabilities [needs --valid]
  entropy          It asks when the entropy of its distribution is high [needs --valid]
  oracle           The teacher reads every token, and corrects those that it regrets most [needs --valid]
  bild:NATS        As max-prob, and the teacher rolls back tokens with -log p above NATS [needs --valid]
  rollback:NATS    Asks as calibrated, with the rollback of bild
  verify:NATS      Asks as calibrated, and the teacher rolls back tokens that are NATS less likely than its own
  draft:TOKENS     Lossless speculative decoding with drafts of TOKENS tokens
  adaptive:TOKENS  The same, with drafts that start at TOKENS tokens and adapt to what is accepted
Budgets are stated to the student. Only \"enforced\" makes sure that they are kept, as `wheels generate` does.
max-prob is the usual baseline for a learned help token. It is not a default, because each budget takes up to 14
decodings of the validation texts: --decoders calibrated,random,max-prob --valid FILE";

/// The systems whose thresholds are found on validation texts.
pub(crate) const SEARCHING: &str = "learned, max-prob, margin, entropy, oracle and bild";

/// The numbers that the help rules of some systems need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// The threshold on a confidence, or the tolerance of the oracle, in its own unit.
    pub(crate) threshold: f64,
    /// The probability of asking at a step, for random help.
    pub(crate) random_rate: f64,
}

impl Tuning {
    /// What was found for a system, and 0 for what it does not need.
    pub(crate) fn new(threshold: Option<f64>, random_rate: Option<f64>) -> Self {
        Self { threshold: threshold.unwrap_or(0.0), random_rate: random_rate.unwrap_or(0.0) }
    }
}

impl System {
    /// The budgets, in percent, under which this system is measured if `budgets` are wanted.
    pub(crate) fn budgets(self, budgets: &[u8]) -> &[u8] {
        match self {
            Self::Student => &[0],
            Self::Teacher | Self::Draft(_) | Self::Adaptive(_) => &[100],
            _ => budgets,
        }
    }

    /// Whether its texts depend on a budget.
    pub(crate) fn has_budget(self) -> bool {
        !matches!(self, Self::Student | Self::Teacher | Self::Draft(_) | Self::Adaptive(_))
    }

    /// Whether it asks by the help token or the calibration of the student.
    pub(crate) fn asks_as_calibrated(self) -> bool {
        matches!(self, Self::Calibrated | Self::Enforced | Self::Rollback(_) | Self::Verify(_))
    }

    /// The search for its threshold. None for a system without one.
    pub(crate) fn search(self, vocab_size: usize) -> Option<ThresholdSearch> {
        match self {
            Self::Confidence(confidence) => Some(ThresholdSearch::new(confidence, vocab_size)),
            Self::Bild(_) => Some(ThresholdSearch::new(Confidence::MaxProb, vocab_size)),
            // With a tolerance of 16 nats, the oracle corrects nothing.
            Self::Oracle => Some(ThresholdSearch {
                lowest_rate: 16.0,
                highest_rate: 0.0,
                ..ThresholdSearch::new(Confidence::MaxProb, vocab_size)
            }),
            _ => None,
        }
    }

    /// The largest number of trials in the search for its threshold. 0 for a system without one.
    pub(crate) fn max_trials(self) -> usize {
        // The size of the vocabulary changes where a search starts, and not how long it is.
        self.search(1).map_or(0, |search| search.max_trials)
    }

    /// The decoder of this system. `policy` is the calibrated policy of the student in `pair`.
    pub(crate) fn decoder<'a>(self, pair: &'a Pair, policy: Policy<'a>, tuning: Tuning) -> BudgetedDecoder<'a> {
        let Tuning { threshold, random_rate } = tuning;
        let decoder_with = |rule| pair.decoder_with(policy.with_help_rule(rule));
        let bild = |tolerance_nats| Verification { rule: AcceptanceRule::Surprise, tolerance_nats, verify_end: false };
        let decoder = match self {
            Self::Student => pair.student_alone(),
            Self::Teacher => pair.teacher_alone(),
            Self::Calibrated | Self::Enforced => pair.decoder_with(policy),
            Self::Uncalibrated => pair.decoder_with(policy.with_calibration(None)),
            Self::Random => decoder_with(HelpRule::Random(random_rate)),
            Self::Confidence(confidence) => decoder_with(confidence.below(threshold)),
            Self::Oracle => pair.decoder_of(
                policy.with_help_rule(HelpRule::Always),
                Teacher::new(&pair.teacher.model).with_tolerance(threshold),
            ),
            Self::Bild(nats) => decoder_with(Confidence::MaxProb.below(threshold)).with_verification(bild(nats)),
            Self::Rollback(nats) => pair.decoder_with(policy).with_verification(bild(nats)),
            Self::Verify(nats) => pair.decoder_with(policy).with_verification(Verification::regret(nats)),
            Self::Draft(tokens) => decoder_with(HelpRule::Every(tokens)).with_verification(Verification::LOSSLESS),
            Self::Adaptive(tokens) => {
                decoder_with(HelpRule::Adaptive(tokens)).with_verification(Verification::LOSSLESS)
            }
        };
        decoder.with_enforcement(if self == Self::Enforced { Enforcement::On } else { Enforcement::Off })
    }
}

/// The systems without a number, and their names.
const PLAIN: [(&str, System); 11] = [
    ("student", System::Student),
    ("teacher", System::Teacher),
    ("calibrated", System::Calibrated),
    ("uncalibrated", System::Uncalibrated),
    ("enforced", System::Enforced),
    ("random", System::Random),
    ("learned", System::Confidence(Confidence::HelpLogOdds)),
    ("max-prob", System::Confidence(Confidence::MaxProb)),
    ("margin", System::Confidence(Confidence::Margin)),
    ("entropy", System::Confidence(Confidence::Entropy)),
    ("oracle", System::Oracle),
];

/// Names of earlier versions, which commands in older notes still use.
const ALIASES: [(&str, System); 2] = [("as-trained", System::Uncalibrated), ("ledger", System::Enforced)];

impl FromStr for System {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some((_, system)) = PLAIN.iter().chain(&ALIASES).find(|(plain, _)| *plain == name) {
            return Ok(*system);
        }
        let (kind, number) = name.split_once(':').unwrap_or((name, ""));
        let nats = || number.parse::<f64>().ok().filter(|nats| *nats >= 0.0);
        let tokens = || number.parse::<usize>().ok().filter(|tokens| *tokens > 0);
        let system = match kind {
            "bild" => nats().map(Self::Bild),
            "rollback" => nats().map(Self::Rollback),
            // "hindsight" is the name of earlier versions.
            "verify" | "hindsight" => nats().map(Self::Verify),
            "draft" => tokens().map(Self::Draft),
            "adaptive" => tokens().map(Self::Adaptive),
            _ => None,
        };
        system.ok_or_else(|| {
            "choose from calibrated, uncalibrated, enforced, random, learned, max-prob, margin, entropy, oracle, \
             bild:NATS, rollback:NATS, verify:NATS, draft:TOKENS and adaptive:TOKENS (NATS from 0, TOKENS from 1)"
                .to_owned()
        })
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bild(nats) => write!(f, "bild:{nats}"),
            Self::Rollback(nats) => write!(f, "rollback:{nats}"),
            Self::Verify(nats) => write!(f, "verify:{nats}"),
            Self::Draft(tokens) => write!(f, "draft:{tokens}"),
            Self::Adaptive(tokens) => write!(f, "adaptive:{tokens}"),
            plain => {
                let name = PLAIN.iter().find(|(_, system)| system == plain).map(|(name, _)| *name);
                f.write_str(name.expect("every system without a number is in the table"))
            }
        }
    }
}
