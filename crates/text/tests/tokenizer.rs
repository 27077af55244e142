//! Tokenizers: training, files, special tokens and streams.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;
use wheels_text::{TextError, Tokenizer, TokenizerConfig};

/// A tiny Unigram tokenizer like T5's. Its file has settings for padding and truncation.
const UNIGRAM: &[u8] = include_bytes!("unigram.json");

const LINES: [&str; 5] = [
    "text editor for the terminal",
    "editor di testo per il terminale",
    "a small text editor with a large library",
    "un piccolo editor di testo con una grande libreria",
    "però è già così: 😀 naïve 日本語",
];

fn train(lines: impl IntoIterator<Item = &'static str>, vocab_size: usize) -> Tokenizer {
    let lines: Vec<String> = lines.into_iter().map(String::from).collect();
    Tokenizer::train(TokenizerConfig { vocab_size, min_frequency: 1 }, lines).unwrap()
}

static BYTES: LazyLock<Tokenizer> = LazyLock::new(|| train(LINES, 320));

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> (Vec<String>, String) {
    let mut stream = tokenizer.stream();
    let pieces: Vec<String> = ids.iter().filter_map(|id| stream.push(*id).unwrap()).collect();
    let text = pieces.concat() + &stream.finish().unwrap().unwrap_or_default();
    (pieces, text)
}

#[test]
fn special_tokens_come_first_in_the_order_of_t5() {
    assert_eq!((BYTES.pad(), BYTES.eos()), (0, 1));
    for (id, token) in [(0, "<pad>"), (1, "</s>"), (2, "<unk>")] {
        assert_eq!(BYTES.token(id).as_deref(), Some(token));
        assert!(BYTES.is_special(id));
    }
    assert!((3..320).all(|id| !BYTES.is_special(id)));
    assert_eq!(BYTES.suppressed_ids(), [0, 2]);
    assert_eq!(BYTES.token(320), None);
    assert_eq!(BYTES.vocab_size(), 320);
}

#[test]
fn training_merges_frequent_pairs_and_ignores_the_order_of_lines() {
    assert!(BYTES.encode(" text editor").unwrap().len() < 12 / 2);
    let mut reversed = LINES;
    reversed.reverse();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    train(LINES, 320).save(&folders[0]).unwrap();
    train(reversed, 320).save(&folders[1]).unwrap();
    let [one, two] = folders.map(|folder| fs::read(folder.path().join("tokenizer.json")).unwrap());
    assert_eq!(one, two);
}

#[test]
fn training_without_text_or_with_a_too_small_vocabulary_is_an_error() {
    let empty = Tokenizer::train(TokenizerConfig::default(), []).unwrap_err();
    assert!(matches!(empty, TextError::NothingToTrain));
    let config = TokenizerConfig { vocab_size: 258, min_frequency: 1 };
    let small = Tokenizer::train(config, ["a".to_owned()]).unwrap_err().to_string();
    assert!(small.contains("258") && small.contains("259"), "{small}");
}

#[test]
fn names_of_special_tokens_in_a_text_are_encoded_as_text() {
    let mut tokenizer = BYTES.clone();
    tokenizer.add_help_token("teacher").unwrap();
    let text = "say </s> or <pad> or <help:teacher>";
    let ids = tokenizer.encode(text).unwrap();
    assert!(ids.iter().all(|id| !tokenizer.is_special(*id)));
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
}

#[test]
fn decoding_skips_special_tokens_and_rejects_unknown_ids() {
    let mut ids = BYTES.encode("text").unwrap();
    ids.insert(0, BYTES.pad());
    ids.push(BYTES.eos());
    assert_eq!(BYTES.decode(&ids).unwrap(), "text");
    let message = BYTES.decode(&[320]).unwrap_err().to_string();
    assert!(message.contains("320"), "{message}");
    assert!(matches!(BYTES.stream().push(999), Err(TextError::UnknownId { id: 999, .. })));
}

#[test]
fn help_tokens_get_the_next_ids_and_are_saved() {
    let mut tokenizer = BYTES.clone();
    assert!(matches!(tokenizer.help_token("teacher"), Err(TextError::UnknownHelp { .. })));
    assert_eq!(tokenizer.add_help_token("teacher").unwrap(), 320);
    assert_eq!(tokenizer.add_help_token("search-2").unwrap(), 321);
    assert_eq!(tokenizer.add_help_token("teacher").unwrap(), 320);
    assert_eq!(tokenizer.vocab_size(), 322);
    assert_eq!(tokenizer.token(320).as_deref(), Some("<help:teacher>"));
    assert_eq!(tokenizer.decode(&[320]).unwrap(), "");

    let folder = tempfile::tempdir().unwrap();
    tokenizer.save(&folder).unwrap();
    let again = Tokenizer::from_dir(&folder).unwrap();
    let both = [("teacher".to_owned(), 320), ("search-2".to_owned(), 321)];
    assert_eq!(again.help_tokens(), both);
    assert_eq!(again.help_token("teacher").unwrap(), 320);
    assert_eq!(again.vocab_size(), 322);
    assert_eq!(again.suppressed_ids(), [0, 2, 320, 321]);
    let message = again.help_token("judge").unwrap_err().to_string();
    assert!(message.contains("teacher, search-2"), "{message}");
    for name in ["", "Teacher", "a b", "a>", "è"] {
        assert!(matches!(tokenizer.add_help_token(name), Err(TextError::HelpName { .. })), "{name}");
    }
}

#[test]
fn adding_a_help_token_changes_no_other_token() {
    let mut tokenizer = BYTES.clone();
    tokenizer.add_help_token("teacher").unwrap();
    for line in LINES {
        assert_eq!(tokenizer.encode(line).unwrap(), BYTES.encode(line).unwrap());
    }
}

#[test]
fn folders_and_files_without_a_valid_tokenizer_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Tokenizer::from_dir(&folder), Err(TextError::NoTokenizer { .. })));
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, &UNIGRAM[..UNIGRAM.len() / 2]).unwrap();
    let message = Tokenizer::from_dir(&folder).unwrap_err().to_string();
    assert!(message.contains("tokenizer.json") && message.contains("complete"), "{message}");
    assert!(matches!(Tokenizer::from_bytes(b"\xff"), Err(TextError::BadTokenizer { .. })));
    let without = String::from_utf8(UNIGRAM.to_vec()).unwrap().replace("</s>", "<end>");
    assert!(matches!(Tokenizer::from_bytes(without.as_bytes()), Err(TextError::NoEnd { .. })));
}

#[test]
fn a_folder_with_only_a_sentencepiece_model_gets_the_command_that_converts_it() {
    for file in ["spiece.model", "tokenizer.model", "vocab.json"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file), "").unwrap();
        let error = Tokenizer::from_dir(&folder).unwrap_err();
        assert!(matches!(error, TextError::SlowTokenizer { source_file, .. } if source_file == file));
        let message = error.to_string();
        let command = format!("from_pretrained('{0}').save_pretrained('{0}')", folder.path().display());
        assert!(message.contains(file) && message.contains(&command), "{message}");
    }
}

#[test]
fn only_folders_that_transformers_can_convert_get_the_command() {
    let marian = r#"{"model_type": "marian", "is_encoder_decoder": true}"#;
    let m2m_100 = r#"{"model_type": "m2m_100", "is_encoder_decoder": true}"#;
    let m2m_files = ["sentencepiece.bpe.model", "special_tokens_map.json", "vocab.json"].as_slice();
    let marian_files = ["source.spm", "target.spm", "vocab.json"].as_slice();
    // The files of Helsinki-NLP/opus-mt-en-it, of an older Marian model without config, of facebook/m2m100_418M and of
    // facebook/nllb-200-distilled-600M.
    for (names, config, tokenizer_config, family) in [
        (marian_files, marian, r#"{"target_lang": "it", "source_lang": "en"}"#, Some("Marian")),
        (marian_files, "{}", "{}", Some("Marian")),
        (m2m_files, m2m_100, r#"{"tokenizer_class": "M2M100Tokenizer"}"#, Some("M2M100")),
        (m2m_files, m2m_100, r#"{"src_lang": null, "tgt_lang": null}"#, Some("M2M100")),
        (&m2m_files[..2], m2m_100, r#"{"tokenizer_class": "NllbTokenizer"}"#, None),
    ] {
        let mut files =
            vec![("config.json", config.as_bytes()), ("tokenizer_config.json", tokenizer_config.as_bytes())];
        files.extend(names.iter().map(|name| (*name, b"{}".as_slice())));
        let message = Tokenizer::from_files("models/mt", &files).unwrap_err().to_string();
        assert!(message.contains("no tokenizer.json in models/mt"), "{message}");
        assert_eq!(message.contains("pip install"), family.is_none(), "{message}");
        if let Some(family) = family {
            assert!(message.contains(&format!("transformers cannot make one for {family};")), "{message}");
        }
    }
}

#[test]
fn the_first_id_that_is_another_token_is_found_without_help_tokens() {
    let mut student = BYTES.clone();
    assert_eq!(student.first_difference(&BYTES), None);
    student.add_help_token("teacher").unwrap();
    assert_eq!(student.first_difference(&BYTES), None);
    assert_eq!(BYTES.first_difference(&student), None);
    let other = train(["zyx zyx"], 261);
    let first = BYTES.first_difference(&other).unwrap();
    assert!(first >= 259 && BYTES.token(first) != other.token(first));
    assert_eq!(train(["a"], 259).first_difference(&BYTES), Some(259), "the other splits texts into other tokens");
    assert_eq!(BYTES.first_difference(&train(["a"], 259)), Some(259));
}

#[test]
fn a_tokenizer_is_read_from_memory_as_from_a_folder() {
    let files = [("tokenizer.json", UNIGRAM)];
    assert_eq!(Tokenizer::from_files("model", &files).unwrap().encode("hello world").unwrap(), [4, 5]);
    let error = Tokenizer::from_files("models/it", &[]).unwrap_err();
    assert!(error.to_string().contains("models/it"), "{error}");
}

#[test]
fn the_prompts_of_a_tokenizer_alone_end_with_the_end_of_text_token() {
    for tokenizer in [BYTES.clone(), Tokenizer::from_bytes(UNIGRAM).unwrap()] {
        let text = "hello world";
        assert_eq!(tokenizer.encode_prompt(text).unwrap(), tokenizer.encode_with_end(text).unwrap());
        assert_eq!(tokenizer.ends(), [1]);
    }
}

#[test]
fn a_unigram_tokenizer_opens_without_its_padding_and_truncation() {
    let mut tokenizer = Tokenizer::from_bytes(UNIGRAM).unwrap();
    let text = "hello world hello world";
    let ids = tokenizer.encode(text).unwrap();
    assert_eq!(ids, [4, 5, 4, 5]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    assert_eq!(streamed(&tokenizer, &ids).1, text);
    assert_eq!(tokenizer.vocab_size(), 12);
    // "</s>" is a piece of the Unigram model. In a text it must not become the end-of-text token.
    assert!(!tokenizer.encode("hello </s> world").unwrap().contains(&tokenizer.eos()));
    assert_eq!(tokenizer.add_help_token("teacher").unwrap(), 12);
    assert_eq!(tokenizer.encode(text).unwrap(), ids);
}

#[test]
fn a_stream_of_unigram_tokens_keeps_the_spaces_at_any_length() {
    let tokenizer = Tokenizer::from_bytes(UNIGRAM).unwrap();
    let ids: Vec<u32> = [1, 4, 0, 5].into_iter().cycle().take(400).collect();
    assert_eq!(streamed(&tokenizer, &ids).1, tokenizer.decode(&ids).unwrap());
}

#[test]
fn a_stream_returns_a_character_when_it_is_complete() {
    let bare = train(["a"], 259);
    let ids = bare.encode("a😀è").unwrap();
    assert_eq!(ids.len(), 1 + 4 + 2);
    let mut stream = bare.stream();
    let pieces: Vec<_> = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
    let expected = [Some("a"), None, None, None, Some("😀"), None, Some("è")];
    assert_eq!(pieces.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    assert_eq!(stream.finish().unwrap(), None);

    let mut cut = bare.stream();
    assert_eq!(cut.push(ids[1]).unwrap(), None);
    assert_eq!(cut.finish().unwrap().as_deref(), Some("\u{fffd}"));
}

#[test]
fn long_runs_of_white_space_are_encoded_and_decoded() {
    let text = format!("a{}b", " \n".repeat(20_000));
    assert_eq!(BYTES.decode(&BYTES.encode(&text).unwrap()).unwrap(), text);
}

proptest! {
    #[test]
    fn decoding_an_encoded_text_gives_that_text(text in any::<String>()) {
        let ids = BYTES.encode(&text).unwrap();
        prop_assert_eq!(BYTES.decode(&ids).unwrap(), text);
    }

    #[test]
    fn a_stream_gives_the_text_in_whole_characters(
        text in prop_oneof![any::<String>(), "[ a-zè😀日]{0,120}"]
    ) {
        let ids = BYTES.encode(&text).unwrap();
        let (pieces, whole) = streamed(&BYTES, &ids);
        prop_assert_eq!(&whole, &text);
        let broken = pieces.iter().any(|piece| piece.contains(char::REPLACEMENT_CHARACTER));
        prop_assert!(!broken || text.contains(char::REPLACEMENT_CHARACTER));
    }

    #[test]
    fn a_stream_of_any_tokens_equals_decoding_them(ids in prop::collection::vec(0_u32..320, 0..150)) {
        prop_assert_eq!(streamed(&BYTES, &ids).1, BYTES.decode(&ids).unwrap());
    }

    #[test]
    fn a_saved_tokenizer_encodes_as_before(text in any::<String>()) {
        static SAVED: LazyLock<Tokenizer> = LazyLock::new(|| {
            let folder = tempfile::tempdir().unwrap();
            BYTES.save(&folder).unwrap();
            Tokenizer::from_dir(&folder).unwrap()
        });
        prop_assert_eq!(SAVED.encode(&text).unwrap(), BYTES.encode(&text).unwrap());
    }
}
