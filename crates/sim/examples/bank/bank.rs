//! A small bank as a replicated state machine: accounts, and transfers between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kontiki_engine::{
    COMMAND, ChangeOutcome, CheckpointJob, Committed, EngineError, MachineError, Mend, NotTaken, Progress,
    SnapshotSource, StateMachine, decode_configuration, encode_configuration,
};
use kontiki_raft::{Configuration, Exclusion, Index, Leadership, LogPosition, ReadId, SnapshotMeta, Term};
use kontiki_world::{Disk, OpenMode};
use tokio::sync::oneshot;

/// Accounts of the bank; each belongs to one client.
pub const ACCOUNTS: usize = 5;
const FILE: &str = "/bank/state";

/// A mistake for the simulator to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    /// None.
    #[default]
    None,
    /// A checkpoint says that it lacks the last transfer that it holds: after a restart that is applied again.
    Twice,
    /// A balance is read from whatever this member holds.
    StaleRead,
}

/// What the bank knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    pub meta: SnapshotMeta,
    pub balances: [i64; ACCOUNTS],
    /// How many transfers each account has made.
    pub transfers: [u64; ACCOUNTS],
}

/// A transfer.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    pub number: u64,
    pub from: u8,
    pub to: u8,
    pub amount: u32,
}

impl Transfer {
    /// The entry that carries it.
    pub fn payload(self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(COMMAND);
        out.put_u64_le(self.number);
        out.put_u8(self.from);
        out.put_u8(self.to);
        out.put_u32_le(self.amount);
        out.freeze()
    }

    fn decode(mut bytes: &[u8]) -> Option<Transfer> {
        let sound = bytes.len() == 14 && bytes[8..10].iter().all(|account| usize::from(*account) < ACCOUNTS);
        sound.then(|| {
            let (number, from, to) = (bytes.get_u64_le(), bytes.get_u8(), bytes.get_u8());
            Transfer { number, from, to, amount: bytes.get_u32_le() }
        })
    }
}

impl Books {
    fn apply(&mut self, transfer: Transfer) {
        let Transfer { from, to, amount, .. } = transfer;
        self.balances[usize::from(from)] -= i64::from(amount);
        self.balances[usize::from(to)] += i64::from(amount);
        self.transfers[usize::from(from)] += 1;
    }

    fn encode(&self) -> Bytes {
        let mut configuration = BytesMut::new();
        encode_configuration(&self.meta.configuration, &mut configuration);
        let mut out = BytesMut::new();
        out.put_u64_le(self.meta.position.index.0);
        out.put_u64_le(self.meta.position.term.0);
        self.balances.iter().for_each(|balance| out.put_i64_le(*balance));
        self.transfers.iter().for_each(|count| out.put_u64_le(*count));
        out.put_slice(&configuration);
        let sum = sum(&out);
        out.put_u64_le(sum);
        out.freeze()
    }

    /// None where the bytes are not what was written.
    fn decode(bytes: &[u8]) -> Option<Books> {
        let (mut bytes, told) = bytes.split_last_chunk::<8>()?;
        if bytes.len() < 16 * (1 + ACCOUNTS) || sum(bytes) != u64::from_le_bytes(*told) {
            return None;
        }
        let position = LogPosition { index: Index(bytes.get_u64_le()), term: Term(bytes.get_u64_le()) };
        let balances = std::array::from_fn(|_| bytes.get_i64_le());
        let transfers = std::array::from_fn(|_| bytes.get_u64_le());
        let configuration = decode_configuration(bytes)?.into();
        Some(Books { meta: SnapshotMeta { position, configuration }, balances, transfers })
    }
}

/// Tells damage from what was written (FNV-1a).
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Who waits at a member for what.
#[derive(Default)]
pub struct Desk {
    pub transfers: BTreeMap<u64, oneshot::Sender<()>>,
    pub reads: Vec<oneshot::Sender<Books>>,
    batches: BTreeMap<ReadId, Vec<oneshot::Sender<Books>>>,
    /// What this member holds, for whoever does not care whether that is old.
    pub books: Books,
}

/// A desk, shared by the bank and those who stand before it.
pub type SharedDesk = Arc<Mutex<Desk>>;

/// Nobody panics while holding a desk.
pub fn at(desk: &SharedDesk) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A member's copy of the bank.
pub struct Bank {
    disk: Arc<dyn Disk>,
    pub books: Books,
    saved: Books,
    unsaved: u64,
    lost: bool,
    received: Vec<u8>,
    pub desk: SharedDesk,
    bug: Bug,
}

fn failed(error: std::io::Error) -> MachineError {
    MachineError { group: 1, reason: format!("the books: {error}"), damaged: false }
}

fn damaged() -> MachineError {
    MachineError { group: 1, reason: "the books are damaged".to_owned(), damaged: true }
}

fn save(disk: &dyn Disk, books: &Books) -> std::io::Result<()> {
    let (path, bytes) = (Path::new(FILE), books.encode());
    let new = path.with_extension("new");
    let file = disk.open(&new, OpenMode::ExistingOrNew)?;
    file.set_len(0)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_data()?;
    disk.rename(&new, path)?;
    disk.sync_dir(Path::new("/bank"))
}

fn load(disk: &dyn Disk) -> Result<Books, MachineError> {
    if !disk.exists(Path::new(FILE)).map_err(failed)? {
        return Ok(Books::default());
    }
    let file = disk.open(Path::new(FILE), OpenMode::Existing).map_err(failed)?;
    let mut bytes = vec![0; file.len().map_err(failed)? as usize];
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    Books::decode(&bytes).ok_or_else(damaged)
}

impl Bank {
    /// Opens the last checkpoint; an empty bank where there is none, or it is damaged.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn open(disk: Arc<dyn Disk>, desk: SharedDesk, bug: Bug) -> Result<Bank, MachineError> {
        disk.create_dir_all(Path::new("/bank")).map_err(failed)?;
        let (saved, lost) = match load(&*disk) {
            Ok(books) => (books, false),
            Err(error) if error.damaged => (Books::default(), true),
            Err(error) => return Err(error),
        };
        at(&desk).books = saved.clone();
        Ok(Bank { disk, books: saved.clone(), saved, unsaved: 0, lost, received: Vec::new(), desk, bug })
    }
}

impl StateMachine for Bank {
    type CheckpointDone = Books;

    fn checkpointed(&self) -> SnapshotMeta {
        self.saved.meta.clone()
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), MachineError> {
        let mut desk = at(&self.desk);
        for entry in entries {
            self.books.meta.position = LogPosition { term: entry.term, index: entry.index };
            let Some(transfer) = entry.command.as_deref().and_then(Transfer::decode) else { continue };
            self.books.apply(transfer);
            self.unsaved += 14;
            if let Some(client) = desk.transfers.remove(&transfer.number) {
                let _ = client.send(()); // it may have gone
            }
        }
        desk.books = self.books.clone();
        Ok(())
    }

    fn unsaved_bytes(&self) -> u64 {
        self.unsaved
    }

    fn begin_checkpoint(
        &mut self,
        at: LogPosition,
        configuration: &Arc<Configuration>,
    ) -> Option<CheckpointJob<Books>> {
        self.unsaved = 0;
        let mut books = self.books.clone();
        books.meta = SnapshotMeta { position: at, configuration: Arc::clone(configuration) };
        if self.bug == Bug::Twice && at.index > self.saved.meta.position.index {
            books.meta.position.index = at.index.previous();
        }
        let disk = self.disk.clone();
        Some(Box::new(move || save(&*disk, &books).map(|()| books).map_err(failed)))
    }

    fn finish_checkpoint(&mut self, done: Books) -> Result<(), MachineError> {
        self.saved = done;
        self.lost = false;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(SnapshotMeta, Box<dyn SnapshotSource>), MachineError> {
        load(&*self.disk)?;
        Ok((self.saved.meta.clone(), Box::new(Parts(self.saved.encode()))))
    }

    fn state_lost(&self) -> bool {
        self.lost
    }

    fn lose_state(&mut self) -> Result<(), MachineError> {
        if self.disk.exists(Path::new(FILE)).map_err(failed)? {
            self.disk.remove(Path::new(FILE)).map_err(failed)?;
            self.disk.sync_dir(Path::new("/bank")).map_err(failed)?;
        }
        (self.books, self.saved, self.unsaved, self.lost) = (Books::default(), Books::default(), 0, true);
        Ok(())
    }

    fn mended(&mut self, _mend: Mend) {}

    fn stopped(&mut self, _reason: &EngineError) {}

    fn receive_begin(&mut self, _meta: &SnapshotMeta) -> Result<bool, MachineError> {
        self.received.clear();
        Ok(true)
    }

    fn receive_rows(&mut self, rows: &Bytes) -> Result<bool, MachineError> {
        self.received.extend_from_slice(rows);
        Ok(true)
    }

    fn receive_end(&mut self) -> Result<bool, MachineError> {
        Ok(Books::decode(&self.received).is_some())
    }

    fn install(&mut self, _meta: &SnapshotMeta) -> Result<(), MachineError> {
        let books = Books::decode(&std::mem::take(&mut self.received)).ok_or_else(damaged)?;
        save(&*self.disk, &books).map_err(failed)?;
        at(&self.desk).books = books.clone();
        (self.saved, self.books, self.unsaved, self.lost) = (books.clone(), books, 0, false);
        Ok(())
    }

    fn leadership(&mut self, _now: Duration, _leadership: Leadership) -> Result<(), MachineError> {
        Ok(())
    }

    fn reads_begin(&mut self, id: ReadId) -> bool {
        let mut desk = at(&self.desk);
        let reads = std::mem::take(&mut desk.reads);
        let some = !reads.is_empty();
        desk.batches.insert(id, reads);
        some
    }

    fn reads_ready(&mut self, id: ReadId) {
        for client in at(&self.desk).batches.remove(&id).into_iter().flatten() {
            let _ = client.send(self.books.clone()); // it may have gone
        }
    }

    fn reads_again(&mut self, id: ReadId) {
        let mut desk = at(&self.desk);
        let again = desk.batches.remove(&id).unwrap_or_default();
        desk.reads.extend(again);
    }

    fn refused(&mut self, payload: Bytes, _why: NotTaken) {
        if let Some(number) = payload.get(1..9).and_then(|bytes| bytes.try_into().ok()) {
            at(&self.desk).transfers.remove(&u64::from_le_bytes(number));
        }
    }

    fn accepts(&self, command: &Bytes) -> bool {
        Transfer::decode(command).is_some()
    }

    fn call(&mut self, _now: Duration, _body: &Bytes) -> Bytes {
        Bytes::new()
    }

    fn answered(&mut self, _id: u64, _body: Option<Bytes>) {}

    fn membership_answered(&mut self, _id: u64, _outcome: ChangeOutcome) {}

    fn excluded(&mut self, _exclusion: Exclusion) {}

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
