//! A scored batch as laws over words and the wish for help, one row for each position.

use burn::tensor::activation::{log_softmax, softplus};
use burn::tensor::{Int, Tensor};

use super::Loss;
use crate::Scored;

/// Added to a logit that is no word.
const CLOSED: f64 = -1e9;

/// The laws of a batch; no tensor is tracked. With n = batch x time positions:
pub(crate) struct Laws {
    /// `[batch, time, vocab]`.
    shape: [usize; 3],
    /// 1 at a target, `[n, 1]`.
    pub(super) mask: Tensor<2>,
    /// `[n, 1]`.
    pub(super) targets: Tensor<2, Int>,
    /// The student's probabilities of words, `[n, vocab]`; 0 in the help column.
    pub(super) probs: Tensor<2>,
    /// Their logarithms; 0 in the help column, where the probability is 0.
    pub(super) log_probs: Tensor<2>,
    /// Log-sum-exp of the words' logits, `[n, 1]`.
    pub(super) normaliser: Tensor<2>,
    /// The teacher's side.
    pub(super) teacher: Tensor<2>,
    /// The help column, for a student that has one.
    pub(crate) help: Option<Help>,
}

/// The wish for help.
pub(crate) struct Help {
    /// 1 in the help column, `[1, vocab]`.
    pub(super) column: Tensor<2>,
    /// z, the log-odds of asking, `[n, 1]`.
    pub(crate) log_odds: Tensor<2>,
    /// 1 where the token was the teacher's, `[n, 1]`.
    pub(super) helped: Tensor<2>,
    /// `[n, 1]`.
    pub(super) price: Tensor<2>,
}

/// A loss and its slope in the logits, `[n, vocab]`.
pub(crate) struct Term {
    pub(super) value: Tensor<1>,
    pub(super) slope: Tensor<2>,
}

impl Laws {
    pub(crate) fn new(scored: &Scored) -> Self {
        let guided = scored.guided.as_ref().expect("this objective needs batches with a teacher's law");
        let shape @ [batch, time, vocab] = scored.logits.dims();
        let n = batch * time;
        let logits = scored.logits.clone().without_autodiff().reshape([n, vocab]);
        let by_row = |values: &Tensor<2>| values.clone().repeat_dim(1, time).reshape([n, 1]);
        let column = guided.help.map(|token| {
            let ids = Tensor::<1, Int>::from_ints([token as i32], &logits.device());
            ids.one_hot::<2>(vocab).float()
        });
        let words = match &column {
            Some(column) => logits.clone() + column.clone() * CLOSED,
            None => logits.clone(),
        };
        let log_probs = log_softmax(words.clone(), 1);
        let probs = log_probs.clone().exp();
        // log p(a) = logit(a) - normaliser, whichever word a is: the likeliest keeps most digits.
        let normaliser = words.max_dim(1) - log_probs.clone().max_dim(1);
        let (log_probs, help) = match guided.help.zip(column) {
            None => (log_probs, None),
            Some((token, column)) => {
                let log_odds = logits.narrow(1, token, 1) - normaliser.clone();
                let helped = guided.helped.clone().reshape([n, 1]);
                let open = column.clone().neg() + 1.0;
                let help = Help { column, log_odds, helped, price: by_row(&guided.price) };
                (log_probs * open, Some(help))
            }
        };
        Self {
            shape,
            mask: scored.mask.clone().reshape([n, 1]),
            targets: scored.targets.clone().reshape([n, 1]),
            teacher: guided.teacher.clone().reshape([n, vocab]),
            probs,
            log_probs,
            normaliser,
            help,
        }
    }

    /// The rewards of all words: the teacher's log-probabilities, clipped below.
    pub(super) fn rewards(&self, floor: f64) -> Tensor<2> {
        self.teacher.clone().clamp_min(floor)
    }

    /// The sum over the batch of a value for each position, `[n, 1]`.
    pub(super) fn sum(&self, values: Tensor<2>) -> Tensor<1> {
        (values * self.mask.clone()).sum()
    }

    /// The log-probabilities of the targets among the student's words, `[n, 1]`.
    pub(super) fn target_log_probs(&self) -> Tensor<2> {
        self.log_probs.clone().gather(1, self.targets.clone())
    }

    /// `log(1 + exp(z))`, minus the log-probability of not asking, `[n, 1]`; 0 without help.
    pub(super) fn log_open(&self) -> Tensor<2> {
        match &self.help {
            Some(help) => softplus(help.log_odds.clone(), 1.0),
            None => self.mask.zeros_like(),
        }
    }

    /// `[n, 1]` as `[batch, time]`.
    pub(super) fn grid(&self, values: Tensor<2>) -> Tensor<2> {
        let [batch, time, _] = self.shape;
        values.reshape([batch, time])
    }

    /// A loss of a value for each position and a slope that is zero at padding.
    pub(super) fn term(&self, values: Tensor<2>, slope: Tensor<2>) -> Term {
        Term { value: self.sum(values), slope: slope * self.mask.clone() }
    }

    /// Hands a loss over to the graph.
    pub(super) fn loss(&self, scored: &Scored, term: Term, parts: Vec<(&'static str, Tensor<1>)>) -> Loss {
        let slope = Tensor::from_inner(term.slope.reshape(self.shape));
        Loss {
            total: (scored.logits.clone() * slope).sum(),
            value: term.value,
            nll: self.sum(self.target_log_probs()).neg(),
            parts,
        }
    }
}

/// Huber's loss of all residuals, `r^2 / 2` up to `bound` and `bound (|r| - bound / 2)` beyond, and its slope in each.
pub(super) fn huber(residual: Tensor<2>, bound: f64) -> (Tensor<1>, Tensor<2>) {
    let slope = residual.clone().clamp(-bound, bound);
    ((slope.clone() * (residual - slope.clone() * 0.5)).sum(), slope)
}

/// What stands `steps` positions later in each row, drawn to here; 0 past the end.
pub(super) fn earlier(values: &Tensor<2>, steps: usize) -> Tensor<2> {
    let [batch, time] = values.dims();
    let steps = steps.min(time);
    let gap = Tensor::zeros([batch, steps], &values.device());
    if steps == time { gap } else { Tensor::cat(vec![values.clone().narrow(1, steps, time - steps), gap], 1) }
}

impl Term {
    /// This loss so many times.
    pub(super) fn times(self, weight: f64) -> Self {
        Self { value: self.value * weight, slope: self.slope * weight }
    }

    /// This loss and another.
    pub(super) fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, slope: self.slope + other.slope }
    }
}
