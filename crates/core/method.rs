//! Distillation methods by name.

use std::fmt;
use std::str::FromStr;

use wheels_distill::Mixture;
use wheels_distill::objective::{
    AllActionConsistency, ConstrainedPath, CrossEntropy, ForwardKl, GeneralizedJsd, Objective, PathConsistency,
};

/// A distillation method: an objective, and a mixture of texts to train on.
///
/// ```
/// use training_wheels::Method;
///
/// assert_eq!("gkd:0.1".parse(), Ok(Method::Gkd { beta: 0.1 }));
/// assert_eq!(Method::default().to_string(), "constrained");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Method {
    /// Cross-entropy on references ("supervised").
    Supervised,
    /// Forward KL to the teacher on references: word-level distillation ("forward-kl").
    ForwardKl,
    /// Cross-entropy on the teacher's texts: sequence-level distillation ("sequence").
    Sequence,
    /// Generalized Jensen-Shannon divergence, with half of the texts on-policy ("gkd" or "gkd:BETA").
    Gkd {
        /// The weight of the teacher in the mixture of the divergence, 0 to 1.
        beta: f64,
    },
    /// Path consistency learning on the tokens and the help of the texts ("path").
    Path,
    /// One-step path consistency over the whole vocabulary and help ("all-action").
    AllAction,
    /// All-action and path consistency, forward KL, a forecast of help, and learned prices ("constrained").
    #[default]
    Constrained,
}

const PLAIN: [(&str, Method); 6] = [
    ("supervised", Method::Supervised),
    ("forward-kl", Method::ForwardKl),
    ("sequence", Method::Sequence),
    ("path", Method::Path),
    ("all-action", Method::AllAction),
    ("constrained", Method::Constrained),
];

impl Method {
    /// The objective, with its default weights.
    pub fn objective(self) -> Box<dyn Objective> {
        match self {
            Self::Supervised | Self::Sequence => Box::new(CrossEntropy::new()),
            Self::ForwardKl => Box::new(ForwardKl),
            Self::Gkd { beta } => Box::new(GeneralizedJsd { beta }),
            Self::Path => Box::new(PathConsistency::new()),
            Self::AllAction => Box::new(AllActionConsistency::new()),
            Self::Constrained => Box::new(ConstrainedPath::new()),
        }
    }

    /// The mixture of texts that the method trains on.
    pub fn mixture(self) -> Mixture {
        let (references, teacher, on_policy) = match self {
            Self::Supervised | Self::ForwardKl => (1.0, 0.0, 0.0),
            Self::Sequence => (0.0, 1.0, 0.0),
            Self::Gkd { .. } | Self::Path | Self::AllAction | Self::Constrained => (0.5, 0.0, 0.5),
        };
        Mixture::new()
            .with_reference_fraction(references)
            .with_teacher_fraction(teacher)
            .with_on_policy_fraction(on_policy)
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some((_, method)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
            return Ok(*method);
        }
        let beta = match name.split_once(':') {
            None if name == "gkd" => Some(0.5),
            Some(("gkd", beta)) => beta.parse().ok().filter(|beta| (0.0..=1.0).contains(beta)),
            _ => None,
        };
        beta.map(|beta| Self::Gkd { beta }).ok_or_else(|| {
            format!(
                "{name:?} is not a distillation method: use supervised, forward-kl, sequence, gkd, gkd:BETA (0 to 1), \
                 path, all-action or constrained"
            )
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gkd { beta } => write!(f, "gkd:{beta}"),
            plain => {
                let name = PLAIN.iter().find(|(_, method)| method == plain).map(|(name, _)| *name);
                f.write_str(name.expect("every method without a number is in the table"))
            }
        }
    }
}
