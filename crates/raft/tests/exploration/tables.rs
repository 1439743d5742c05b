//! Members, parcels and histories by number: each is kept once, however many states it is part of.
//!
//! A state of the whole group is then a handful of numbers, and a turn of a member that was taken before is looked up.
//! Maps are only asked for single keys, so that their order never matters.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, RwLock};

use super::projection::Fingerprint;

/// Takes the low half of a fingerprint as it is.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are hashed so");
    }

    #[allow(clippy::cast_possible_truncation, reason = "the low bits of a hash choose a place")]
    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = fingerprint as u64;
    }
}

pub type ByFingerprint = BuildHasherDefault<AsItIs>;

/// Something with its fingerprint under each renaming.
#[derive(Debug)]
pub struct Kept<T> {
    pub fingerprints: Vec<Fingerprint>,
    pub value: T,
}

/// Everything of one kind, shared by the workers.
pub struct Table<T>(RwLock<Rows<T>>);

struct Rows<T> {
    places: HashMap<Fingerprint, u32, ByFingerprint>,
    rows: Vec<Arc<Kept<T>>>,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table(RwLock::new(Rows { places: HashMap::default(), rows: Vec::new() }))
    }
}

impl<T> Table<T> {
    /// The number of something.
    pub fn number(&self, fingerprints: Vec<Fingerprint>, value: T) -> u32 {
        let key = fingerprints[0];
        if let Some(place) = self.0.read().expect("no worker panics").places.get(&key) {
            return *place;
        }
        let mut table = self.0.write().expect("no worker panics");
        let next = u32::try_from(table.rows.len()).expect("fewer than 2^32 parts");
        let place = *table.places.entry(key).or_insert(next);
        if place == next {
            table.rows.push(Arc::new(Kept { fingerprints, value }));
        }
        place
    }

    pub fn len(&self) -> usize {
        self.0.read().expect("no worker panics").rows.len()
    }
}

/// A worker's own sight of a table, which needs no lock for what it has seen.
pub struct Copy<T>(Vec<Arc<Kept<T>>>);

impl<T> Default for Copy<T> {
    fn default() -> Copy<T> {
        Copy(Vec::new())
    }
}

impl<T> Copy<T> {
    pub fn get(&mut self, table: &Table<T>, number: u32) -> &Arc<Kept<T>> {
        let place = number as usize;
        if place >= self.0.len() {
            let table = table.0.read().expect("no worker panics");
            self.0.extend_from_slice(&table.rows[self.0.len()..]);
        }
        &self.0[place]
    }
}
