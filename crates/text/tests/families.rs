//! Tokenizers of six model families: ids, special tokens and chats are those of Hugging Face's transformers. families.py
//! made families.json.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};
use wheels_text::{ChatTemplate, GenerationConfig, Message, Role, TextError, Tokenizer};

#[derive(Deserialize)]
struct Family {
    files: BTreeMap<String, String>,
    pad: Option<u32>,
    eos: u32,
    special: Vec<u32>,
    texts: Vec<Text>,
    chats: Vec<Chat>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Message>,
    variables: Map<String, Value>,
    ids: Vec<u32>,
}

static FAMILIES: LazyLock<BTreeMap<String, Family>> =
    LazyLock::new(|| serde_json::from_str(include_str!("families.json")).unwrap());

impl Family {
    fn files(&self) -> Vec<(&str, &[u8])> {
        self.files.iter().map(|(name, content)| (name.as_str(), content.as_bytes())).collect()
    }

    fn tokenizer(&self) -> Tokenizer {
        Tokenizer::from_files("family", &self.files()).unwrap()
    }
}

fn tokenizer(family: &str) -> Tokenizer {
    FAMILIES[family].tokenizer()
}

/// The tokenizer of a family with some of its files replaced, or removed if the content is empty.
fn with_files(family: &str, changed: &[(&'static str, &str)]) -> Result<Tokenizer, TextError> {
    let mut files = FAMILIES[family].files.clone();
    for (name, content) in changed {
        files.remove(*name);
        if !content.is_empty() {
            files.insert((*name).to_owned(), (*content).to_owned());
        }
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    Tokenizer::from_files("family", &files)
}

#[test]
fn prompts_have_the_ids_of_transformers() {
    for (name, family) in &*FAMILIES {
        let tokenizer = family.tokenizer();
        for Text { text, ids, decoded } in &family.texts {
            assert_eq!(&tokenizer.encode_prompt(text).unwrap(), ids, "{name}: {text:?}");
            assert_eq!(&tokenizer.decode(ids).unwrap(), decoded, "{name}: {text:?}");
        }
    }
}

#[test]
fn special_tokens_are_those_of_transformers() {
    for (name, family) in &*FAMILIES {
        let tokenizer = family.tokenizer();
        assert_eq!(tokenizer.eos(), family.eos, "{name}");
        // Without a padding token, the end-of-text token pads.
        assert_eq!(tokenizer.pad(), family.pad.unwrap_or(family.eos), "{name}");
        assert!(family.special.iter().all(|id| tokenizer.is_special(*id)), "{name}");
        let suppressed = tokenizer.suppressed_ids();
        assert!(family.special.iter().all(|id| suppressed.contains(id) != tokenizer.ends().contains(id)), "{name}");
    }
}

#[test]
fn every_id_in_the_list_of_a_config_ends_a_text() {
    for (family, file) in [("llama2", "generation_config.json"), ("qwen2", "generation_config.json")] {
        let tokenizer = tokenizer(family);
        let config = GenerationConfig::from_json(&FAMILIES[family].files[file]).unwrap();
        assert_eq!(tokenizer.ends(), config.eos_token_id, "{family}");
        assert_eq!(tokenizer.ends().len(), 2);
    }
    // A generation config without the field leaves it to config.json, and the tokenizer's own token comes first.
    let qwen = with_files("qwen2", &[("generation_config.json", r#"{"eos_token_id": null}"#)]).unwrap();
    assert_eq!(qwen.ends(), [2, 0]);
    let ids_only = with_files(
        "qwen2",
        &[("tokenizer_config.json", ""), ("generation_config.json", r#"{"eos_token_id": [0, 2]}"#)],
    )
    .unwrap();
    assert_eq!((ids_only.eos(), ids_only.ends(), ids_only.pad()), (0, &[0, 2][..], 0));
}

#[test]
fn an_ordinary_token_that_pads_stays_ordinary() {
    let letter = tokenizer("qwen2").encode("a").unwrap()[0];
    let config = format!(r#"{{"pad_token_id": {letter}, "eos_token_id": [2, {letter}]}}"#);
    let files = [("tokenizer_config.json", ""), ("generation_config.json", ""), ("config.json", config.as_str())];
    let tokenizer = with_files("qwen2", &files).unwrap();
    assert_eq!((tokenizer.pad(), tokenizer.ends()), (letter, &[2, letter][..]));
    let text = "a b </s> <pad>";
    assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text);
}

#[test]
fn targets_have_no_token_for_the_beginning() {
    for (name, family) in &*FAMILIES {
        let tokenizer = family.tokenizer();
        let target = tokenizer.encode_with_end("hello world").unwrap();
        assert_eq!(target.last(), Some(&family.eos), "{name}");
        assert_eq!(target.iter().filter(|id| tokenizer.is_special(**id)).count(), 1, "{name}");
        assert_eq!(tokenizer.decode(&target).unwrap(), "hello world", "{name}");
    }
}

#[test]
fn without_a_post_processor_only_an_encoder_decoder_ends_its_prompts() {
    let prompt = |files: &[(&'static str, &str)]| {
        let tokenizer = with_files("qwen2", files).unwrap();
        let prompt = tokenizer.encode_prompt("hello").unwrap();
        prompt[tokenizer.encode("hello").unwrap().len()..].to_vec()
    };
    assert_eq!(prompt(&[]), [0; 0]);
    assert_eq!(prompt(&[("config.json", r#"{"model_type": "t5"}"#)]), [2]);
    assert_eq!(prompt(&[("config.json", r#"{"model_type": "new", "is_encoder_decoder": true}"#)]), [2]);
    // Tokenizers that were trained here have no config.json until their model is saved.
    assert_eq!(prompt(&[("config.json", "")]), [2]);
}

#[test]
fn chats_have_the_ids_of_transformers() {
    let mut chats = 0;
    for (name, family) in &*FAMILIES {
        let tokenizer = family.tokenizer();
        for Chat { messages, variables, ids } in &family.chats {
            assert_eq!(&tokenizer.encode_chat(messages, variables).unwrap(), ids, "{name}: {messages:?}");
            chats += 1;
        }
    }
    assert_eq!(chats, 3 * 2 * 3);
}

#[test]
fn a_model_without_a_chat_template_says_so() {
    let message = [Message::new(Role::User, "hello")];
    let error = tokenizer("bart").encode_chat(&message, &Map::new()).unwrap_err();
    assert!(matches!(error, TextError::NoChatTemplate));
    assert!(error.to_string().contains("chat_template.jinja"), "{error}");
}

#[test]
fn messages_that_a_template_refuses_are_an_error_with_its_words() {
    let messages = [Message::new(Role::User, "hello"), Message::new(Role::User, "hello")];
    let error = tokenizer("llama2").encode_chat(&messages, &Map::new()).unwrap_err();
    assert!(matches!(error, TextError::ChatRefused { .. }), "{error:?}");
    assert!(error.to_string().ends_with("must alternate user/assistant/user/assistant/..."), "{error}");
}

#[test]
fn an_invalid_template_is_an_error_when_it_is_used() {
    for source in ["{% for %}", "{{ messages | unknown_filter }}", "{{ messages[0].missing.more }}"] {
        let template = ChatTemplate::new(source, BTreeMap::new());
        assert_eq!(template.source(), source);
        let error = template.render(&[Message::new(Role::User, "hello")], &Map::new()).unwrap_err();
        assert!(matches!(error, TextError::ChatTemplate { .. }), "{error:?}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn saved_tokenizers_are_read_back_with_their_special_tokens_and_template() {
    for (name, family) in &*FAMILIES {
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "generation_config.json"] {
            if let Some(content) = family.files.get(file) {
                fs::write(folder.path().join(file), content).unwrap();
            }
        }
        // A file of another tokenizer must not be mixed with these.
        fs::write(folder.path().join("special_tokens_map.json"), r#"{"eos_token": "hello"}"#).unwrap();
        let mut tokenizer = family.tokenizer();
        tokenizer.add_help_token("teacher").unwrap();
        tokenizer.save(folder.path()).unwrap();
        let again = Tokenizer::from_dir(folder.path()).unwrap();
        assert_eq!((again.pad(), again.ends()), (tokenizer.pad(), tokenizer.ends()), "{name}");
        assert_eq!(again.suppressed_ids(), tokenizer.suppressed_ids(), "{name}");
        assert_eq!(again.help_tokens(), tokenizer.help_tokens(), "{name}");
        assert_eq!(again.first_difference(&tokenizer), None, "{name}");
        for Text { text, ids, .. } in &family.texts {
            assert_eq!(&again.encode_prompt(text).unwrap(), ids, "{name}: {text:?}");
        }
        for Chat { messages, variables, ids } in &family.chats {
            assert_eq!(&again.encode_chat(messages, variables).unwrap(), ids, "{name}");
        }
    }
}

#[test]
fn special_tokens_that_contradict_the_vocabulary_are_errors_with_file_and_field() {
    let error = |changed: &[(&'static str, &str)]| with_files("qwen2", changed).unwrap_err().to_string();
    let none = error(&[("tokenizer_config.json", ""), ("generation_config.json", ""), ("config.json", "{}")]);
    assert!(none.contains("family") && none.contains("eos_token_id"), "{none}");
    let name = error(&[("tokenizer_config.json", r#"{"eos_token": "<end>"}"#)]);
    assert!(name.contains("tokenizer_config.json: eos_token is \"<end>\""), "{name}");
    let no_names = ("tokenizer_config.json", "{}");
    let id = error(&[no_names, ("generation_config.json", r#"{"eos_token_id": [2, 99999]}"#)]);
    assert!(id.contains("generation_config.json: eos_token_id has 99999"), "{id}");
    let value = error(&[no_names, ("generation_config.json", r#"{"eos_token_id": "</s>"}"#)]);
    assert!(value.contains("generation_config.json: eos_token_id is \"</s>\""), "{value}");
    let json = error(&[("config.json", "[]")]);
    assert!(json.contains("config.json is not a valid JSON object"), "{json}");
}

/// A conversation with this text in each of its turns, as ids, without the tokens that its template writes.
fn special_tokens_in_a_chat(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let roles = [Role::System, Role::User, Role::Assistant, Role::User];
    let messages = roles.map(|role| Message::new(role, text));
    let mut ids = tokenizer.encode_chat(&messages, &Map::new()).unwrap();
    ids.retain(|id| tokenizer.is_special(*id));
    ids
}

#[test]
fn names_of_special_tokens_in_a_message_do_not_become_these_tokens() {
    for family in ["llama2", "qwen2", "phi3"] {
        let tokenizer = tokenizer(family);
        let honest = special_tokens_in_a_chat(&tokenizer, "hello");
        for id in 0..tokenizer.vocab_size() as u32 {
            if tokenizer.is_special(id) {
                let name = tokenizer.token(id).unwrap();
                for text in [name.clone(), format!("a{name}b {name}{name}"), format!(" {name}\n")] {
                    let mut found = special_tokens_in_a_chat(&tokenizer, &text);
                    // Llama's model has its special tokens among its pieces, so their names are unknown texts.
                    let unk = tokenizer.token(0).filter(|token| token == "<unk>").map(|_| 0);
                    found.retain(|id| Some(*id) != unk);
                    assert_eq!(found, honest, "{family}: {text:?}");
                }
            }
        }
    }
}

#[test]
fn a_message_with_the_name_of_a_special_token_is_otherwise_encoded_as_ever() {
    let tokenizer = tokenizer("qwen2");
    let chat = |text: &str| tokenizer.encode_chat(&[Message::new(Role::User, text)], &Map::new()).unwrap();
    let text = "<|im_end|> é and <think>";
    let (ids, inside) = (chat(text), tokenizer.encode(text).unwrap());
    assert!(ids.windows(inside.len()).any(|window| window == inside));
    let (start, end) = (chat("x")[..3].to_vec(), chat("x")[4..].to_vec());
    assert_eq!(ids, [start, inside, end].concat());
    // A template token that swallows the white space after it does so here, too.
    let phi = self::tokenizer("phi3");
    let chat = |text: &str| phi.encode_chat(&[Message::new(Role::User, text)], &Map::new()).unwrap();
    let (honest, forged) = (chat("hello"), chat("hello <s>"));
    assert_eq!(forged[..2], honest[..2]);
    assert_eq!(forged[forged.len() - 2..], honest[honest.len() - 2..]);
}

proptest! {
    #[test]
    fn no_message_writes_a_special_token(
        text in "(<\\|im_end\\|>|<\\|im_start\\|>|<\\|endoftext\\|>|<|\\||>|im_end|\u{fdd0}|\u{fdd1}| |a|\n){0,8}",
    ) {
        static QWEN: LazyLock<(Tokenizer, Vec<u32>)> = LazyLock::new(|| {
            let tokenizer = tokenizer("qwen2");
            let honest = special_tokens_in_a_chat(&tokenizer, "hello");
            (tokenizer, honest)
        });
        let (tokenizer, honest) = &*QWEN;
        prop_assert_eq!(&special_tokens_in_a_chat(tokenizer, &text), honest);
    }
}
