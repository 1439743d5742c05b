//! Whether all rows of a state can be read, and whether the tables agree with each other.
//!
//! Versions and changes answer each other only from the compacted revision on: what lies before is on its way out, a
//! portion with each checkpoint.

use bytes::Bytes;

use crate::auth;
use crate::base::{Base, Mark};
use crate::changes::{Change, ChangeKind};
use crate::codec::{alarm_of, decode_level, decode_member};
use crate::error::KvError;
use crate::inspect::StateReport;
use crate::key;
use crate::layers::Table;
use crate::lease;
use crate::membership::{Standing, identity};
use crate::record::Version;
use crate::versions::{self, decode, split_newest};

/// Findings told one by one; what comes behind them is only counted.
const FINDINGS_MAX: usize = 100;

/// Checks all tables.
pub(crate) fn tables(base: &Base) -> Result<StateReport, KvError> {
    let Mark { index, term, revision, compacted, bytes, digest, .. } = *base.mark();
    let report = StateReport { applied: (index, term), digest, revision, compacted, ..StateReport::default() };
    let mut verify = Verify { base, report, unsaid: 0, bytes: 0 };
    verify.keys()?;
    verify.history()?;
    verify.revisions()?;
    verify.leases()?;
    verify.lease_keys()?;
    verify.rest()?;
    if verify.bytes != bytes {
        let found = verify.bytes;
        verify.find(|| format!("the rows take {found} bytes, the checkpoint says {bytes}"));
    }
    if verify.unsaid > 0 {
        let more = format!("and {} more", verify.unsaid);
        verify.report.findings.push(more);
    }
    Ok(verify.report)
}

struct Verify<'b> {
    base: &'b Base,
    report: StateReport,
    /// Findings beyond those that are told.
    unsaid: u64,
    bytes: u64,
}

/// A key as people read it.
fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

impl Verify<'_> {
    fn find(&mut self, finding: impl FnOnce() -> String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding());
        } else {
            self.unsaid += 1;
        }
    }

    fn expect(&mut self, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.find(finding);
        }
    }

    /// Goes through a table's rows.
    fn each(
        &mut self,
        table: Table,
        mut row: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<(), KvError>,
    ) -> Result<(), KvError> {
        let mut rows = 0;
        for found in self.base.range(table, &[], None)? {
            let (key, value) = found?;
            rows += 1;
            if table != Table::Meta {
                self.bytes += (key.value().len() + value.value().len()) as u64;
            }
            row(self, key.value(), value.value())?;
        }
        self.report.rows.push((table.name(), rows));
        Ok(())
    }

    /// The newest versions, with the fences that count them.
    fn keys(&mut self) -> Result<(), KvError> {
        let mut fences = self.base.range(Table::Fences, &[], None)?.peekable();
        let mut block: Option<(Vec<u8>, u32)> = None; // the fence, and what it says is still to come
        self.each(Table::Keys, |verify, prefix, row| {
            let user_key = key::user_key(prefix);
            verify.expect(key::prefix(&user_key) == prefix, || {
                format!("a row of `keys` has a malformed key: {prefix:?}")
            });
            let (place, row) = split_newest(row)?;
            let version = decode(place, row, false)?;
            verify.version(&user_key, &version)?;
            while let Some(next) =
                fences.next_if(|fence| fence.as_ref().is_ok_and(|(fence, _)| *fence.value() <= user_key[..]))
            {
                let (fence, live) = next?;
                verify.block_ends(block.take());
                block = Some((fence.value().to_vec(), count(live.value())?));
            }
            if version.tombstone {
                return Ok(());
            }
            verify.report.keys += 1;
            match &mut block {
                Some((_, live)) if *live > 0 => *live -= 1,
                Some(_) | None => verify.find(|| format!("key {} is not counted in its block", shown(&user_key))),
            }
            if version.lease != 0 {
                let attached = verify.base.row(Table::LeaseKeys, &key::lease_key(version.lease, &user_key))?.is_some();
                verify.expect(attached, || format!("key {} is not listed with its lease", shown(&user_key)));
            }
            Ok(())
        })?;
        self.block_ends(block);
        for fence in fences {
            let (fence, live) = fence?;
            self.block_ends(Some((fence.value().to_vec(), count(live.value())?)));
        }
        Ok(())
    }

    fn block_ends(&mut self, block: Option<(Vec<u8>, u32)>) {
        if let Some((fence, missing @ 1..)) = block {
            self.find(|| format!("the block from key {} on counts {missing} keys that are not there", shown(&fence)));
        }
    }

    /// A version lies at or before the revision, and its change is listed while it can be read.
    fn version(&mut self, user_key: &[u8], version: &Version) -> Result<(), KvError> {
        let (main, sub) = (version.main, version.sub);
        let (revision, compacted) = (self.report.revision, self.report.compacted);
        self.expect(main <= revision, || {
            format!("key {} has a version of revision {main}, beyond the last", shown(user_key))
        });
        let sane = version.tombstone
            || (version.create_revision > 0 && version.create_revision <= main && version.version > 0);
        self.expect(sane, || format!("key {} has marks at revision {main} that cannot be", shown(user_key)));
        if main >= compacted {
            let listed = self.base.row(Table::Revisions, &key::revision(main, sub))?.is_some();
            self.expect(listed, || format!("the change of key {} at revision {main} is not listed", shown(user_key)));
        }
        Ok(())
    }

    fn history(&mut self) -> Result<(), KvError> {
        self.each(Table::History, |verify, row_key, row| {
            let (prefix, main, sub) = key::split_version(row_key)?;
            let user_key = key::user_key(prefix);
            let version = decode((main, sub), row, false)?;
            verify.version(&user_key, &version)?;
            let newest = verify.base.row(Table::Keys, prefix)?;
            let newest = newest.map(|row| split_newest(row.value()).map(|(place, _)| place)).transpose()?;
            let older = newest.is_some_and(|newest| newest > (main, sub));
            verify.expect(older, || {
                format!("key {} has a version at {main} in history without a newer one", shown(&user_key))
            });
            Ok(())
        })
    }

    fn revisions(&mut self) -> Result<(), KvError> {
        let compacted = self.report.compacted;
        self.each(Table::Revisions, |verify, row_key, row| {
            let change = Change::decode(row_key, row)?;
            let (main, sub) = change.place;
            if main < compacted {
                return Ok(());
            }
            let version = versions::in_base(verify.base, &change.prefix, change.place)?;
            let fits = version.is_some_and(|version| {
                let created = version.create_revision == main && version.version == 1;
                (version.main, version.sub) == (main, sub)
                    && version.tombstone == (change.kind == ChangeKind::Deleted)
                    && (version.tombstone || created == (change.kind == ChangeKind::Created))
            });
            verify.expect(fits, || {
                format!("the change of key {} at revision {main} has no version", shown(&change.key()))
            });
            Ok(())
        })
    }

    fn leases(&mut self) -> Result<(), KvError> {
        self.each(Table::Leases, |verify, row_key, row| {
            key::split_lease(Table::Leases, row_key)?;
            lease::LeaseRow::decode(row)?;
            verify.report.leases += 1;
            Ok(())
        })
    }

    fn lease_keys(&mut self) -> Result<(), KvError> {
        self.each(Table::LeaseKeys, |verify, row_key, _| {
            let (id, user_key) = key::split_lease(Table::LeaseKeys, row_key)?;
            let granted = verify.base.row(Table::Leases, &key::lease(id))?.is_some();
            verify.expect(granted, || format!("key {} is listed with lease {id}, which is not there", shown(user_key)));
            let row = verify.base.row(Table::Keys, &key::prefix(user_key))?;
            let version = row.map(|row| split_newest(row.value()).and_then(|(place, row)| decode(place, row, false)));
            let attached = version.transpose()?.is_some_and(|version| !version.tombstone && version.lease == id);
            verify.expect(attached, || format!("key {} is listed with lease {id} but not attached", shown(user_key)));
            Ok(())
        })
    }

    fn rest(&mut self) -> Result<(), KvError> {
        self.each(Table::Members, |_, _, row| {
            let damaged = |_| KvError::Damaged { table: Table::Members, what: "unreadable member" };
            decode_member(&Bytes::copy_from_slice(row)).map(|_| ()).map_err(damaged)
        })?;
        self.each(Table::Alarms, |_, row_key, _| match row_key {
            [kind, member @ ..] if member.len() == 8 && alarm_of(*kind).is_some() => Ok(()),
            _ => Err(KvError::Damaged { table: Table::Alarms, what: "unknown key" }),
        })?;
        self.each(Table::Cluster, |_, _, row| {
            let damaged = |_| KvError::Damaged { table: Table::Cluster, what: "unreadable version" };
            decode_level(&Bytes::copy_from_slice(row)).map(|_| ()).map_err(damaged)
        })?;
        self.each(Table::Standings, |_, row_key, row| {
            identity(Table::Standings, row_key)?;
            Standing::of(row).map(|_| ())
        })?;
        self.each(Table::Fences, |_, _, row| count(row).map(|_| ()))?;
        for table in [Table::Auth, Table::AuthUsers, Table::AuthRoles, Table::AuthTokens] {
            self.each(table, |_, row_key, row| auth::check_row(table, row_key, row))?;
        }
        self.each(Table::Meta, |_, _, _| Ok(()))
    }
}

fn count(row: &[u8]) -> Result<u32, KvError> {
    let row = row.try_into().map_err(|_| KvError::Damaged { table: Table::Fences, what: "count of wrong length" })?;
    Ok(u32::from_be_bytes(row))
}
