//! Printing answers in the form that `-w` asks for, and the parts that many answers share.

use std::io::{ErrorKind, Write};

use bytes::Bytes;
use kontiki_api::kv::KeyValue;
use kontiki_api::rpc::ResponseHeader;

use super::failure::Failure;
use super::gotext;
use super::json::{Json, Object};
use super::table::Table;

/// The forms of output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    /// Few words for people.
    Simple,
    /// One `"Name" : value` per line.
    Fields,
    /// The whole message.
    Json,
    /// The message as it came over the wire.
    Protobuf,
    /// A box.
    Table,
}

impl Format {
    /// The form of that name.
    pub fn named(name: &str) -> Result<Format, Failure> {
        match name {
            "simple" => Ok(Format::Simple),
            "fields" => Ok(Format::Fields),
            "json" => Ok(Format::Json),
            "protobuf" => Ok(Format::Protobuf),
            "table" => Ok(Format::Table),
            _ => Err(Failure::feature(format!(
                "unsupported output format `{name}`; --write-out takes simple, fields, json, protobuf or table"
            ))),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Simple => "simple",
            Format::Fields => "fields",
            Format::Json => "json",
            Format::Protobuf => "protobuf",
            Format::Table => "table",
        }
    }
}

/// An answer that can be printed. Simple and JSON always exist.
pub trait Show {
    /// Whether the answer has the form with one field per line.
    const FIELDS: bool = true;
    /// Whether the answer has the form of a table.
    const TABLE: bool = false;
    /// Whether the answer is a single message of the wire.
    const PROTOBUF: bool = false;
    /// Whether `--hex` writes ids in JSON in hexadecimal.
    const HEX_IDS: bool = false;

    /// For people.
    fn simple(&self, text: &mut Text);

    /// The message in Go's JSON.
    fn json(&self) -> Json;

    /// The message's bytes on the wire.
    fn protobuf(&self) -> Vec<u8> {
        Vec::new()
    }

    /// One field per line.
    fn fields(&self, _lines: &mut Fields) {}

    /// A table.
    fn table(&self) -> Table {
        Table::new(&[], Vec::new())
    }
}

/// Prints answers of one kind in one form.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    pub format: Format,
    pub hex: bool,
    /// Leave keys out where pairs are printed simply.
    pub value_only: bool,
}

impl Printer {
    /// Refuses a form that the answer does not have.
    pub fn for_answer<T: Show>(format: Format, hex: bool) -> Result<Printer, Failure> {
        let exists = match format {
            Format::Simple | Format::Json => true,
            Format::Fields => T::FIELDS,
            Format::Protobuf => T::PROTOBUF,
            Format::Table => T::TABLE,
        };
        if !exists {
            return Err(Failure::feature(format!("{} not supported as output format", format.name())));
        }
        Ok(Printer { format, hex, value_only: false })
    }

    /// Prints to standard output.
    pub fn print(&self, answer: &impl Show) -> Result<(), Failure> {
        print(&self.render(answer))
    }

    /// The bytes that `print` prints.
    pub fn render<T: Show>(&self, answer: &T) -> Vec<u8> {
        match self.format {
            Format::Simple => {
                let mut text = Text { hex: self.hex, value_only: self.value_only, bytes: Vec::new() };
                answer.simple(&mut text);
                text.bytes
            }
            Format::Fields => {
                let mut lines = Fields::default();
                answer.fields(&mut lines);
                lines.0.into_bytes()
            }
            Format::Json if self.hex && T::HEX_IDS => format!("{}\n", answer.json().with_hex_ids()).into_bytes(),
            Format::Json => format!("{}\n", answer.json()).into_bytes(),
            Format::Protobuf => answer.protobuf(),
            Format::Table => answer.table().draw().into_bytes(),
        }
    }
}

/// Writes to standard output. A reader that went away is no failure: it has seen enough.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => outcome.map_err(|error| Failure::io(format!("cannot write to standard output: {error}"))),
    }
}

/// Simple output under construction: bytes, since keys and values need not be text.
pub struct Text {
    hex: bool,
    value_only: bool,
    bytes: Vec<u8>,
}

impl Text {
    /// A line of text.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.bytes.extend_from_slice(line.as_ref().as_bytes());
        self.bytes.push(b'\n');
    }

    /// Text that ends its lines itself.
    pub fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A key and its value on a line each.
    pub fn pair(&mut self, pair: &KeyValue) {
        if !self.value_only {
            self.value(&pair.key);
        }
        self.value(&pair.value);
    }

    fn value(&mut self, value: &[u8]) {
        if self.hex {
            self.line(gotext::hex(value));
        } else {
            self.bytes.extend_from_slice(value);
            self.bytes.push(b'\n');
        }
    }
}

/// Output with one field per line under construction.
#[derive(Default)]
pub struct Fields(String);

impl Fields {
    /// A value as it is.
    pub fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0 += &format!("\"{name}\" : {value}\n");
    }

    /// A quoted value.
    pub fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.put(name, gotext::quote(value.as_ref()));
    }

    /// An empty line, which ends a row of a list.
    pub fn gap(&mut self) {
        self.0.push('\n');
    }

    /// The header of an answer.
    pub fn header(&mut self, header: &Option<ResponseHeader>) {
        let header = header.unwrap_or_default();
        self.put("ClusterID", header.cluster_id);
        self.put("MemberID", header.member_id);
        self.put("Revision", header.revision);
        self.put("RaftTerm", header.raft_term);
    }

    /// A pair; `prefix` tells the earlier state of a key from the present one.
    pub fn pair(&mut self, prefix: &str, pair: &KeyValue) {
        self.text(&format!("{prefix}Key"), &pair.key);
        self.put(&format!("{prefix}CreateRevision"), pair.create_revision);
        self.put(&format!("{prefix}ModRevision"), pair.mod_revision);
        self.put(&format!("{prefix}Version"), pair.version);
        self.text(&format!("{prefix}Value"), &pair.value);
        self.put(&format!("{prefix}Lease"), pair.lease);
    }
}

/// A header in JSON.
pub fn header(header: &ResponseHeader) -> Object {
    Object::new()
        .with_set("cluster_id", header.cluster_id)
        .with_set("member_id", header.member_id)
        .with_set("revision", header.revision)
        .with_set("raft_term", header.raft_term)
}

/// An answer in JSON, with its header if it has one.
pub fn answer(response_header: &Option<ResponseHeader>) -> Object {
    Object::new().with_set("header", response_header.as_ref().map(header))
}

/// A pair in JSON.
pub fn pair(pair: &KeyValue) -> Object {
    Object::new()
        .with_set("key", &pair.key)
        .with_set("create_revision", pair.create_revision)
        .with_set("mod_revision", pair.mod_revision)
        .with_set("version", pair.version)
        .with_set("value", &pair.value)
        .with_set("lease", pair.lease)
}

/// A list of keys in JSON.
pub fn keys(keys: &[Bytes]) -> Json {
    Json::List(keys.iter().map(Json::from).collect())
}

#[cfg(test)]
pub mod testing {
    //! What the golden tests of every answer share.

    use super::*;

    /// Renders an answer in one form.
    pub fn render(format: Format, answer: &impl Show) -> String {
        let bytes = Printer { format, hex: false, value_only: false }.render(answer);
        String::from_utf8(bytes).expect("golden answers are text")
    }

    /// A header with plain numbers.
    pub fn header(revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader { cluster_id: 1, member_id: 2, revision, raft_term: 3 })
    }

    /// A pair with plain numbers.
    pub fn pair(key: &'static str, value: &'static str) -> KeyValue {
        KeyValue { key: key.into(), value: value.into(), create_revision: 4, mod_revision: 5, version: 2, lease: 0 }
    }
}
