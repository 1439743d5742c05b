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
            Kind::Text | Kind::Anything => Ok(Value::Text(text.to_owned())),
            Kind::Bool => bool_of(text).map(Value::Bool),
            Kind::Duration => duration_of(text).map(Value::Duration),
            Kind::Unsigned => match integer_of(text).filter(|number| *number >= 0) {
                Some(number) => Ok(Value::Number(number)),
                None => Err("expected a whole number that is not negative".to_owned()),
            },
            Kind::Signed => integer_of(text).map(Value::Number).ok_or_else(|| "expected a whole number".to_owned()),
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

/// A number as Go's flag package reads it: with a prefix for its base, and underscores between digits.
fn integer_of(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let digits = digits.replace('_', "");
    if !digits.starts_with(|digit: char| digit.is_digit(base)) {
        return None; // a second sign
    }
    let number = i128::from_str_radix(&digits, base).ok()?;
    i64::try_from(if negative { -number } else { number }).ok()
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
        for (text, number) in [("-1", -1), ("0x10", 16), ("1_000", 1000), ("010", 8), ("0", 0), ("+5", 5)] {
            assert_eq!(Value::read(Kind::Signed, text), Ok(Value::Number(number)), "{text}");
        }
        for text in ["", "-", "--1", "0x", "9223372036854775808", "1e3", "0x-1"] {
            assert!(Value::read(Kind::Signed, text).is_err(), "{text}");
        }
        assert_eq!(Value::read(Kind::List, "a, b,,c").unwrap(), Value::List(vec!["a".into(), "b".into(), "c".into()]));
    }
}
