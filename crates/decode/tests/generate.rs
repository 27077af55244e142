//! A decoder without help writes what `generate` of Hugging Face's transformers writes, forced tokens included. The
//! fixtures are in assets/golden/families.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use serde_json::Value;
use wheels_decode::{BudgetedDecoder, Decoder, End, Experts, HelpRule, Policy};
use wheels_lm::{LanguageModel, Pretrained};
use wheels_text::{GenerationConfig, HelpBudget, Prompt, Seed};

#[test]
fn texts_begin_and_end_with_the_forced_tokens_of_transformers() {
    let (mut began, mut cut) = (0, 0);
    for name in ["bart", "mbart", "marian", "m2m100", "t5-v1.0", "llama3", "qwen2", "smollm2"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/golden/families").join(name);
        let generation = GenerationConfig::from_dir(&folder).unwrap().with_max_new_tokens(12);
        let mut model = Pretrained::load(&folder, &Device::flex()).unwrap();
        if !generation.eos_token_id.is_empty() {
            model = model.with_eos_token_ids(generation.eos_token_id.clone());
        }
        // Marian must not write its padding token.
        let closed = if name == "marian" { Some(model.spec().pad) } else { None };
        let experts = closed.into_iter().fold(Experts::new(), Experts::with_closed_token);
        let policy = Policy::greedy(&model).with_help_rule(HelpRule::Never);
        let decoder = BudgetedDecoder::new(policy, experts).with_generation(&generation);
        let golden: Value = serde_json::from_str(&fs::read_to_string(folder.join("golden.json")).unwrap()).unwrap();
        let ids = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
        for row in golden["rows"].as_array().unwrap() {
            let source = ids(&row["source"]);
            let prompt = Prompt { student: source.clone(), expert: source, budget: HelpBudget::percent(0) };
            let text = decoder.decode(&[prompt], Seed(0)).unwrap().trajectories.remove(0);
            let found: Vec<u32> = text.steps.iter().map(|step| step.token).collect();
            // transformers returns the start token of an encoder-decoder too.
            let expected = &ids(&row["generated"])[usize::from(model.is_encoder_decoder())..];
            let forced_end = text.end == End::Length && expected.last().is_some_and(|&last| model.spec().ends(last));
            assert_eq!(found, expected, "{name}");
            began += usize::from(generation.forced_bos_token_id() == found.first().copied());
            cut += usize::from(forced_end);
        }
    }
    assert!(began >= 6 && cut >= 5, "{began} texts begin and {cut} end with a forced token");
}
