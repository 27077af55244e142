//! The models of a bench.

use burn::tensor::Device;
use wheels_lm::{LlamaConfig, Pretrained, T5Config};

const VOCAB: usize = 1000;

/// A T5 or a Llama with random weights and a small vocabulary. A T5 has `layers` blocks in each of its stacks.
pub(crate) fn model(llama: bool, width: usize, layers: usize, dropout: f64, device: &Device) -> Pretrained {
    if !llama {
        let config = T5Config {
            vocab_size: VOCAB,
            d_model: width,
            d_kv: 64,
            d_ff: 4 * width,
            num_layers: layers,
            num_heads: width / 64,
            dropout_rate: dropout,
            ..T5Config::default()
        };
        return Pretrained::T5(config.init(device));
    }
    let config = format!(
        r#"{{"model_type": "llama", "vocab_size": {VOCAB}, "hidden_size": {width}, "intermediate_size": {}, "num_hidden_layers": {layers},
            "num_attention_heads": {}, "num_key_value_heads": {}, "bos_token_id": 1, "eos_token_id": 2}}"#,
        8 * width / 3 / 64 * 64,
        width / 64,
        width / 192
    );
    let config: LlamaConfig = serde_json::from_str(&config).unwrap();
    Pretrained::Llama(config.init(device).unwrap())
}
