//! The settings of a distillation: some fields replace those of a whole configuration.

use serde_json::Value;

use super::{SettingsError, nearest};

/// Replaces fields of `base` by those of `fields`, also inside of objects. `origin` is where the fields come from.
///
/// # Errors
/// [`SettingsError`] if a field does not exist in `base`, or has another type there.
pub(crate) fn overlay(base: &mut Value, fields: &Value, origin: &str) -> Result<(), SettingsError> {
    overlay_at(base, fields, origin, "")
}

fn overlay_at(base: &mut Value, fields: &Value, origin: &str, place: &str) -> Result<(), SettingsError> {
    if let (Value::Object(base), Value::Object(fields)) = (&mut *base, fields) {
        for (name, value) in fields {
            let key = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            let Some(field) = base.get_mut(name) else {
                let names = base.keys().cloned();
                let nearest = nearest(name, names).unwrap_or_default();
                let nearest = if place.is_empty() { nearest } else { format!("{place}.{nearest}") };
                return Err(SettingsError::UnknownKey { origin: origin.into(), key, nearest });
            };
            overlay_at(field, value, origin, &key)?;
        }
        return Ok(());
    }
    // A field without a value takes any, and every field that can be without one is found by its error.
    if !base.is_null() && !fields.is_null() && kind(base) != kind(fields) {
        let (origin, key, found) = (origin.into(), place.into(), fields.to_string());
        return Err(SettingsError::Value { origin, key, found, expected: kind(base) });
    }
    *base = fields.clone();
    Ok(())
}

/// The argument of `--set` as an object: `trainer.steps=5` is `{"trainer": {"steps": 5}}`.
///
/// # Errors
/// [`SettingsError::Assignment`] if it is not KEY=VALUE.
pub(crate) fn assignment(text: &str) -> Result<Value, SettingsError> {
    let invalid = || SettingsError::Assignment { text: text.to_owned() };
    let (key, value) = text.split_once('=').ok_or_else(invalid)?;
    let value = value.trim();
    let json = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    let mut object = json;
    for name in key.trim().rsplit('.') {
        if name.is_empty() {
            return Err(invalid());
        }
        object = Value::Object([(name.to_owned(), object)].into_iter().collect());
    }
    Ok(object)
}

/// The type of a value, for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_replace_those_of_the_same_place() {
        let mut base = json!({"trainer": {"steps": 1, "seed": 7}, "lora": null});
        overlay(&mut base, &assignment("trainer.steps=5").expect("an assignment"), "--set").expect("it is known");
        overlay(&mut base, &json!({"lora": {"rank": 4}}), "a.toml").expect("it has no value yet");
        assert_eq!(base, json!({"trainer": {"steps": 5, "seed": 7}, "lora": {"rank": 4}}));
    }

    #[test]
    fn unknown_fields_and_other_types_are_errors_that_name_the_place() {
        let mut base = json!({"trainer": {"steps": 1, "learning_rate": 0.1}});
        let message = |base: &mut Value, text: &str| {
            overlay(base, &assignment(text).expect("an assignment"), "--set").expect_err("it is refused").to_string()
        };
        let unknown = message(&mut base, "trainer.learnrate=1");
        assert!(unknown.contains("`trainer.learnrate`: did you mean `trainer.learning_rate`?"), "{unknown}");
        let unknown = message(&mut base, "triner.steps=1");
        assert!(unknown.contains("did you mean `trainer`?"), "{unknown}");
        let other = message(&mut base, "trainer.steps=many");
        assert!(other.contains("trainer.steps is \"many\", and must be a number"), "{other}");
        let other = message(&mut base, "trainer=5");
        assert!(other.contains("must be a table"), "{other}");
        assert!(assignment("steps").is_err() && assignment(".steps=1").is_err());
    }
}
