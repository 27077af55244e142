//! A cache of a teacher that is not on this machine.

#[path = "support/cache.rs"]
#[allow(dead_code)]
mod cache;
mod support;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::activation::log_softmax;
use safetensors::SafeTensors;
use wheels_distill::{
    CacheContent, DistillError, TeacherCache, TeacherCacheConfig, TokenPair, TokenPairs, TopKCacheWriter, TopKTeacher,
    TopKVocabulary, TopTokenList,
};
use wheels_lm::{LanguageModel, TokenBatch};

use cache::{open, write};
use support::{HELP, MODELS, PAIRS, VOCAB};

/// The teacher of all tests, which shows its most likely tokens and fails after some calls.
struct Shown {
    tokens: usize,
    calls_left: AtomicUsize,
}

impl Shown {
    fn new(tokens: usize) -> Self {
        Self { tokens, calls_left: AtomicUsize::new(usize::MAX) }
    }
}

impl TopKTeacher for Shown {
    fn identity(&self) -> String {
        "http://localhost big".into()
    }

    fn score(&self, pairs: &[TokenPair], k: usize) -> Result<Vec<Vec<TopTokenList>>, Box<dyn Error + Send + Sync>> {
        let left = self.calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| "the server is gone")?;
        let model = &MODELS.teacher;
        let mut scored = Vec::new();
        for pair in pairs {
            let pad = model.spec().pad;
            let mut context = model.prefill(&TokenBatch::new(&[&pair.source], pad), 0);
            let inputs = [&context.starts()[..], &pair.target[..pair.target.len() - 1]].concat();
            let logits = model.forward(&TokenBatch::new(&[inputs], pad), &mut context).logits;
            let [_, _, width] = logits.dims();
            let log_probs: Vec<f64> = log_softmax(logits, 2).into_data().iter::<f64>().collect();
            let mut positions = Vec::new();
            for row in log_probs.chunks(width) {
                let mut top: TopTokenList = (0..).zip(row.iter().copied()).collect();
                top.sort_by(|a, b| b.1.total_cmp(&a.1));
                top.truncate(self.tokens.max(k));
                positions.push(top);
            }
            scored.push(positions);
        }
        Ok(scored)
    }
}

fn config() -> TeacherCacheConfig {
    TeacherCacheConfig::new()
        .with_content(CacheContent::TopK(4))
        .with_half_precision(false)
        .with_teacher_temperature(1.0)
        .with_shard_bytes(2000)
}

fn write_shown(config: TeacherCacheConfig, teacher: &Shown, folder: &Path) -> Result<(), DistillError> {
    write_excluding(vec![HELP, 0], config, teacher, folder)
}

fn write_excluding(
    excluded: Vec<u32>,
    config: TeacherCacheConfig,
    teacher: &Shown,
    folder: &Path,
) -> Result<(), DistillError> {
    let vocabulary = TopKVocabulary { size: VOCAB as usize, excluded };
    let special = (MODELS.teacher.spec().pad, MODELS.teacher.spec().eos.clone());
    let writer = TopKCacheWriter::new(config, &*PAIRS, teacher, vocabulary, special);
    writer.write(folder, &mut |_| ()).map(|_| ())
}

/// A tensor of all shards.
fn tensor(folder: &Path, name: &str) -> Vec<f64> {
    let mut values = vec![];
    for index in 0.. {
        let Ok(bytes) = fs::read(folder.join(format!("shard-{index:05}.safetensors"))) else { break };
        let tensors = SafeTensors::deserialize(&bytes).expect("a shard");
        let data = tensors.tensor(name).expect("a tensor").data().to_vec();
        match name {
            "ids" => values.extend(data.as_chunks().0.iter().map(|&id| f64::from(u16::from_le_bytes(id)))),
            _ => values.extend(data.as_chunks().0.iter().map(|&value| f64::from(f32::from_le_bytes(value)))),
        }
    }
    values
}

#[test]
fn a_teacher_that_shows_all_its_tokens_gives_the_cache_of_a_teacher_on_this_machine() {
    let (local, shown) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let config = config().with_batch_tokens(40);
    write(&config, &*PAIRS, local.path()).expect("a cache");
    write_shown(config, &Shown::new(VOCAB as usize), shown.path()).expect("a cache");
    assert_eq!(tensor(shown.path(), "ids"), tensor(local.path(), "ids"));
    for name in ["log_probs", "tail"] {
        let (found, expected) = (tensor(shown.path(), name), tensor(local.path(), name));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            // The logarithm of a small rest of single precision.
            assert!((found - expected).abs() < 1e-4, "{name}: {found} is not {expected}");
        }
    }
    let cache: TeacherCache = open(shown.path()).expect("a cache");
    assert_eq!(cache.count(), PAIRS.count());
}

#[test]
fn the_probabilities_of_a_position_add_up_to_one_also_if_excluded_tokens_are_among_the_top() {
    let folder = tempfile::tempdir().expect("a folder");
    write_shown(config(), &Shown::new(4), folder.path()).expect("a cache");
    let (log_probs, tails) = (tensor(folder.path(), "log_probs"), tensor(folder.path(), "tail"));
    let ids = tensor(folder.path(), "ids");
    for ((top, ids), tail) in log_probs.chunks(4).zip(ids.chunks(4)).zip(tails) {
        let mass: f64 = top.iter().map(|log| log.exp()).sum::<f64>() + tail.exp();
        assert!((mass - 1.0).abs() < 1e-5, "{mass}");
        assert!(ids.is_sorted_by(|a, b| a < b) && !ids.contains(&0.0), "{ids:?}");
    }
}

#[test]
fn a_cache_goes_on_after_its_teacher_failed() {
    let (whole, broken) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    write_shown(config(), &Shown::new(8), whole.path()).expect("a cache");
    let failing = Shown { tokens: 8, calls_left: AtomicUsize::new(2) };
    let error = write_shown(config(), &failing, broken.path()).expect_err("the teacher fails");
    assert!(matches!(error, DistillError::Scoring(_)), "{error}");
    assert!(broken.path().join("shard-00001.safetensors").exists());
    write_shown(config(), &Shown::new(8), broken.path()).expect("a cache");
    assert_eq!(tensor(broken.path(), "log_probs"), tensor(whole.path(), "log_probs"));
}

#[test]
fn what_a_remote_teacher_does_not_show_is_refused() {
    for (config, reason) in [
        (config().with_content(CacheContent::HiddenStates), "hidden states"),
        (config().with_content(CacheContent::TopK(VOCAB as usize)), "fewer tokens"),
        (config().with_teacher_temperature(0.7), "temperature 1"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let error = write_shown(config, &Shown::new(8), folder.path()).expect_err("it is refused");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn more_tokens_than_are_not_excluded_are_refused() {
    let open = VOCAB as usize - 2;
    for (k, is_refused) in [(open, false), (open + 1, true)] {
        let (config, folder) = (config().with_content(CacheContent::TopK(k)), tempfile::tempdir().expect("a folder"));
        let result = write_excluding(vec![0, 2], config, &Shown::new(VOCAB as usize), folder.path());
        assert_eq!(matches!(result, Err(DistillError::CacheContent { .. })), is_refused, "{k}: {result:?}");
    }
}
