//! Keys and ranges from the words of a command line. A word is bytes: a key need not be text.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;

use super::failure::Failure;

/// The single zero byte that stands for "no first key" and "no end".
pub const OPEN: &[u8] = b"\0";

/// A key, or the keys from `key` up to and without `range_end`.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRange {
    pub key: Bytes,
    pub range_end: Bytes,
}

/// How the words are meant.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    pub prefix: bool,
    pub from_key: bool,
}

/// The bytes of a word.
pub fn bytes(word: OsString) -> Bytes {
    word.into_vec().into()
}

impl KeyRange {
    /// Reads `KEY [END]`; `command` names the command in complaints.
    pub fn parse(command: &str, words: Vec<OsString>, meaning: Meaning) -> Result<KeyRange, Failure> {
        if meaning.prefix && meaning.from_key {
            return Err(Failure::arguments("`--prefix` and `--from-key` cannot be set at the same time, choose one"));
        }
        let mut words = words.into_iter().map(bytes);
        let (key, end) = match (words.next(), words.next(), words.next()) {
            (Some(key), end, None) => (key, end),
            _ => {
                return Err(Failure::arguments(format!(
                    "{command} command needs one argument as key and an optional argument as range_end"
                )));
            }
        };
        match end {
            Some(_) if meaning.prefix || meaning.from_key => Err(Failure::arguments(
                "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
            )),
            Some(range_end) => Ok(KeyRange { key, range_end }),
            None if meaning.prefix => Ok(KeyRange::prefix(key)),
            None if meaning.from_key => Ok(KeyRange { key: first_or_open(key), range_end: Bytes::from_static(OPEN) }),
            None => Ok(KeyRange { key, range_end: Bytes::new() }),
        }
    }

    /// All keys that begin with these bytes.
    pub fn prefix(prefix: Bytes) -> KeyRange {
        KeyRange { range_end: prefix_end(&prefix), key: first_or_open(prefix) }
    }
}

fn first_or_open(key: Bytes) -> Bytes {
    if key.is_empty() { Bytes::from_static(OPEN) } else { key }
}

/// The first key behind all that begin with `prefix`: the last byte that can be raised is raised, what follows it is cut.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    match prefix.iter().rposition(|byte| *byte < 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
        None => Bytes::from_static(OPEN),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(words: &[&str], prefix: bool, from_key: bool) -> Result<(Bytes, Bytes), String> {
        let words = words.iter().map(OsString::from).collect();
        let range = KeyRange::parse("get", words, Meaning { prefix, from_key });
        range.map(|range| (range.key, range.range_end)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn prefixes_end_behind_their_last_key() {
        let cases: [(&[u8], &[u8]); 5] =
            [(b"foo", b"fop"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0"), (b"a\xff\xfe", b"a\xff\xff")];
        for (prefix, end) in cases {
            assert_eq!(prefix_end(prefix), end, "{prefix:?}");
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(parse(&["a"], false, false).unwrap(), ("a".into(), "".into()));
        assert_eq!(parse(&["a", "b"], false, false).unwrap(), ("a".into(), "b".into()));
        assert_eq!(parse(&["a"], true, false).unwrap(), ("a".into(), "b".into()));
        assert_eq!(parse(&["a"], false, true).unwrap(), ("a".into(), "\0".into()));
        assert_eq!(parse(&[""], true, false).unwrap(), ("\0".into(), "\0".into()));
        assert_eq!(parse(&[""], false, false).unwrap(), ("".into(), "".into()));
        for words in [&[][..], &["a", "b", "c"]] {
            assert!(parse(words, false, false).unwrap_err().starts_with("get command needs"));
        }
        assert!(parse(&["a", "b"], true, false).unwrap_err().starts_with("too many arguments"));
        assert!(parse(&["a"], true, true).unwrap_err().contains("choose one"));
    }
}
