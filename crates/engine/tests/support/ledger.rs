//! A small replicated state machine for tests: it keeps every command that it applied, in order, and checkpoints them to a
//! simulated disk as a real one would: a new file, a sync, a rename.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kontiki_engine::{
    ChangeOutcome, CheckpointJob, Committed, EngineError, MachineError, Mend, NotTaken, Progress, ReceiveJob,
    ScrubStateJob, ScrubbedState, SnapshotSource, StateMachine, decode_configuration, encode_configuration,
};
use kontiki_raft::{Configuration, Exclusion, Index, Leadership, LogPosition, ReadId, SnapshotMeta, Term};
use kontiki_world::{Disk, OpenMode};

/// Shorter commands count as such that free space.
pub const FREES_SPACE_BYTES: usize = 30;

/// What the machine holds: the commands by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub meta: SnapshotMeta,
    pub commands: BTreeMap<u64, Bytes>,
}

/// The machine.
pub struct Ledger {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    saved: Content,
    pub content: Content,
    unsaved: u64,
    receiving: Arc<Mutex<Vec<u8>>>,
    /// Reads: asked for, in batches, done.
    pub reads_wanted: u64,
    batches: BTreeMap<ReadId, u64>,
    /// Applied indexes at which reads were answered.
    pub reads_done: Vec<u64>,
    pub refused: u64,
    /// What came of changes of membership, by their names.
    pub changes: BTreeMap<u64, ChangeOutcome>,
    pub excluded: Option<Exclusion>,
    /// What the machine proposes of itself at each tick, as a store revokes leases: this command.
    pub own: Option<Bytes>,
    pub own_proposed: u64,
    /// The core's view after the last turn.
    pub progress: Progress,
    /// The machine's disk is full.
    pub low_on_space: bool,
    /// Why proposals were refused, with their first bytes.
    pub refusals: Vec<(NotTaken, Bytes)>,
    /// The state was damaged, and there is no checkpoint of another yet.
    lost: bool,
    /// What was done to mend the replica, each time.
    pub mended: Vec<Mend>,
    /// Why the group stopped, each time.
    pub stopped: Vec<String>,
    /// The next checkpoint meets damage.
    pub fail_checkpoint: bool,
}

impl Content {
    fn encode(&self) -> Bytes {
        let mut configuration = BytesMut::new();
        encode_configuration(&self.meta.configuration, &mut configuration);
        let mut out = BytesMut::new();
        out.put_u64_le(self.meta.position.index.0);
        out.put_u64_le(self.meta.position.term.0);
        out.put_u64_le(configuration.len() as u64);
        out.put_slice(&configuration);
        for (index, command) in &self.commands {
            out.put_u64_le(*index);
            out.put_u64_le(command.len() as u64);
            out.put_slice(command);
        }
        out.freeze()
    }

    fn decode(mut bytes: Bytes) -> Content {
        let position = LogPosition { index: Index(bytes.get_u64_le()), term: Term(bytes.get_u64_le()) };
        let length = bytes.get_u64_le() as usize;
        let configuration = decode_configuration(&bytes.split_to(length)).unwrap().into();
        let mut commands = BTreeMap::new();
        while bytes.has_remaining() {
            let (index, length) = (bytes.get_u64_le(), bytes.get_u64_le() as usize);
            commands.insert(index, bytes.split_to(length));
        }
        Content { meta: SnapshotMeta { position, configuration }, commands }
    }
}

/// A hash that tells damage from what was written (FNV-1a).
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    let file = disk.open(&new, OpenMode::ExistingOrNew).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(&[&checksum(bytes).to_le_bytes(), bytes].concat(), 0).unwrap();
    file.sync_data().unwrap();
    disk.rename(&new, path).unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

/// The checkpoint; an error where it is damaged, an empty one where there is none.
fn read(disk: &dyn Disk, path: &Path) -> Result<Content, MachineError> {
    if !disk.exists(path).unwrap() {
        return Ok(Content::default());
    }
    let file = disk.open(path, OpenMode::Existing).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let mut bytes = Bytes::from(bytes);
    if bytes.len() >= 8 && bytes.get_u64_le() == checksum(&bytes) {
        return Ok(Content::decode(bytes));
    }
    Err(MachineError { group: 0, reason: "the ledger is damaged".to_owned(), damaged: true })
}

impl Ledger {
    /// Opens the last checkpoint in `dir`, an empty ledger where there is none or it is damaged.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Ledger {
        disk.create_dir_all(dir).unwrap();
        let path = dir.join("ledger");
        let read = read(&*disk, &path);
        let lost = read.is_err();
        let saved = read.unwrap_or_default();
        Ledger {
            disk,
            path,
            content: saved.clone(),
            saved,
            unsaved: 0,
            receiving: Arc::default(),
            reads_wanted: 0,
            batches: BTreeMap::new(),
            reads_done: Vec::new(),
            refused: 0,
            changes: BTreeMap::new(),
            excluded: None,
            own: None,
            own_proposed: 0,
            progress: Progress::default(),
            low_on_space: false,
            refusals: Vec::new(),
            lost,
            mended: Vec::new(),
            stopped: Vec::new(),
            fail_checkpoint: false,
        }
    }
}

impl StateMachine for Ledger {
    type CheckpointDone = Content;

    fn checkpointed(&self) -> SnapshotMeta {
        self.saved.meta.clone()
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), MachineError> {
        for entry in entries {
            assert_eq!(entry.index, self.content.meta.position.index.next(), "applied in order, without a gap");
            self.content.meta.position = LogPosition { term: entry.term, index: entry.index };
            if let Some(command) = entry.command {
                self.unsaved += command.len() as u64;
                self.content.commands.insert(entry.index.0, command);
            }
        }
        Ok(())
    }

    fn unsaved_bytes(&self) -> u64 {
        self.unsaved
    }

    fn begin_checkpoint(
        &mut self,
        at: LogPosition,
        configuration: &Arc<Configuration>,
    ) -> Option<CheckpointJob<Content>> {
        self.unsaved = 0;
        let mut content = self.content.clone();
        assert_eq!(content.meta.position, at);
        content.meta.configuration = Arc::clone(configuration);
        let (disk, path) = (self.disk.clone(), self.path.clone());
        let fails = std::mem::take(&mut self.fail_checkpoint);
        Some(Box::new(move || {
            if fails {
                return Err(MachineError { group: 1, reason: "the ledger is damaged".into(), damaged: true });
            }
            replace(&*disk, &path, &content.encode());
            Ok(content)
        }))
    }

    fn finish_checkpoint(&mut self, done: Content) -> Result<(), MachineError> {
        self.saved = done;
        self.lost = false;
        Ok(())
    }

    fn state_lost(&self) -> bool {
        self.lost
    }

    fn lose_state(&mut self) -> Result<(), MachineError> {
        if self.disk.exists(&self.path).unwrap() {
            self.disk.remove(&self.path).unwrap();
            self.disk.sync_dir(self.path.parent().unwrap()).unwrap();
        }
        (self.saved, self.content, self.unsaved, self.lost) = (Content::default(), Content::default(), 0, true);
        Ok(())
    }

    fn scrub_job(&mut self) -> Option<ScrubStateJob> {
        let (disk, path) = (self.disk.clone(), self.path.clone());
        Some(Box::new(move || {
            let bytes = read(&*disk, &path)?.encode().len() as u64;
            Ok(ScrubbedState { bytes, total: bytes })
        }))
    }

    fn mended(&mut self, mend: Mend) {
        self.mended.push(mend);
    }

    fn stopped(&mut self, reason: &EngineError) {
        self.stopped.push(reason.to_string());
    }

    fn snapshot(&mut self) -> Result<(SnapshotMeta, Box<dyn SnapshotSource>), MachineError> {
        read(&*self.disk, &self.path)?;
        Ok((self.saved.meta.clone(), Box::new(Parts(self.saved.encode()))))
    }

    fn receive_begin(&mut self, _meta: &SnapshotMeta) -> Result<bool, MachineError> {
        self.receiving = Arc::default(); // work of a former transfer may still write to its own
        Ok(true)
    }

    fn receive_rows(&mut self, rows: &Bytes) -> Result<bool, MachineError> {
        self.receiving.lock().unwrap().extend_from_slice(rows);
        Ok(true)
    }

    fn receive_job(&mut self, rows: &Bytes, _last: bool) -> Option<ReceiveJob> {
        let (receiving, rows) = (self.receiving.clone(), rows.clone());
        Some(Box::new(move || {
            receiving.lock().unwrap().extend_from_slice(&rows);
            Ok(true)
        }))
    }

    fn receive_end(&mut self) -> Result<bool, MachineError> {
        Ok(true)
    }

    fn membership_answered(&mut self, id: u64, outcome: ChangeOutcome) {
        let before = self.changes.insert(id, outcome);
        assert_eq!(before, None, "a change is answered once");
    }

    fn excluded(&mut self, exclusion: Exclusion) {
        self.excluded = Some(exclusion);
    }

    fn install(&mut self, meta: &SnapshotMeta) -> Result<(), MachineError> {
        let content = Content::decode(std::mem::take(&mut *self.receiving.lock().unwrap()).into());
        assert_eq!(&content.meta, meta, "the snapshot is what was announced");
        replace(&*self.disk, &self.path, &content.encode());
        self.saved = content.clone();
        self.content = content;
        self.unsaved = 0;
        self.lost = false;
        Ok(())
    }

    fn leadership(&mut self, _now: Duration, _leadership: Leadership) -> Result<(), MachineError> {
        Ok(())
    }

    fn reads_begin(&mut self, id: ReadId) -> bool {
        let batch = std::mem::take(&mut self.reads_wanted);
        self.batches.insert(id, batch);
        batch > 0
    }

    fn reads_ready(&mut self, id: ReadId) {
        let batch = self.batches.remove(&id).unwrap_or(0);
        let applied = self.content.meta.position.index.0;
        self.reads_done.extend((0..batch).map(|_| applied));
    }

    fn reads_again(&mut self, id: ReadId) {
        self.reads_wanted += self.batches.remove(&id).unwrap_or(0);
    }

    fn refused(&mut self, payload: Bytes, why: NotTaken) {
        self.refused += 1;
        self.refusals.push((why, payload));
    }

    fn accepts(&self, command: &Bytes) -> bool {
        command.len() >= 8
    }

    fn takes_space(&self, command: &Bytes) -> bool {
        command.len() > FREES_SPACE_BYTES
    }

    fn is_low_on_space(&self) -> bool {
        self.low_on_space
    }

    fn call(&mut self, _now: Duration, body: &Bytes) -> Bytes {
        body.clone()
    }

    fn answered(&mut self, _id: u64, _body: Option<Bytes>) {}

    fn tick(&mut self, _now: Duration, leading: bool) -> Vec<Bytes> {
        let own = self.own.clone().filter(|_| leading);
        self.own_proposed += u64::from(own.is_some());
        own.into_iter().collect()
    }

    fn observe(&mut self, progress: Progress) {
        self.progress = progress;
    }
}

struct Parts(Bytes);

impl SnapshotSource for Parts {
    fn next_rows(&mut self, bytes_max: usize) -> Result<Option<Bytes>, MachineError> {
        let length = self.0.len().min(bytes_max);
        Ok((length > 0).then(|| self.0.split_to(length)))
    }
}
