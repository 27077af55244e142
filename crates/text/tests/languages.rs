//! Tokenizers of multilingual translators: prompts have the tokens of the source language that Hugging Face's
//! transformers 5.24.0 adds to those of such a tokenizer.json.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use wheels_text::Tokenizer;

/// A tiny tokenizer.json whose post-processor has the order of early NLLB models.
fn tokenizer_json() -> String {
    let specials = ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn", "ita_Latn", "en_XX", "it_IT"];
    let pieces = specials.iter().map(|name| json!([name, 0.0])).chain([json!(["\u{2581}hi", -1.0])]);
    let added = specials.iter().enumerate().map(|(id, name)| {
        json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true})
    });
    let metaspace = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
    let special = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [text, special("</s>"), special("eng_Latn")],
            "pair": [text, special("</s>"), special("eng_Latn")],
            "special_tokens": {
                "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]},
                "eng_Latn": {"id": "eng_Latn", "ids": [4], "tokens": ["eng_Latn"]},
            },
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces.collect::<Vec<_>>(), "byte_fallback": false},
    })
    .to_string()
}

fn open(tokenizer_config: &str, config: &str) -> Tokenizer {
    let json = tokenizer_json();
    let files =
        [("tokenizer.json", json.as_str()), ("tokenizer_config.json", tokenizer_config), ("config.json", config)];
    Tokenizer::from_files("model", &files.map(|(name, content)| (name, content.as_bytes()))).unwrap()
}

fn prompt(tokenizer: &Tokenizer) -> String {
    let ids = tokenizer.encode_prompt("hi").unwrap();
    ids.iter().map(|id| tokenizer.token(*id).unwrap()).collect::<Vec<_>>().join(" ").replace('\u{2581}', "")
}

#[test]
fn prompts_have_the_language_of_the_tokenizer_config() {
    for (config, expected) in [
        (r#"{"tokenizer_class": "NllbTokenizer"}"#, "eng_Latn hi </s>"),
        (r#"{"tokenizer_class": "NllbTokenizerFast", "src_lang": null}"#, "eng_Latn hi </s>"),
        (r#"{"tokenizer_class": "NllbTokenizer", "src_lang": "ita_Latn"}"#, "ita_Latn hi </s>"),
        (r#"{"tokenizer_class": "NllbTokenizer", "legacy_behaviour": true}"#, "hi </s> eng_Latn"),
        (r#"{"tokenizer_class": "MBartTokenizer"}"#, "hi </s> en_XX"),
        (r#"{"tokenizer_class": "MBartTokenizer", "src_lang": "it_IT"}"#, "hi </s> it_IT"),
        (r#"{"tokenizer_class": "MBart50Tokenizer"}"#, "en_XX hi </s>"),
        (r#"{"tokenizer_class": "MBart50TokenizerFast", "src_lang": "it_IT"}"#, "it_IT hi </s>"),
        (r#"{"tokenizer_class": "PreTrainedTokenizerFast", "src_lang": "it_IT"}"#, "hi </s> eng_Latn"),
        (r#"{"src_lang": "it_IT"}"#, "hi </s> eng_Latn"),
    ] {
        assert_eq!(prompt(&open(config, "{}")), expected, "{config}");
    }
    assert_eq!(prompt(&open("{}", r#"{"model_type": "mbart"}"#)), "hi </s> en_XX");
}

#[test]
fn a_language_that_the_vocabulary_lacks_leaves_the_post_processor_as_it_is() {
    let config = r#"{"tokenizer_class": "NllbTokenizer", "src_lang": "xxx_Latn"}"#;
    assert_eq!(prompt(&open(config, "{}")), "hi </s> eng_Latn");
}

#[test]
fn the_language_outlasts_saving_and_help_tokens() {
    let mut tokenizer = open(r#"{"tokenizer_class": "NllbTokenizer", "src_lang": "ita_Latn"}"#, "{}");
    tokenizer.add_help_token("teacher").unwrap();
    assert_eq!(prompt(&tokenizer), "ita_Latn hi </s>");
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save(&folder).unwrap();
    assert_eq!(prompt(&Tokenizer::from_dir(&folder).unwrap()), "ita_Latn hi </s>");
}
