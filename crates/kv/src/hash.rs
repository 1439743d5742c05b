//! Checksums by which members compare their states: over what can be read, not over how it is stored, so that neither
//! checkpoints nor the progress of physical compaction show. Each version is summed up alone and the sums are added, so
//! that the order in which layers and tables are read does not matter.

use crate::error::{Failure, KvError};
use crate::key;
use crate::layers::{Shared, Table, View, read};
use crate::range::Moment;
use crate::record::Version;
use crate::scan::Scan;
use crate::versions::{decode, split_newest};
use crate::visible::Visible;

/// Keys taken from a table in memory at a time: bounds how long it is locked.
const PAGE_KEYS: usize = if cfg!(test) { 2 } else { 256 };

/// A checksum of the keys at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// Over the versions that can be read up to the revision.
    pub hash: u32,
    /// The compacted revision, −1 for never.
    pub compact_revision: i64,
    /// The revision up to which versions were taken.
    pub hash_revision: i64,
}

/// The checksum of all versions readable up to a revision; zero or less for the latest.
pub(crate) fn hash_kv(moment: Moment<'_>, revision: i64) -> Result<HashKv, Failure> {
    let at = moment.resolve(revision)?;
    let mut sum = Sum { above: moment.compacted, at, total: 0, count: 0 };
    if moment.compacted > 0 {
        let mut scan = Visible::new(moment.view, &[], None, moment.compacted, usize::MAX, true);
        while let Some((prefix, version)) = scan.next()? {
            sum.add(prefix, version);
        }
    }
    moment.view.memories().try_for_each(|memory| sum.add_memory(memory))?;
    sum.add_base(moment.view)?;
    let hash = crc32c::crc32c_append(crc32c::crc32c(&sum.total.to_be_bytes()), &sum.count.to_be_bytes());
    Ok(HashKv { hash, compact_revision: moment.compacted, hash_revision: at })
}

/// The checksum of everything that commands make.
pub(crate) fn hash(moment: Moment<'_>) -> Result<u32, Failure> {
    let mut hash = hash_kv(moment, 0)?.hash;
    let auth = [Table::Auth, Table::AuthUsers, Table::AuthRoles, Table::AuthTokens];
    let plain = [Table::Leases, Table::LeaseKeys, Table::Members, Table::Alarms, Table::Cluster];
    for table in plain.into_iter().chain(auth) {
        hash = table_hash(hash, moment.view, table)?;
    }
    hash = crc32c::crc32c_append(hash, &moment.revision.to_be_bytes());
    Ok(crc32c::crc32c_append(hash, &moment.compacted.to_be_bytes()))
}

/// The sum over versions. Those at or below `above` come through [`Visible`], one for each key that is there; those
/// beyond it, up to `at`, one by one from where they are kept.
struct Sum {
    above: i64,
    at: i64,
    total: u64,
    count: u64,
}

impl Sum {
    fn add(&mut self, prefix: &[u8], version: &Version) {
        let mut hash = bytes_hash(0, prefix);
        for number in [version.main, i64::from(version.sub), version.create_revision, version.version, version.lease] {
            hash = crc32c::crc32c_append(hash, &number.to_be_bytes());
        }
        hash = crc32c::crc32c_append(hash, &[u8::from(version.tombstone)]);
        self.total = self.total.wrapping_add(u64::from(bytes_hash(hash, &version.value)));
        self.count += 1;
    }

    fn takes(&self, main: i64) -> bool {
        main > self.above && main <= self.at
    }

    fn add_memory(&mut self, memory: &Shared) -> Result<(), KvError> {
        let mut from = Vec::new();
        loop {
            let memory = read(memory);
            let mut last = None;
            for (prefix, chain) in memory.chains(&from, None).take(PAGE_KEYS) {
                for version in chain.newest_first() {
                    if self.takes(version.place.0) {
                        self.add(prefix, &version.version(true)?);
                    }
                }
                last = Some(key::successor(prefix));
            }
            match last {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    fn add_base(&mut self, view: &View) -> Result<(), KvError> {
        for row in view.base.range(Table::Keys, &[], None)? {
            let (prefix, row) = row?;
            let (place, row) = split_newest(row.value())?;
            if self.takes(place.0) {
                self.add(prefix.value(), &decode(place, row, true)?);
            }
        }
        for row in view.base.range(Table::History, &[], None)? {
            let (row_key, row) = row?;
            let (prefix, main, sub) = key::split_version(row_key.value())?;
            if self.takes(main) {
                self.add(prefix, &decode((main, sub), row.value(), true)?);
            }
        }
        Ok(())
    }
}

fn table_hash(mut hash: u32, view: &View, table: Table) -> Result<u32, KvError> {
    let mut scan = Scan::new(view, table, &[], None);
    while let Some((key, row)) = scan.next()? {
        hash = bytes_hash(bytes_hash(hash, &key), &row);
    }
    Ok(hash)
}

/// The length goes in too, so that no byte can change sides unnoticed.
fn bytes_hash(hash: u32, bytes: &[u8]) -> u32 {
    let hash = crc32c::crc32c_append(hash, &(bytes.len() as u64).to_be_bytes());
    crc32c::crc32c_append(hash, bytes)
}
