//! The settings file of `--config-file`: a map whose keys are flag names. This version reads its JSON form only.

use serde_json::Value as Json;

use super::value::Value;
use super::{Flag, FlagError, Kind, find, unknown};

/// The maps in which etcd's file keeps what the command line says with TLS flags.
const TLS_MAPS: [&str; 2] = ["client-transport-security", "peer-transport-security"];

/// Reads a settings file: every entry as its flag and value.
pub fn read(path: &str) -> Result<Vec<(&'static Flag, Value)>, FlagError> {
    let fail = |problem: String| FlagError::File { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let json: Json = serde_json::from_str(&text).map_err(|error| {
        fail(format!(
            "is not JSON ({error}); YAML is not in this version: write the same keys as a JSON object, or use flags"
        ))
    })?;
    let Json::Object(entries) = json else {
        return Err(fail("must be a JSON object whose keys are flag names".to_owned()));
    };
    let mut found = Vec::new();
    for (key, json) in entries {
        if TLS_MAPS.contains(&key.as_str()) {
            if asks_for_tls(&json) {
                return Err(FlagError::Tls(format!("{path}: {key}")));
            }
            continue;
        }
        let flag = find(&key).ok_or_else(|| match unknown(&key) {
            FlagError::Unknown { nearest: Some(nearest), .. } => {
                fail(format!("unknown key {key:?} (did you mean {nearest:?}?)"))
            }
            _ => fail(format!("unknown key {key:?}; keys are the names of flags without dashes")),
        })?;
        let value = value_of(flag.kind, &json).map_err(|expected| FlagError::Value {
            origin: format!("{path}: {key}"),
            text: json.to_string(),
            expected,
        })?;
        found.push((flag, value));
    }
    Ok(found)
}

/// Whether a TLS map sets anything: an empty or all-off one is how the sample file says "no TLS".
fn asks_for_tls(map: &Json) -> bool {
    match map {
        Json::Null | Json::Bool(false) => false,
        Json::String(text) => !text.is_empty(),
        Json::Array(list) => list.iter().any(asks_for_tls),
        Json::Object(entries) => entries.values().any(asks_for_tls),
        Json::Bool(true) | Json::Number(_) => true,
    }
}

/// Numbers of a duration flag are nanoseconds, as in etcd's file.
fn value_of(kind: Kind, json: &Json) -> Result<Value, String> {
    match (kind, json) {
        (Kind::Duration, Json::Number(number)) => match number.as_u64() {
            Some(nanoseconds) => Ok(Value::Duration(std::time::Duration::from_nanos(nanoseconds))),
            None => Err("expected a number of nanoseconds that is not negative".to_owned()),
        },
        (_, Json::String(text)) => Value::read(kind, text),
        (_, Json::Bool(on)) => Value::read(kind, if *on { "true" } else { "false" }),
        (_, Json::Number(number)) => Value::read(kind, &number.to_string()),
        (Kind::List, Json::Array(parts)) => {
            let parts: Option<Vec<&str>> = parts.iter().map(Json::as_str).collect();
            parts
                .map(|parts| Value::List(parts.into_iter().map(str::to_owned).collect()))
                .ok_or("expected strings".into())
        }
        (_, Json::Null) => Value::read(kind, ""),
        (_, Json::Array(_) | Json::Object(_)) => Err("expected a single value".to_owned()),
    }
}
