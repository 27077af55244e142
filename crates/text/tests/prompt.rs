//! Prompts and tasks.
#![allow(clippy::unwrap_used)]

use std::{fs, sync::LazyLock};

use wheels_text::{BudgetPlace, HelpBudget, PromptFormat, Task, TextError, Tokenizer, TrainTokenizer, Translate};

/// One token a byte.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let config = TrainTokenizer { vocab_size: 259, min_frequency: 2 };
    Tokenizer::train(config, ["a".to_owned()]).unwrap()
});

const BUDGET: HelpBudget = HelpBudget::Percent(20);

#[test]
fn both_sides_end_in_the_end_mark_and_read_the_trimmed_text() {
    let prompt = PromptFormat::default().prompt(&TOKENIZER, " è \n", BUDGET).unwrap();
    assert_eq!(TOKENIZER.decode(&prompt.student).unwrap(), "è");
    assert_eq!(prompt.student.len(), 3);
    assert_eq!(prompt.student[2], TOKENIZER.eos());
    assert_eq!(prompt.student, prompt.expert);
    assert_eq!(prompt.budget, BUDGET);
}

#[test]
fn only_the_student_reads_the_budget() {
    let format = PromptFormat {
        prefix: "translate English to Italian: ".to_owned(),
        budget: BudgetPlace::Before,
        wording: 2,
        ..PromptFormat::default()
    };
    let prompt = format.prompt(&TOKENIZER, "a tool", HelpBudget::tokens(3)).unwrap();
    let words = HelpBudget::tokens(3).words(2);
    assert_eq!(TOKENIZER.decode(&prompt.student).unwrap(), format!("{words} translate English to Italian: a tool"));
    assert_eq!(TOKENIZER.decode(&prompt.expert).unwrap(), "translate English to Italian: a tool");
    assert_eq!(prompt.student.last(), Some(&TOKENIZER.eos()));
    assert_eq!(prompt.expert.last(), Some(&TOKENIZER.eos()));
}

#[test]
fn the_number_of_a_budget_is_read_digit_by_digit() {
    let numbers = ["20", "20", "20", "25", "25", "25"].map(str::to_owned);
    let config = TrainTokenizer { vocab_size: 270, min_frequency: 2 };
    let tokenizer = Tokenizer::train(config, numbers).unwrap();
    assert_eq!(tokenizer.encode("20").unwrap().len(), 1, "elsewhere it is one token");
    let format = PromptFormat { budget: BudgetPlace::Before, wording: 7, ..PromptFormat::default() };
    let prompt = |percent| format.prompt(&tokenizer, "20", HelpBudget::percent(percent)).unwrap();
    let differing = prompt(20).student.iter().zip(&prompt(25).student).filter(|(a, b)| a != b).count();
    assert_eq!((prompt(20).student.len(), differing), (prompt(25).student.len(), 1));
    assert!(prompt(20).student.ends_with(&prompt(20).expert));
    assert_eq!(tokenizer.decode(&prompt(20).student).unwrap(), "help limit 20%: 20");
}

#[test]
fn empty_text_is_an_error() {
    for text in ["", " ", "\n\t \u{a0}"] {
        let error = Translate::new("English", "Italian").prompt(&TOKENIZER, text, BUDGET).unwrap_err();
        assert!(matches!(error, TextError::EmptyText), "{text:?}");
    }
}

#[test]
fn a_text_past_the_limit_is_an_error_and_never_cut() {
    let mut format = PromptFormat { max_tokens: 5, ..PromptFormat::default() };
    assert_eq!(format.prompt(&TOKENIZER, "four", BUDGET).unwrap().expert.len(), 5);
    let error = format.prompt(&TOKENIZER, "fives", BUDGET).unwrap_err();
    assert!(matches!(error, TextError::TooLong { tokens: 6, limit: 5 }));
    assert!(error.to_string().contains("split it"));
    // The budget's words count too.
    format.budget = BudgetPlace::Before;
    assert!(matches!(format.prompt(&TOKENIZER, "four", BUDGET), Err(TextError::TooLong { .. })));
    let long = "word ".repeat(100_000);
    let error = PromptFormat::default().prompt(&TOKENIZER, &long, BUDGET).unwrap_err();
    assert!(matches!(error, TextError::TooLong { tokens: 500_000, limit: 256 }));
}

#[test]
fn tasks_speak_as_t5_was_trained() {
    let translate = Translate::new("English", "Italian");
    let prompt = translate.prompt(&TOKENIZER, "a text", BUDGET).unwrap();
    assert_eq!(TOKENIZER.decode(&prompt.student).unwrap(), "translate English to Italian: a text");
    assert_eq!(Task::from(translate).prompt(&TOKENIZER, "a text", BUDGET).unwrap(), prompt);
    let prompt = Task::Summarize.prompt(&TOKENIZER, "a text", BUDGET).unwrap();
    assert_eq!(TOKENIZER.decode(&prompt.expert).unwrap(), "summarize: a text");
}

#[test]
fn formats_save_and_load_and_are_optional() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(PromptFormat::from_dir(&folder).unwrap(), PromptFormat::default());
    let format = PromptFormat { budget: BudgetPlace::Before, ..Task::Summarize.format() };
    format.save(&folder).unwrap();
    assert_eq!(PromptFormat::from_dir(&folder).unwrap(), format);
    let path = folder.path().join("prompt.json");
    fs::write(&path, r#"{"prefix": "p: "}"#).unwrap();
    let partial = PromptFormat::from_dir(&folder).unwrap();
    assert_eq!((partial.prefix.as_str(), partial.max_tokens), ("p: ", 256));
    fs::write(&path, r#"{"prefx": "p: "}"#).unwrap();
    let message = PromptFormat::from_dir(&folder).unwrap_err().to_string();
    assert!(message.contains("prompt.json") && message.contains("prefx"), "{message}");
}
