//! The fields of examples: common layouts, names as options, and conversations.
#![allow(clippy::unwrap_used)]

use std::error::Error;
use std::{fs, slice};

use serde_json::{Value, json};
use wheels_text::{Dataset, DatasetOptions, Example, LineProblem, Message, Role, TextError};

fn open(objects: &[Value], options: &DatasetOptions) -> Result<Dataset, TextError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.jsonl");
    fs::write(&path, objects.iter().map(|object| format!("{object}\n")).collect::<String>()).unwrap();
    Dataset::open_with(&path, options)
}

fn only(object: Value) -> Example {
    let dataset = open(&[object], &DatasetOptions::default()).unwrap();
    dataset.into_iter().next().unwrap()
}

fn named(source: &str, target: &str) -> DatasetOptions {
    DatasetOptions::default().with_source(source).with_target(target)
}

/// The cause of an error, which is on one line of a file.
fn problem(result: Result<Dataset, TextError>) -> String {
    result.unwrap_err().source().unwrap().to_string()
}

#[test]
fn common_pairs_of_names_are_recognised() {
    for (source, target) in [
        ("source", "target"),
        ("input", "output"),
        ("prompt", "completion"),
        ("question", "answer"),
        ("document", "summary"),
        ("article", "highlights"),
        ("text", "summary"),
    ] {
        assert_eq!(only(json!({source: "a", target: "b", "id": 3, "label": null})), Example::new("a", "b"));
    }
    assert_eq!(only(json!({"source": "a", "target": "b", "input": "c", "output": "d"})), Example::new("a", "b"));
}

#[test]
fn an_instruction_has_its_input_after_it() {
    let objects = [
        json!({"instruction": "Translate.", "input": "one", "output": "uno"}),
        json!({"instruction": "Say hi.", "input": " ", "output": "hi"}),
        json!({"instruction": "Say ho.", "input": null, "output": "ho"}),
        json!({"instruction": "Say ha.", "output": "ha", "text": "Below is"}),
    ];
    let dataset = open(&objects, &DatasetOptions::default()).unwrap();
    let sources: Vec<_> = dataset.iter().map(|example| example.source.as_str()).collect();
    assert_eq!(sources, ["Translate.\n\none", "Say hi.", "Say ho.", "Say ha."]);
    let number = json!({"instruction": "Add.", "input": 3, "output": "4"});
    assert!(problem(open(&[number], &DatasetOptions::default())).contains("`input` is a number"));
}

#[test]
fn the_first_object_decides_the_fields_of_the_file() {
    let objects = [json!({"question": "a", "answer": "b"}), json!({"source": "c", "target": "d"})];
    let error = open(&objects, &DatasetOptions::default()).unwrap_err();
    let TextError::Line { line: 2, problem, .. } = error else { panic!("{error}") };
    assert!(matches!(*problem, LineProblem::MissingField { .. }), "{problem}");
    // An object without a layout decides nothing.
    let objects = [json!({"version": 3}), objects[0].clone()];
    let dataset = open(&objects, &DatasetOptions::default().with_skip_bad(true)).unwrap();
    assert_eq!((dataset.len(), dataset.skipped().unwrap().count), (1, 1));
}

#[test]
fn unknown_fields_are_listed_with_the_options_that_name_them() {
    let object = json!({"id": 1, "english": "one", "meta": {"it": "uno", "tags": []}});
    let error = open(&[object], &DatasetOptions::default()).unwrap_err();
    assert!(matches!(error, TextError::Fields { line: 1, .. }), "{error}");
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("the fields english, id, meta.it, meta.tags;"), "{cause}");
    assert!(cause.contains("with_source(\"english\").with_target(\"meta.it\")"), "{cause}");
    let cause = problem(open(&[json!({})], &DatasetOptions::default()));
    assert!(cause.contains("no fields") && cause.contains("with_source(\"FIELD\")"), "{cause}");
    let many = (0..500).map(|n| (format!("{n:0100}"), json!("a"))).collect();
    let cause = problem(open(&[Value::Object(many)], &DatasetOptions::default()));
    assert!(cause.contains("and 480 more") && cause.len() < 1_500, "{cause}");
}

#[test]
fn the_languages_of_a_translation_must_be_named() {
    let object = json!({"id": "0", "translation": {"en": "one", "it": "uno"}});
    let cause = problem(open(slice::from_ref(&object), &DatasetOptions::default()));
    assert!(cause.contains("with_source(\"translation.en\").with_target(\"translation.it\")"), "{cause}");
    let dataset = open(&[object], &named("translation.it", "translation.en")).unwrap();
    assert_eq!(dataset.examples(), [Example::new("uno", "one")]);
}

#[test]
fn fields_that_fit_several_layouts_must_be_named() {
    let object = json!({"prompt": "a", "completion": "b", "messages": [{"role": "user", "content": "c"}]});
    let cause = problem(open(&[object], &DatasetOptions::default()));
    assert!(cause.contains("several layouts"), "{cause}");
    assert!(cause.contains("with_source(\"prompt\").with_target(\"completion\")"), "{cause}");
}

#[test]
fn names_are_paths_into_objects_and_lists() {
    let object = json!({"a": {"b": "one", "c.d": "two"}, "e.f": "three", "g": [["x"], {"h": "four"}]});
    for (path, text) in [("a.b", "one"), ("a.c.d", "two"), ("e.f", "three"), ("g.1.h", "four"), ("g.0.0", "x")] {
        let dataset = open(slice::from_ref(&object), &named(path, "a.b")).unwrap();
        assert_eq!(dataset.examples(), [Example::new(text, "one")], "{path}");
    }
    for path in ["b", "a.x", "a.b.c", "g.2", "g.h", "a.", ".a", "", "e"] {
        let cause = problem(open(slice::from_ref(&object), &named("a.b", path)));
        let expected = format!("missing field `{path}`; the fields of the line are a.b, a.c.d, e.f, g");
        assert_eq!(cause, expected);
    }
}

#[test]
fn only_texts_are_accepted() {
    for (value, kind) in
        [(json!(3), "a number"), (json!(null), "null"), (json!(true), "true or false"), (json!(["a"]), "a list")]
    {
        let cause = problem(open(&[json!({"a": "x", "b": value})], &named("a", "b")));
        assert_eq!(cause, format!("the field `b` is {kind}; write it as a text in quotes"));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.csv");
    fs::write(&path, "a,b\n1,2.50\n").unwrap();
    let dataset = Dataset::open_with(&path, &named("a", "b")).unwrap();
    assert_eq!(dataset.examples(), [Example::new("1", "2.50")], "all fields of a table are texts");
}

#[test]
fn a_table_without_a_header_shows_what_its_first_row_has() {
    let error = Dataset::from_reader(&b"one,uno\ntwo,due\n"[..], "a.csv").unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("the fields one, uno;"), "{cause}");
    let error = Dataset::from_reader(&b"a word,una parola\nb,c\n"[..], "a.csv").unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("with_source(\"a word\").with_target(\"una parola\")"), "{cause}");
}

#[test]
fn names_in_a_table_without_an_ending_are_those_of_the_options() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table");
    fs::write(&path, "en,it\none,uno\n").unwrap();
    assert_eq!(Dataset::open_with(&path, &named("en", "it")).unwrap().examples(), [Example::new("one", "uno")]);
}

#[test]
fn a_target_without_a_source_is_an_error() {
    let options = DatasetOptions::default().with_target("b");
    let error = open(&[json!({"a": "x", "b": "y"})], &options).unwrap_err();
    assert!(matches!(error, TextError::NoSourceField { .. }) && error.to_string().contains("with_source"), "{error}");
}

#[test]
fn options_are_saved_and_misspelled_ones_are_rejected() {
    let options = named("a.b", "c").with_skip_bad(true);
    let json = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<DatasetOptions>(&json).unwrap(), options);
    assert_eq!(serde_json::from_str::<DatasetOptions>("{}").unwrap(), DatasetOptions::default());
    assert!(serde_json::from_str::<DatasetOptions>(r#"{"skip": true}"#).is_err());
}

fn messages(turns: &[(&str, &str)]) -> Value {
    turns.iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

#[test]
fn the_last_answer_of_a_conversation_is_the_target() {
    let turns =
        [("system", "be brief"), ("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5")];
    let expected = Example::new("3", "4").with_turns(vec![
        Message::new(Role::System, "be brief"),
        Message::new(Role::User, "1"),
        Message::new(Role::Assistant, "2"),
    ]);
    assert_eq!(only(json!({"messages": messages(&turns)})), expected);
    let shared: Value = turns
        .iter()
        .map(|(role, content)| {
            let from = role.replace("user", "human").replace("assistant", "gpt");
            json!({"from": from, "value": content})
        })
        .collect();
    assert_eq!(only(json!({"conversations": shared, "id": "x"})), expected);
    let options = DatasetOptions::default().with_source("data.dialogue");
    let dataset = open(&[json!({"data": {"dialogue": shared}})], &options).unwrap();
    assert_eq!(dataset.examples(), [expected]);
    let single = only(json!({"messages": messages(&turns[1..3])}));
    assert_eq!(single, Example::new("1", "2"));
    let empty = only(json!({"messages": messages(&[("system", ""), ("user", "1"), ("assistant", "2")])}));
    assert_eq!(empty.turns, [Message::new(Role::System, "")], "not the same as no system message");
}

#[test]
fn a_conversation_that_cannot_be_learned_is_an_error() {
    let good = json!({"messages": messages(&[("user", "1"), ("assistant", "2")])});
    for (bad, expected) in [
        (json!([]), "has no message of the assistant"),
        (messages(&[("user", "1")]), "has no message of the assistant"),
        (messages(&[("assistant", "2")]), "no message of the user directly before"),
        (messages(&[("user", "1"), ("assistant", "2"), ("assistant", "3")]), "no message of the user directly before"),
        (messages(&[("user", "1"), ("tool", "2"), ("assistant", "3")]), "`messages.1.role` is \"tool\""),
        (messages(&[("user", " "), ("assistant", "3")]), "`messages.0.content` is empty"),
        (json!([{"role": "user", "content": [{"type": "text"}]}]), "`messages.0.content` is a list"),
        (json!([{"role": "user"}]), "missing field `messages.0.content`"),
        (json!([{"from": "human", "content": "a"}]), "missing field `messages.0.value`"),
        (json!(["a"]), "missing field `messages.0.role`"),
        (json!("a"), "`messages` is a text and not a list of messages"),
    ] {
        let cause = problem(open(&[good.clone(), json!({"messages": bad})], &DatasetOptions::default()));
        assert!(cause.contains(expected), "{cause}");
    }
    let cause = problem(open(&[json!({"a": "x", "b": "y"})], &DatasetOptions::default().with_source("a")));
    assert!(cause.contains("`DatasetOptions::with_target`"), "{cause}");
}
