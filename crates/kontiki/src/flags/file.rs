//! The settings file of `--config-file`, in YAML or JSON: a map whose keys are flag names, and a few maps of their own.
//!
//! ```text
//! name: infra1
//! listen-client-urls: https://10.0.1.11:2379
//! grpc-keepalive-interval: 7200000000000        # or 2h
//! client-transport-security:
//!   cert-file: /etc/kontiki/server.crt
//!   key-file: /etc/kontiki/server.key
//! ```

use std::time::Duration;

use serde_json::Value as Json;

use super::value::Value;
use super::{Flag, FlagError, Kind, find, unknown};

/// The maps inside the file, and what their keys are called on the command line.
const MAPS: &[(&str, &[(&str, &str)])] = &[
    ("client-transport-security", CLIENT_SECURITY),
    ("peer-transport-security", PEER_SECURITY),
    ("socket-options", &[("reuse-port", "socket-reuse-port"), ("reuse-address", "socket-reuse-address")]),
    ("discovery-config", &[("discovery-token", "discovery-token"), ("discovery-endpoints", "discovery-endpoints")]),
];

const CLIENT_SECURITY: &[(&str, &str)] = &[
    ("cert-file", "cert-file"),
    ("key-file", "key-file"),
    ("client-cert-file", "client-cert-file"),
    ("client-key-file", "client-key-file"),
    ("client-cert-auth", "client-cert-auth"),
    ("trusted-ca-file", "trusted-ca-file"),
    ("crl-file", "client-crl-file"),
    ("auto-tls", "auto-tls"),
    ("allowed-hostname", "client-cert-allowed-hostname"),
];

const PEER_SECURITY: &[(&str, &str)] = &[
    ("cert-file", "peer-cert-file"),
    ("key-file", "peer-key-file"),
    ("client-cert-file", "peer-client-cert-file"),
    ("client-key-file", "peer-client-key-file"),
    ("client-cert-auth", "peer-client-cert-auth"),
    ("trusted-ca-file", "peer-trusted-ca-file"),
    ("crl-file", "peer-crl-file"),
    ("auto-tls", "peer-auto-tls"),
    ("allowed-cn", "peer-cert-allowed-cn"),
    ("allowed-hostname", "peer-cert-allowed-hostname"),
    ("skip-client-san-verification", "peer-skip-client-san-verification"),
];

/// Reads a settings file: every entry as its flag and value.
pub fn read(path: &str) -> Result<Vec<(&'static Flag, Value)>, FlagError> {
    let fail = |problem: String| FlagError::File { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    parse(path, &text)
}

/// The entries of a file's text. A file of comments alone has none.
fn parse(path: &str, text: &str) -> Result<Vec<(&'static Flag, Value)>, FlagError> {
    let fail = |problem: String| FlagError::File { path: path.to_owned(), problem };
    // JSON is YAML, too.
    let document: Json = serde_saphyr::from_str(text).map_err(|error| fail(format!("is not YAML or JSON: {error}")))?;
    let entries = match document {
        Json::Object(entries) => entries,
        Json::Null => return Ok(Vec::new()),
        _ => return Err(fail("must be a map whose keys are flag names, as in \"name: infra1\"".to_owned())),
    };
    let mut found = Vec::new();
    for (key, value) in entries {
        match MAPS.iter().find(|(name, _)| *name == key) {
            None => {
                let flag = find(&key).ok_or_else(|| unknown_key(path, &key))?;
                found.extend(entry(path, &key, flag, &value)?);
            }
            Some((name, keys)) => map(path, name, keys, &value, &mut found)?,
        }
    }
    Ok(found)
}

/// Reads one of the maps inside the file.
fn map(
    path: &str,
    name: &str,
    keys: &[(&str, &str)],
    value: &Json,
    found: &mut Vec<(&'static Flag, Value)>,
) -> Result<(), FlagError> {
    let fail = |problem: String| FlagError::File { path: path.to_owned(), problem };
    let entries = match value {
        Json::Object(entries) => entries,
        Json::Null => return Ok(()), // the name alone, as in a file whose entries are commented out
        _ => return Err(fail(format!("{name} must be a map"))),
    };
    for (key, value) in entries {
        let Some((_, flag)) = keys.iter().find(|(known, _)| known == key) else {
            let known: Vec<&str> = keys.iter().map(|(known, _)| *known).collect();
            return Err(fail(format!("{name} has an unknown key {key:?}; known are {}", known.join(", "))));
        };
        let flag = find(flag).expect("the maps name flags of the table");
        found.extend(entry(path, &format!("{name}: {key}"), flag, value)?);
    }
    Ok(())
}

/// An entry without a value is one that is not there.
fn entry(
    path: &str,
    key: &str,
    flag: &'static Flag,
    value: &Json,
) -> Result<Option<(&'static Flag, Value)>, FlagError> {
    if value.is_null() {
        return Ok(None);
    }
    let read = value_of(flag, value).map_err(|expected| FlagError::Value {
        origin: format!("{path}: {key}"),
        text: value.to_string(),
        expected,
    })?;
    Ok(Some((flag, read)))
}

fn unknown_key(path: &str, key: &str) -> FlagError {
    let problem = match unknown(key) {
        FlagError::Unknown { nearest: Some(nearest), .. } => {
            format!("unknown key {key:?} (did you mean {nearest:?}?)")
        }
        _ => format!("unknown key {key:?}; keys are the names of flags without dashes"),
    };
    FlagError::File { path: path.to_owned(), problem }
}

/// Numbers of a duration flag are nanoseconds, as in etcd's file.
fn value_of(flag: &Flag, json: &Json) -> Result<Value, String> {
    let kind = flag.kind;
    match (kind, json) {
        (Kind::Duration, Json::Number(number)) => match number.as_u64() {
            Some(nanoseconds) => Ok(Value::Duration(Duration::from_nanos(nanoseconds))),
            None => Err("expected a number of nanoseconds that is not negative".to_owned()),
        },
        (Kind::Bool | Kind::Duration | Kind::Signed | Kind::Unsigned, Json::String(text)) if text.is_empty() => {
            Value::read(kind, flag.default)
        }
        (_, Json::String(text)) => Value::read(kind, text),
        (_, Json::Bool(on)) => Value::read(kind, if *on { "true" } else { "false" }),
        (_, Json::Number(number)) => Value::read(kind, &number.to_string()),
        (Kind::List, Json::Array(parts)) => {
            let parts: Option<Vec<String>> = parts.iter().map(|part| part.as_str().map(str::to_owned)).collect();
            parts.map(Value::List).ok_or_else(|| "expected strings".to_owned())
        }
        (_, Json::Array(_) | Json::Object(_) | Json::Null) => Err("expected a single value".to_owned()),
    }
}

#[cfg(test)]
mod tests;
