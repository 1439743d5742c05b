//! Go's spelling of flags: switches that take an optional value (`--prefix`, `--prefix=false`) and durations (`1m30s`).

use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

/// Lets every switch of the command and of its subcommands take `=true` or `=false` too.
pub fn teach_switches(command: Command) -> Command {
    command.mut_args(teach_switch).mut_subcommands(teach_switches)
}

fn teach_switch(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_parser(BoolishValueParser::new())
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_name("BOOL")
}

/// Nanoseconds per unit, in the spelling of Go.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads a duration as Go writes it: numbers with units, such as `5s`, `1.5h` or `1m30s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write a number with a unit, for example 5s, 500ms or 1m30s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanoseconds = 0.0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        nanoseconds += number * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(nanoseconds / 1e9).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations() {
        let millis = |text: &str| duration(text).unwrap().as_millis();
        assert_eq!(millis("5s"), 5_000);
        assert_eq!(millis("1m30s"), 90_000);
        assert_eq!(millis("1.5h"), 5_400_000);
        assert_eq!(millis("250ms"), 250);
        assert_eq!(millis("0"), 0);
        for wrong in ["", "5", "s", "5 s", "-1s", "1.2.3s", "1d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn switches() {
        let command = teach_switches(Command::new("x").arg(Arg::new("on").long("on").action(ArgAction::SetTrue)));
        let value =
            |words: &[&str]| *command.clone().try_get_matches_from(words).unwrap().get_one::<bool>("on").unwrap();
        assert!(!value(&["x"]));
        assert!(value(&["x", "--on"]));
        assert!(value(&["x", "--on=true"]));
        assert!(!value(&["x", "--on=false"]));
    }
}
