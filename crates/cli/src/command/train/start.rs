//! What a training starts from: a model, its tokenizer, and the settings of an earlier run.

use std::error::Error;
use std::fs;

use serde_json::{Value, json};
use training_wheels::lm::{T5Config, TokenIds};
use training_wheels::prelude::*;
use training_wheels::student::Student;
use training_wheels::text::TokenizerConfig;
use wheels_text::write_atomically;

use super::Flags;
use crate::run;

/// The model that training starts from: that of `--init`, or one with random weights.
pub(crate) fn start(flags: &Flags, goes_on: bool, device: &burn::tensor::Device) -> Result<TextModel, Box<dyn Error>> {
    let mut start = match &flags.init {
        Some(folder) => {
            let model = run::open_model(folder, device)?;
            match flags.lora {
                Some(rank) => model.with_lora(
                    &LoraConfig::new(rank)
                        .with_alpha(flags.lora_alpha)
                        .with_dropout(flags.lora_dropout)
                        .with_target_modules(flags.lora_modules.clone())
                        .with_base_model(folder.to_str().map(str::to_owned))
                        .with_seed(flags.seed),
                )?,
                None => model,
            }
        }
        None => {
            let tokenizer = tokenizer(flags, goes_on)?;
            if flags.d_model == 0 || !flags.d_model.is_multiple_of(32) {
                return Err(format!("--d-model is {}, which must be a multiple of 32", flags.d_model).into());
            }
            let config = T5Config {
                vocab_size: tokenizer.vocab_size(),
                d_model: flags.d_model,
                d_kv: 32,
                d_ff: 4 * flags.d_model,
                num_heads: flags.d_model / 32,
                num_layers: flags.layers,
                num_decoder_layers: Some(flags.decoder_layers),
                dropout_rate: flags.dropout,
                pad_token_id: tokenizer.pad(),
                eos_token_id: TokenIds::One(tokenizer.eos()),
                decoder_start_token_id: tokenizer.pad(),
                ..T5Config::default()
            };
            TextModel {
                model: Student::new(Pretrained::T5(config.init(device))),
                tokenizer,
                template: PromptTemplate::default(),
                generation: GenerationConfig { max_new_tokens_ratio: Some(2.0), ..GenerationConfig::default() }
                    .with_no_repeat_ngram_size(6),
                calibration: None,
                prices: None,
            }
        }
    };
    start.template.max_tokens = start.text_limit(flags.max_prompt.unwrap_or(start.template.max_tokens));
    let generation = &mut start.generation;
    generation.max_new_tokens = flags.max_new_tokens.unwrap_or(generation.max_new_tokens);
    generation.no_repeat_ngram_size = flags.no_repeat_ngram_size.unwrap_or(generation.no_repeat_ngram_size);
    Ok(start)
}

fn tokenizer(flags: &Flags, goes_on: bool) -> Result<Tokenizer, Box<dyn Error>> {
    // A run that goes on has its tokenizer already.
    let saved = goes_on.then_some(&flags.out);
    let mut tokenizer = match flags.tokenizer.as_ref().or(saved) {
        Some(folder) => Tokenizer::from_dir(run::model_folder(folder)?)?,
        None => {
            log::info!("training a new tokenizer of {} tokens; --tokenizer takes that of a teacher", flags.vocab);
            let mut failed = Ok(());
            let examples = flags.fields.stream(&flags.data, "reading")?.map_while(|example| match example {
                Ok(example) => Some([example.source, example.target]),
                Err(error) => {
                    failed = Err(error);
                    None
                }
            });
            let trained = Tokenizer::train(TokenizerConfig::default().with_vocab_size(flags.vocab), examples.flatten());
            failed?;
            trained?
        }
    };
    if let Some(name) = &flags.help_token {
        tokenizer.add_help_token(name)?;
    }
    Ok(tokenizer)
}

/// Checks that a run goes on with the settings that its checkpoints do not have. A new run saves them in train.json.
pub(crate) fn same_settings(flags: &Flags, is_new: bool) -> Result<(), Box<dyn Error>> {
    let Flags { label_smoothing, lora, lora_alpha, lora_dropout, lora_modules, .. } = flags;
    let lora = lora.map(|_| json!({ "alpha": lora_alpha, "dropout": lora_dropout, "modules": lora_modules }));
    let settings = json!({ "label_smoothing": label_smoothing, "lora": lora });
    let path = flags.out.join("train.json");
    // Runs of earlier versions have no such file.
    if is_new || !path.exists() {
        return Ok(write_atomically(path, settings.to_string())?);
    }
    let saved: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    for (flag, place) in [
        ("label-smoothing", "/label_smoothing"),
        ("lora-alpha", "/lora/alpha"),
        ("lora-dropout", "/lora/dropout"),
        ("lora-modules", "/lora/modules"),
    ] {
        let [there, here] = [&saved, &settings].map(|settings| settings.pointer(place).unwrap_or(&Value::Null));
        if there != here {
            return Err(format!(
                "the run in {} has another --{flag} ({there} there, {here} here): give the same, or another --out",
                flags.out.display()
            )
            .into());
        }
    }
    Ok(())
}
