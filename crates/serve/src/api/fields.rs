//! The fields of a request. What this server does not do is refused by name.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::error::ApiError;

/// The fields of a request that have not been read.
pub(crate) struct Fields(Map<String, Value>);

/// Fields that change no text.
const WITHOUT_EFFECT: [&str; 5] = ["metadata", "prompt_cache_key", "safety_identifier", "service_tier", "user"];

impl Fields {
    /// # Errors
    /// If the body of a request is not a JSON object.
    pub(crate) fn new(body: &[u8]) -> Result<Self, ApiError> {
        let fields = serde_json::from_slice(body).map(Self);
        fields.map_err(|error| {
            ApiError::new(axum::http::StatusCode::BAD_REQUEST, format!("the body is not a JSON object: {error}"))
        })
    }

    /// A field. None if it is missing or null.
    ///
    /// # Errors
    /// If its value has another type.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|error| ApiError::invalid(name, format!("`{name}` is invalid: {error}"))),
        }
    }

    /// Ends the reading of a request.
    ///
    /// # Errors
    /// The name of a field that this server does not know, or that asks for something that it does not do.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        for (name, value) in self.0 {
            if value.is_null() || WITHOUT_EFFECT.contains(&name.as_str()) {
                continue;
            }
            match neutral(&name) {
                Some(values) if values.iter().any(|neutral| is_equal(neutral, &value)) => {}
                Some(_) => {
                    let message = format!("this server does not support `{name}` with the value {value}; leave it out");
                    return Err(ApiError::unsupported(&name, message));
                }
                None => {
                    let message = format!("this server does not know the parameter `{name}`; leave it out");
                    return Err(ApiError::unsupported(&name, message));
                }
            }
        }
        Ok(())
    }
}

/// The values of an unsupported field that change nothing. None if the field is unknown.
fn neutral(name: &str) -> Option<Vec<Value>> {
    Some(match name {
        "best_of" | "n" => vec![json!(1)],
        "frequency_penalty" | "presence_penalty" => vec![json!(0)],
        "logit_bias" => vec![json!({})],
        "suffix" => vec![json!("")],
        "tools" | "functions" => vec![json!([])],
        "tool_choice" | "function_call" => vec![json!("none"), json!("auto")],
        "parallel_tool_calls" => vec![json!(true), json!(false)],
        "response_format" => vec![json!({ "type": "text" })],
        "modalities" => vec![json!(["text"])],
        "store" => vec![json!(false)],
        "audio" | "prediction" | "reasoning_effort" | "verbosity" | "web_search_options" => vec![],
        _ => return None,
    })
}

/// Whether two values are equal, whatever the format of their numbers.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(body: &str) -> Result<(), String> {
        Fields::new(body.as_bytes()).expect("an object").finish().map_err(|error| error.body().to_string())
    }

    #[test]
    fn fields_that_ask_for_nothing_are_accepted_and_others_refused_by_name() {
        let nothing = r#"{"n": 1, "best_of": null, "presence_penalty": 0.0, "tools": [], "user": "me", "logit_bias": {},
            "response_format": {"type": "text"}}"#;
        assert_eq!(finish(nothing), Ok(()));
        for (body, name) in [
            (r#"{"n": 2}"#, "`n`"),
            (r#"{"frequency_penalty": 0.5}"#, "`frequency_penalty`"),
            (r#"{"tools": [{"type": "function"}]}"#, "`tools`"),
            (r#"{"response_format": {"type": "json_object"}}"#, "`response_format`"),
            (r#"{"bugdet": "20%"}"#, "`bugdet`"),
        ] {
            let error = finish(body).expect_err(name);
            assert!(error.contains(name) && error.contains("unsupported_parameter"), "{error}");
        }
    }

    #[test]
    fn a_field_of_another_type_is_named() {
        let mut fields = Fields::new(br#"{"seed": "seven", "top_p": null}"#).expect("an object");
        assert!(matches!(fields.take::<f64>("top_p"), Ok(None)));
        let error = fields.take::<u64>("seed").expect_err("not a number").body();
        assert_eq!(error["error"]["param"], "seed");
        assert!(Fields::new(b"[1]").is_err());
    }
}
