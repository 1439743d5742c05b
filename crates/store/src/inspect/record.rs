//! What a dump consists of, before anyone decides how it looks: a kind, and named values.

use bytes::Bytes;

/// One thing in a log or a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpRecord {
    /// What it is, in a word.
    pub kind: &'static str,
    /// What it says.
    pub fields: Vec<(&'static str, DumpValue)>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpValue {
    /// A number.
    Number(i64),
    /// A number that is never negative.
    Count(u64),
    /// An identity of a cluster or a member, which people read in hexadecimal.
    Id(u64),
    /// Words of this program.
    Text(String),
    /// A client's bytes.
    Bytes(Bytes),
    /// Parts.
    List(Vec<DumpRecord>),
    /// Identities.
    Ids(Vec<u64>),
}

impl DumpRecord {
    /// A record without fields.
    #[must_use]
    pub fn new(kind: &'static str) -> DumpRecord {
        DumpRecord { kind, fields: Vec::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<DumpValue>) -> DumpRecord {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds a field unless it is zero.
    #[must_use]
    pub fn with_set(self, name: &'static str, value: i64) -> DumpRecord {
        if value == 0 { self } else { self.with(name, value) }
    }

    /// Adds a field where there is a value.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Into<DumpValue>>) -> DumpRecord {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl From<i64> for DumpValue {
    fn from(number: i64) -> DumpValue {
        DumpValue::Number(number)
    }
}

impl From<u64> for DumpValue {
    fn from(number: u64) -> DumpValue {
        DumpValue::Count(number)
    }
}

impl From<String> for DumpValue {
    fn from(text: String) -> DumpValue {
        DumpValue::Text(text)
    }
}

impl From<&str> for DumpValue {
    fn from(text: &str) -> DumpValue {
        DumpValue::Text(text.to_owned())
    }
}

impl From<&Bytes> for DumpValue {
    fn from(bytes: &Bytes) -> DumpValue {
        DumpValue::Bytes(bytes.clone())
    }
}

impl From<Vec<DumpRecord>> for DumpValue {
    fn from(parts: Vec<DumpRecord>) -> DumpValue {
        DumpValue::List(parts)
    }
}
