//! Training steps in chunks of positions and with gradient checkpointing, compared with steps on whole batches, in `f64`.

mod support;

use std::sync::{LazyLock, Mutex};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use wheels_distill::objective::{
    AllActionConsistency, ConstrainedPath, CrossEntropy, ForwardKl, GeneralizedJsd, HelpValue, PathConsistency,
    Requirements, ValueSource,
};
use wheels_distill::{
    BatchSource, Loss, LossScope, Objective, RolloutConfig, Scored, StepReport, SupervisedBatches, Trainer,
    TrainerConfig,
};
use wheels_lm::T5;
use wheels_student::Student;
use wheels_text::Seed;

use support::{MODELS, PAIRS, VOCAB, rollout_config, rollouts};

/// The student. All tensors of this test are `f64`, which must be set before the first tensor exists.
static STUDENT: LazyLock<&Student<T5>> = LazyLock::new(|| {
    Device::flex().configure(FloatDType::F64).expect("no tensor exists yet");
    &MODELS.student
});

/// Rollouts with few price prompts, which are most of the work of so small a model.
fn few_prompts() -> RolloutConfig {
    rollout_config().with_price_prompts(7)
}

/// The number of positions in a chunk for a run on whole batches.
const WHOLE: usize = 1_000_000;

/// A run of some steps of gradient descent.
#[derive(Clone)]
struct Run {
    student: Student<T5>,
    target_decay: Option<f64>,
    dropout: bool,
}

impl Run {
    fn new() -> Self {
        Self { student: STUDENT.clone(), target_decay: None, dropout: false }
    }

    /// Makes three steps with chunks of `positions` positions, and with gradient checkpointing if it is on. Returns the
    /// reports, and all weights after the last step.
    fn train<B: BatchSource<T5>>(
        &self,
        objective: &dyn Objective,
        source: B,
        positions: usize,
        checkpointing: bool,
    ) -> (Vec<StepReport>, Vec<f64>) {
        // With an epsilon far above the gradients, AdamW makes steps of gradient descent. They are of size 0.1.
        let config = TrainerConfig::new(3)
            .with_workers(2)
            .with_warmup_steps(1)
            .with_learning_rate(1e8)
            .with_epsilon(1e9)
            .with_weight_decay(0.0)
            .with_target_decay(self.target_decay)
            .with_dropout(self.dropout)
            .with_logits_bytes(Some(4 * VOCAB as usize * positions))
            .with_gradient_checkpointing(Some(checkpointing));
        let folder = tempfile::tempdir().expect("a folder");
        let mut trainer =
            Trainer::new(config, objective, self.student.clone(), source, folder.path()).expect("a new run");
        let reports = (0..3).map(|_| trainer.train_step().expect("finite numbers")).collect();
        (reports, weights(&trainer.student()))
    }

    /// Checks that steps with chunks of 5 and 20 positions equal steps on whole batches, and that gradient checkpointing
    /// changes neither.
    fn check<B: BatchSource<T5>>(&self, name: &str, objective: &dyn Objective, source: impl Fn() -> B) {
        let (whole, expected) = self.train(objective, source(), WHOLE, false);
        let start = weights(&self.student.valid());
        let moved = start.iter().zip(&expected).filter(|(start, end)| (*start - *end).abs() > 1e-6).count();
        assert!(moved > 100, "{name}: {moved} of {} weights change", start.len());
        for (positions, checkpointing) in [(5, false), (20, false), (20, true), (WHOLE, true)] {
            let (reports, found) = self.train(objective, source(), positions, checkpointing);
            for (found, expected) in reports.iter().zip(&whole) {
                let numbers = |report: &StepReport| {
                    let parts = report.parts.clone().into_iter();
                    let own = [("loss", report.loss), ("nll", report.nll), ("norm", report.grad_norm)];
                    own.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(parts).collect::<Vec<_>>()
                };
                for (found, expected) in numbers(found).iter().zip(numbers(expected)) {
                    assert!(found.0 == expected.0 && close(found.1, expected.1), "{name}: {found:?}, not {expected:?}");
                }
            }
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!(close(*found, *expected), "{name}: weight {index} is {found}, not {expected}");
            }
        }
    }
}

/// Sums in another order differ in the last of 15 digits, and three steps add to the difference.
fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-11 * expected.abs().max(1.0)
}

fn weights(student: &Student<T5>) -> Vec<f64> {
    struct Values(Vec<f64>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f64>());
        }
    }
    let mut values = Values(vec![]);
    student.visit(&mut values);
    values.0
}

#[test]
fn objectives_of_single_positions_are_computed_in_chunks() {
    let objectives: [(&str, &dyn Objective); 6] = [
        ("cross-entropy", &CrossEntropy::new()),
        ("forward KL", &ForwardKl),
        ("Jensen-Shannon", &GeneralizedJsd::new()),
        ("reverse KL", &GeneralizedJsd { beta: 1.0 }),
        ("divergence", &AllActionConsistency::new()),
        ("regret", &AllActionConsistency::new().with_help_value(HelpValue::Regret)),
    ];
    for (name, objective) in objectives {
        assert_eq!(objective.scope(), LossScope::Position, "{name}");
        Run::new().check(name, objective, || rollouts(few_prompts()));
    }
    let pairs = || SupervisedBatches::new(&PAIRS.0, 120, 0, Seed(7)).expect("the pairs fit").with_noise(0.2);
    Run { dropout: true, ..Run::new() }.check("pairs", &CrossEntropy::new(), pairs);
}

#[test]
fn objectives_of_whole_texts_are_computed_in_chunks() {
    let lookahead = AllActionConsistency::new().with_help_value(HelpValue::Lookahead);
    let paths = PathConsistency::new().with_centred(false);
    let unified = paths.with_value(ValueSource::Unified);
    let objectives: [(&str, &dyn Objective); 4] = [
        ("lookahead", &lookahead),
        ("paths", &paths),
        ("unified paths", &unified),
        ("constrained paths", &ConstrainedPath::new().with_paths(paths)),
    ];
    for (name, objective) in objectives {
        assert_eq!(objective.scope(), LossScope::Text, "{name}");
        Run::new().check(name, objective, || rollouts(few_prompts()));
    }
}

#[test]
fn objectives_with_sums_over_the_batch_are_computed_in_chunks() {
    let unified = PathConsistency::new().with_value(ValueSource::Unified);
    let objectives: [(&str, &dyn Objective); 3] = [
        ("paths", &PathConsistency::new()),
        ("unified paths", &unified),
        ("constrained paths", &ConstrainedPath::new()),
    ];
    for (name, objective) in objectives {
        assert_eq!(objective.scope(), LossScope::TextAndSums, "{name}");
        for target_decay in [None, Some(0.5)] {
            let run = Run { target_decay, dropout: true, ..Run::new() };
            run.check(name, objective, || rollouts(few_prompts()));
        }
    }
}

#[test]
fn with_a_frozen_model_the_heads_are_trained_in_chunks() {
    let run = Run { student: STUDENT.clone().with_frozen_model(), ..Run::new() };
    run.check("frozen", &ConstrainedPath::new(), || rollouts(few_prompts()));
}

/// Another objective, with the shapes of the batches for which its loss was computed.
struct Recorder<'a> {
    objective: &'a dyn Objective,
    scope: Option<LossScope>,
    shapes: Mutex<Vec<[usize; 3]>>,
}

impl<'a> Recorder<'a> {
    /// The shapes in a run with chunks of 5 positions.
    fn shapes(objective: &'a dyn Objective, scope: Option<LossScope>) -> Vec<[usize; 3]> {
        let recorder = Self { objective, scope, shapes: Mutex::default() };
        Run::new().train(&recorder, rollouts(few_prompts()), 5, false);
        recorder.shapes.into_inner().expect("no thread panicked")
    }
}

impl Objective for Recorder<'_> {
    fn requirements(&self) -> Requirements {
        self.objective.requirements()
    }

    fn scope(&self) -> LossScope {
        self.scope.unwrap_or_else(|| self.objective.scope())
    }

    fn loss(&self, scored: &Scored) -> Loss {
        self.shapes.lock().expect("no thread panicked").push(scored.logits.dims());
        self.objective.loss(scored)
    }
}

#[test]
fn chunks_hold_the_given_number_of_positions_or_one_text() {
    let cut = Recorder::shapes(&ForwardKl, None);
    assert!(cut.iter().all(|&[rows, time, _]| rows <= 5 && time == 1), "{cut:?}");
    let texts = Recorder::shapes(&ForwardKl, Some(LossScope::Text));
    assert!(texts.iter().all(|&[rows, time, _]| rows == 1 || rows * time <= 5), "{texts:?}");
    let whole = Recorder::shapes(&ForwardKl, Some(LossScope::Batch));
    assert_eq!(whole.len(), 3 * 2, "three steps of two workers");
    let positions = |shapes: &[[usize; 3]]| shapes.iter().map(|&[rows, time, _]| rows * time).sum::<usize>();
    assert!(positions(&cut) <= positions(&texts), "single positions have no padding");
    assert!(positions(&texts) < positions(&whole), "a text is padded to the longest one of its chunk");
}
