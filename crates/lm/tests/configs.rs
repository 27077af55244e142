//! Every field of a config.json changes what a model computes, as in transformers, or is refused with an error that names
//! it.
#![allow(clippy::unwrap_used)]

mod support;

use std::error::Error;

use burn::tensor::Device;
use serde_json::{Value, json};
use wheels_lm::{BartConfig, FloatFormat, LanguageModel, LmError, Pretrained, TokenBatch};

use support::{BART, TOLERANCE, bart, config, golden, load_edited, load_with, logits, worst};

/// Changes one field of a config and expects that the logits move by more than 100 tolerances, or that the config is
/// refused with an error that names the field. A field has dots for the objects in which it lies.
fn assert_matters(name: &str, field: &str, value: Value) {
    let key = field.rsplit('.').next().unwrap();
    match load_with_path(name, field, &value) {
        Ok(model) => {
            let golden = golden(name, "golden.json");
            let moved = golden.rows.iter().map(|row| worst(&logits(&model, row, 1, 0), &row.expected(1)));
            let moved = moved.fold(0.0, f32::max);
            assert!(moved > 100.0 * TOLERANCE, "{name}: {field} = {value} moves the logits only by {moved}");
        }
        Err(error) => assert!(error.to_string().contains(key), "{name}: {field} = {value}: {error}"),
    }
}

#[test]
fn every_field_of_a_t5_matters_or_is_refused() {
    for name in ["t5-v1.0", "t5-v1.1", "t5-gated-silu", "mt5", "umt5"] {
        for (field, value) in [
            ("layer_norm_epsilon", json!(1e-6)),
            ("relative_attention_max_distance", json!(64)),
            ("feed_forward_proj", json!("gelu")),
            ("feed_forward_proj", json!("gated-relu")),
            ("num_heads", json!(8)),
            ("num_decoder_layers", json!(7)),
        ] {
            assert_matters(name, field, value);
        }
    }
    assert_matters("t5-v1.1", "feed_forward_proj", json!("gated-silu"));
    assert_matters("t5-gated-silu", "feed_forward_proj", json!("gated-gelu"));
    // Without the newer field, the older one says whether the states are scaled before the head.
    assert_matters("t5-v1.0", "scale_decoder_outputs", json!(false));
    assert_matters("t5-v1.1", "tie_word_embeddings", json!(true));
    assert_matters("t5-v1.1-transformers5", "scale_decoder_outputs", json!(true));
    assert_matters("umt5", "model_type", json!("t5"));
}

#[test]
fn every_field_of_a_llama_matters_or_is_refused() {
    for (name, field, value) in [
        ("llama2", "rms_norm_eps", json!(1e-6)),
        ("llama2", "hidden_act", json!("gelu")),
        ("llama2", "hidden_act", json!("quick_gelu")),
        ("llama-bias", "hidden_act", json!("gelu_new")),
        ("llama2", "num_attention_heads", json!(2)),
        ("llama3", "rope_parameters.rope_theta", json!(20.0)),
        ("llama-linear", "rope_scaling.rope_type", json!("dynamic")),
        ("llama-linear", "rope_scaling.partial_rotary_factor", json!(0.5)),
        ("llama2", "rope_theta", json!(20.0)),
        ("llama2", "model_type", json!("gpt2")),
        ("llama2", "quantization_config", json!({"bits": 4})),
        ("llama3", "rope_parameters.factor", json!(2.0)),
        ("llama3", "rope_parameters.low_freq_factor", json!(0.25)),
        ("llama3", "rope_parameters.high_freq_factor", json!(3.0)),
        ("llama3", "rope_parameters.original_max_position_embeddings", json!(16)),
        ("llama3", "rope_parameters.short_factor", json!([1.0])),
        ("llama-linear", "rope_scaling.factor", json!(2.0)),
        ("llama-yarn", "rope_parameters.factor", json!(2.0)),
        ("llama-yarn-options", "rope_parameters.beta_fast", json!(32.0)),
        ("llama-yarn-options", "rope_parameters.beta_slow", json!(0.5)),
        ("llama-yarn-options", "rope_parameters.attention_factor", json!(3.0)),
        ("llama-yarn-mscale", "rope_scaling.mscale", json!(0.2)),
        ("llama-yarn-mscale", "rope_scaling.mscale_all_dim", json!(0.1)),
        ("llama-yarn-mscale", "rope_scaling.truncate", json!(true)),
        ("mistral", "sliding_window", json!(null)),
        ("mistral", "sliding_window", json!(6)),
        ("mistral", "head_dim", json!(4)),
        ("smollm2", "rope_theta", json!(10.0)),
        ("qwen2", "model_type", json!("llama")),
        ("qwen2-window", "sliding_window", json!(7)),
        ("qwen2-window", "use_sliding_window", json!(false)),
        ("qwen2-window", "layer_types", json!(["sliding_attention"])),
        ("qwen2-window-transformers4", "max_window_layers", json!(0)),
        ("qwen2-window-transformers4", "use_sliding_window", json!(false)),
        ("llama-bias", "attention_bias", json!(false)),
        ("llama-bias", "mlp_bias", json!(false)),
        ("llama-yarn", "rope_parameters.original_max_position_embeddings", json!(64)),
    ] {
        assert_matters(name, field, value);
    }
}

#[test]
fn errors_of_decoder_only_folders_name_the_field() {
    for (field, value) in [
        ("num_hidden_layers", json!(999_999_999)),
        ("intermediate_size", json!(999_999_999)),
        ("vocab_size", json!(7)),
        ("num_key_value_heads", json!(3)),
        ("eos_token_id", json!([2, 4096])),
        ("attention_dropout", json!(1.5)),
    ] {
        let error = load_with("llama2", &[(field, value)]).unwrap_err();
        assert!(error.to_string().contains(field), "{field}: {error}");
        assert!(matches!(error, LmError::Size { .. } | LmError::Unsupported { .. }), "{field}: {error}");
    }
}

/// Loads a fixture whose config has another value in one field, which has dots for the objects in which it lies.
fn load_with_path(name: &str, path: &str, value: &Value) -> Result<Pretrained, LmError> {
    match path.split_once('.') {
        None => load_with(name, &[(path, value.clone())]),
        Some((parent, field)) => {
            let mut object = config(name)[parent].clone();
            object[field] = value.clone();
            load_with(name, &[(parent, object)])
        }
    }
}

/// The fields of a config that hold numbers, with dots for the objects in which they lie.
fn numbers(name: &str) -> Vec<String> {
    let mut found = vec![];
    for (field, value) in config(name) {
        match value {
            Value::Number(_) => found.push(field),
            Value::Object(object) => {
                let inner = object.iter().filter(|(_, value)| value.is_number());
                found.extend(inner.map(|(inner, _)| format!("{field}.{inner}")));
            }
            _ => (),
        }
    }
    found
}

#[test]
fn no_value_in_the_place_of_a_number_causes_a_panic_and_errors_name_the_field() {
    let values = [
        json!(0),
        json!(-1),
        json!(999_999_999),
        json!(u64::MAX),
        json!(1e300),
        json!(0.5),
        json!("many"),
        json!([]),
        json!(["many"]),
        json!({}),
        json!(true),
        Value::Null,
    ];
    let mut problems = vec![];
    let others = ["t5-v1.1", "mt5", "llama3", "llama-yarn-options", "mistral", "qwen2-window", "qwen3"];
    for name in others.iter().chain(&BART) {
        for path in numbers(name) {
            for value in &values {
                let Err(error) = load_with_path(name, &path, value) else { continue };
                let field = path.rsplit('.').next().unwrap();
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                if !format!("{error}: {cause}").contains(field) {
                    problems.push(format!("{name}: {path} = {value}: {error}: {cause}"));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_ids_of_a_t5_may_be_lists_null_or_missing() {
    let spec = |changes: &[(&str, Value)]| {
        let model = load_with("t5-v1.0", changes).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        model.save(scratch.path(), FloatFormat::F32).unwrap();
        let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
        assert_eq!(again.spec(), model.spec(), "{changes:?}: saved");
        let starts = model.prefill(&TokenBatch::column(&[5]), 0).starts();
        (model.spec().eos.clone(), model.spec().pad, starts)
    };
    assert_eq!(spec(&[("eos_token_id", json!([1, 31]))]), (vec![1, 31], 0, vec![0]));
    assert_eq!(spec(&[("decoder_start_token_id", json!(7)), ("pad_token_id", json!(3))]), (vec![1], 3, vec![7]));
    for none in [Value::Null, json!(-1)] {
        for field in ["eos_token_id", "pad_token_id", "decoder_start_token_id"] {
            assert_eq!(spec(&[(field, none.clone())]), (vec![1], 0, vec![0]), "{field} = {none}");
        }
    }
    let mut fields = config("t5-v1.0");
    fields.retain(|field, _| !field.ends_with("token_id"));
    let model = load_edited("t5-v1.0", &fields, |_| ());
    assert_eq!((&model.spec().eos[..], model.spec().pad), (&[1][..], 0));
    for (field, value) in [
        ("eos_token_id", json!([1, 32_099])),
        ("eos_token_id", json!("</s>")),
        ("eos_token_id", json!([1, null])),
        ("pad_token_id", json!(32_099)),
        ("decoder_start_token_id", json!("<pad>")),
    ] {
        let error = load_with("t5-v1.0", &[(field, value.clone())]).unwrap_err();
        assert!(error.to_string().contains(field), "{field} = {value}: {error}");
    }
}

#[test]
fn every_field_of_the_bart_family_matters_or_is_refused() {
    for name in BART {
        let scaled = config(name)["scale_embedding"].as_bool().unwrap();
        for (field, value) in [
            ("encoder_attention_heads", json!(4)),
            ("decoder_attention_heads", json!(3)),
            ("activation_function", json!(if name == "m2m100" { "gelu" } else { "relu" })),
            ("activation_function", json!("quick_gelu")),
            ("scale_embedding", json!(!scaled)),
            ("model_type", json!(if name == "bart" { "mbart" } else { "bart" })),
            ("is_encoder_decoder", json!(false)),
            ("share_encoder_decoder_embeddings", json!(false)),
            ("tie_word_embeddings", json!(false)),
            ("normalize_before", json!(name == "bart" || name == "marian")),
            ("add_final_layer_norm", json!(name == "bart" || name == "marian")),
            ("normalize_embedding", json!(name == "marian" || name == "m2m100")),
            ("static_position_embeddings", json!(name == "bart" || name == "mbart")),
        ] {
            // A file of another model type is refused for what it lacks or for a size.
            let key = if field == "tie_word_embeddings" { "lm_head" } else { field };
            match load_with(name, &[(field, value.clone())]) {
                Err(error) if field == "model_type" => assert!(!error.to_string().is_empty()),
                Err(error) => assert!(error.to_string().contains(key), "{name}: {field} = {value}: {error}"),
                Ok(_) => assert_matters(name, field, value),
            }
        }
    }
    assert_matters("bart", "activation_function", json!("gelu_new"));
    assert_matters("marian", "activation_function", json!("gelu"));
    // The first position of M2M100 is the one after the padding token's id.
    assert_matters("m2m100", "pad_token_id", json!(3));
}

#[test]
fn errors_of_bart_folders_name_the_field() {
    for (name, field, value) in [
        ("bart", "vocab_size", json!(95)),
        ("bart", "d_model", json!(999_999_999)),
        ("bart", "encoder_layers", json!(999_999_999)),
        ("mbart", "decoder_layers", json!(2)),
        ("mbart", "encoder_ffn_dim", json!(32)),
        ("mbart", "decoder_ffn_dim", json!(999_999_999)),
        ("bart", "max_position_embeddings", json!(999_999_999)),
        ("bart", "encoder_attention_heads", json!(5)),
        ("bart", "decoder_attention_heads", json!(0)),
        ("marian", "decoder_vocab_size", json!(97)),
        ("marian", "dropout", json!(1.0)),
        ("marian", "attention_dropout", json!(-0.1)),
        ("marian", "activation_dropout", json!(2)),
        ("bart", "pad_token_id", json!(96)),
        ("bart", "bos_token_id", json!(96)),
        ("bart", "eos_token_id", json!([2, 96])),
        ("bart", "decoder_start_token_id", json!(96)),
        ("bart", "forced_bos_token_id", json!(96)),
        ("bart", "forced_eos_token_id", json!([2, 96])),
        ("bart", "eos_token_id", Value::Null),
        ("m2m100", "pad_token_id", Value::Null),
    ] {
        let error = load_with(name, &[(field, value.clone())]).unwrap_err();
        assert!(error.to_string().contains(field), "{name}: {field} = {value}: {error}");
        assert!(matches!(error, LmError::Size { .. } | LmError::Unsupported { .. }), "{field}: {error}");
    }
    let missing = [("decoder_start_token_id", Value::Null), ("bos_token_id", Value::Null)];
    assert!(load_with("bart", &missing).unwrap_err().to_string().contains("decoder_start_token_id is missing"));
}

#[test]
fn ids_that_are_missing_are_those_of_transformers_and_null_is_none() {
    let ids = |config: &BartConfig| {
        let eos = |ids: &Option<wheels_lm::TokenIds>| ids.as_ref().map(|ids| ids.as_slice().to_vec());
        let forced = (config.forced_bos_token_id, eos(&config.forced_eos_token_id));
        (config.pad_token_id, eos(&config.eos_token_id), config.decoder_start_token_id, forced)
    };
    let mut fields = config("bart");
    fields.retain(|field, _| !field.ends_with("token_id"));
    let model = load_edited("bart", &fields, |_| ());
    assert_eq!(ids(bart(&model).config()), (Some(1), Some(vec![2]), Some(2), (None, Some(vec![2]))));
    fields.insert("force_bos_token_to_be_generated".into(), json!(true));
    assert_eq!(bart(&load_edited("bart", &fields, |_| ())).config().forced_bos_token_id, Some(0));
    let mut fields = config("mbart");
    fields.retain(|field, _| !field.ends_with("token_id"));
    let model = load_edited("mbart", &fields, |_| ());
    assert_eq!(ids(bart(&model).config()), (Some(1), Some(vec![2]), None, (None, Some(vec![2]))));

    let null =
        [("pad_token_id", Value::Null), ("decoder_start_token_id", Value::Null), ("forced_eos_token_id", Value::Null)];
    let model = load_with("bart", &null).unwrap();
    assert_eq!(ids(bart(&model).config()), (None, Some(vec![2]), None, (Some(0), None)));
    assert_eq!((model.spec().pad, model.prefill(&TokenBatch::column(&[5]), 0).starts()), (2, vec![0]));
    let scratch = tempfile::tempdir().unwrap();
    model.save(scratch.path(), FloatFormat::F32).unwrap();
    let again = Pretrained::load(scratch.path(), &Device::flex()).unwrap();
    assert_eq!(bart(&again).config(), bart(&model).config(), "null is saved as null");

    let mut fields = config("m2m100");
    fields.retain(|field, _| !field.ends_with("token_id") && field != "scale_embedding");
    let model = load_edited("m2m100", &fields, |_| ());
    assert_eq!(ids(bart(&model).config()), (Some(1), Some(vec![2]), Some(2), (None, None)));
    assert!(bart(&model).config().scale_embedding);
}
