//! Simple tokens that were given out, found by their hash, their user, or their age.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::command::TokenDigest;

/// Most tokens at a time; beyond that the oldest goes. Clients log in again without a word.
pub(super) const TOKENS_MAX: usize = if cfg!(test) { 8 } else { 50_000 };

/// A simple token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is.
    pub user: Arc<str>,
    /// The index of the entry that gave it out: its end, and its age.
    pub index: u64,
}

/// All tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    by_digest: BTreeMap<TokenDigest, Token>,
    by_user: BTreeSet<(Arc<str>, TokenDigest)>,
    by_age: BTreeSet<(u64, TokenDigest)>,
}

impl Tokens {
    pub(crate) fn get(&self, digest: &TokenDigest) -> Option<&Token> {
        self.by_digest.get(digest)
    }

    pub(crate) fn digests(&self) -> impl Iterator<Item = &TokenDigest> {
        self.by_digest.keys()
    }

    pub(super) fn insert(&mut self, digest: TokenDigest, token: Token) {
        self.remove(&digest); // the same again: by chance, or by an entry that was proposed twice
        self.by_user.insert((Arc::clone(&token.user), digest));
        self.by_age.insert((token.index, digest));
        self.by_digest.insert(digest, token);
    }

    /// Whether there was one.
    pub(super) fn remove(&mut self, digest: &TokenDigest) -> bool {
        let Some(token) = self.by_digest.remove(digest) else { return false };
        self.by_user.remove(&(token.user, *digest));
        self.by_age.remove(&(token.index, *digest));
        true
    }

    /// The oldest, where there are too many.
    pub(super) fn surplus(&self) -> Option<TokenDigest> {
        let oldest = self.by_age.first().filter(|_| self.by_digest.len() > TOKENS_MAX);
        oldest.map(|(_, digest)| *digest)
    }

    /// A user's.
    pub(super) fn of_user(&self, user: &Arc<str>) -> Vec<TokenDigest> {
        let from = (Arc::clone(user), [0; 32]);
        let own = self.by_user.range(from..).take_while(|(of, _)| of == user);
        own.map(|(_, digest)| *digest).collect()
    }
}
