//! The distributions of a scored batch, one row per position: the input of all objectives with a teacher.

use burn::tensor::activation::softplus;
use burn::tensor::{Int, Tensor};

use super::loss_term::LossTerm;
use super::words::Words;
use super::{Loss, with_gradient};
use crate::Scored;

/// The student's and the teacher's distributions at each of the n = batch x time positions; no tensor tracks gradients.
pub(crate) struct Distributions {
    /// The shape of the logits, `[batch, time, vocab]`.
    shape: [usize; 3],
    /// 1 at a target and 0 at padding, `[n, 1]`.
    pub(super) mask: Tensor<2>,
    /// The target tokens, `[n, 1]`.
    pub(super) targets: Tensor<2, Int>,
    pub(crate) words: Words,
    /// The help action, if the student has a help token.
    pub(crate) help: Option<HelpAction>,
}

/// The help action at each position.
pub(crate) struct HelpAction {
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
        let words = Words::new(logits, teacher.log_probs.clone().reshape([n, vocab]), teacher.help_token);
        let help = teacher.help_token.map(|token| HelpAction {
            log_odds: words.log_odds(token),
            helped: teacher.helped.clone().reshape([n, 1]),
            price: teacher.price.clone().repeat_dim(1, time).reshape([n, 1]),
        });
        let (mask, targets) = (scored.mask.clone().reshape([n, 1]), scored.targets.clone().reshape([n, 1]));
        Self { shape, mask, targets, words, help }
    }

    /// The log-probs of the targets among the student's words, nats, `[n, 1]`.
    pub(super) fn target_log_probs(&self) -> Tensor<2> {
        self.words.log_probs_of(self.targets.clone())
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

    /// Builds the loss whose gradient in the logits is that of `term`. Padding is masked.
    pub(super) fn into_loss(self, scored: &Scored, term: LossTerm, parts: Vec<(&'static str, Tensor<1>)>) -> Loss {
        let nll = self.masked_sum(self.target_log_probs()).neg();
        let value = term.value.clone();
        let gradient = self.words.gradient(term, &self.targets, &self.mask);
        // The teacher's log-probs are as large as the logits.
        drop(self.words);
        Loss { total: with_gradient(&scored.logits, gradient.reshape(self.shape)), value, nll, parts }
    }
}
