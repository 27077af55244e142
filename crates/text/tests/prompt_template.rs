//! Prompts, and the prompt.json that describes them.
#![allow(clippy::unwrap_used)]

use std::error::Error;
use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;
use wheels_text::{BudgetPlacement, HelpBudget, PromptTemplate, TextError, Tokenizer, TokenizerConfig};

/// A tokenizer whose tokens are single bytes.
static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), ["a".to_owned()]).unwrap());

const BUDGET: HelpBudget = HelpBudget::Percent(20);

#[test]
fn both_prompts_hold_the_trimmed_text_and_the_end_of_text_token() {
    let prompt = PromptTemplate::default().prompt(&TOKENIZER, " è \n", BUDGET).unwrap();
    assert_eq!(TOKENIZER.decode(&prompt.student).unwrap(), "è");
    assert_eq!(prompt.student.len(), 3);
    assert_eq!(prompt.student[2], TOKENIZER.eos());
    assert_eq!(prompt.student, prompt.expert);
    assert_eq!(prompt.budget, BUDGET);
}

#[test]
fn only_the_student_reads_the_budget() {
    let template = PromptTemplate::default()
        .with_prefix("translate English to Italian: ")
        .with_budget(BudgetPlacement::Before)
        .with_wording(2);
    let prompt = template.prompt(&TOKENIZER, "a tool", HelpBudget::tokens(3)).unwrap();
    let words = HelpBudget::tokens(3).words(2);
    assert_eq!(TOKENIZER.decode(&prompt.student).unwrap(), format!("{words} translate English to Italian: a tool"));
    assert_eq!(TOKENIZER.decode(&prompt.expert).unwrap(), "translate English to Italian: a tool");
    assert_eq!(prompt.student.last(), Some(&TOKENIZER.eos()));
    assert_eq!(prompt.expert.last(), Some(&TOKENIZER.eos()));
}

#[test]
fn each_digit_of_a_stated_budget_is_one_token() {
    let numbers = ["20", "20", "20", "25", "25", "25"].map(str::to_owned);
    let tokenizer = Tokenizer::train(TokenizerConfig::default().with_vocab_size(270), numbers).unwrap();
    assert_eq!(tokenizer.encode("20").unwrap().len(), 1, "in other text the number is one token");
    let template = PromptTemplate::default().with_budget(BudgetPlacement::Before).with_wording(7);
    let twenty = template.prompt(&tokenizer, "20", HelpBudget::percent(20)).unwrap();
    let twenty_five = template.prompt(&tokenizer, "20", HelpBudget::percent(25)).unwrap();
    assert_eq!(twenty.student.len(), twenty_five.student.len());
    assert_eq!(twenty.student.iter().zip(&twenty_five.student).filter(|(a, b)| a != b).count(), 1);
    assert!(twenty.student.ends_with(&twenty.expert));
    assert_eq!(tokenizer.decode(&twenty.student).unwrap(), "help limit 20%: 20");
}

#[test]
fn empty_text_is_an_error() {
    let template = PromptTemplate::default().with_prefix("summarize: ");
    for text in ["", " ", "\n\t \u{a0}"] {
        let error = template.prompt(&TOKENIZER, text, BUDGET).unwrap_err();
        assert!(matches!(error, TextError::EmptyText), "{text:?}");
    }
}

#[test]
fn a_text_over_the_limit_is_an_error_and_is_never_truncated() {
    let template = PromptTemplate::default().with_max_tokens(5);
    assert_eq!(template.prompt(&TOKENIZER, "four", BUDGET).unwrap().expert.len(), 5);
    let error = template.prompt(&TOKENIZER, "fives", BUDGET).unwrap_err();
    assert!(matches!(error, TextError::TooLong { tokens: 6, limit: 5 }));
    assert!(error.to_string().contains("split it"));
    let long = "word ".repeat(100_000);
    let error = PromptTemplate::default().prompt(&TOKENIZER, &long, BUDGET).unwrap_err();
    assert!(matches!(error, TextError::TooLong { tokens: 500_000, limit: 256 }));
}

#[test]
fn the_words_of_the_budget_count_towards_the_limit() {
    let template = PromptTemplate::default().with_max_tokens(5).with_budget(BudgetPlacement::Before);
    assert!(matches!(template.prompt(&TOKENIZER, "four", BUDGET), Err(TextError::TooLong { .. })));
}

#[test]
fn a_folder_without_a_file_gives_the_default() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(PromptTemplate::from_dir(&folder).unwrap(), PromptTemplate::default());
}

#[test]
fn missing_fields_have_their_defaults() {
    let template = PromptTemplate::from_json(r#"{"prefix": "p: "}"#).unwrap();
    assert_eq!(template, PromptTemplate::default().with_prefix("p: "));
    assert_eq!(PromptTemplate::from_json("{}").unwrap(), PromptTemplate::default());
}

#[test]
fn unknown_fields_and_invalid_values_are_rejected() {
    for (json, problem) in
        [(r#"{"prefx": "p: "}"#, "prefx"), (r#"{"budget": "after"}"#, "after"), (r#"{"prefix": null}"#, "null")]
    {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("prompt.json"), json).unwrap();
        let error = PromptTemplate::from_dir(&folder).unwrap_err();
        assert!(error.to_string().contains("prompt.json"), "{error}");
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains(problem), "{cause}");
        assert!(!error.to_string().contains(&cause), "{error}");
    }
}

#[test]
fn files_of_earlier_versions_are_read() {
    let json = r#"{"prefix": "", "budget": "before", "wording": 0, "max_tokens": 512, "max_new_tokens": 48,
        "no_repeat_ngram_size": 6}"#;
    let expected = PromptTemplate::default().with_budget(BudgetPlacement::Before).with_max_tokens(512);
    assert_eq!(PromptTemplate::from_json(json).unwrap(), expected);
}

#[test]
fn the_saved_file_has_the_documented_fields() {
    let folder = tempfile::tempdir().unwrap();
    PromptTemplate::default().with_budget(BudgetPlacement::Before).save(&folder).unwrap();
    let json = fs::read_to_string(folder.path().join("prompt.json")).unwrap();
    let expected = "{\n  \"prefix\": \"\",\n  \"budget\": \"before\",\n  \"wording\": 0,\n  \"max_tokens\": 256\n}\n";
    assert_eq!(json, expected);
}

proptest! {
    #[test]
    fn saved_templates_are_read_back_unchanged(
        prefix in any::<String>(), before in any::<bool>(), wording in any::<usize>(), max_tokens in any::<usize>(),
    ) {
        let budget = if before { BudgetPlacement::Before } else { BudgetPlacement::None };
        let template = PromptTemplate { prefix, budget, wording, max_tokens };
        let folder = tempfile::tempdir().unwrap();
        template.save(folder.path().join("new")).unwrap();
        prop_assert_eq!(PromptTemplate::from_dir(folder.path().join("new")).unwrap(), template);
    }
}
