//! The systems that can be evaluated, by their names.

use std::fmt;
use std::str::FromStr;

use training_wheels::decode::{Bisection, Enforcement, Hindsight, Judgement};
use training_wheels::prelude::*;

/// A way to write texts with a student and its teacher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum System {
    /// The student alone.
    Student,
    /// The teacher alone.
    Teacher,
    /// The student asks by its help token, calibrated where it is; no ledger.
    Learned,
    /// The same as it was trained, without calibration.
    AsTrained,
    /// The learned token, with a ledger that holds every prefix to the budget.
    Ledger,
    /// It asks anywhere.
    Random,
    /// It asks where it is unsure.
    Confidence(Measure),
    /// The teacher reads along and corrects the words that it regrets most.
    Oracle,
    /// It asks where it is unsure, and the teacher takes back what surprises it by so many nats.
    Bild(f64),
    /// The learned token, with the rollback of BiLD.
    Rollback(f64),
    /// The learned token, and the teacher takes back what it regrets by so many nats, also at the end of a text.
    Hindsight(f64),
    /// Lossless speculative decoding with drafts of so many tokens.
    Draft(usize),
    /// The same, with drafts that begin at so many tokens and follow what stands.
    Adaptive(usize),
}

/// What a decoder is to keep to.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) budget: HelpBudget,
    pub(crate) prompts: &'a [Prompt],
    /// Of the systems that have one.
    pub(crate) threshold: f64,
    /// How often random asking asks.
    pub(crate) random_rate: f64,
    pub(crate) batch: usize,
}

impl System {
    /// Whether the budget makes a difference.
    pub(crate) fn has_budget(self) -> bool {
        !matches!(self, Self::Student | Self::Teacher | Self::Draft(_) | Self::Adaptive(_))
    }

    /// How its threshold is found, if it has one.
    pub(crate) fn search(self, words: usize) -> Option<Bisection> {
        match self {
            Self::Confidence(measure) => Some(measure.bisection(words)),
            Self::Bild(_) => Some(Measure::MaxProb.bisection(words)),
            Self::Oracle => Some(Bisection { seldom: 16.0, often: 0.0, ..Measure::MaxProb.bisection(words) }),
            _ => None,
        }
    }

    pub(crate) fn decoder<'m>(self, models: &'m Models, terms: Terms<'_>) -> BudgetedDecoder<'m> {
        let Terms { budget, prompts, threshold, random_rate, batch } = terms;
        let unsure = |measure| models.asking(Asking::Confidence { measure, threshold });
        let learned = || models.asking(models.student.asking(budget, prompts));
        let rollback =
            |tolerance_nats| Hindsight { judgement: Judgement::Surprise, tolerance_nats, closing_call: false };
        let decoder = match self {
            Self::Student => models.student_alone(),
            Self::Teacher => models.teacher_alone(),
            Self::Learned | Self::Ledger => learned(),
            Self::AsTrained => models.asking(Asking::Learned),
            Self::Random => models.asking(Asking::Random(random_rate)),
            Self::Confidence(measure) => unsure(measure),
            Self::Oracle => models.asking_of(Teacher::new(&models.teacher.model).bearing(threshold), Asking::Always),
            Self::Bild(nats) => unsure(Measure::MaxProb).hindsight(rollback(nats)),
            Self::Rollback(nats) => learned().hindsight(rollback(nats)),
            Self::Hindsight(tolerance_nats) => learned().hindsight(Hindsight { tolerance_nats, ..Hindsight::LOSSLESS }),
            Self::Draft(tokens) => models.asking(Asking::Every(tokens)).hindsight(Hindsight::LOSSLESS),
            Self::Adaptive(tokens) => models.asking(Asking::Adaptive(tokens)).hindsight(Hindsight::LOSSLESS),
        };
        let enforcement = if self == Self::Ledger { Enforcement::On } else { Enforcement::Off };
        decoder.enforcement(enforcement).batch_size(batch)
    }
}

/// The systems without a number, and their names.
const PLAIN: [(&str, System); 10] = [
    ("student", System::Student),
    ("teacher", System::Teacher),
    ("learned", System::Learned),
    ("as-trained", System::AsTrained),
    ("ledger", System::Ledger),
    ("random", System::Random),
    ("max-prob", System::Confidence(Measure::MaxProb)),
    ("margin", System::Confidence(Measure::Margin)),
    ("entropy", System::Confidence(Measure::Entropy)),
    ("oracle", System::Oracle),
];

impl FromStr for System {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some((_, system)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
            return Ok(*system);
        }
        let (kind, number) = name.split_once(':').unwrap_or((name, ""));
        let nats = || number.parse::<f64>().ok().filter(|nats| *nats >= 0.0);
        let tokens = || number.parse::<usize>().ok().filter(|tokens| *tokens > 0);
        let system = match kind {
            "bild" => nats().map(Self::Bild),
            "rollback" => nats().map(Self::Rollback),
            "hindsight" => nats().map(Self::Hindsight),
            "draft" => tokens().map(Self::Draft),
            "adaptive" => tokens().map(Self::Adaptive),
            _ => None,
        };
        system.ok_or_else(|| {
            "learned, as-trained, ledger, random, max-prob, margin, entropy, oracle, bild:NATS, rollback:NATS, \
             hindsight:NATS, draft:TOKENS and adaptive:TOKENS are the decoders there are"
                .to_owned()
        })
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bild(nats) => write!(f, "bild:{nats}"),
            Self::Rollback(nats) => write!(f, "rollback:{nats}"),
            Self::Hindsight(nats) => write!(f, "hindsight:{nats}"),
            Self::Draft(tokens) => write!(f, "draft:{tokens}"),
            Self::Adaptive(tokens) => write!(f, "adaptive:{tokens}"),
            plain => {
                let name = PLAIN.iter().find(|(_, system)| system == plain).map(|(name, _)| *name);
                write!(f, "{}", name.expect("every other system is plain"))
            }
        }
    }
}
