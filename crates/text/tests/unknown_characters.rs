//! A tokenizer that does not know the characters of a text says so once. This is a test program of its own, because it
//! installs a logger.
#![allow(clippy::unwrap_used)]

#[path = "support/messages.rs"]
mod messages;

use wheels_text::{Tokenizer, TokenizerConfig};

#[test]
fn unknown_characters_give_one_warning_per_tokenizer_with_an_example() {
    messages::install(log::LevelFilter::Warn);
    let bytes = Tokenizer::train(TokenizerConfig::default().with_vocab_size(259), ["a".to_owned()]).unwrap();
    let unigram = Tokenizer::from_bytes(include_bytes!("unigram.json")).unwrap();
    bytes.encode("日本 {}").unwrap();
    unigram.encode("hello </s> world").unwrap();
    unigram.encode("hello\nworld\t hello").unwrap();
    assert_eq!(messages::all(), [""; 0], "bytes know all characters, and a name or white space is not a character");

    let again = unigram.clone();
    let long = format!("hello 日 world{}", " hello".repeat(100));
    for _ in 0..2 {
        unigram.encode(&long).unwrap();
        again.encode("world {").unwrap();
    }
    let messages = messages::all();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("WARN the tokenizer has no token for \"日\""), "{messages:?}");
    assert!(messages[0].contains("\"hello 日 world hello") && messages[0].contains("hello \"..."), "{messages:?}");
    assert!(messages[0].len() < 300, "{messages:?}");

    for character in ["{", "}", "~", "é", "語", "😀"] {
        let tokenizer = Tokenizer::from_bytes(include_bytes!("unigram.json")).unwrap();
        tokenizer.encode_prompt(&format!("hello {character} world")).unwrap();
        let last = messages::all().pop().unwrap();
        assert!(last.contains(&format!("no token for {character:?}")), "{last}");
    }
    assert_eq!(messages::all().len(), 7);
}
