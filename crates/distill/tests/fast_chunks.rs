//! Training steps on the CPU in `f32`, whose chunks are smaller than memory asks for, compared with other sizes of chunks.

mod support;

use wheels_distill::objective::{ConstrainedPath, ForwardKl};
use wheels_distill::{Objective, StepReport, Trainer, TrainerConfig};

use support::{MODELS, VOCAB, rollout_config, rollouts};

/// The reports of three steps on micro-batches of some hundred positions.
fn train(objective: &dyn Objective, logits_bytes: Option<usize>) -> Vec<StepReport> {
    let config = TrainerConfig::new(3).with_workers(2).with_logits_bytes(logits_bytes);
    let folder = tempfile::tempdir().expect("a folder");
    let source = rollouts(rollout_config().with_batch_tokens(1200).with_price_prompts(7));
    let mut trainer =
        Trainer::new(config, objective, MODELS.student.clone(), source, folder.path()).expect("a new run");
    (0..3).map(|_| trainer.train_step().expect("finite numbers")).collect()
}

#[test]
fn the_size_of_chunks_changes_losses_and_gradients_by_rounding_only() {
    let objectives: [(&str, &dyn Objective); 2] = [("forward KL", &ForwardKl), ("paths", &ConstrainedPath::new())];
    for (name, objective) in objectives {
        let fast = train(objective, None);
        // Here the logits of all chunks do not fit, so that those of paths are computed twice.
        let small = train(objective, Some(4 * VOCAB as usize * 40));
        for (fast, small) in fast.iter().zip(&small) {
            let numbers = |report: &StepReport| {
                let parts: Vec<f64> = report.parts.values().copied().collect();
                [&[report.loss, report.nll, report.grad_norm], parts.as_slice()].concat()
            };
            for (found, expected) in numbers(fast).into_iter().zip(numbers(small)) {
                assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "{name}: {found}, not {expected}");
            }
        }
    }
}
