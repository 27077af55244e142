//! How texts are generated, in place of what the folder of the student says.

use training_wheels::prelude::*;

use super::at_least_1;

/// How texts are generated, in place of what the generation_config.json of the student says.
#[derive(clap::Args)]
#[command(next_help_heading = "Text")]
pub(crate) struct GenerationFlags {
    /// The largest number of tokens in a text. If absent: as generation_config.json, or else 256.
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    max_new_tokens: Option<usize>,
    /// Sample at this temperature; 0 writes the most likely tokens. If absent: as generation_config.json.
    #[arg(long, value_name = "T", value_parser = temperature)]
    temperature: Option<f64>,
    /// The seed of sampled texts.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
}

impl GenerationFlags {
    /// Changes a generation config.
    pub(crate) fn set(&self, config: &mut GenerationConfig) {
        if let Some(tokens) = self.max_new_tokens {
            config.max_new_tokens = tokens;
            // The flag is a number of tokens for every text.
            config.max_new_tokens_ratio = None;
        }
        if let Some(temperature) = self.temperature {
            config.do_sample = temperature > 0.0;
            if config.do_sample {
                config.temperature = temperature;
            }
        }
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number")?;
    if number.is_finite() && number >= 0.0 { Ok(number) } else { Err("a temperature is at least 0".into()) }
}
