//! Reading, writing and splitting datasets, and the errors of invalid files.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;

use proptest::prelude::*;
use wheels_text::{Dataset, Example, Message, Role, Seed, TextError};

fn pair(source: &str, target: &str) -> Example {
    Example::new(source, target)
}

fn numbers(count: usize) -> Dataset {
    (0..count).map(|n| pair(&format!("n{n}"), &format!("m{n}"))).collect()
}

fn jsonl(bytes: &[u8]) -> Result<Dataset, TextError> {
    Dataset::from_reader(bytes, "data.jsonl")
}

#[test]
fn empty_lines_byte_order_marks_and_other_fields_are_ignored() {
    let text =
        "\u{feff}{\"source\": \"a\", \"target\": \"b\", \"id\": 3}\r\n\n  \n{\"target\":\"d\\u00e8\",\"source\":\"c\"}";
    let dataset = jsonl(text.as_bytes()).unwrap();
    assert_eq!(dataset.examples(), [pair("a", "b"), pair("c", "dè")]);
}

#[test]
fn an_invalid_line_is_reported_with_its_file_and_number() {
    let good = "{\"source\": \"a\", \"target\": \"b\"}\n\n";
    for (line, problem) in [
        (&b"{\"source\": \"a\""[..], "EOF"),
        (b"{\"source\": \"a\"}", "missing field `target`"),
        (b"{\"source\": 3, \"target\": \"b\"}", "the field `source` is a number"),
        (b"{\"source\": \"a\", \"target\": nope}", "column 28"),
        (b"null", "found null"),
        (b"not json", "expected"),
        (b"[1]", "expected"),
        (b"{\"source\": \" \", \"target\": \"b\"}", "the field `source` is empty"),
        (b"{\"source\": \"a\", \"target\": \"\"}", "the field `target` is empty"),
        (b"{\"source\": \"caf\xe9\", \"target\": \"b\"}", "invalid UTF-8 at byte 16"),
    ] {
        let error = jsonl(&[good.as_bytes(), line, b"\n"].concat()).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("data.jsonl:3: invalid example") && message.contains("`DatasetOptions::with_skip_bad`"),
            "{message}"
        );
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains(problem), "{cause}");
        assert!(!cause.contains("line 1"), "{cause}");
    }
}

#[test]
fn a_file_without_examples_is_an_error() {
    for bytes in [&b""[..], b"\n\n \n"] {
        assert!(matches!(jsonl(bytes), Err(TextError::Empty { .. })));
    }
    let folder = tempfile::tempdir().unwrap();
    let message = Dataset::open(folder.path().join("none.jsonl")).unwrap_err().to_string();
    assert!(message.contains("cannot read") && message.contains("none.jsonl"), "{message}");
    assert!(Dataset::open(folder.path()).is_err());
}

#[test]
fn the_shuffled_order_depends_only_on_the_seed() {
    let shuffled = numbers(8).shuffled(Seed(7));
    let order: Vec<_> = shuffled.iter().map(|example| example.source.as_str()).collect();
    assert_eq!(order, ["n1", "n0", "n7", "n6", "n3", "n5", "n2", "n4"]);
    assert_ne!(numbers(8).shuffled(Seed(8)), shuffled);
}

#[test]
fn splitting_keeps_the_order_and_every_example() {
    let (first, rest) = numbers(5).split(2);
    assert_eq!((first.len(), rest.len()), (2, 3));
    assert_eq!(rest.examples()[0], pair("n2", "m2"));
    assert_eq!(numbers(5).split(9), (numbers(5), Dataset::default()));
    assert_eq!(numbers(5).take(3), numbers(3));
    assert!(numbers(5).take(0).is_empty());
}

#[test]
fn saved_lines_equal_those_of_python() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    let dataset: Dataset = [pair("\u{1}\u{1f}\u{7f}\u{2028}\"\\/\t\u{8}\u{c}😀è", "t")].into_iter().collect();
    dataset.save_jsonl(&path).unwrap();
    // print(json.dumps({...}, ensure_ascii=False))
    let expected = "{\"source\": \"\\u0001\\u001f\u{7f}\u{2028}\\\"\\\\/\\t\\b\\f😀è\", \"target\": \"t\"}\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn the_turns_of_a_conversation_are_saved_as_python_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    let turns = vec![Message::new(Role::System, ""), Message::new(Role::User, "é\"")];
    let dataset: Dataset = [pair("a", "b").with_turns(turns), pair("c", "d")].into_iter().collect();
    dataset.save_jsonl(&path).unwrap();
    let expected = "{\"source\": \"a\", \"target\": \"b\", \"turns\": [{\"role\": \"system\", \"content\": \"\"}, \
                    {\"role\": \"user\", \"content\": \"é\\\"\"}]}\n{\"source\": \"c\", \"target\": \"d\"}\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(Dataset::open(&path).unwrap(), dataset);
}

/// Any text that is not blank.
fn any_text() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("not blank", |text| !text.trim().is_empty())
}

fn any_example() -> impl Strategy<Value = Example> {
    let role = prop::sample::select(vec![Role::System, Role::User, Role::Assistant]);
    let turn = (role, any_text()).prop_map(|(role, content)| Message::new(role, content));
    (any_text(), any_text(), prop::collection::vec(turn, 0..4))
        .prop_map(|(source, target, turns)| Example::new(source, target).with_turns(turns))
}

proptest! {
    #[test]
    fn saved_examples_are_read_back_unchanged(examples in prop::collection::vec(any_example(), 1..20)) {
        let dataset: Dataset = examples.into_iter().collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/data.jsonl");
        dataset.save_jsonl(&path).unwrap();
        prop_assert_eq!(Dataset::open(&path).unwrap(), dataset);
    }

    #[test]
    fn shuffling_keeps_every_example(count in 0_usize..60, seed in any::<u64>()) {
        let before: BTreeSet<_> = numbers(count).into_iter().collect();
        let after: BTreeSet<_> = numbers(count).shuffled(Seed(seed)).into_iter().collect();
        prop_assert_eq!(before, after);
    }
}
