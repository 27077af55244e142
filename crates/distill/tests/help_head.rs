//! The help head, fitted to a finished student.

mod support;

use burn::module::Module;
use burn::tensor::Tensor;
use support::{HELP, MODELS, PAIRS, Pairs, VOCAB, rollout_config};
use wheels_distill::{HelpHeadConfig, RolloutSampler, Workers};
use wheels_lm::{LanguageModel, Positions, TokenBatch};
use wheels_student::Student;

#[test]
fn a_fitted_head_replaces_the_untrained_one_and_changes_nothing_else() {
    let student = MODELS.student.valid();
    // The texts repeat, so that a head can learn from some of them what the regret is on the others.
    let pairs = Pairs(PAIRS.0.iter().cloned().cycle().take(20 * PAIRS.0.len()).collect());
    let sampler = RolloutSampler::new(rollout_config(), &pairs, &MODELS.teacher, Some(HELP), vec![0, HELP]);
    let workers = Workers::new(2).expect("two threads");
    let config = HelpHeadConfig::new().with_tokens(100_000).with_epochs(20);
    let mut progress = vec![];
    let (fitted, found) =
        sampler.fit_help_head(&student, &config, &workers, &mut |work| progress.push(work.done)).expect("a head");
    let found = found.expect("a comparison");
    assert!(found.tokens > found.held_out && found.held_out > 10, "all pairs are read: {found:?}");
    assert!(progress.is_sorted() && progress.last() == Some(&100_000), "{progress:?}");
    // The untrained head predicts 0 everywhere, so that it asks at no particular tokens.
    assert!(found.is_better(), "{found:?}");
    let alone = sampler.fit_help_head(&student, &config, &Workers::new(1).expect("a thread"), &mut |_| ());
    assert_eq!(alone.expect("a head").1, Some(found), "the number of workers changes nothing");

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

#[test]
fn without_tokens_or_held_out_texts_the_trained_head_remains() {
    let student = MODELS.student.valid();
    let few = Pairs(PAIRS.0[..4].to_vec());
    for (pairs, tokens) in [(&*PAIRS, 0), (&few, 100)] {
        let sampler = RolloutSampler::new(rollout_config(), pairs, &MODELS.teacher, Some(HELP), vec![]);
        let config = HelpHeadConfig::new().with_tokens(tokens);
        let workers = Workers::new(1).expect("a thread");
        let (_, found) = sampler.fit_help_head(&student, &config, &workers, &mut |_| ()).expect("the trained head");
        assert_eq!(found, None, "{tokens} tokens");
    }
}
