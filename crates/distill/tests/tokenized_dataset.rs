//! Tests of tokenised data sets.

use std::error::Error;

use wheels_distill::{DistillError, PromptSource, TokenizedDataset};
use wheels_text::{
    BudgetPlacement, Dataset, Example, HelpBudget, PromptTemplate, TextError, Tokenizer, TokenizerConfig,
};

/// A tokenizer without merges: every byte is one token.
fn tokenizer() -> Tokenizer {
    let config = TokenizerConfig::default().with_vocab_size(259);
    Tokenizer::train(config, ["a text".to_owned()]).expect("a line to train on")
}

fn dataset(pairs: &[(&str, &str)]) -> Dataset {
    pairs.iter().map(|&(source, target)| Example::new(source, target)).collect()
}

/// Prompts such as "use the teacher for at most 20 percent of the words: say: one".
fn template() -> PromptTemplate {
    PromptTemplate::default().with_prefix("say: ").with_budget(BudgetPlacement::Before)
}

#[test]
fn the_prefix_is_part_of_the_source_and_the_budget_is_not() {
    let (tokenizer, dataset) = (tokenizer(), dataset(&[(" one ", "uno"), ("two", "due")]));
    let tokenized = TokenizedDataset::new(&dataset, &tokenizer, &template(), 64).expect("short texts");
    assert_eq!((tokenized.pairs().len(), tokenized.dropped()), (2, 0));
    assert_eq!(tokenized.pairs()[0].source, tokenizer.encode_with_end("say: one").expect("a text"));
    assert_eq!(tokenized.pairs()[0].target, tokenizer.encode_with_end("uno").expect("a text"));

    let budget = HelpBudget::percent(20);
    for wording in 0..HelpBudget::WORDINGS {
        let prompt = tokenized.prompt(1, budget, wording).expect("a prompt");
        assert_eq!(prompt.expert, tokenized.pairs()[1].source);
        let words = format!("{} say: two", budget.words(wording));
        assert_eq!(tokenizer.decode(&prompt.student).expect("ids of the tokenizer"), words);
        assert_eq!(prompt.budget, budget);
    }
}

#[test]
fn pairs_that_are_too_long_are_dropped_and_counted() {
    let (long, tokenizer) = ("x".repeat(60), tokenizer());
    let dataset = dataset(&[(&long, "short"), ("one", "uno"), ("short", &long), ("two", "due")]);
    let tokenized = TokenizedDataset::new(&dataset, &tokenizer, &template(), 20).expect("two pairs fit");
    assert_eq!((tokenized.pairs().len(), tokenized.dropped()), (2, 2));
    let sources: Vec<&str> = tokenized.examples().iter().map(|example| example.source.as_str()).collect();
    assert_eq!(sources, ["one", "two"]);
    let prompt = tokenized.prompt(1, HelpBudget::percent(0), 0).expect("a prompt");
    assert_eq!(prompt.expert, tokenized.pairs()[1].source, "the prompts are those of the pairs that were kept");

    // The prefix has 5 tokens, and the end-of-text token is one more.
    let exact = self::dataset(&[("123456", "uno")]);
    assert!(TokenizedDataset::new(&exact, &tokenizer, &template(), 12).is_ok());
    assert!(TokenizedDataset::new(&exact, &tokenizer, &template(), 11).is_err());
}

#[test]
fn a_pair_is_dropped_if_its_prompt_does_not_fit_the_template_with_every_budget() {
    let tokenizer = tokenizer();
    let sources: Vec<String> = (1..100).map(|length| "x".repeat(length)).collect();
    let pairs: Vec<(&str, &str)> = sources.iter().map(|source| (source.as_str(), "uno")).collect();
    let dataset = dataset(&pairs);
    let template = template().with_max_tokens(120);
    let tokenized = TokenizedDataset::new(&dataset, &tokenizer, &template, 110).expect("short texts");
    assert!(tokenized.dropped() > 0 && !tokenized.pairs().is_empty(), "{} dropped", tokenized.dropped());
    let longest = tokenized.pairs().len() - 1;
    for wording in 0..HelpBudget::WORDINGS {
        for budget in [HelpBudget::percent(0), HelpBudget::percent(100), HelpBudget::tokens(999)] {
            assert!(tokenized.prompt(longest, budget, wording).is_ok(), "{budget} in wording {wording}");
        }
    }
    // If the prompt has no budget, only the limit of the template counts.
    let silent = template.with_budget(BudgetPlacement::None);
    assert_eq!(TokenizedDataset::new(&dataset, &tokenizer, &silent, 110).expect("short texts").dropped(), 0);
}

#[test]
fn a_dataset_without_usable_pairs_is_refused_with_its_numbers() {
    let (tokenizer, texts) = (tokenizer(), dataset(&[("one two three", "uno"), ("four", "quattro cinque sei")]));
    let refused = TokenizedDataset::new(&texts, &tokenizer, &template(), 8).expect_err("no pair fits");
    assert!(matches!(refused, DistillError::NoPairs { dropped: 2, max_tokens: 8, longest: 19 }), "{refused}");
    let message = refused.to_string();
    for part in ["all 2 ", "more than 8 tokens", "longest 19", "max_tokens"] {
        assert!(message.contains(part), "{message}");
    }
    let refused = TokenizedDataset::new(&dataset(&[]), &tokenizer, &template(), 8).map(drop).expect_err("no pairs");
    assert!(matches!(refused, DistillError::NoData), "{refused}");
}

#[test]
fn an_empty_source_is_an_error_with_its_index() {
    let (tokenizer, texts) = (tokenizer(), dataset(&[("one", "uno"), (" ", "due")]));
    let refused = TokenizedDataset::new(&texts, &tokenizer, &template(), 64).expect_err("an empty source");
    assert!(matches!(refused, DistillError::Prompt { index: 1, source: TextError::EmptyText }), "{refused}");
    assert!(refused.source().is_some());
}
