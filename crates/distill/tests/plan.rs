//! The memory of runs with large models, on paper. CONTRIBUTING quotes these numbers.

use wheels_distill::{BatchShape, MemoryPlan, Mixture, PlannedModel, RolloutConfig, TrainerConfig};
use wheels_lm::LlamaConfig;

const GB: f64 = 1e9;

/// A Qwen2.5 model by its config.json, with parameters of 2 bytes (bf16) or 4.
fn qwen(sizes: [usize; 5], vocab_size: usize, parameters: usize, parameter_bytes: usize) -> PlannedModel {
    let [width, inner, layers, heads, kv_heads] = sizes;
    let config = format!(
        r#"{{"model_type": "qwen2", "vocab_size": {vocab_size}, "hidden_size": {width}, "intermediate_size": {inner},
            "num_hidden_layers": {layers}, "num_attention_heads": {heads}, "num_key_value_heads": {kv_heads}}}"#
    );
    let config: LlamaConfig = serde_json::from_str(&config).expect("a config");
    let bytes = parameters * parameter_bytes;
    PlannedModel { parameters, trained: parameters, vocab_size, bytes, footprint: config.footprint() }
}

#[test]
fn a_teacher_of_7b_and_a_student_of_half_a_billion_fit_one_gpu_of_80_gb() {
    let teacher = qwen([3584, 18_944, 28, 28, 4], 152_064, 7_615_616_512, 2);
    let student = qwen([896, 4864, 24, 14, 2], 151_936, 494_032_768, 4);
    let gigabytes = |rollout: &RolloutConfig, config: &TrainerConfig| {
        [4, 8, 16].map(|texts| {
            let batch = BatchShape { rows: texts, source: 256, target: 256 };
            let plan = MemoryPlan::new(config, &student, Some((&teacher, rollout)), &[batch]);
            (plan.peak() as f64 / GB).round()
        })
    };
    let (on_policy, config) = (RolloutConfig::new(1000), TrainerConfig::new(1000));
    let references = on_policy.clone().with_mixture(Mixture::references());
    assert_eq!(gigabytes(&on_policy, &config), [45.0, 64.0, 102.0]);
    assert_eq!(gigabytes(&references, &config), [36.0, 47.0, 68.0]);
    let config = config.with_gradient_checkpointing(Some(true));
    assert_eq!(gigabytes(&on_policy, &config), [29.0, 29.0, 30.0]);
    assert_eq!(gigabytes(&references, &config), [29.0, 29.0, 29.0]);
}
