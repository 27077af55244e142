//! The distributions of a scored batch, one row per position: the input of all objectives with a teacher.

use burn::tensor::activation::{log_softmax, softplus};
use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use super::Loss;
use super::loss_term::LossTerm;
use crate::Scored;
use crate::rollout::MIN_LOG_PROB;

/// Added to the help logit, so that the softmax over the words gives the help token the probability 0.
const EXCLUDED: f64 = -1e9;

/// The student's and the teacher's distributions at each of the n = batch x time positions; no tensor tracks gradients.
pub(crate) struct Distributions {
    /// The shape of the logits, `[batch, time, vocab]`.
    shape: [usize; 3],
    /// 1 at a target and 0 at padding, `[n, 1]`.
    pub(super) mask: Tensor<2>,
    /// The target tokens, `[n, 1]`.
    pub(super) targets: Tensor<2, Int>,
    /// The student's probabilities of the words, `[n, vocab]`; 0 in the help column.
    pub(super) probs: Tensor<2>,
    /// The student's log-probs of the words, nats, `[n, vocab]`; 0 in the help column, so that products with `probs`
    /// are 0 there.
    pub(super) log_probs: Tensor<2>,
    /// The log-sum-exp of the words' logits, `[n, 1]`.
    pub(super) normaliser: Tensor<2>,
    /// The teacher's log-probs, nats, `[n, vocab]`; at least [`MIN_LOG_PROB`], because a probability of 0 times an infinite
    /// log-prob is not a number.
    pub(super) teacher_log_probs: Tensor<2>,
    /// The help action, if the student has a help token.
    pub(crate) help: Option<HelpAction>,
}

/// The help action at each position.
pub(crate) struct HelpAction {
    /// The help column.
    token: usize,
    /// z, the log-odds of asking, nats, `[n, 1]`.
    pub(crate) log_odds: Tensor<2>,
    /// 1 if the teacher chose the token, and 0 otherwise, `[n, 1]`.
    pub(super) helped: Tensor<2>,
    /// The price of help, nats, `[n, 1]`.
    pub(super) price: Tensor<2>,
}

impl Distributions {
    /// The distributions of a batch.
    ///
    /// # Panics
    /// If the batch has no teacher.
    pub(crate) fn new(scored: &Scored) -> Self {
        let teacher = scored.teacher.as_ref().expect("the trainer checks requirements: the batches have a teacher");
        let shape @ [batch, time, vocab] = scored.logits.dims();
        let n = batch * time;
        let logits = scored.logits.clone().without_autodiff().reshape([n, vocab]);
        let column = teacher.help_token.map(|token| {
            let ids = Tensor::<1, Int>::from_ints([token as i32], &logits.device());
            ids.one_hot::<2>(vocab).float()
        });
        let word_logits = match &column {
            Some(column) => logits.clone() + column.clone() * EXCLUDED,
            None => logits.clone(),
        };
        let log_probs = log_softmax(word_logits.clone(), 1);
        let probs = log_probs.clone().exp();
        // log p(a) = logit(a) - normaliser holds for every word a. The most likely word gives the smallest rounding
        // error.
        let normaliser = word_logits.max_dim(1) - log_probs.clone().max_dim(1);
        let (log_probs, help) = match teacher.help_token.zip(column) {
            None => (log_probs, None),
            Some((token, column)) => {
                let log_odds = logits.narrow(1, token, 1) - normaliser.clone();
                let helped = teacher.helped.clone().reshape([n, 1]);
                let is_word = column.neg() + 1.0;
                let price = teacher.price.clone().repeat_dim(1, time).reshape([n, 1]);
                (log_probs * is_word, Some(HelpAction { token, log_odds, helped, price }))
            }
        };
        Self {
            shape,
            mask: scored.mask.clone().reshape([n, 1]),
            targets: scored.targets.clone().reshape([n, 1]),
            teacher_log_probs: teacher.log_probs.clone().reshape([n, vocab]).clamp_min(MIN_LOG_PROB),
            probs,
            log_probs,
            normaliser,
            help,
        }
    }

    /// The rewards of all words: the teacher's log-probs, clipped below at `floor`, nats, `[n, vocab]`.
    pub(super) fn rewards(&self, floor: f64) -> Tensor<2> {
        self.teacher_log_probs.clone().clamp_min(floor)
    }

    /// The log-probs of the targets among the student's words, nats, `[n, 1]`.
    pub(super) fn target_log_probs(&self) -> Tensor<2> {
        self.log_probs.clone().gather(1, self.targets.clone())
    }

    /// `log(1 + exp(z))`, minus the log-probability of writing a word instead of asking, `[n, 1]`; 0 without a help
    /// token.
    pub(super) fn no_help_nll(&self) -> Tensor<2> {
        match &self.help {
            Some(help) => softplus(help.log_odds.clone(), 1.0),
            None => self.mask.zeros_like(),
        }
    }

    /// Reshapes `[n, 1]` to `[batch, time]`.
    pub(super) fn unflatten(&self, values: Tensor<2>) -> Tensor<2> {
        let [batch, time, _] = self.shape;
        values.reshape([batch, time])
    }

    /// The sum of one value per position over the target tokens, `[n, 1]` to `[1]`.
    pub(super) fn masked_sum(&self, values: Tensor<2>) -> Tensor<1> {
        (values * self.mask.clone()).sum()
    }

    /// The loss term of one value per position, `[n, 1]`, and of a gradient in the logits, `[n, vocab]`.
    pub(super) fn dense_term(&self, values: Tensor<2>, gradient: Tensor<2>) -> LossTerm {
        LossTerm { dense: Some(gradient), ..LossTerm::new(self.masked_sum(values)) }
    }

    /// Builds the loss whose gradient in the logits is that of `term`. Padding is masked. Most distributions are dropped
    /// first, because they are as large as the logits.
    pub(super) fn into_loss(self, scored: &Scored, term: LossTerm, parts: Vec<(&'static str, Tensor<1>)>) -> Loss {
        let nll = self.masked_sum(self.target_log_probs()).neg();
        let [n, _] = self.mask.dims();
        drop((self.log_probs, self.teacher_log_probs));
        let mut gradient = match (term.dense, term.policy) {
            (Some(dense), Some(policy)) => dense + self.probs * policy,
            (Some(dense), None) => dense,
            (None, policy) => self.probs * policy.unwrap_or_else(|| self.mask.zeros_like()),
        };
        if let Some(target) = term.target {
            gradient = gradient.scatter(1, self.targets, target, IndexingUpdateOp::Add);
        }
        if let Some((help, weight)) = self.help.zip(term.help) {
            let column = gradient.clone().narrow(1, help.token, 1) + weight;
            gradient = gradient.slice_assign([0..n, help.token..help.token + 1], column);
        }
        let gradient = Tensor::from_inner((gradient * self.mask).reshape(self.shape));
        Loss { total: (scored.logits.clone() * gradient).sum(), value: term.value, nll, parts }
    }
}
