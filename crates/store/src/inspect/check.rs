//! Whether a stopped member's data directory is whole: identity, every record of the log, every block, row and index of
//! the state, and whether log and state fit each other.

use std::collections::BTreeMap;
use std::path::Path;

use kontiki_kv::{KvError, StateReport};
use kontiki_log::{Finding as LogFinding, Inspection, LogError, Recovered, Seen, What, inspect};
use kontiki_raft::{GroupId, Index, Term};

use super::{InspectError, Site, describe};
use crate::claim::log_identity;
use crate::error::StartError;
use crate::identity::Identity;
use crate::machine::GROUP;

/// Entries that cannot be read and are told one by one; what comes behind them is only counted.
const UNREADABLE_MAX: u64 = 20;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As a crash leaves it: no damage.
    Note,
    /// The member mends it by itself, or with what its peers have.
    Repairable,
    /// The member cannot start from this.
    Fatal,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What, and where.
    pub what: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// A log in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Its files.
    pub segments: u64,
    /// Batches in them.
    pub batches: u64,
    /// Records in those.
    pub records: u64,
    /// Entries, those replaced or compacted since included.
    pub entries: u64,
    /// Bytes of all batches.
    pub bytes: u64,
    /// The entry before the first one that is still there.
    pub compacted: u64,
    /// The last entry.
    pub last: u64,
    /// The newest term seen.
    pub term: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Name, member and cluster, where the identity can be read.
    pub identity: Option<(String, u64, u64)>,
    /// The log, where it can be read.
    pub log: Option<LogFigures>,
    /// The state, where it can be read.
    pub state: Option<StateReport>,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Nothing is damaged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }

    fn find(&mut self, severity: Severity, what: impl ToString, advice: &'static str) {
        self.findings.push(Finding { severity, what: what.to_string(), advice });
    }
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStep {
    /// The log is read: its segment now.
    Log {
        /// The segment.
        segment: u64,
    },
    /// The state is read.
    State {
        /// Blocks done.
        done: u64,
        /// Of how many.
        total: u64,
    },
}

// What to do, by what was found.
const NOTHING: &str = "nothing: it is as a crash leaves it, and the next start puts it in order";
const START: &str =
    "start the member: it writes this anew from the other copy. Watch the disk: it changed what was written";
const WATCH: &str = "nothing here: what is damaged is no longer needed. Watch the disk: it changed what was written";
const FETCH: &str = "start the member while a majority of the others runs: it fetches what it lacks from them before it takes \
                     part again";
const REPLACE: &str = "do not start it: put a backup of this member's directory in its place, or restore a snapshot on all members \
                       (kontiki snapshot restore); replacing one member needs membership changes, which this version does \
                       not have yet";
const LOG_GONE: &str = "name the log's directory with --wal-dir if it is elsewhere; if it is lost, the member must not come back, \
                        because it could vote twice: restore a snapshot on all members (kontiki snapshot restore)";
const DISK: &str = "check the disk (the system's log tells more) before the member is started on it again";
const UPGRADE: &str = "look at it with the version that wrote it";
const RIGHT_DIR: &str = "put the directory of the same member there, or correct --wal-dir";

/// Checks a data directory. `wal_dir` is where the log is, if elsewhere.
///
/// # Errors
/// Where nothing can be said: not a data directory, in use, no permission. What is damaged stands in the report.
pub fn check(
    dir: &Path,
    wal_dir: Option<&Path>,
    progress: &mut dyn FnMut(CheckStep),
) -> Result<CheckReport, InspectError> {
    let site = Site::open(dir, wal_dir)?;
    let mut report = CheckReport::default();
    let identity = check_identity(&site, &mut report)?;
    let log = check_log(&site, identity.as_ref(), &mut report, progress)?;
    let state = check_state(&site, &mut report, progress)?;
    check_fit(&site, &mut report, log.as_ref(), state)?;
    Ok(report)
}

fn check_identity(site: &Site, report: &mut CheckReport) -> Result<Option<Identity>, InspectError> {
    match site.identity() {
        Ok(Some(identity)) => {
            report.identity = Some((identity.name.clone(), identity.member_id, identity.cluster_id));
            Ok(Some(identity))
        }
        Ok(None) => {
            let what = format!("{}: the identity is missing", site.places.identity.display());
            report.find(Severity::Fatal, what, REPLACE);
            Ok(None)
        }
        Err(error @ StartError::Damaged { .. }) => {
            report.find(Severity::Fatal, error, REPLACE);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// What the log's records say.
fn check_log(
    site: &Site,
    identity: Option<&Identity>,
    report: &mut CheckReport,
    progress: &mut dyn FnMut(CheckStep),
) -> Result<Option<BTreeMap<GroupId, Recovered>>, InspectError> {
    let missing = |source| InspectError::Io { action: "look for", path: site.places.log.clone(), source };
    if !site.disk.exists(&site.places.log).map_err(missing)? {
        return Ok(Some(BTreeMap::new())); // whether there should be one, `check_fit` tells
    }
    let (mut segment, mut unreadable) = (0, Vec::new());
    let inspected = inspect(site.disk.clone(), &site.places.log, &mut |seen| {
        if seen.segment != segment {
            segment = seen.segment;
            progress(CheckStep::Log { segment });
        }
        look_at_entries(&seen, &mut unreadable);
    });
    for what in unreadable {
        report.find(Severity::Fatal, what, UPGRADE);
    }
    match inspected {
        Ok(inspection) => {
            let groups = inspection.groups.clone();
            take_log(site, identity, inspection, report);
            Ok(Some(groups))
        }
        Err(error @ LogError::Io { .. }) => Err(error.into()),
        Err(error @ (LogError::OlderFormat { .. } | LogError::NewerFormat { .. })) => Err(error.into()),
        Err(error) => {
            report.find(Severity::Fatal, error, REPLACE);
            Ok(None)
        }
    }
}

fn look_at_entries(seen: &Seen, unreadable: &mut Vec<String>) {
    let What::Entries { entries: Some(entries), .. } = &seen.what else { return };
    if seen.group != GROUP {
        return;
    }
    for entry in entries {
        if (unreadable.len() as u64) < UNREADABLE_MAX
            && let Err(reason) = describe::payload(&entry.payload)
        {
            unreadable
                .push(format!("log: entry {} (segment {}, byte {}): {reason}", entry.index, seen.segment, seen.offset));
        }
    }
}

fn take_log(site: &Site, identity: Option<&Identity>, inspection: Inspection, report: &mut CheckReport) {
    let own = identity.map(log_identity);
    if let (Some(found), Some(own)) = (inspection.identity, own)
        && found != own
    {
        let what = format!("log: {} belongs to {found}, the identity says {own}", site.places.log.display());
        report.find(Severity::Fatal, what, RIGHT_DIR);
    }
    let group = inspection.groups.get(&GROUP);
    report.log = Some(LogFigures {
        segments: inspection.segments,
        batches: inspection.batches,
        records: inspection.records,
        entries: inspection.entries,
        bytes: inspection.bytes,
        compacted: group.map_or(0, |group| group.compacted.index.0),
        last: group.map_or(0, |group| group.last.0),
        term: group.map_or(0, |group| group.hard_state.term.0),
    });
    for finding in &inspection.findings {
        let (severity, advice) = match finding {
            LogFinding::Cut { .. } => (Severity::Note, NOTHING),
            LogFinding::Lost { needed: false, .. } | LogFinding::Needless { .. } => (Severity::Repairable, WATCH),
            LogFinding::Lost { needed: true, .. } | LogFinding::Short { .. } => (Severity::Repairable, FETCH),
            LogFinding::Restored { .. } | LogFinding::Ledger { .. } => (Severity::Repairable, START),
            LogFinding::Unreadable { .. } | LogFinding::Unrepaired { .. } => (Severity::Repairable, DISK),
        };
        report.find(severity, finding, advice);
    }
}

/// Index and term of the checkpoint; none where the state cannot be used.
fn check_state(
    site: &Site,
    report: &mut CheckReport,
    progress: &mut dyn FnMut(CheckStep),
) -> Result<Option<(u64, u64)>, InspectError> {
    let Some(file) = site.state_file()? else { return Ok(Some((0, 0))) };
    let path = site.state_path();
    match kontiki_kv::check_state(file, &mut |done, total| progress(CheckStep::State { done, total })) {
        Ok(state) => {
            for what in &state.findings {
                report.find(Severity::Repairable, format!("{}: {what}", path.display()), FETCH);
            }
            if state.torn > 0 {
                let what = format!("{}: {} blocks that hold nothing were torn by a crash", path.display(), state.torn);
                report.find(Severity::Note, what, NOTHING);
            }
            let applied = state.applied;
            report.state = Some(state);
            Ok(Some(applied))
        }
        Err(KvError::Empty) => Ok(Some((0, 0))),
        Err(source @ KvError::Format { .. }) => Err(InspectError::State { path, source }),
        Err(error) => {
            report.find(Severity::Repairable, format!("{}: {error}", path.display()), FETCH);
            Ok(None)
        }
    }
}

/// Log and checkpoint must overlap, and agree where they do; and a member that has lived must have a log.
fn check_fit(
    site: &Site,
    report: &mut CheckReport,
    log: Option<&BTreeMap<GroupId, Recovered>>,
    state: Option<(u64, u64)>,
) -> Result<(), InspectError> {
    let Some(groups) = log else { return Ok(()) };
    let path = &site.places.started;
    let io = |source| InspectError::Io { action: "look for", path: path.clone(), source };
    let lived = site.disk.exists(path).map_err(io)?;
    let Some(group) = groups.get(&GROUP) else {
        if lived || state.is_some_and(|(index, _)| index > 0) {
            let what = format!(
                "log: {} holds nothing, but the member has taken part in its cluster",
                site.places.log.display()
            );
            report.find(Severity::Fatal, what, LOG_GONE);
        }
        return Ok(());
    };
    let Some((index, term)) = state else { return Ok(()) };
    if group.compacted.index.0 > index {
        let (first, last) = (index + 1, group.compacted.index.0);
        let what = format!("entries {first} to {last} are neither in the log nor in the state, which ends at {index}");
        report.find(Severity::Repairable, what, FETCH);
    } else if index > group.last.0 {
        let last = group.last.0;
        let what = format!("the state is ahead of the log ({index} against {last}): a snapshot was put in force");
        report.find(Severity::Note, what, NOTHING);
    } else if term_at(group, Index(index)).is_some_and(|known| known.0 != term) {
        let what = format!("the state holds entry {index} of term {term}, the log one of another term at that place");
        report.find(Severity::Note, what, NOTHING);
    }
    Ok(())
}

/// The term of an entry that the log knows.
fn term_at(group: &Recovered, index: Index) -> Option<Term> {
    if index == group.compacted.index {
        return Some(group.compacted.term);
    }
    let runs = group.runs.iter().take_while(|run| run.first <= index);
    runs.last().map(|run| run.term)
}
