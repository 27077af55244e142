//! Generation configs: files of Hugging Face, files of earlier versions, limits and errors.
#![allow(clippy::unwrap_used)]

#[path = "support/messages.rs"]
mod messages;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Once;

use proptest::prelude::*;
use serde_json::json;
use wheels_text::{GenerationConfig, TextError};

fn read(json: &str) -> GenerationConfig {
    GenerationConfig::from_json(json).unwrap()
}

fn saved(config: &GenerationConfig) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    config.save(&folder).unwrap();
    serde_json::from_slice(&fs::read(folder.path().join("generation_config.json")).unwrap()).unwrap()
}

#[test]
fn missing_fields_and_null_have_their_defaults() {
    let default = GenerationConfig::default();
    assert_eq!(default.max_new_tokens, 256);
    assert_eq!(default.no_repeat_ngram_size, 0);
    assert_eq!((default.do_sample, default.temperature, default.top_k, default.top_p), (false, 1.0, None, None));
    assert_eq!((default.max_new_tokens_ratio, default.max_new_tokens_offset), (None, 16));
    assert_eq!(read("{}"), default);
    let nulls = r#"{"max_new_tokens": null, "no_repeat_ngram_size": null, "do_sample": null, "temperature": null,
        "top_k": null, "top_p": null, "max_new_tokens_ratio": null, "max_new_tokens_offset": null}"#;
    assert_eq!(read(nulls), default);
}

#[test]
fn settings_of_hugging_face_are_read() {
    let config = read(
        r#"{"max_new_tokens": 100, "no_repeat_ngram_size": 3, "do_sample": true, "temperature": 0.7, "top_k": 50,
            "top_p": 0.9}"#,
    );
    assert_eq!((config.max_new_tokens, config.no_repeat_ngram_size), (100, 3));
    assert_eq!((config.do_sample, config.temperature, config.top_k, config.top_p), (true, 0.7, Some(50), Some(0.9)));
    let off = read(r#"{"top_k": 0, "top_p": 1.0}"#);
    assert_eq!((off.top_k, off.top_p), (None, None));
}

#[test]
fn max_length_is_used_if_max_new_tokens_is_missing() {
    assert_eq!(read(r#"{"max_length": 512}"#).max_new_tokens, 512);
    assert_eq!(read(r#"{"max_length": 512, "max_new_tokens": 40}"#).max_new_tokens, 40);
    assert_eq!(read(r#"{"max_length": 512, "max_new_tokens": null}"#).max_new_tokens, 512);
    assert_eq!(saved(&read(r#"{"max_length": 512}"#))["max_length"], 512);
}

#[test]
fn other_fields_are_kept_and_written_back() {
    let t5 = json!({"_from_model_config": true, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
        "transformers_version": "4.27.0.dev0", "length_penalty": 0.1});
    let config = read(&t5.to_string()).with_max_new_tokens(48).with_no_repeat_ngram_size(6);
    let written = saved(&config);
    for (name, value) in t5.as_object().unwrap() {
        assert_eq!(&written[name], value, "{name}");
    }
    assert_eq!((&written["max_new_tokens"], &written["no_repeat_ngram_size"]), (&json!(48), &json!(6)));
}

#[test]
fn the_ids_that_end_a_text_are_read_in_all_forms_and_written_back() {
    for (json, ids, written) in [
        (r#"{"eos_token_id": 2}"#, vec![2], Some(json!(2))),
        (r#"{"eos_token_id": [151645, 151643]}"#, vec![151_645, 151_643], Some(json!([151_645, 151_643]))),
        (r#"{"eos_token_id": [7]}"#, vec![7], Some(json!(7))),
        (r#"{"eos_token_id": null}"#, vec![], None),
        ("{}", vec![], None),
    ] {
        let config = read(json);
        assert_eq!(config.eos_token_id, ids, "{json}");
        assert_eq!(saved(&config).get("eos_token_id"), written.as_ref(), "{json}");
    }
    for json in [r#"{"eos_token_id": -1}"#, r#"{"eos_token_id": "</s>"}"#, r#"{"eos_token_id": [1, null]}"#] {
        let error = GenerationConfig::from_json(json).unwrap_err();
        assert!(error.to_string().contains("generation_config.json"), "{error}");
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("eos_token_id"), "{cause}");
    }
}

#[test]
fn a_config_is_read_from_memory_as_from_a_folder() {
    let files: [(&str, &[u8]); 2] =
        [("prompt.json", br#"{"max_new_tokens": 48}"#), ("generation_config.json", br#"{"max_new_tokens": 20}"#)];
    assert_eq!(GenerationConfig::from_files("model", &files).unwrap().max_new_tokens, 20);
    let legacy = GenerationConfig::from_files("model", &files[..1]).unwrap();
    assert_eq!((legacy.max_new_tokens, legacy.max_new_tokens_ratio), (48, Some(2.0)));
    let broken: [(&str, &[u8]); 1] = [("generation_config.json", b"{")];
    let message = GenerationConfig::from_files("models/it", &broken).unwrap_err().to_string();
    assert!(message.contains("models/it/generation_config.json"), "{message}");
}

#[test]
fn without_a_generation_config_the_settings_are_those_of_the_model_config() {
    // The config.json of an early Marian model, shortened.
    let marian =
        br#"{"model_type": "marian", "d_model": 512, "activation_function": "swish", "bad_words_ids": [[80034]],
        "bos_token_id": 0, "decoder_start_token_id": 80034, "eos_token_id": 0, "forced_eos_token_id": 0,
        "max_length": 512, "num_beams": 6, "no_repeat_ngram_size": 3, "do_sample": true, "temperature": 0.7,
        "top_k": 40, "top_p": 0.9, "pad_token_id": 80034, "num_hidden_layers": 6,
        "task_specific_params": {"translation": {"max_length": 300}}}"#;
    let from = |files: &[(&str, &[u8])]| GenerationConfig::from_files("model", files);
    let model: (&str, &[u8]) = ("config.json", marian);
    let config = from(&[model]).unwrap();
    assert_eq!((config.max_new_tokens, config.no_repeat_ngram_size), (512, 3));
    assert_eq!((config.do_sample, config.temperature, config.top_k, config.top_p), (true, 0.7, Some(40), Some(0.9)));
    assert_eq!(config.eos_token_id, [0]);
    let mut others: Vec<&str> = config.other.keys().map(String::as_str).collect();
    others.sort_unstable();
    let taken = [
        "bad_words_ids",
        "bos_token_id",
        "decoder_start_token_id",
        "forced_eos_token_id",
        "max_length",
        "num_beams",
        "pad_token_id",
    ];
    assert_eq!(others, taken);

    // Any other file with settings has precedence, and T5's settings of single tasks are none of the model.
    assert_eq!(from(&[model, ("generation_config.json", b"{}")]).unwrap(), GenerationConfig::default());
    assert_eq!(from(&[model, ("prompt.json", br#"{"max_new_tokens": 48}"#)]).unwrap().max_new_tokens, 48);
    assert_eq!(from(&[model, ("prompt.json", br#"{"prefix": "to it: "}"#)]).unwrap().max_new_tokens, 512);
    let t5 = br#"{"d_ff": 2048, "task_specific_params": {"summarization": {"num_beams": 4, "max_length": 200}}}"#;
    assert_eq!(from(&[("config.json", t5)]).unwrap(), GenerationConfig::default());

    for bad in [r#"{"top_p": 2, "d_model": 1}"#, r#"{"max_length": "long"}"#] {
        let message = from(&[("config.json", bad.as_bytes())]).unwrap_err().to_string();
        assert!(message.contains("config.json"), "{message}");
    }
}

#[test]
fn sampling_from_all_tokens_is_saved_as_a_top_k_of_0() {
    // In Hugging Face's library, a missing top_k means 50.
    let sampling = GenerationConfig { do_sample: true, ..GenerationConfig::default() };
    assert_eq!(saved(&sampling)["top_k"], 0);
    assert_eq!(saved(&GenerationConfig::default()).get("top_k"), None);
}

#[test]
fn the_output_limit_is_the_smaller_of_the_two_limits() {
    let config = GenerationConfig::default().with_max_new_tokens(100);
    assert_eq!(config.limit(3), 100);
    let config = GenerationConfig { max_new_tokens_ratio: Some(1.5), max_new_tokens_offset: 2, ..config };
    // 1.5 * 3 + 2 is 6.5, and the product is rounded down.
    assert_eq!([0, 1, 3, 65, 66].map(|tokens| config.limit(tokens)), [2, 3, 6, 99, 100]);
    let config = GenerationConfig { max_new_tokens_ratio: Some(1e300), ..config };
    assert_eq!(config.limit(7), 100);
}

#[test]
fn prompt_files_of_earlier_versions_give_their_settings() {
    let both = r#"{"prefix": "", "max_tokens": 256, "max_new_tokens": 48, "no_repeat_ngram_size": 6}"#;
    let config = GenerationConfig::from_legacy_prompt_json(both).unwrap().unwrap();
    let old = GenerationConfig { max_new_tokens_ratio: Some(2.0), ..GenerationConfig::default() };
    assert_eq!(config, old.clone().with_max_new_tokens(48).with_no_repeat_ngram_size(6));
    assert_eq!((config.limit(10), config.limit(20)), (36, 48));
    let one = GenerationConfig::from_legacy_prompt_json(r#"{"no_repeat_ngram_size": 6}"#).unwrap().unwrap();
    assert_eq!(one, old.with_no_repeat_ngram_size(6));
    assert_eq!(GenerationConfig::from_legacy_prompt_json(r#"{"prefix": "p: "}"#).unwrap(), None);
    let error = GenerationConfig::from_legacy_prompt_json(r#"{"max_new_tokens": -1}"#).unwrap_err();
    assert!(matches!(error, TextError::PromptTemplate { .. }), "{error}");
}

#[test]
fn generation_config_json_has_precedence_over_an_old_prompt_json() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(GenerationConfig::from_dir(&folder).unwrap(), GenerationConfig::default());
    let prompt = folder.path().join("prompt.json");
    fs::write(&prompt, r#"{"prefix": "p: "}"#).unwrap();
    assert_eq!(GenerationConfig::from_dir(&folder).unwrap(), GenerationConfig::default());
    fs::write(&prompt, r#"{"max_new_tokens": 48}"#).unwrap();
    let legacy = GenerationConfig::from_dir(&folder).unwrap();
    assert_eq!((legacy.max_new_tokens, legacy.max_new_tokens_ratio), (48, Some(2.0)));
    fs::write(folder.path().join("generation_config.json"), r#"{"max_new_tokens": 20}"#).unwrap();
    let config = GenerationConfig::from_dir(&folder).unwrap();
    assert_eq!((config.max_new_tokens, config.max_new_tokens_ratio), (20, None));
}

#[test]
fn invalid_numbers_are_rejected_with_their_field_and_value() {
    for (json, field, value) in [
        (r#"{"do_sample": true, "temperature": 0.0}"#, "temperature", "0"),
        (r#"{"do_sample": true, "temperature": -1.5}"#, "temperature", "-1.5"),
        (r#"{"top_p": 0.0}"#, "top_p", "0"),
        (r#"{"top_p": 1.25}"#, "top_p", "1.25"),
        (r#"{"max_new_tokens_ratio": -2.0}"#, "max_new_tokens_ratio", "-2"),
    ] {
        let message = GenerationConfig::from_json(json).unwrap_err().to_string();
        assert!(message.contains("generation_config.json"), "{message}");
        assert!(message.contains(&format!("{field} is {value};")), "{message}");
    }
    assert_eq!(read(r#"{"do_sample": false, "temperature": 0.0}"#).temperature, 0.0);
}

#[test]
fn files_that_cannot_be_parsed_are_rejected_with_the_position() {
    for (json, problem) in [
        ("{", "EOF"),
        (r#"{"top_k": -1}"#, "column 12"),
        (r#"{"max_new_tokens": "many"}"#, "column 25"),
        (r#"{"max_length": 1.5}"#, "1.5"),
    ] {
        let error = GenerationConfig::from_json(json).unwrap_err();
        assert!(matches!(error, TextError::GenerationConfig { .. }), "{error}");
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains(problem), "{cause}");
    }
}

/// The messages so far that name `folder`, after it has been read.
fn messages(folder: &Path) -> Vec<String> {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        messages::install(log::LevelFilter::Trace);
    });
    GenerationConfig::from_dir(folder).unwrap();
    let folder = folder.display().to_string();
    messages::all().into_iter().filter(|message| message.contains(&folder)).collect()
}

#[test]
fn settings_that_are_not_applied_give_one_warning_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("generation_config.json");
    fs::write(&path, r#"{"num_beams": 1, "max_length": 20, "bos_token_id": 0}"#).unwrap();
    assert_eq!(messages(folder.path()), [""; 0]);
    fs::write(&path, r#"{"num_beams": 4, "length_penalty": 2.0, "repetition_penalty": 1.2}"#).unwrap();
    let messages = messages(folder.path());
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("WARN"), "{messages:?}");
    assert!(messages[0].ends_with("not applied: num_beams, repetition_penalty"), "{messages:?}");
}

proptest! {
    #[test]
    fn saved_configs_are_read_back_unchanged(
        (max_new_tokens, no_repeat_ngram_size, max_new_tokens_offset) in any::<(usize, usize, usize)>(),
        do_sample in any::<bool>(),
        temperature in 1e-9_f64..1e9,
        top_k in prop::option::of(1_usize..),
        top_p in prop::option::of(1e-9_f64..1.0),
        max_new_tokens_ratio in prop::option::of(0.0_f64..1e9),
        eos_token_id in prop::collection::vec(any::<u32>(), 0..3),
        pad in any::<i64>(),
    ) {
        let other = json!({"pad_token_id": pad, "note": null}).as_object().unwrap().clone();
        let config = GenerationConfig {
            max_new_tokens,
            no_repeat_ngram_size,
            do_sample,
            temperature,
            top_k,
            top_p,
            max_new_tokens_ratio,
            max_new_tokens_offset,
            eos_token_id,
            other,
        };
        let folder = tempfile::tempdir().unwrap();
        config.save(&folder).unwrap();
        prop_assert_eq!(GenerationConfig::from_dir(&folder).unwrap(), config);
    }
}
