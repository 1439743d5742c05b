//! JSON as Go encodes etcd's messages: fields in the order of the message, 64-bit numbers as numbers, bytes in base64, zero
//! values left out where the message says so. This is not the gateway's JSON, which is protobuf's own mapping.

use std::fmt::{self, Display, Formatter};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// An object that keeps the order in which its fields were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(&'static str, Json)>);

impl Object {
    /// An object without fields.
    pub fn new() -> Object {
        Object::default()
    }

    /// Adds a field.
    pub fn with(mut self, name: &'static str, value: impl Into<Json>) -> Object {
        self.0.push((name, value.into()));
        self
    }

    /// Adds a field unless its value is zero, empty or absent.
    pub fn with_set(self, name: &'static str, value: impl Into<Json>) -> Object {
        let value = value.into();
        if value.is_zero() { self } else { self.with(name, value) }
    }
}

impl Json {
    /// A list of values, one for each item.
    pub fn list<T>(items: impl IntoIterator<Item = T>, value: impl Fn(T) -> Object) -> Json {
        Json::List(items.into_iter().map(|item| Json::Object(value(item))).collect())
    }

    /// The same with the ids of clusters and members in hexadecimal.
    pub fn with_hex_ids(self) -> Json {
        const IDS: [&str; 3] = ["cluster_id", "member_id", "ID"];
        match self {
            Json::List(items) => Json::List(items.into_iter().map(Json::with_hex_ids).collect()),
            Json::Object(Object(fields)) => {
                let field = |(name, value)| match value {
                    Json::Unsigned(id) if IDS.contains(&name) => (name, Json::Text(format!("{id:x}"))),
                    value => (name, value.with_hex_ids()),
                };
                Json::Object(Object(fields.into_iter().map(field).collect()))
            }
            other => other,
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            Json::Null | Json::Bool(false) | Json::Signed(0) | Json::Unsigned(0) => true,
            Json::Text(text) => text.is_empty(),
            Json::List(list) => list.is_empty(),
            Json::Bool(true) | Json::Signed(_) | Json::Unsigned(_) | Json::Object(_) => false,
        }
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Signed(value) => write!(f, "{value}"),
            Json::Unsigned(value) => write!(f, "{value}"),
            Json::Text(text) => write_text(text, f),
            Json::List(items) => {
                f.write_str("[")?;
                for (position, item) in items.iter().enumerate() {
                    f.write_str(if position == 0 { "" } else { "," })?;
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Json::Object(Object(fields)) => {
                f.write_str("{")?;
                for (position, (name, value)) in fields.iter().enumerate() {
                    f.write_str(if position == 0 { "" } else { "," })?;
                    write!(f, "\"{name}\":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Go escapes what could end a script element, too.
fn write_text(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(f, "\\u{:04x}", u32::from(c))?,
            _ => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<i32> for Json {
    fn from(value: i32) -> Json {
        Json::Signed(value.into())
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Json {
        Json::Signed(value)
    }
}

impl From<u32> for Json {
    fn from(value: u32) -> Json {
        Json::Unsigned(value.into())
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Json {
        Json::Unsigned(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Json {
        Json::Text(value.into())
    }
}

impl From<&Bytes> for Json {
    fn from(value: &Bytes) -> Json {
        Json::Text(BASE64_STANDARD.encode(value))
    }
}

impl From<&[String]> for Json {
    fn from(value: &[String]) -> Json {
        Json::List(value.iter().map(|text| Json::from(text.as_str())).collect())
    }
}

impl From<Object> for Json {
    fn from(value: Object) -> Json {
        Json::Object(value)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_zeros_and_escapes() {
        let inner = Object::new().with_set("zero", 0i64).with_set("text", "a<b>\"\u{1}\n").with("kept", 0u32);
        let object = Object::new()
            .with_set("none", None::<Object>)
            .with("b", inner)
            .with("a", &Bytes::from_static(b"\xff\xfe"))
            .with_set("big", u64::MAX)
            .with("list", Json::List(vec![Json::Null, true.into(), (-1i64).into()]));
        assert_eq!(
            Json::from(object).to_string(),
            r#"{"b":{"text":"a\u003cb\u003e\"\u0001\n","kept":0},"a":"//4=","big":18446744073709551615,"list":[null,true,-1]}"#
        );
    }
}
