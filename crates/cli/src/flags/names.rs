//! The options that messages of the library name, as the flags of a program.

use clap::Command;

use super::remote::FLAGS;

/// The configurations whose options a file for `--settings` has, and their place in its JSON.
const IN_CONFIG: [(&str, &str); 5] = [
    ("DistillationConfig", ""),
    ("TrainerConfig", "trainer."),
    ("RolloutConfig", "rollout."),
    ("ConstraintConfig", "rollout.constraint."),
    ("CalibrationConfig", "calibration."),
];

/// A message in which the flags of a program stand for the options of the library. Messages name options as code:
/// `` `TrainerConfig::workers` `` becomes `--workers`, and `` `DatasetOptions::with_source("en")` `` becomes
/// `--source-field en`. The id of a flag is the name of its option.
pub(crate) fn with_flags(message: &str, program: &Command) -> String {
    let mut text = String::new();
    let mut rest = message;
    while let Some((before, code, after)) = first_code(rest) {
        text += before;
        text += &flags_of(code, program).unwrap_or_else(|| format!("`{code}`"));
        rest = after;
    }
    text + rest
}

/// What is between the first two backticks, with the text before and after it.
fn first_code(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, after) = rest.split_once('`')?;
    Some((before, code, after))
}

/// The flags of one piece of code. None if it names something else.
fn flags_of(code: &str, program: &Command) -> Option<String> {
    let (kind, mut rest) = code.split_once("::")?;
    rest = rest.strip_prefix("default().").unwrap_or(rest);
    let mut flags = Vec::new();
    while !rest.is_empty() {
        let (call, value, after) = match rest.split_once('(') {
            Some((call, arguments)) => {
                let mut values = serde_json::Deserializer::from_str(arguments).into_iter::<String>();
                let value = values.next()?.ok()?;
                (call, Some(value), arguments[values.byte_offset()..].strip_prefix(')')?)
            }
            None => (rest, None, ""),
        };
        flags.push(flag(kind, call.strip_prefix("with_").unwrap_or(call), program)?);
        flags.extend(value.map(argument));
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    Some(flags.join(" "))
}

/// The flag for an option, or else its place in the file for `--settings`.
fn flag(kind: &str, option: &str, program: &Command) -> Option<String> {
    let long = |id: &str| program.get_arguments().find(|arg| arg.get_id() == id)?.get_long();
    if kind == "RemoteConfig" {
        let (_, name) = FLAGS.into_iter().find(|(name, _)| *name == option)?;
        return Some(format!("--{name}"));
    }
    if let Some(long) = long(option) {
        return Some(format!("--{long}"));
    }
    let (_, place) = IN_CONFIG.into_iter().find(|(config, _)| *config == kind)?;
    long("settings").map(|settings| format!("{place}{option} of --{settings}"))
}

/// A value as one argument of a command.
fn argument(value: String) -> String {
    let plain = value.chars().all(|c| c.is_alphanumeric() || "._-".contains(c));
    if plain { value } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn options_become_flags_and_other_code_stays() {
        let flag = |id: &'static str, long: &'static str| Arg::new(id).long(long);
        let program = Command::new("program").args([
            flag("source", "source-field"),
            flag("target", "target-field"),
            flag("workers", "workers"),
            flag("settings", "settings"),
        ]);
        for (message, expected) in [
            ("(`TrainerConfig::workers`: 3 there)", "(--workers: 3 there)"),
            ("give `DatasetOptions::with_target` too", "give --target-field too"),
            (
                "`DatasetOptions::default().with_source(\"a.b\").with_target(\"una parola\")`",
                "--source-field a.b --target-field \"una parola\"",
            ),
            ("`RolloutConfig::uses` was 3", "rollout.uses of --settings was 3"),
            ("missing field `source`; see `Other::thing` and `", "missing field `source`; see `Other::thing` and `"),
        ] {
            assert_eq!(with_flags(message, &program), expected);
        }
    }
}
