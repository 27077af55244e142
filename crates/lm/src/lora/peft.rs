//! adapter_config.json, as Hugging Face's library PEFT writes it.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::LoraConfig;
use super::config::ALL_LINEAR;
use crate::LmError;
use crate::config::unsupported;
use crate::weights;

pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
pub(crate) const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// Fields whose value does not change what is computed, or is read below.
const READ: [&str; 17] = [
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "inference_mode",
    "init_lora_weights",
    // These three matter only together with fields that are refused.
    "layers_pattern",
    "megatron_core",
    "qalora_group_size",
    "lora_alpha",
    "lora_dropout",
    "peft_type",
    "peft_version",
    "r",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Reads the adapter_config.json in a folder.
pub(super) fn read(folder: &Path) -> Result<LoraConfig, LmError> {
    let path = folder.join(ADAPTER_CONFIG);
    let json = fs::read_to_string(&path).map_err(|source| LmError::Read { path: path.clone(), source })?;
    parse(&json, &path.display().to_string())
}

fn parse(json: &str, origin: &str) -> Result<LoraConfig, LmError> {
    let fields: Map<String, Value> =
        serde_json::from_str(json).map_err(|source| LmError::AdapterConfig { origin: origin.into(), source })?;
    let field = |name: &str| fields.get(name).unwrap_or(&Value::Null);
    let refuse = |name: &str, supported| Err(unsupported(origin, name, field(name), supported));
    if field("peft_type") != "LORA" {
        return refuse("peft_type", "\"LORA\"");
    }
    if !(is_off(field("bias")) || field("bias") == "none") {
        return refuse("bias", "\"none\"");
    }
    // The others, such as "pissa", change the weights of the base model.
    let init = field("init_lora_weights");
    if !(init.is_null() || init.is_boolean() || ["gaussian", "eva", "orthogonal"].iter().any(|name| init == name)) {
        return refuse("init_lora_weights", "true, false, \"gaussian\", \"eva\" and \"orthogonal\"");
    }
    for (name, value) in &fields {
        if !READ.contains(&name.as_str()) && !is_off(value) {
            return refuse(name, "null, false or empty");
        }
    }
    let number = |name: &str, default: f64| match field(name) {
        Value::Null => Some(default),
        value => value.as_f64(),
    };
    let Some(rank) = field("r").as_u64() else { return refuse("r", "a whole number") };
    let Some(alpha) = number("lora_alpha", 8.0) else { return refuse("lora_alpha", "a number") };
    let Some(dropout) = number("lora_dropout", 0.0) else { return refuse("lora_dropout", "a number") };
    let target_modules = match field("target_modules") {
        Value::Null => Some(vec![]),
        value if value == ALL_LINEAR => Some(vec![ALL_LINEAR.to_owned()]),
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let Some(target_modules) = target_modules else {
        return refuse("target_modules", "a list of names, or \"all-linear\"");
    };
    let base = field("base_model_name_or_path").as_str().filter(|base| !base.is_empty());
    let base_model = base.map(|base| match field("revision").as_str().filter(|revision| !revision.is_empty()) {
        Some(revision) if !Path::new(base).is_dir() => format!("{base}@{revision}"),
        _ => base.to_owned(),
    });
    Ok(LoraConfig::new(rank as usize)
        .with_alpha(alpha)
        .with_dropout(dropout)
        .with_target_modules(target_modules)
        .with_use_rslora(field("use_rslora") == &Value::Bool(true))
        .with_base_model(base_model))
}

/// Whether a field asks for nothing.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_off),
        Value::Number(_) => false,
    }
}

/// Writes the adapter_config.json of a folder.
pub(super) fn write(lora: &LoraConfig, is_encoder_decoder: bool, folder: &Path) -> Result<(), LmError> {
    let (base, revision) = match &lora.base_model {
        Some(base) => match base.split_once('@').filter(|_| !Path::new(base).exists()) {
            Some((base, revision)) => (Some(base), Some(revision)),
            None => (Some(base.as_str()), None),
        },
        None => (None, None),
    };
    let config = json!({
        "peft_type": "LORA",
        "auto_mapping": null,
        "base_model_name_or_path": base,
        "revision": revision,
        "task_type": if is_encoder_decoder { "SEQ_2_SEQ_LM" } else { "CAUSAL_LM" },
        "inference_mode": true,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.use_rslora,
        "target_modules": lora.target_modules,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "modules_to_save": null,
    });
    let json = serde_json::to_string_pretty(&config).expect("texts and numbers are JSON");
    weights::write_atomically(&folder.join(ADAPTER_CONFIG), (json + "\n").as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What PEFT 0.21 writes, without fields that are null.
    const PEFT: &str = r#"{
        "alora_invocation_tokens": null, "alpha_pattern": {}, "base_model_name_or_path": "owner/name", "bias": "none",
        "ensure_weight_tying": false, "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
        "loftq_config": {}, "lora_alpha": 16, "lora_bias": false, "lora_dropout": 0.05, "megatron_core": "megatron.core",
        "modules_to_save": null, "peft_type": "LORA", "peft_version": "0.21.2", "qalora_group_size": 16, "r": 4,
        "rank_pattern": {}, "revision": "main", "target_modules": ["v_proj", "q_proj"], "task_type": "CAUSAL_LM",
        "use_dora": false, "use_qalora": false, "use_rslora": true
    }"#;

    #[test]
    fn the_settings_of_peft_are_read() {
        let expected = LoraConfig::new(4)
            .with_alpha(16.0)
            .with_dropout(0.05)
            .with_target_modules(vec!["v_proj".into(), "q_proj".into()])
            .with_use_rslora(true)
            .with_base_model(Some("owner/name@main".into()));
        assert_eq!(parse(PEFT, "here").unwrap(), expected);
        assert_eq!(expected.scale(), 8.0);
        let folder = tempfile::tempdir().unwrap();
        write(&expected, false, folder.path()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), expected, "written and read again");
    }

    #[test]
    fn what_is_not_supported_is_refused_by_the_name_of_its_field() {
        for (field, value) in [
            ("peft_type", json!("IA3")),
            ("bias", json!("all")),
            ("use_dora", json!(true)),
            ("modules_to_save", json!(["lm_head"])),
            ("rank_pattern", json!({ "q_proj": 2 })),
            ("alpha_pattern", json!({ "q_proj": 2 })),
            ("layers_to_transform", json!([0])),
            ("lora_bias", json!(true)),
            ("fan_in_fan_out", json!(true)),
            ("exclude_modules", json!(["v_proj"])),
            ("init_lora_weights", json!("pissa")),
            ("target_modules", json!(".*q_proj")),
            ("r", json!(2.5)),
            ("a_field_of_the_future", json!(1)),
        ] {
            let mut fields: Map<String, Value> = serde_json::from_str(PEFT).unwrap();
            fields.insert(field.into(), value.clone());
            let error = parse(&Value::Object(fields).to_string(), "here").unwrap_err().to_string();
            assert!(error.starts_with(&format!("here: {field} is {value}; supported: ")), "{error}");
        }
        assert!(matches!(parse("{", "here"), Err(LmError::AdapterConfig { .. })));
    }
}
