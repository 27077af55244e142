//! Training from a teacher's cache, compared with training from the teacher.

#[path = "support/cache.rs"]
mod cache;
mod support;

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use burn::tensor::activation::log_softmax;
use wheels_distill::objective::{
    AllActionConsistency, ConstrainedPath, CrossEntropy, ForwardKl, GeneralizedJsd, PathConsistency,
};
use wheels_distill::{
    BatchSource, CacheContent, ConstraintConfig, DistillError, Mixture, Objective, RolloutConfig, RolloutSampler,
    Rollouts, Scored, StepReport, TeacherCache, TeacherCacheConfig, Trainer, TrainerConfig, Workers,
};
use wheels_lm::T5;
use wheels_student::Student;
use wheels_text::HelpBudget;

use cache::{open, top_4, whole, write};
use support::{HELP, MODELS, PAIRS, VOCAB, rollout_config, rollouts};

/// Rollouts of references, with new prices after the second step.
fn references() -> RolloutConfig {
    let constraint = ConstraintConfig::new().with_frozen_steps(2);
    rollout_config().with_mixture(Mixture::references()).with_uses(2).with_constraint(constraint)
}

/// Rollouts from a cache.
fn cached(cache: &TeacherCache) -> Rollouts<'_, T5> {
    let sampler = RolloutSampler::from_cache(references(), &*PAIRS, cache, Some(HELP), vec![HELP, 0]);
    Rollouts::new(sampler.expect("its settings fit")).expect("the pairs fit")
}

/// Trains up to step `last` in a folder. Returns the reports without their durations.
fn train<B: BatchSource<T5>>(objective: &dyn Objective, source: B, last: usize, folder: &Path) -> Vec<StepReport> {
    let config = TrainerConfig::new(6).with_workers(2).with_warmup_steps(1).with_learning_rate(1e-2);
    let mut trainer = Trainer::resume(config, objective, MODELS.student.clone(), source, folder).expect("a run");
    let mut reports = vec![];
    while trainer.step() < last {
        let report = trainer.train_step().expect("finite numbers");
        trainer.save().expect("the disk has room");
        reports.push(StepReport { seconds: 0.0, ..report });
    }
    reports
}

/// A cache in a temporary folder.
fn cache(config: &TeacherCacheConfig) -> (tempfile::TempDir, TeacherCache) {
    let folder = tempfile::tempdir().expect("a folder");
    write(config, &*PAIRS, folder.path()).expect("a cache");
    let cache = open(folder.path()).expect("a cache");
    (folder, cache)
}

#[test]
fn the_whole_distribution_in_f32_trains_as_the_teacher_does() {
    let objectives: [(&str, &dyn Objective); 6] = [
        ("cross-entropy", &CrossEntropy::new()),
        ("forward KL", &ForwardKl),
        ("Jensen-Shannon", &GeneralizedJsd::new()),
        ("all actions", &AllActionConsistency::new()),
        ("paths", &PathConsistency::new()),
        ("constrained paths", &ConstrainedPath::new()),
    ];
    let caches = [whole(), whole().with_content(CacheContent::HiddenStates)].map(|config| cache(&config));
    for (name, objective) in objectives {
        let scratch = tempfile::tempdir().expect("a folder");
        let expected = train(objective, rollouts(references()), 6, scratch.path());
        for (_, cache) in &caches {
            let scratch = tempfile::tempdir().expect("a folder");
            let found = train(objective, cached(cache), 6, scratch.path());
            for (found, expected) in found.iter().zip(&expected) {
                // The teacher reads other batches here than when its cache was written, so that sums round apart by some
                // 1e-7 of their terms, and six steps of training add to it.
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * b.abs().max(1.0);
                assert!(close(found.loss, expected.loss) && close(found.nll, expected.nll), "{name}: {found:?}");
                assert!(found.parts.keys().eq(expected.parts.keys()), "{name}: {found:?}");
                for (part, value) in &found.parts {
                    assert!(close(*value, expected.parts[part]), "{name}: {part} is {value}, not {expected:?}");
                }
            }
        }
    }
}

#[test]
fn in_f16_the_forward_kl_differs_no_more_than_by_the_rounding_of_the_log_probs() {
    let exact = cache(&whole());
    let half = cache(&whole().with_half_precision(true));
    let student = MODELS.student.valid();
    let workers = Workers::new(1).expect("a thread");
    let [exact, half] = [&exact.1, &half.1].map(|cache| {
        let batch = cached(cache).next_batches(&student, 1, &workers).expect("a batch").remove(0);
        Scored::new(&student, &batch, None)
    });
    let losses = [&exact, &half].map(|scored| ForwardKl.loss(scored).value.into_scalar::<f32>());

    // A log-prob l is rounded to l + e with |e| <= 2^-11 |l|. A term p (l - log q) of the loss then changes by at most
    // p [(exp(e) - 1) |l - log q| + exp(e) e].
    let read = |tensor: burn::tensor::Tensor<3>| tensor.into_data().iter::<f64>().collect::<Vec<f64>>();
    let words = exact.logits.clone().narrow(2, 0, HELP as usize);
    let log_q = read(log_softmax(words, 2));
    let log_p = read(exact.teacher.expect("a teacher").log_probs.narrow(2, 0, HELP as usize));
    let mask: Vec<f64> = exact.mask.into_data().iter().collect();
    let mut bound = 0.0;
    for (position, inside) in mask.iter().enumerate() {
        for word in position * HELP as usize..(position + 1) * HELP as usize {
            let (l, error) = (log_p[word].max(-30.0), log_p[word].max(-30.0).abs() / 2048.0);
            bound += inside * l.exp() * (error.exp_m1() * (l - log_q[word]).abs() + error.exp() * error);
        }
    }
    let difference = f64::from((losses[0] - losses[1]).abs());
    assert!(difference > 0.0 && difference <= bound, "{losses:?} differ by {difference}, more than {bound}");
    assert!(bound < 0.02 * f64::from(losses[0]), "a bound of {bound} says little about {}", losses[0]);
}

#[test]
fn the_top_k_are_those_of_the_teacher_and_the_rest_keeps_its_mass() {
    let (exact, top) = (cache(&whole()), cache(&top_4().with_half_precision(false)));
    let student = MODELS.student.valid();
    let workers = Workers::new(1).expect("a thread");
    let [exact, top] = [&exact.1, &top.1].map(|cache| {
        let batch = cached(cache).next_batches(&student, 1, &workers).expect("a batch").remove(0);
        let scored = Scored::new(&student, &batch, None);
        let probs = scored.teacher.expect("a teacher").log_probs.exp().into_data();
        let lengths = batch.targets.lengths().to_vec();
        (probs.iter::<f32>().collect::<Vec<f32>>(), lengths, batch.targets.width())
    });
    let words = VOCAB as usize;
    for (row, length) in exact.1.iter().enumerate() {
        for position in (row * exact.2..row * exact.2 + length).map(|position| position * words) {
            let (p, q) = (&exact.0[position..position + words], &top.0[position..position + words]);
            assert!((q.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{q:?}");
            let mut sorted = p.to_vec();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let rest = sorted[4..].iter().sum::<f32>() / (words - 4 - 2) as f32;
            for (word, (p, q)) in p.iter().zip(q).enumerate() {
                let expected = match word as u32 {
                    0 | HELP => 0.0,
                    _ if *p >= sorted[3] => *p,
                    _ => rest,
                };
                assert!((q - expected).abs() < 1e-6, "word {word}: {q} is not {expected}");
            }
        }
    }
}

#[test]
fn a_run_from_a_cache_resumes_bit_for_bit() {
    let (_folder, cache) = cache(&top_4());
    let objective = ConstrainedPath::new();
    let [whole, cut] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let expected = train(&objective, cached(&cache), 6, whole.path());
    let mut found = train(&objective, cached(&cache), 3, cut.path());
    found.extend(train(&objective, cached(&cache), 6, cut.path()));
    assert_eq!(found, expected);
    let prices = |report: &StepReport| report.parts["price 20%"];
    assert_eq!(prices(&expected[1]), prices(&expected[0]));
    assert_ne!(prices(&expected[2]), prices(&expected[0]), "the prices follow the student");
}

#[test]
fn what_needs_the_teacher_is_refused_by_name() {
    let (_folder, cache) = cache(&top_4());
    let sampler = |config: RolloutConfig, excluded: Vec<u32>| {
        RolloutSampler::<T5>::from_cache(config, &*PAIRS, &cache, Some(HELP), excluded)
    };
    let search = ConstraintConfig::new().with_search_texts(5);
    for (config, expected) in [
        (rollout_config(), "writing texts needs the teacher"),
        (references().with_constraint(search), "the search for prices needs the teacher"),
        (references().with_teacher_temperature(1.0), "teacher_temperature (0.7 there, 1 here)"),
    ] {
        let message = sampler(config, vec![0, HELP]).err().expect("it is refused").to_string();
        assert!(message.contains(expected), "{message}");
    }
    let message = sampler(references(), vec![0]).err().expect("it is refused").to_string();
    assert!(message.contains("the excluded tokens ([0, 23] there, [0] here)"), "{message}");
    let sampler = sampler(references(), vec![0, HELP]).expect("its settings fit");
    let refused = sampler.greedy(&MODELS.student.valid(), &[0], HelpBudget::percent(20), 0);
    assert!(matches!(refused, Err(DistillError::CacheNeedsTeacher { .. })), "{refused:?}");

    // The teacher lacks nothing, but this student has a token more.
    let larger = Student::new(support::model(VOCAB + 1, &Device::flex()));
    let refused = cached(&cache).next_batches(&larger, 1, &Workers::new(1).expect("a thread"));
    assert!(matches!(refused, Err(DistillError::Vocabularies { student: 25, teacher: 24 })));
}
