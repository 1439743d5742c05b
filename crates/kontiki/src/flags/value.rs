//! Values of flags: how each kind is read from text.

use std::time::Duration;

use super::Kind;

/// A flag's value, settled from text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A switch.
    Bool(bool),
    /// A length of time.
    Duration(Duration),
    /// A whole number.
    Number(i64),
    /// Strings that were separated by commas.
    List(Vec<String>),
}

impl Value {
    /// Reads a value of this kind. The error completes "…: " with what was expected.
    pub fn read(kind: Kind, text: &str) -> Result<Value, String> {
        match kind {
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Bool => bool_of(text).map(Value::Bool),
            Kind::Duration => duration_of(text).map(Value::Duration),
            Kind::Unsigned => match text.trim().parse::<u64>().ok().and_then(|number| i64::try_from(number).ok()) {
                Some(number) => Ok(Value::Number(number)),
                None => Err("expected a whole number that is not negative".to_owned()),
            },
            Kind::Signed => match text.trim().parse::<i64>() {
                Ok(number) => Ok(Value::Number(number)),
                Err(_) => Err("expected a whole number".to_owned()),
            },
            Kind::List => Ok(Value::List(
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            )),
        }
    }
}

/// The spellings of true and false that Go's flag package takes.
fn bool_of(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Reads a duration as Go writes them: `1h30m`, `100ms`, `1.5s`, `0`.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 100ms, 5s or 1h30m".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(expected());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(expected()),
        };
        let number: f64 = number.parse().map_err(|_| expected())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| expected())?;
        total = total.checked_add(part).ok_or_else(expected)?;
        rest = after;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let cases =
            [("0", 0), ("100ms", 100), ("5s", 5_000), ("1h30m", 5_400_000), ("1.5s", 1_500), ("2m0.5s", 120_500)];
        for (text, milliseconds) in cases {
            assert_eq!(duration_of(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 s", "5x", "1.2.3s", "99999999999999999999h"] {
            assert!(duration_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn kinds_refuse_what_they_are_not() {
        assert!(Value::read(Kind::Bool, "yes").is_err());
        assert!(Value::read(Kind::Unsigned, "-1").is_err());
        assert_eq!(Value::read(Kind::Signed, "-1").unwrap(), Value::Number(-1));
        assert_eq!(Value::read(Kind::List, "a, b,,c").unwrap(), Value::List(vec!["a".into(), "b".into(), "c".into()]));
    }
}
