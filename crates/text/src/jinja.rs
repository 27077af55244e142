//! Jinja as Hugging Face's library sets it up for chat templates.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value, escape_formatter};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// An environment with the settings, functions and filters that chat templates expect.
pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(write_value);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", to_json);
    environment
}

/// A template's `raise_exception`.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Refusal(message)))
}

/// The message of the template's `raise_exception`, if that caused this error.
pub(crate) fn refusal(error: &Error) -> Option<String> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(Refusal(message)) = error.downcast_ref() {
            return Some(message.clone());
        }
        cause = error.source();
    }
    None
}

/// Writes a value as Python does: `True`, `False` and `None` have capital letters.
fn write_value(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let word = match value.kind() {
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        ValueKind::None => "None",
        _ => return escape_formatter(out, state, value),
    };
    out.write_str(word).map_err(Error::from)
}

/// Turns `{% generation %}` and `{% endgeneration %}` into tags that Jinja knows and that write nothing.
///
/// They mark the tokens of the assistant, and are an extension of Hugging Face's library.
pub(crate) fn without_generation_tags(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        result.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        let word = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+']).trim();
        match word {
            "generation" => result.push_str(&tag.replace(word, "if true")),
            "endgeneration" => result.push_str(&tag.replace(word, "endif")),
            _ => result.push_str(tag),
        }
        rest = after;
    }
    result + rest
}

/// JSON as Python's `json.dumps` writes it, without the HTML escapes of Jinja's own filter.
fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // These two are what this filter does anyway.
    for option in ["ensure_ascii", "sort_keys"] {
        if options.get::<Option<bool>>(option)? == Some(true) {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson does not support {option}=true")));
        }
    }
    options.assert_all_used()?;
    let mut json = Vec::new();
    let written = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, PythonFormatter)),
        Some(width) => {
            let spaces = " ".repeat(width);
            let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter))
        }
    };
    written.map_err(|error| Error::new(ErrorKind::BadSerialization, "not JSON").with_source(error))?;
    Ok(Value::from(String::from_utf8_lossy(&json)))
}

/// JSON in one line with a space after each comma and colon.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

fn strftime_now(format: String) -> Result<String, Error> {
    // A clock before 1970 gives 1970.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    strftime(&format, seconds)
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A time in UTC, seconds since 1970, in the format of Python's `strftime`.
fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let weekday = DAYS[((days + 4) % 7) as usize];
    let month_name = MONTHS[month as usize - 1];
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut directive = chars.next();
        let padded = directive != Some('-');
        if !padded {
            directive = chars.next();
        }
        let number = |value: u64| if padded { format!("{value:02}") } else { value.to_string() };
        text += &match directive {
            Some('Y') => year.to_string(),
            Some('y') => number(year % 100),
            Some('m') => number(month),
            Some('d') => number(day),
            Some('H') => number(hour),
            Some('I') => number((hour + 11) % 12 + 1),
            Some('M') => number(minute),
            Some('S') => number(second),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('%') => "%".to_owned(),
            _ => {
                let message = format!("strftime_now does not support the format {format:?}");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        };
    }
    Ok(text)
}

/// The year, month and day of a number of days since 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use minijinja::context;

    use super::*;

    fn render(source: &str) -> String {
        let source = without_generation_tags(source);
        environment().render_str(&source, context! { items => vec![1, 2], name => "a\"è<" }).unwrap()
    }

    #[test]
    fn templates_are_rendered_as_python_does_it() {
        for (source, expected) in [
            ("{{ true }} {{ none }} {{ missing }}.", "True None ."),
            ("{{ name | tojson }}", "\"a\\\"è<\""),
            ("{{ {'b': [1, 2], 'a': none} | tojson }}", "{\"b\": [1, 2], \"a\": null}"),
            ("{{ {'b': [1]} | tojson(indent=2) }}", "{\n  \"b\": [\n    1\n  ]\n}"),
            ("{{ ' a '.strip() }}{{ 'a,b'.split(',')[-1] }}", "ab"),
            (
                "{% for i in items[::-1] %}\n  {% if loop.first %}{% continue %}{% endif %}\n{{ i }}\n{% endfor %}",
                "1\n",
            ),
            ("a{%- generation %}\n b\n{%- endgeneration %}\nc", "a bc"),
            ("{% set ns = namespace(n=1) %}{% for i in items %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "4"),
            ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m('y') }}\n", "[y]"),
        ] {
            assert_eq!(render(source), expected, "{source}");
        }
    }

    #[test]
    fn dates_are_those_of_python() {
        let at = |seconds, format| strftime(format, seconds).unwrap();
        assert_eq!(at(0, "%A %d %B %Y %H:%M:%S"), "Thursday 01 January 1970 00:00:00");
        assert_eq!(at(1_709_210_096, "%a %-d %b %y, %I:%M %p, %m, 100%%"), "Thu 29 Feb 24, 12:34 PM, 02, 100%");
        assert_eq!(at(4_107_542_399, "%d %b %Y %H:%M:%S"), "28 Feb 2100 23:59:59");
        assert_eq!(at(4_107_542_400, "%d %b %Y"), "01 Mar 2100");
        assert!(strftime("%Q", 0).unwrap_err().to_string().contains("%Q"));
    }

    #[test]
    fn a_refusal_keeps_its_message() {
        let error = environment().render_str("{{ raise_exception('no system message') }}", ()).unwrap_err();
        assert_eq!(refusal(&error).as_deref(), Some("no system message"));
        let error = environment().render_str("{{ 1 + 'a' }}", ()).unwrap_err();
        assert_eq!(refusal(&error), None);
    }
}
