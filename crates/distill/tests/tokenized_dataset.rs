//! Tests of tokenised data sets.

use std::error::Error;

use burn::tensor::Device;
use wheels_distill::{
    BatchSource, DistillError, PromptSource, SupervisedBatches, TokenPairs, TokenizedDataset, Workers,
};
use wheels_student::Student;
use wheels_text::{
    BudgetPlacement, Dataset, DatasetOptions, Example, HelpBudget, PromptTemplate, Seed, TextError, Tokenizer,
    TokenizerConfig,
};

mod support;

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
    assert_eq!((tokenized.count(), tokenized.dropped()), (2, 0));
    assert_eq!(tokenized.pair(0).expect("a pair").source, tokenizer.encode_with_end("say: one").expect("a text"));
    assert_eq!(tokenized.pair(0).expect("a pair").target, tokenizer.encode_with_end("uno").expect("a text"));

    let budget = HelpBudget::percent(20);
    for wording in 0..HelpBudget::WORDINGS {
        let prompt = tokenized.prompt(1, budget, wording).expect("a prompt");
        assert_eq!(prompt.expert, tokenized.pair(1).expect("a pair").source);
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
    assert_eq!((tokenized.count(), tokenized.dropped()), (2, 2));
    let sources = [0, 1].map(|index| tokenized.example(index).expect("an example").source.clone());
    assert_eq!(sources, ["one", "two"]);
    let prompt = tokenized.prompt(1, HelpBudget::percent(0), 0).expect("a prompt");
    assert_eq!(
        prompt.expert,
        tokenized.pair(1).expect("a pair").source,
        "the prompts are those of the pairs that were kept"
    );

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
    assert!(tokenized.dropped() > 0 && tokenized.count() > 0, "{} dropped", tokenized.dropped());
    let longest = tokenized.count() - 1;
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
fn a_file_on_disk_gives_the_pairs_prompts_and_batches_of_memory() {
    let (long, tokenizer) = ("x".repeat(60), tokenizer());
    let numbers: Vec<String> = (0..200).map(|number| format!("{number}")).collect();
    let mut texts: Vec<(&str, &str)> = numbers.iter().map(|number| (number.as_str(), "caffè \u{1F99C}")).collect();
    texts.insert(7, (&long, "too long"));
    let dataset = dataset(&texts);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("train.jsonl");
    dataset.save_jsonl(&path).expect("the disk has room");

    let in_memory = TokenizedDataset::new(&dataset, &tokenizer, &template(), 40).expect("short texts");
    let stream = Dataset::stream(&path, &DatasetOptions::default()).expect("a file");
    let run = folder.path().join("a/run");
    let on_disk = TokenizedDataset::on_disk(stream, &tokenizer, &template(), 40, &run).expect("short texts");
    let [in_memory, on_disk] = [in_memory, on_disk].map(|data| data.with_target_start(Some(5)));
    assert_eq!((on_disk.count(), on_disk.dropped()), (200, 1));
    for index in [0, 6, 7, 199] {
        assert_eq!(on_disk.lengths(index), in_memory.lengths(index));
        assert_eq!(on_disk.pair(index).expect("a pair"), in_memory.pair(index).expect("a pair"));
        assert_eq!(on_disk.example(index).expect("an example"), in_memory.example(index).expect("an example"));
        let prompt = |data: &TokenizedDataset<'_>| data.prompt(index, HelpBudget::percent(30), 1).expect("a prompt");
        assert_eq!(prompt(&on_disk), prompt(&in_memory));
    }
    let student = Student::new(support::model(259, &Device::flex()));
    let workers = Workers::new(1).expect("a thread");
    let batches = |data: &TokenizedDataset<'_>| {
        let mut batches = SupervisedBatches::new(data, 400, 0, Seed(1)).expect("the pairs fit").with_noise(0.1);
        let batches = batches.next_batches(&student, 30, &workers).expect("pairs");
        batches.into_iter().map(|batch| (batch.prompts, batch.targets, batch.decoder_inputs)).collect::<Vec<_>>()
    };
    assert!(batches(&on_disk) == batches(&in_memory));
}

#[test]
fn an_invalid_line_of_a_stream_is_an_error_with_its_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("train.jsonl");
    std::fs::write(&path, "{\"source\": \"one\", \"target\": \"uno\"}\n{\"source\": \"two\"}\n").expect("a file");
    let stream = Dataset::stream(&path, &DatasetOptions::default()).expect("a file");
    let tokenizer = tokenizer();
    let refused =
        TokenizedDataset::on_disk(stream, &tokenizer, &template(), 40, folder.path()).expect_err("a bad line");
    let cause = refused.source().expect("a cause").to_string();
    assert!(cause.contains("train.jsonl:2"), "{cause}");
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
