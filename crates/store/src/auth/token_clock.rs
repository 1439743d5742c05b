//! The age of simple tokens, as one member sees it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kontiki_kv::TokenDigest;

/// Most tokens that one entry takes out.
const EXPIRED_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug)]
struct Age {
    /// When it was last used here, or heard of.
    used: Duration,
    /// When all members last heard of it.
    heard: Duration,
}

/// What using a token comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Its time is over.
    Over,
    /// It lives on here.
    Good,
    /// It lives on, and the others should hear of it.
    Tell,
}

/// When each token was used.
#[derive(Debug)]
pub(crate) struct TokenClock {
    ttl: Duration,
    ages: Mutex<BTreeMap<TokenDigest, Age>>,
}

impl TokenClock {
    pub(crate) fn new(ttl: Duration) -> TokenClock {
        TokenClock { ttl, ages: Mutex::default() }
    }

    fn ages(&self) -> MutexGuard<'_, BTreeMap<TokenDigest, Age>> {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry gave the token out, or renewed it.
    pub(crate) fn hear(&self, digest: TokenDigest, now: Duration) {
        self.ages().insert(digest, Age { used: now, heard: now });
    }

    /// Tokens that the state has. Those not known yet, after a restart or a snapshot, begin anew.
    pub(crate) fn learn(&self, digests: impl IntoIterator<Item = TokenDigest>, now: Duration) {
        let mut ages = self.ages();
        for digest in digests {
            ages.entry(digest).or_insert(Age { used: now, heard: now });
        }
    }

    /// A token that the state has is used.
    pub(crate) fn touch(&self, digest: TokenDigest, now: Duration) -> Use {
        let mut ages = self.ages();
        let age = ages.entry(digest).or_insert(Age { used: now, heard: now });
        if now.saturating_sub(age.used) > self.ttl {
            return Use::Over;
        }
        age.used = now;
        if now.saturating_sub(age.heard) <= self.ttl / 2 {
            return Use::Good;
        }
        age.heard = now; // so that only one caller tells
        Use::Tell
    }

    /// Tokens to take out of the state: unheard of for so long that no member can still let them in.
    pub(crate) fn expired(&self, now: Duration) -> Vec<TokenDigest> {
        let patience = self.ttl + self.ttl / 2;
        let ages = self.ages();
        let over = ages.iter().filter(|(_, age)| now.saturating_sub(age.heard.max(age.used)) > patience);
        over.map(|(digest, _)| *digest).take(EXPIRED_MAX).collect()
    }

    /// Tokens are out of the state.
    pub(crate) fn forget(&self, digests: &[TokenDigest]) {
        let mut ages = self.ages();
        for digest in digests {
            ages.remove(digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);
    const TOKEN: TokenDigest = [7; 32];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_lives_from_use_to_use() {
        let clock = TokenClock::new(TTL);
        clock.hear(TOKEN, at(0));
        assert_eq!(clock.touch(TOKEN, at(100)), Use::Good);
        assert_eq!(clock.touch(TOKEN, at(390)), Use::Tell);
        assert_eq!(clock.touch(TOKEN, at(391)), Use::Good);
        assert_eq!(clock.touch(TOKEN, at(700)), Use::Over);
        assert_eq!(clock.touch(TOKEN, at(701)), Use::Over);
    }

    #[test]
    fn a_token_that_is_used_elsewhere_is_not_taken_out() {
        let leader = TokenClock::new(TTL);
        leader.hear(TOKEN, at(0));
        assert!(leader.expired(at(450)).is_empty());
        assert_eq!(leader.expired(at(451)), [TOKEN]);
        leader.hear(TOKEN, at(440));
        assert!(leader.expired(at(890)).is_empty());
        leader.forget(&[TOKEN]);
        assert!(leader.expired(at(9_000)).is_empty());
    }

    #[test]
    fn a_restart_lets_tokens_begin_anew_once() {
        let clock = TokenClock::new(TTL);
        clock.learn([TOKEN], at(10));
        clock.learn([TOKEN], at(200));
        assert_eq!(clock.touch(TOKEN, at(311)), Use::Over);
    }
}
