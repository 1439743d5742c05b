//! Tokens as text. Whoever has the text is the user: it shows itself nowhere.

use std::fmt;

use kontiki_kv::TokenDigest;
use kontiki_world::Entropy;
use sha2::{Digest, Sha256};

/// Letters of a simple token: 24 of 52 are 136 bits of chance. etcd's have 16; clients look at none of them.
const LETTERS: usize = 24;
const ALPHABET: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// A token, as it travels.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(…)")
    }
}

impl TokenText {
    /// What came from a client.
    #[must_use]
    pub fn new(text: impl Into<String>) -> TokenText {
        TokenText(text.into())
    }

    /// The text, to be sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The letters of a new simple token.
pub(super) fn draw_letters(entropy: &dyn Entropy) -> String {
    let letter = |_| char::from(ALPHABET[usize::try_from(entropy.draw() % 52).expect("below 52")]);
    (0..LETTERS).map(letter).collect()
}

/// What is kept of a simple token.
pub(super) fn digest(letters: &str) -> TokenDigest {
    Sha256::digest(letters.as_bytes()).into()
}

/// A simple token taken apart: its letters, and the index of the entry that gave it out.
pub(super) fn split(text: &str) -> Option<(&str, u64)> {
    let (letters, index) = text.split_once('.')?;
    Some((letters, index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use kontiki_world::RealEntropy;

    #[test]
    fn simple_tokens_are_letters_a_dot_and_an_index() {
        let letters = draw_letters(&RealEntropy);
        assert!(letters.len() == LETTERS && letters.bytes().all(|byte| byte.is_ascii_alphabetic()));
        assert_ne!(letters, draw_letters(&RealEntropy));
        assert_eq!(split(&format!("{letters}.17")), Some((letters.as_str(), 17)));
        for bad in ["", "letters", "letters.", "letters.x", "letters.-1", "letters.99999999999999999999999", "a.b.c"] {
            assert_eq!(split(bad), None, "{bad}");
        }
        let entropy = f64::from(u32::try_from(LETTERS).unwrap()) * 52f64.log2();
        assert!(entropy >= 128.0);
    }

    #[test]
    fn a_token_does_not_show_itself() {
        assert_eq!(format!("{:?}", TokenText::new("secret.1")), "TokenText(…)");
    }
}
