//! The formats of data files: lists, tables and compressed files, and files with invalid lines.
#![allow(clippy::unwrap_used)]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use wheels_text::{Dataset, DatasetOptions, Example, LineProblem, ReadProgress, TextError};

fn read(name: &str, content: impl AsRef<[u8]>) -> Result<Dataset, TextError> {
    Dataset::from_reader(content.as_ref(), name)
}

fn skipping(name: &str, content: impl AsRef<[u8]>) -> Result<Dataset, TextError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    Dataset::open_with(&path, &DatasetOptions::default().with_skip_bad(true))
}

fn pairs(dataset: &Dataset) -> Vec<(&str, &str)> {
    dataset.iter().map(|example| (example.source.as_str(), example.target.as_str())).collect()
}

/// The whole message of an error, with its causes.
fn message(error: &TextError) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// The line and the problem of an error.
fn line_problem(result: Result<Dataset, TextError>) -> (usize, LineProblem) {
    match result.unwrap_err() {
        TextError::Line { line, problem, .. } => (line, *problem),
        error => panic!("{error}"),
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

const TWO: [(&str, &str); 2] = [("one", "uno"), ("two", "due")];
const LINES: &str = "{\"source\": \"one\", \"target\": \"uno\"}\n{\"source\": \"two\", \"target\": \"due\"}\n";
const LIST: &str = r#"[{"source": "one", "target": "uno"}, {"source": "two", "target": "due"}]"#;

#[test]
fn all_formats_give_the_same_examples() {
    let pretty = "\n[\n  {\n    \"source\": \"one\",\n    \"target\": \"uno\"\n  },\n  {\n    \"source\": \"two\",\n    \"target\": \
                  \"due\"\n  }\n]\n";
    let in_data = format!("{{\"version\": {{\"data\": [1]}}, \"data\": {LIST}, \"more\": [\"]\"]}}");
    for (name, content) in [
        ("a.jsonl", LINES),
        ("a.json", LINES),
        ("a", LINES),
        ("a.txt", LINES),
        ("a.json", LIST),
        ("a.jsonl", LIST),
        ("a.json", pretty),
        ("a.json", &in_data),
        ("a.csv", "source,target\none,uno\ntwo,due\n"),
        ("A.CSV", "id,source,target\n1,one,uno\n2,two,due"),
        ("a.csv", "target; source \nuno;one\n\n;\ndue;two\n"),
        ("a.csv", "\"source\"\t\"target\"\n\"one\"\t\"uno\"\n\"two\"\t\"due\"\n"),
        ("a.tsv", "source\ttarget\none\tuno\n\ntwo\tdue\n"),
        ("a", "source,target\none,uno\ntwo,due\n"),
        ("a.txt", "source\ttarget\none\tuno\ntwo\tdue\n"),
    ] {
        for content in [content.to_owned(), format!("\u{feff}{content}"), content.replace('\n', "\r\n")] {
            let dataset = read(name, &content).unwrap_or_else(|error| panic!("{name} {content}: {}", message(&error)));
            assert_eq!(pairs(&dataset), TWO, "{name} {content:?}");
            let packed = read(&format!("{name}.gz"), gzip(content.as_bytes())).unwrap();
            assert_eq!(packed, dataset);
            // The name says nothing about the compression.
            assert_eq!(read(name, gzip(content.as_bytes())).unwrap(), dataset);
        }
    }
}

#[test]
fn fields_of_csv_in_quotes_may_have_delimiters_quotes_and_line_feeds() {
    let content = "source,target\r\n\"a, \"\"b\"\"\nc\",d\r\n\"e\",\"f\r\n\"\r\ng,\r\n";
    let error = read("a.csv", content).unwrap_err();
    assert!(message(&error).starts_with("a.csv:6: ") && message(&error).contains("`target` is empty"), "{error}");
    let dataset = read("a.csv", content.trim_end().trim_end_matches("g,")).unwrap();
    assert_eq!(pairs(&dataset), [("a, \"b\"\nc", "d"), ("e", "f\r\n")]);
}

#[test]
fn quotes_in_tsv_are_text_unless_a_program_wrote_them() {
    let content = "source\ttarget\n\"Yes,\" he said.\t\"Hi!\"\n\"open\tx\n\"say \"\"hi\"\"\"\t\"a\" \"b\"\n";
    let expected = [("\"Yes,\" he said.", "\"Hi!\""), ("\"open", "x"), ("say \"hi\"", "\"a\" \"b\"")];
    assert_eq!(pairs(&read("a.tsv", content).unwrap()), expected);
    assert_eq!(pairs(&read("a.tsv", "\"source\"\t\"target\"\n\"one\"\t\"uno\"\n").unwrap()), [("one", "uno")]);
}

#[test]
fn a_row_with_another_number_of_fields_is_reported_with_its_line() {
    for (content, line) in [
        ("source,target\na,b\n\n\nc\n", 5),
        ("source,target\r\na,b\r\n\r\nc,d,e", 4),
        ("source,target\n\"a\nb\",c\nd,e,f\ng,h\n", 4),
    ] {
        let (found, problem) = line_problem(read("a.csv", content));
        assert!(matches!(problem, LineProblem::Columns { header: 2, .. }), "{problem}");
        assert_eq!(found, line);
    }
    let mut long = "source,target\n".to_owned();
    (0..5_000).for_each(|row| writeln!(long, "\"{row}\n\",{}", "x".repeat(20)).unwrap());
    let error = read("a.csv", long + "y").unwrap_err();
    assert!(message(&error).starts_with("a.csv:10002: "), "{error}");
}

#[test]
fn a_quote_that_is_never_closed_does_not_swallow_the_file() {
    let open = read("a.csv", "source,target\na,b\nc,\"d\ne,f\ng,h\n");
    assert_eq!(line_problem(open), (3, LineProblem::OpenQuote));
    // A quote inside a field is text.
    assert_eq!(pairs(&read("a.csv", "source,target\n5\" pipe,b").unwrap()), [("5\" pipe", "b")]);
}

#[test]
fn invalid_bytes_are_found_in_every_format() {
    for (name, content, line) in [
        ("a.csv", &b"source,target\na,b\nc,caf\xe9\n"[..], 3),
        ("a.json", b"[{\"source\": \"a\",\n\"target\": \"caf\xe9\"}]", 2),
    ] {
        let (found, problem) = line_problem(read(name, content));
        assert!(matches!(problem, LineProblem::InvalidUtf8 { .. }), "{problem}");
        assert_eq!(found, line);
    }
}

#[test]
fn a_list_that_is_cut_or_broken_is_an_error_even_if_lines_are_skipped() {
    let object = "{\"source\": \"one\", \"target\": \"uno\"}";
    for (content, line, reason) in [
        (format!("[{object},\n{object}"), 2, "ends"),
        (format!("[{object},\n{{\"source\": \"t"), 2, "ends"),
        (format!("[{object}\n\n{object}]"), 3, "comma"),
        (format!("[{object}]\n[{object}]"), 2, "more"),
        (format!("{{\"data\": [{object}]\n"), 2, "object"),
        (format!("{{\"data\": [{object}]}}\n{{"), 2, "name JSON lines .jsonl"),
    ] {
        for error in [read("a.json", &content).unwrap_err(), skipping("a.json", &content).unwrap_err()] {
            assert!(matches!(&error, TextError::List { line: found, .. } if *found == line), "{content}: {error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}

#[test]
fn an_invalid_value_of_a_list_is_reported_with_its_place_and_can_be_skipped() {
    let good = "{\"source\": \"one\", \"target\": \"uno\"}";
    for (bad, line, problem) in [
        ("{\"source\": 1x}", 2, "column 17"),
        ("{\n\"source\": 1x}", 3, "column 12"),
        ("null", 2, "null"),
        ("{\"source\": \"a,\n \"target\": \"b\"}", 2, "control character"),
        ("{\"source\": [1}}", 2, "expected `,` or `]`"),
        ("{\"source\": \"\\\\\\\"]\"}", 2, "missing field `target`"),
    ] {
        let content = format!("[{good},\n    {bad},\n{good} ,{good}]");
        let error = read("a.json", &content).unwrap_err();
        assert!(message(&error).starts_with(&format!("a.json:{line}: ")), "{bad}: {}", message(&error));
        assert!(message(&error).contains(problem), "{bad}: {}", message(&error));
        let dataset = skipping("a.json", &content).unwrap();
        assert_eq!((dataset.len(), dataset.skipped().unwrap().count), (3, 1));
    }
}

#[test]
fn a_stream_says_how_much_of_its_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, "{\"source\": \"a\", \"target\": \"b\"}\n".repeat(10_000)).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let stream = Dataset::stream(&path, &DatasetOptions::default()).unwrap();
    assert_eq!(stream.on_read(move |progress| sender.send(progress).unwrap()).count(), 10_000);
    let seen: Vec<ReadProgress> = receiver.iter().collect();
    let size = fs::metadata(&path).unwrap().len();
    assert!(seen.len() > 10 && seen.is_sorted_by(|a, b| a.bytes < b.bytes), "{seen:?}");
    assert_eq!(seen.last(), Some(&ReadProgress { bytes: size, total: Some(size) }));
}

#[test]
fn one_broken_line_of_many_is_reported_or_skipped() {
    let mut content = String::new();
    for line in 1..=50_000 {
        let text =
            if line == 40_001 { "null".to_owned() } else { format!("{{\"source\": \"{line}\", \"target\": \"t\"}}") };
        content += &(text + "\n");
    }
    let error = read("a.jsonl", &content).unwrap_err();
    assert!(error.to_string().starts_with("a.jsonl:40001: ") && error.to_string().contains("with_skip_bad"), "{error}");
    let dataset = skipping("a.jsonl", &content).unwrap();
    assert_eq!(dataset.len(), 49_999);
    let skipped = dataset.skipped().unwrap();
    assert_eq!((skipped.count, skipped.line), (1, 40_001));
    assert_eq!(skipped.problem, LineProblem::NotAnObject { found: "null" });
    assert!(skipped.path.ends_with("a.jsonl"));
    let (first, rest) = dataset.split(1);
    assert_eq!(first.skipped(), rest.skipped());
}

#[test]
fn half_of_the_lines_may_be_skipped_and_no_more() {
    let bad = "{}\n";
    assert_eq!(skipping("a.jsonl", format!("{bad}\n{LINES}{bad}")).unwrap().skipped().unwrap().count, 2);
    let error = skipping("a.jsonl", format!("{LINES}{bad}{bad}{bad}")).unwrap_err();
    assert!(matches!(error, TextError::MostlyBad { bad: 3, total: 5, line: 3, .. }), "{error}");
    let error = skipping("a.jsonl", bad).unwrap_err();
    assert!(matches!(error, TextError::MostlyBad { bad: 1, total: 1, line: 1, .. }), "{error}");
    assert!(matches!(skipping("a.jsonl", "\n"), Err(TextError::Empty { .. })));
    assert!(skipping("a.jsonl", LINES).unwrap().skipped().is_none());
}

#[test]
fn files_without_examples_are_errors_in_every_format() {
    for (name, content) in [
        ("a.json", "[]"),
        ("a.json", " [ \n] "),
        ("a.csv", ""),
        ("a.csv", "source,target\n"),
        ("a.tsv", "\n"),
        ("a", ""),
    ] {
        assert!(matches!(read(name, content), Err(TextError::Empty { .. })), "{name} {content:?}");
        assert!(matches!(read(name, gzip(content.as_bytes())), Err(TextError::Empty { .. })), "{name} {content:?}");
    }
}

#[test]
fn files_of_other_kinds_are_named_with_a_remedy() {
    for (content, kind, remedy) in [
        (&b"PAR1\x15\x04"[..], "Parquet", "to_json"),
        (b"\x28\xb5\x2f\xfd\x04", "Zstandard", "gzip"),
        (b"PK\x03\x04\x14", "ZIP", "CSV"),
        (b"\xff\xfe{\0", "UTF-16", "UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
        (b"<!doctype html>", "web page", "download"),
    ] {
        for content in [content.to_owned(), gzip(content)] {
            let error = read("a.jsonl", content).unwrap_err().to_string();
            assert!(error.contains(kind) && error.contains(remedy), "{error}");
        }
    }
}

#[test]
fn a_damaged_gzip_file_is_an_error() {
    let lines = LINES.repeat(2_000);
    let mut packed = gzip(lines.as_bytes());
    let joined = [&packed[..], &packed[..]].concat();
    assert_eq!(read("a.jsonl.gz", joined).unwrap().len(), 8_000, "a file may have several parts");
    packed.truncate(packed.len() - 9);
    for content in [&packed[..], &packed[..12], b"\x1f\x8b"] {
        let error = read("a.jsonl.gz", content).unwrap_err();
        assert!(matches!(error, TextError::Gzip { .. }), "{error}");
        assert!(skipping("a.jsonl.gz", content).is_err());
    }
}

#[test]
fn a_text_that_is_no_dataset_is_an_error_with_the_formats_that_are_read() {
    for (name, content) in [("notes.txt", "Hello, world\nsecond line\n"), ("a.json", "source,target\n")] {
        let error = message(&read(name, content).unwrap_err());
        assert!(error.contains(":1: invalid") && error.contains(".csv"), "{error}");
    }
    assert!(Dataset::stream(std::env::temp_dir(), &DatasetOptions::default()).is_err());
}

/// Endless JSON, which no memory could hold.
struct Endless {
    start: &'static [u8],
    part: &'static [u8],
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            let part = self.at.checked_sub(self.start.len());
            *byte = part.map_or_else(|| self.start[self.at], |at| self.part[at % self.part.len()]);
            self.at += 1;
            if self.at > 50_000_000 {
                return Err(io::Error::other("the reader went too far"));
            }
        }
        Ok(buffer.len())
    }
}

#[test]
fn an_error_is_found_before_the_rest_is_read() {
    for start in ["[null, ", "{\"data\": [{}, ", "null\n{}", "source,target\n,\na,\n"] {
        let endless = Endless { start: start.as_bytes(), part: b"{\"source\": \"a\", \"target\": \"b\"},\n", at: 0 };
        let name = if start.starts_with("source") { "a.csv" } else { "a.json" };
        let error = Dataset::from_reader(BufReader::new(endless), name).unwrap_err();
        assert!(matches!(error, TextError::Line { .. } | TextError::Fields { .. }), "{error}");
    }
}

#[test]
fn the_samples_of_the_embedded_models_are_read() {
    for name in ["en-it.sample.jsonl", "summary.sample.jsonl"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/data").join(name);
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert_eq!(Dataset::open(&path).unwrap().len(), lines);
    }
}

#[test]
fn a_stream_ends_after_its_first_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, format!("{LINES}null\n{LINES}")).unwrap();
    let mut stream = Dataset::stream(&path, &DatasetOptions::default()).unwrap();
    assert_eq!(stream.next().unwrap().unwrap(), Example::new("one", "uno"));
    assert!(stream.next().unwrap().is_ok());
    assert!(stream.next().unwrap().is_err());
    assert!(stream.next().is_none());
    let mut stream = Dataset::stream(&path, &DatasetOptions::default().with_skip_bad(true)).unwrap();
    assert_eq!(stream.by_ref().filter(Result::is_ok).count(), 4);
    assert_eq!(stream.skipped().unwrap().count, 1);
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a\",;\t\r\n \\\\\\]}\\[{:è]{1,8}", any::<String>()]
        .prop_filter("not blank", |text| !text.trim().is_empty())
}

proptest! {
    #[test]
    fn tables_that_a_program_wrote_are_read_back(rows in prop::collection::vec((any_text(), any_text()), 1..12)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["source", "target"]).unwrap();
        for (source, target) in &rows {
            writer.write_record([source, target]).unwrap();
        }
        let content = writer.into_inner().unwrap();
        let dataset = read("a.csv", content).unwrap();
        let expected: Dataset = rows
            .iter()
            .map(|(source, target)| Example::new(source, target.strip_suffix('\r').unwrap_or(target)))
            .collect();
        prop_assert_eq!(dataset, expected);
    }

    #[test]
    fn lists_that_a_program_wrote_are_read_back(
        rows in prop::collection::vec((any_text(), any_text()), 1..12), pretty in any::<bool>(), data in any::<bool>(),
    ) {
        let objects: Vec<_> =
            rows.iter().map(|(source, target)| serde_json::json!({"source": source, "target": target})).collect();
        let whole = if data { serde_json::json!({"a": rows, "data": objects}) } else { objects.into() };
        let content = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) };
        let expected: Dataset = rows.iter().map(|(source, target)| Example::new(source, target)).collect();
        prop_assert_eq!(read("a.json", content.unwrap()).unwrap(), expected);
    }

    #[test]
    fn no_bytes_cause_a_panic(
        name in prop::sample::select(vec!["a", "a.csv", "a.tsv", "a.json", "a.jsonl"]),
        start in prop::sample::select(vec!["", "[", "{\"data\": [{", "source,target\n", "source\ttarget\n", LINES, LIST]),
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:;\t\r\n\\ a1".to_vec())], 0..60,
        ),
    ) {
        let content = [start.as_bytes(), &bytes].concat();
        let _ = read(name, &content);
        let _ = skipping(name, content);
    }
}
