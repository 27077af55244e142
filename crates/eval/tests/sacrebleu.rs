//! Scores equal those of sacrebleu, on real and adversarial pairs (`assets/golden/metrics`, made by the script there).
//!
//! The tolerance is 1e-9 on scores of 0 to 100: both sides add and divide the same integers in f64, and only the order of
//! additions and the last digits of `exp` and `ln` may differ.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;
use wheels_eval::metric::{BleuStats, ChrfStats, tokenize_13a};

const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Pair {
    hypothesis: String,
    reference: String,
    tokens: Vec<String>,
    bleu: f64,
    chrf: f64,
    chrf_plus_plus: f64,
}

#[derive(Deserialize)]
struct Subset {
    name: String,
    rows: Vec<usize>,
    bleu: f64,
    bleu_counts: [u64; 4],
    bleu_totals: [u64; 4],
    bleu_precisions: [f64; 4],
    bleu_brevity_penalty: f64,
    bleu_hypothesis_length: u64,
    bleu_reference_length: u64,
    chrf: f64,
    chrf_plus_plus: f64,
}

#[derive(Deserialize)]
struct Signatures {
    bleu: String,
    chrf: String,
    chrf_plus_plus: String,
}

#[derive(Deserialize)]
struct Scores {
    subsets: Vec<Subset>,
    signatures: Signatures,
}

fn golden(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/metrics").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn pairs() -> Vec<Pair> {
    let pairs: Vec<Pair> = golden("pairs.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(pairs.len() >= 300, "only {} pairs", pairs.len());
    pairs
}

#[track_caller]
fn assert_close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() < TOLERANCE, "{what}: {ours} is not {theirs}");
}

#[test]
fn tokens_equal_those_of_13a() {
    for pair in pairs() {
        assert_eq!(tokenize_13a(&pair.hypothesis), pair.tokens, "{:?}", pair.hypothesis);
    }
}

#[test]
fn sentence_scores_equal_those_of_sacrebleu() {
    for pair in pairs() {
        let what = format!("{:?} against {:?}", pair.hypothesis, pair.reference);
        let bleu = BleuStats::of(&pair.hypothesis, &pair.reference);
        let chrf = ChrfStats::of(&pair.hypothesis, &pair.reference);
        assert_close(bleu.sentence_score(), pair.bleu, &what);
        assert_close(chrf.score(), pair.chrf, &what);
        assert_close(chrf.score_plus_plus(), pair.chrf_plus_plus, &what);
    }
}

#[test]
fn corpus_scores_equal_those_of_sacrebleu() {
    let pairs = pairs();
    let scores: Scores = serde_json::from_str(&golden("scores.json")).unwrap();
    assert!(scores.subsets.len() >= 5);
    for subset in scores.subsets {
        let rows = || subset.rows.iter().map(|&row| &pairs[row]);
        let bleu: BleuStats = rows().map(|pair| BleuStats::of(&pair.hypothesis, &pair.reference)).sum();
        let chrf: ChrfStats = rows().map(|pair| ChrfStats::of(&pair.hypothesis, &pair.reference)).sum();

        assert_eq!(bleu.matches, subset.bleu_counts, "{}", subset.name);
        assert_eq!(bleu.totals, subset.bleu_totals, "{}", subset.name);
        assert_eq!(bleu.text_length, subset.bleu_hypothesis_length, "{}", subset.name);
        assert_eq!(bleu.reference_length, subset.bleu_reference_length, "{}", subset.name);
        assert_close(bleu.brevity_penalty(), subset.bleu_brevity_penalty, &subset.name);
        for (ours, theirs) in bleu.precisions().into_iter().zip(subset.bleu_precisions) {
            assert_close(ours, theirs, &subset.name);
        }
        assert_close(bleu.score(), subset.bleu, &subset.name);
        assert_close(chrf.score(), subset.chrf, &subset.name);
        assert_close(chrf.score_plus_plus(), subset.chrf_plus_plus, &subset.name);
    }
}

#[test]
fn signatures_are_those_of_the_sacrebleu_that_made_the_scores() {
    let scores: Scores = serde_json::from_str(&golden("scores.json")).unwrap();
    assert_eq!(BleuStats::SIGNATURE, scores.signatures.bleu);
    assert_eq!(ChrfStats::SIGNATURE, scores.signatures.chrf);
    assert_eq!(ChrfStats::SIGNATURE_PLUS_PLUS, scores.signatures.chrf_plus_plus);
}

proptest! {
    #[test]
    fn any_two_texts_score_between_0_and_100(text in "\\PC{0,40}", reference in "\\PC{0,40}") {
        let (bleu, chrf) = (BleuStats::of(&text, &reference), ChrfStats::of(&text, &reference));
        for score in [bleu.score(), bleu.sentence_score(), chrf.score(), chrf.score_plus_plus()] {
            prop_assert!((0.0..=100.0 + TOLERANCE).contains(&score), "{}", score);
        }
    }

    #[test]
    fn a_text_scores_100_against_itself(text in "[a-z]{1,9}( [a-z,.1-9]{1,9}){3,9}") {
        prop_assert!((BleuStats::of(&text, &text).score() - 100.0).abs() < TOLERANCE);
        prop_assert!((ChrfStats::of(&text, &text).score_plus_plus() - 100.0).abs() < TOLERANCE);
    }
}
