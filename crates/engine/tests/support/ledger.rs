//! A small replicated state machine for tests: it keeps every command that it applied, in order, and checkpoints them to a
//! simulated disk as a real one would: a new file, a sync, a rename.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kontiki_engine::{
    ChangeOutcome, CheckpointJob, Committed, MachineError, Progress, SnapshotSource, StateMachine,
    decode_configuration, encode_configuration,
};
use kontiki_raft::{Configuration, Exclusion, Index, Leadership, LogPosition, ReadId, SnapshotMeta, Term};
use kontiki_world::{Disk, OpenMode};

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
    receiving: Vec<u8>,
    /// Reads: asked for, in batches, done.
    pub reads_wanted: u64,
    batches: BTreeMap<ReadId, u64>,
    /// Applied indexes at which reads were answered.
    pub reads_done: Vec<u64>,
    pub refused: u64,
    /// What came of changes of membership, by their names.
    pub changes: BTreeMap<u64, ChangeOutcome>,
    pub excluded: Option<Exclusion>,
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

fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    let file = disk.open(&new, OpenMode::ExistingOrNew).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.rename(&new, path).unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

impl Ledger {
    /// Opens the last checkpoint in `dir`, an empty ledger where there is none.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Ledger {
        disk.create_dir_all(dir).unwrap();
        let path = dir.join("ledger");
        let mut saved = Content::default();
        if disk.exists(&path).unwrap() {
            let file = disk.open(&path, OpenMode::Existing).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            saved = Content::decode(bytes.into());
        }
        Ledger {
            disk,
            path,
            content: saved.clone(),
            saved,
            unsaved: 0,
            receiving: Vec::new(),
            reads_wanted: 0,
            batches: BTreeMap::new(),
            reads_done: Vec::new(),
            refused: 0,
            changes: BTreeMap::new(),
            excluded: None,
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
        Some(Box::new(move || {
            replace(&*disk, &path, &content.encode());
            Ok(content)
        }))
    }

    fn finish_checkpoint(&mut self, done: Content) -> Result<(), MachineError> {
        self.saved = done;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(SnapshotMeta, Box<dyn SnapshotSource>), MachineError> {
        Ok((self.saved.meta.clone(), Box::new(Parts(self.saved.encode()))))
    }

    fn receive_begin(&mut self, _meta: &SnapshotMeta) -> Result<(), MachineError> {
        self.receiving.clear();
        Ok(())
    }

    fn receive_rows(&mut self, rows: &Bytes) -> Result<bool, MachineError> {
        self.receiving.extend_from_slice(rows);
        Ok(true)
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
        let content = Content::decode(std::mem::take(&mut self.receiving).into());
        assert_eq!(&content.meta, meta, "the snapshot is what was announced");
        replace(&*self.disk, &self.path, &content.encode());
        self.saved = content.clone();
        self.content = content;
        self.unsaved = 0;
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

    fn refused(&mut self, _payload: Bytes) {
        self.refused += 1;
    }

    fn accepts(&self, command: &Bytes) -> bool {
        command.len() >= 8
    }

    fn call(&mut self, _now: Duration, body: &Bytes) -> Bytes {
        body.clone()
    }

    fn answered(&mut self, _id: u64, _body: Option<Bytes>) {}

    fn tick(&mut self, _now: Duration, _leading: bool) -> Vec<Bytes> {
        Vec::new()
    }

    fn observe(&mut self, _progress: Progress) {}
}

struct Parts(Bytes);

impl SnapshotSource for Parts {
    fn next_rows(&mut self, bytes_max: usize) -> Result<Option<Bytes>, MachineError> {
        let length = self.0.len().min(bytes_max);
        Ok((length > 0).then(|| self.0.split_to(length)))
    }
}
