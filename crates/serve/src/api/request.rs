//! What requests of both kinds have in common.

use serde::Deserialize;
use serde_json::Value;
use training_wheels::decode::Sampler;
use training_wheels::text::{GenerationConfig, HelpBudget, Prompt, Seed};

use super::App;
use super::error::ApiError;
use super::fields::Fields;
use crate::budget;
use crate::engine::JobOptions;

/// A request that can be answered.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) options: JobOptions,
    pub(crate) budget: HelpBudget,
    /// The same seed gives the same texts.
    pub(crate) seed: Seed,
    pub(crate) stream: bool,
    /// Whether the end of a stream has the usage.
    pub(crate) include_usage: bool,
}

/// The largest number of alternatives to each token.
const MAX_LOG_PROBS: usize = 20;
/// The largest number of texts that end an answer, as in OpenAI's API.
const MAX_STOPS: usize = 4;

/// One value, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

impl Request {
    /// Reads the fields that both kinds of requests have. There are no prompts yet.
    pub(crate) fn read(fields: &mut Fields, app: &App) -> Result<Self, ApiError> {
        let config = &app.config;
        let model = fields.take::<String>("model")?;
        if let Some(model) = model.filter(|model| *model != config.model_name) {
            return Err(ApiError::unknown_model(&model, &config.model_name));
        }
        let mut max_new_tokens = None;
        for name in ["max_tokens", "max_completion_tokens"] {
            let Some(tokens) = fields.take::<usize>(name)? else { continue };
            if tokens > config.max_new_tokens {
                let limit = config.max_new_tokens;
                let message = format!("`{name}` is {tokens}, and this server writes at most {limit}; lower it");
                return Err(ApiError::invalid(name, message));
            }
            max_new_tokens = Some(tokens);
        }
        let seed = fields.take::<i64>("seed")?.map_or_else(|| app.seed(), |seed| Seed(seed as u64));
        let stream = fields.take("stream")?.unwrap_or(false);
        let stream_options: StreamOptions = fields.take("stream_options")?.unwrap_or_default();
        let budget = budget(fields, app, max_new_tokens)?;
        Ok(Self {
            prompts: vec![],
            options: JobOptions {
                max_new_tokens,
                sampler: sampler(fields, &app.generation)?,
                stops: stops(fields)?,
                log_probs: None,
                echo: false,
            },
            budget,
            seed,
            stream,
            include_usage: stream_options.include_usage,
        })
    }

    /// Wants the log-probs of this number of alternatives.
    pub(crate) fn want_log_probs(&mut self, name: &str, count: usize) -> Result<(), ApiError> {
        if count > MAX_LOG_PROBS {
            return Err(ApiError::invalid(name, format!("`{name}` is {count}; it must be at most {MAX_LOG_PROBS}")));
        }
        self.options.log_probs = Some(count);
        Ok(())
    }
}

/// The budget of a request, or that of the server.
fn budget(fields: &mut Fields, app: &App, max_new_tokens: Option<usize>) -> Result<HelpBudget, ApiError> {
    let invalid = |message: String| ApiError::invalid("budget", message);
    let given = match fields.take::<Value>("budget")? {
        None => None,
        Some(Value::String(text)) => Some(budget::parse(&text, app.counted).map_err(invalid)?),
        Some(Value::Number(number)) => Some(budget::parse(&number.to_string(), None).map_err(invalid)?),
        Some(other) => return Err(invalid(format!("`budget` is {other}; state it as \"20%\" or \"8 tokens\""))),
    };
    if !app.has_teacher {
        return match given {
            Some(budget) if budget.share(1) > 0.0 => {
                Err(invalid(format!("`budget` is {budget}, but this server has no teacher; leave it out")))
            }
            _ => Ok(HelpBudget::percent(0)),
        };
    }
    let budget = given.unwrap_or(app.config.default_budget);
    let length = max_new_tokens.unwrap_or(app.generation.max_new_tokens);
    budget::check(budget, app.config.max_budget, length, app.counted).map_err(invalid)?;
    Ok(budget)
}

/// How the student chooses its tokens. None for the sampler of the model's generation config, which also has the values
/// that a request leaves out.
fn sampler(fields: &mut Fields, generation: &GenerationConfig) -> Result<Option<Sampler>, ApiError> {
    let within = |name: &str, value: Option<f64>, low: f64, high: f64| match value {
        Some(value) if !(low..=high).contains(&value) => {
            Err(ApiError::invalid(name, format!("`{name}` is {value}; it must be from {low} to {high}")))
        }
        _ => Ok(()),
    };
    let temperature = fields.take::<f64>("temperature")?;
    let top_p = fields.take::<f64>("top_p")?;
    let top_k = fields.take::<usize>("top_k")?;
    within("temperature", temperature, 0.0, 2.0)?;
    within("top_p", top_p, 0.0, 1.0)?;
    // A `top_k` of 0 takes a filter away, which does not make a greedy text a sample.
    let changes_top_k = top_k.is_some_and(|top_k| top_k > 0 || generation.do_sample);
    if temperature.is_none() && top_p.is_none() && !changes_top_k {
        return Ok(None);
    }
    let temperature = temperature.unwrap_or(generation.temperature);
    let top_k = top_k.or(generation.top_k).filter(|top_k| *top_k > 0);
    let top_p = top_p.or(generation.top_p).filter(|top_p| *top_p < 1.0);
    if temperature == 0.0 || top_p == Some(0.0) {
        return Ok(Some(Sampler::Greedy));
    }
    Ok(Some(Sampler::Sample { temperature, top_k, top_p }))
}

fn stops(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let stops = match fields.take("stop")? {
        None => vec![],
        Some(OneOrMany::One(stop)) => vec![stop],
        Some(OneOrMany::Many(stops)) => stops,
    };
    if stops.len() > MAX_STOPS || stops.iter().any(String::is_empty) {
        return Err(ApiError::invalid(
            "stop",
            format!("`stop` must have at most {MAX_STOPS} texts, none of them empty"),
        ));
    }
    Ok(stops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_does_not_say_of_its_sampler_is_that_of_the_generation_config() {
        let sampling = GenerationConfig {
            do_sample: true,
            temperature: 0.7,
            top_k: Some(20),
            top_p: Some(0.8),
            ..GenerationConfig::default()
        };
        let sample = |temperature, top_k, top_p| Some(Sampler::Sample { temperature, top_k, top_p });
        for (body, of_sampling, of_greedy) in [
            ("{}", None, None),
            (r#"{"temperature": 0.5}"#, sample(0.5, Some(20), Some(0.8)), sample(0.5, None, None)),
            (r#"{"top_p": 0.9}"#, sample(0.7, Some(20), Some(0.9)), sample(1.0, None, Some(0.9))),
            (r#"{"top_k": 5}"#, sample(0.7, Some(5), Some(0.8)), sample(1.0, Some(5), None)),
            (r#"{"top_k": 0}"#, sample(0.7, None, Some(0.8)), None),
            (r#"{"top_k": 0, "top_p": 1}"#, sample(0.7, None, None), sample(1.0, None, None)),
            (r#"{"temperature": 0}"#, Some(Sampler::Greedy), Some(Sampler::Greedy)),
        ] {
            for (generation, expected) in [(&sampling, of_sampling), (&GenerationConfig::default(), of_greedy)] {
                let mut fields = Fields::new(body.as_bytes()).expect("an object");
                assert_eq!(sampler(&mut fields, generation).expect("valid"), expected, "{body}");
            }
        }
    }
}
