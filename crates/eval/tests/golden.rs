//! Our scores equal those of sacrebleu and rouge-score on real and adversarial pairs. The pairs and scores are in
//! `assets/golden/metrics`, with the script that made them.
//!
//! The tolerance is 1e-9, on scores of 0 to 100 and on the fractions behind ROUGE. Both sides add and divide the same
//! integers in f64. They may differ in the order of additions, in the last digits of `exp` and `ln`, and because the
//! files have twelve decimals.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;
use wheels_eval::metric::{BleuStats, ChrfStats, RougeStats, Stemming};

const TOLERANCE: f64 = 1e-9;

/// Precision, recall and F1 of ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum.
type Rouge = [[f64; 3]; 4];

#[derive(Deserialize)]
struct Pair {
    hypothesis: String,
    reference: String,
    bleu: f64,
    chrf: f64,
    chrf_plus_plus: f64,
    rouge: Rouge,
    /// Absent if stemming changes nothing.
    rouge_porter: Option<Rouge>,
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
    rouge: Rouge,
    rouge_porter: Rouge,
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
    assert!(pairs.len() >= 2000, "only {} pairs", pairs.len());
    pairs
}

#[track_caller]
fn assert_close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() < TOLERANCE, "{what}: ours is {ours}, theirs is {theirs}");
}

#[track_caller]
fn assert_rouge(ours: &RougeStats, theirs: &Rouge, what: &str) {
    let mean = ours.mean();
    let kinds = ["ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum"];
    for ((kind, ours), theirs) in kinds.into_iter().zip([mean.one, mean.two, mean.l, mean.l_sum]).zip(theirs) {
        for (ours, &theirs) in [ours.precision, ours.recall, ours.f1].into_iter().zip(theirs) {
            assert_close(ours, theirs, &format!("{kind} of {what}"));
        }
    }
    let scores = [ours.rouge_1(), ours.rouge_2(), ours.rouge_l(), ours.rouge_l_sum()];
    for (score, [_, _, f1]) in scores.into_iter().zip(theirs) {
        assert_close(score, 100.0 * f1, what);
    }
}

#[test]
fn bleu_and_chrf_match_sacrebleu_on_the_golden_pairs() {
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
fn rouge_matches_rouge_score_on_the_golden_pairs() {
    for pair in pairs() {
        let what = format!("{:?} against {:?}", pair.hypothesis, pair.reference);
        let [plain, porter] = [Stemming::Off, Stemming::Porter]
            .map(|stemming| RougeStats::of(&pair.hypothesis, &pair.reference, stemming));
        assert_rouge(&plain, &pair.rouge, &what);
        assert_rouge(&porter, &pair.rouge_porter.unwrap_or(pair.rouge), &format!("{what} with stemming"));
    }
}

#[test]
fn corpus_scores_match_sacrebleu_and_rouge_score() {
    let pairs = pairs();
    let scores: Scores = serde_json::from_str(&golden("scores.json")).unwrap();
    assert!(scores.subsets.len() >= 5);
    for subset in scores.subsets {
        let chosen: Vec<&Pair> = subset.rows.iter().map(|&row| &pairs[row]).collect();
        let bleu: BleuStats = chosen.iter().map(|pair| BleuStats::of(&pair.hypothesis, &pair.reference)).sum();
        let chrf: ChrfStats = chosen.iter().map(|pair| ChrfStats::of(&pair.hypothesis, &pair.reference)).sum();

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
        for (stemming, theirs) in [(Stemming::Off, subset.rouge), (Stemming::Porter, subset.rouge_porter)] {
            let ours: RougeStats =
                chosen.iter().map(|pair| RougeStats::of(&pair.hypothesis, &pair.reference, stemming)).sum();
            assert_eq!(ours.count, subset.rows.len() as u64, "{}", subset.name);
            assert_rouge(&ours, &theirs, &subset.name);
        }
    }
}

#[test]
fn signatures_match_the_sacrebleu_that_made_the_scores() {
    let scores: Scores = serde_json::from_str(&golden("scores.json")).unwrap();
    assert_eq!(BleuStats::SIGNATURE, scores.signatures.bleu);
    assert_eq!(ChrfStats::SIGNATURE, scores.signatures.chrf);
    assert_eq!(ChrfStats::SIGNATURE_PLUS_PLUS, scores.signatures.chrf_plus_plus);
}

proptest! {
    #[test]
    fn scores_are_between_0_and_100(text in "\\PC{0,40}", reference in "\\PC{0,40}") {
        let (bleu, chrf) = (BleuStats::of(&text, &reference), ChrfStats::of(&text, &reference));
        for score in [bleu.score(), bleu.sentence_score(), chrf.score(), chrf.score_plus_plus()] {
            prop_assert!((0.0..=100.0 + TOLERANCE).contains(&score), "{}", score);
        }
        for stemming in [Stemming::Off, Stemming::Porter] {
            let rouge = RougeStats::of(&text, &reference, stemming);
            for score in [rouge.rouge_1(), rouge.rouge_2(), rouge.rouge_l(), rouge.rouge_l_sum()] {
                prop_assert!((0.0..=100.0 + TOLERANCE).contains(&score), "{}", score);
            }
        }
    }

    #[test]
    fn swapping_text_and_reference_swaps_precision_and_recall(
        text in "[ab\n]{1,3}( [abc\n]{1,3}){0,6}", reference in "[ab\n]{1,3}( [abc\n]{1,3}){0,6}",
    ) {
        let there = RougeStats::of(&text, &reference, Stemming::Off);
        let back = RougeStats::of(&reference, &text, Stemming::Off);
        for (there, back) in [(there.one, back.one), (there.two, back.two), (there.l, back.l)] {
            prop_assert_eq!((there.precision, there.recall), (back.recall, back.precision));
        }
    }

    #[test]
    fn rouge_lsum_equals_rouge_l_on_single_lines(
        text in "[ab]{1,2}( [ab]{1,2}){0,9}", reference in "[ab]{1,2}( [ab]{1,2}){0,9}",
    ) {
        let rouge = RougeStats::of(&text, &reference, Stemming::Off);
        prop_assert_eq!(rouge.l, rouge.l_sum);
        prop_assert!(rouge.l.f1 <= rouge.one.f1);
    }

    #[test]
    fn a_text_scores_100_against_itself(text in "[a-z]{1,9}( [a-z,.1-9]{1,9}){3,9}") {
        prop_assert!((BleuStats::of(&text, &text).score() - 100.0).abs() < TOLERANCE);
        prop_assert!((ChrfStats::of(&text, &text).score_plus_plus() - 100.0).abs() < TOLERANCE);
        prop_assert!((RougeStats::of(&text, &text, Stemming::Porter).rouge_l() - 100.0).abs() < TOLERANCE);
    }
}
