//! The head of the value of help, fitted to the texts of a finished student.

mod support;

use burn::module::Module;
use burn::tensor::Tensor;
use support::{HELP, MODELS, VOCAB, rollout_config, sampler};
use wheels_distill::{HelpHeadConfig, Workers};
use wheels_lm::{LanguageModel, Positions, TokenBatch};
use wheels_student::Student;

#[test]
fn a_fitted_head_replaces_the_untrained_one_and_changes_nothing_else() {
    let (student, sampler) = (MODELS.student.valid(), sampler(rollout_config(), &MODELS.teacher));
    let workers = Workers::new(2).expect("two threads");
    let config = HelpHeadConfig::new().with_tokens(Some(10_000)).with_epochs(40);
    let mut progress = vec![];
    let (fitted, found) =
        sampler.fit_help_head(&student, &config, &workers, &mut |work| progress.push(work.done)).expect("a head");
    assert!(found.tokens > found.held_out && found.held_out > 10, "all pairs are read: {found:?}");
    assert!(progress.is_sorted() && progress.last() == Some(&found.tokens), "{progress:?}");
    // The untrained head predicts 0 everywhere, so that it asks first at the first tokens.
    assert!(found.is_better(), "{found:?}");

    let prompts = TokenBatch::new(&[[4, 5, 6, 1]], 0);
    let logits = |student: &Student<_>| {
        let mut context = student.prefill(&prompts, 0);
        let hidden = student.hidden(&TokenBatch::new(&[[0, 7, 9]], 0), &[0], Positions::All, &mut context);
        let logits: Tensor<2> = student.head(&hidden);
        logits.into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let (before, after) = (logits(&student), logits(&fitted));
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        let is_help = at % VOCAB as usize == HELP as usize;
        assert_eq!(before == after, !is_help, "the logit {at}");
    }
}
