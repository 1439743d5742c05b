//! Hashing and checking passwords. That is slow by design, so it is done aside, a few at a time; and a password that was
//! found right is remembered, keyed with chance that never leaves the process, until the user's hash is another one: a
//! flood of log-ins costs a hash of bcrypt per user, not per log-in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use kontiki_kv::{OperationError, PasswordHash, User};
use kontiki_world::Entropy;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, oneshot};

use crate::error::StoreError;
use crate::surroundings::{Surroundings, Work};

/// Bytes of a password that bcrypt looks at.
const PASSWORD_BYTES_MAX: usize = 72;
/// Most that wait for their turn.
const WAITING_MAX: usize = 10_000;
/// Most users whose passwords are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// A password that was found right: for which stored hash, and what is kept of it.
struct Remembered {
    hash: Bytes,
    seal: [u8; 32],
}

/// Hashes and checks passwords.
pub(crate) struct Passwords {
    cost: u32,
    turns: Arc<Semaphore>,
    turns_waiting: Semaphore,
    aside: Arc<dyn Fn(Work) + Send + Sync>,
    entropy: Arc<dyn Entropy>,
    /// Drawn when it is first needed.
    key: OnceLock<[u8; 32]>,
    remembered: Mutex<BTreeMap<Arc<str>, Remembered>>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl Passwords {
    pub(crate) fn new(cost: u32, surroundings: &Surroundings) -> Passwords {
        // Half of the cores, so that the other half serves.
        let turns = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        Passwords {
            cost,
            turns: Arc::new(Semaphore::new(turns)),
            turns_waiting: Semaphore::new(WAITING_MAX),
            aside: Arc::clone(&surroundings.aside),
            key: OnceLock::new(),
            entropy: Arc::clone(&surroundings.entropy),
            remembered: Mutex::default(),
        }
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// Where bcrypt would leave out its end, or too many wait.
    pub(crate) async fn hash(&self, password: String) -> Result<PasswordHash, StoreError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(StoreError::Operation(OperationError::PasswordTooLong));
        }
        let [salt, _] = halves(draw(&*self.entropy));
        let cost = self.cost;
        let work = move || bcrypt::hash_with_salt(password, cost, salt).map(|parts| parts.to_string());
        let hash = self.aside(work).await?;
        Ok(PasswordHash(hash.expect("cost and length are within bcrypt's limits").into()))
    }

    /// Whether a password is the user's. The same work for a user that is not there, and for one without a password.
    ///
    /// # Errors
    /// Where too many wait.
    pub(crate) async fn check(&self, user: Option<&User>, password: String) -> Result<bool, StoreError> {
        let stored = user.and_then(|user| Some((&user.name, &user.password.as_ref()?.0)));
        let Some((name, hash)) = stored.filter(|_| password.len() <= PASSWORD_BYTES_MAX) else {
            let nobodys = self.nobodys();
            self.aside(move || bcrypt::verify(password, &nobodys).is_ok()).await?;
            return Ok(false);
        };
        let seal = self.seal(name, hash, &password);
        if self.remembers(name, hash, &seal) {
            return Ok(true);
        }
        let text = String::from_utf8_lossy(hash).into_owned();
        let right = self.aside(move || bcrypt::verify(password, &text).unwrap_or(false)).await?;
        if right {
            self.remember(Arc::clone(name), Remembered { hash: hash.clone(), seal });
        }
        Ok(right)
    }

    /// A hash of no password that costs as much to check as a real one.
    fn nobodys(&self) -> String {
        format!("$2b${:02}${}", self.cost, ".".repeat(53))
    }

    /// Does work aside when it is its turn.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
        let _waiting = self.turns_waiting.try_acquire().map_err(|_| StoreError::TooManyRequests)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        let (sender, answer) = oneshot::channel();
        (self.aside)(Box::new(move || {
            let _ = sender.send(work()); // the caller may have gone
            drop(turn); // not before: a caller that goes does not end the work
        }));
        answer.await.map_err(|_| StoreError::Stopped)
    }

    /// Hashed twice with the key in front, so that nothing can be appended; lengths keep the parts apart.
    fn seal(&self, name: &str, hash: &[u8], password: &str) -> [u8; 32] {
        let key = self.key.get_or_init(|| draw(&*self.entropy));
        let mut inner = Sha256::new_with_prefix(key);
        for part in [name.as_bytes(), hash, password.as_bytes()] {
            inner.update((part.len() as u64).to_le_bytes());
            inner.update(part);
        }
        Sha256::new_with_prefix(key).chain_update(inner.finalize()).finalize().into()
    }

    fn remembers(&self, name: &str, hash: &Bytes, seal: &[u8; 32]) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(name).is_some_and(|found| found.hash == hash && bool::from(found.seal.ct_eq(seal)))
    }

    fn remember(&self, name: Arc<str>, right: Remembered) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX && !remembered.contains_key(&name) {
            remembered.pop_first();
        }
        remembered.insert(name, right);
    }
}

fn draw(entropy: &dyn Entropy) -> [u8; 32] {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&entropy.draw().to_le_bytes());
    }
    bytes
}

fn halves(bytes: [u8; 32]) -> [[u8; 16]; 2] {
    let (left, right) = bytes.split_at(16);
    [left, right].map(|half| half.try_into().expect("half of 32 bytes is 16"))
}

#[cfg(test)]
mod tests;
