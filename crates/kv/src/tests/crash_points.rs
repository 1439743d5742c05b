//! Power cuts at every point of a checkpoint: whatever subset of the unsynced sectors survives, the file opens at the
//! checkpoint before or at the new one, whole.

use std::collections::BTreeSet;

use super::*;

/// What the storage was asked to do.
#[derive(Clone, Debug, PartialEq)]
enum Request {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// A disk that keeps a record.
#[derive(Clone, Debug)]
struct Recorder {
    disk: Disk,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Recorder {
    fn over(disk: Disk) -> Recorder {
        Recorder { disk, requests: Arc::default() }
    }

    fn note(&self, request: Request) {
        self.requests.lock().unwrap().push(request);
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(Request::SetLen(len));
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(Request::Sync);
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(Request::Write(offset, data.to_vec()));
        self.disk.write(offset, data)
    }
}

/// The smallest thing that survives a power cut or does not.
#[derive(Clone, Debug)]
enum Piece {
    Sector(usize, Vec<u8>),
    SetLen(usize),
}

/// A file system may move the end of a file piece by piece: a new length is two pieces, of which the first is nothing round.
fn pieces(mut len: usize, requests: &[Request]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for request in requests {
        match request {
            Request::Write(offset, data) => {
                let sectors = data.chunks(512).zip((*offset as usize..).step_by(512));
                pieces.extend(sectors.map(|(sector, at)| Piece::Sector(at, sector.to_vec())));
            }
            Request::SetLen(new) => {
                let new = *new as usize;
                pieces.extend([Piece::SetLen((3 * len + 4 * new) / 7), Piece::SetLen(new)]);
                len = new;
            }
            Request::Sync => unreachable!("nothing is pending behind a sync"),
        }
    }
    pieces
}

/// What lies on the disk if only some of the pieces arrived.
fn survived(durable: &[u8], pieces: &[Piece], mut arrives: impl FnMut(usize) -> bool) -> Vec<u8> {
    let mut image = durable.to_vec();
    for (number, piece) in pieces.iter().enumerate() {
        match piece {
            _ if !arrives(number) => {}
            Piece::SetLen(len) => image.resize(*len, 0),
            Piece::Sector(at, sector) if at + sector.len() <= image.len() => {
                image[*at..at + sector.len()].copy_from_slice(sector);
            }
            Piece::Sector(..) => {} // the length it needs did not survive
        }
    }
    image
}

/// Numbers that look random, the same in every run.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// What can be seen of a state.
type Seen = ((u64, u64), u32, u64);

fn see(image: Vec<u8>) -> (Seen, Machine) {
    let machine = Machine::open(Disk::of(image));
    let seen = (machine.kv.applied(), machine.kv.reader().hash().unwrap(), machine.kv.digest().1);
    (seen, machine)
}

/// A power cut, and then one copy of the header rots: what opens is a checkpoint that was, or nothing.
fn rot_a_header(mut image: Vec<u8>, copy: usize, states: &[Seen]) {
    let Some(byte) = image.get_mut(copy * 4_096 + 100) else { return };
    *byte ^= 1;
    match Kv::open(Disk::of(image), Options::default()) {
        Ok(kv) => {
            let seen = (kv.applied(), kv.reader().hash().unwrap(), kv.digest().1);
            assert!(states.contains(&seen), "{seen:?}");
        }
        Err(error) => assert!(error.is_damage(), "{error}"),
    }
}

/// Before anything behind the header is overwritten, both of its copies say the same, durably.
fn copies_agree_whenever_blocks_are_written(durable: Vec<u8>, requests: &[Request]) {
    let mut durable = durable;
    let mut checked = 0;
    for epoch in requests.split_inclusive(|request| matches!(request, Request::Sync)) {
        let pending = epoch.strip_suffix(&[Request::Sync]).unwrap_or(epoch);
        let behind = |request: &&Request| matches!(request, Request::Write(offset, _) if *offset >= 8_192);
        if pending.iter().any(|request| behind(&request)) {
            let sequence = |copy: usize| &durable[copy * 4_096 + 24..copy * 4_096 + 32];
            assert_eq!(sequence(0), sequence(1));
            checked += 1;
        }
        durable = survived(&durable, &pieces(durable.len(), pending), |_| true);
    }
    assert!(checked >= 2);
}

/// Cuts the power at every point of a record, and again and again between two syncs. `states` are all that may be seen, in
/// order; none but the last may be seen behind the end, and none before one that was durable.
fn cut_everywhere(durable: Vec<u8>, requests: &[Request], states: &[Seen]) {
    let (mut durable, mut seed, mut least, mut tried) = (durable, 88_172_645_463_325_252, 0, 0);
    for epoch in requests.split_inclusive(|request| matches!(request, Request::Sync)) {
        let pending = epoch.strip_suffix(&[Request::Sync]).unwrap_or(epoch);
        let pieces = pieces(durable.len(), pending);
        let mut look = |image: Vec<u8>, what: &str| {
            let rotten = image.clone();
            let (seen, mut machine) = see(image);
            let at = states.iter().position(|state| *state == seen);
            assert!(at.is_some_and(|at| at >= least), "{what}: found {seen:?} of {states:?}, least {least}");
            tried += 1;
            rot_a_header(rotten, tried % 2, states);
            if tried % 16 == 0 {
                machine.put("goes", "on");
                machine.checkpoint();
                assert!(check_state(machine.disk.after_crash(), &mut |_, _| {}).unwrap().findings.is_empty());
            }
            at.unwrap()
        };
        if pieces.len() <= 7 {
            for subset in 0..1_u32 << pieces.len() {
                look(survived(&durable, &pieces, |piece| subset >> piece & 1 == 1), "subset");
            }
        } else {
            for part in 0..12 {
                let end = pieces.len() * part / 12;
                look(survived(&durable, &pieces, |piece| piece < end), "cut");
                look(survived(&durable, &pieces, |piece| piece >= end), "cut, in the other order");
                look(survived(&durable, &pieces, |_| random(&mut seed) % 12 < part as u64), "torn");
                let spared = random(&mut seed) as usize % pieces.len();
                look(survived(&durable, &pieces, |piece| piece != spared), "one lost");
                look(survived(&durable, &pieces, |piece| piece == spared), "one arrived");
            }
        }
        durable = survived(&durable, &pieces, |_| true);
        least = look(durable.clone(), "synced");
    }
    assert_eq!(least, states.len() - 1, "the last is durable");
}

/// Records two checkpoints and the closing of the file, and cuts the power everywhere. Answers whether the file was made
/// shorter as well.
fn recorded(durable: Vec<u8>, changes: impl Fn(&mut Kv), before: Seen) -> bool {
    let recorder = Recorder::over(Disk::of(durable.clone()));
    let mut kv = Kv::open(recorder.clone(), Options { salt: 4, ..Options::default() }).unwrap();
    let mut states = vec![before];
    for _ in 0..2 {
        changes(&mut kv);
        let done = kv.begin_checkpoint(bytes("opaque")).unwrap().run().unwrap();
        drop(kv.finish_checkpoint(done));
        states.push((kv.applied(), kv.reader().hash().unwrap(), kv.digest().1));
    }
    drop(kv); // closing trims the file
    let requests = recorder.requests.lock().unwrap().clone();
    let length = |request: &Request| if let Request::SetLen(len) = request { Some(*len) } else { None };
    let shortened = !requests.iter().filter_map(length).is_sorted();
    copies_agree_whenever_blocks_are_written(durable.clone(), &requests);
    cut_everywhere(durable, &requests, &states);
    shortened
}

fn apply(kv: &mut Kv, command: &Command) {
    let index = kv.applied().0 + 1;
    kv.batch().apply(index, 1, command).unwrap().result.unwrap();
}

#[test]
fn a_power_cut_in_a_checkpoint_leaves_the_old_or_the_new_one() {
    let machine = super::inspecting::furnished();
    let image = machine.disk.image();
    let before = see(image.clone()).0;
    recorded(
        image,
        |kv| {
            for n in 0..10 {
                apply(kv, &put(&format!("k{n:02}"), "changed"));
            }
            apply(kv, &delete("k4", "k41"));
            let revision = kv.revision();
            apply(kv, &Command::Compact { revision });
        },
        before,
    );
}

#[test]
fn a_power_cut_while_the_file_is_made_or_grows_leaves_the_old_or_the_new_one() {
    let fresh = (Machine::new().kv.applied(), Machine::new().kv.reader().hash().unwrap(), 0);
    let shortened = recorded(
        Vec::new(),
        |kv| {
            for n in 0..4 {
                apply(kv, &put(&format!("k{n}"), &"v".repeat(400_000)));
            }
        },
        fresh,
    );
    assert!(shortened, "closing has trimmed what growing left over");
}

/// Smaller than disks promise: a header may be torn within the part that is in use.
fn torn(piece: Piece) -> Vec<Piece> {
    match piece {
        Piece::Sector(at, bytes) => {
            bytes.chunks(256).zip((at..).step_by(256)).map(|(half, at)| Piece::Sector(at, half.to_vec())).collect()
        }
        Piece::SetLen(_) => vec![piece],
    }
}

/// What power cuts leave of a first opening, as long as nothing is in use yet; nothing where the file is in use.
fn interrupted_opening(found: &[u8], salt: u64) -> BTreeSet<Vec<u8>> {
    let recorder = Recorder::over(Disk::of(found.to_vec()));
    drop(Kv::open(recorder.clone(), Options { salt, ..Options::default() }).unwrap());
    let requests = recorder.requests.lock().unwrap().clone();
    let (mut durable, mut left) = (found.to_vec(), BTreeSet::new());
    if requests.first() != Some(&Request::SetLen(0)) {
        return left;
    }
    for epoch in requests.split_inclusive(|request| matches!(request, Request::Sync)) {
        let pieces = pieces(durable.len(), epoch.strip_suffix(&[Request::Sync]).unwrap());
        let mut pieces: Vec<Piece> = pieces.into_iter().flat_map(torn).collect();
        // Most of a header is zeros, before and after.
        let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        pieces.retain(|piece| match piece {
            Piece::Sector(at, bytes) => {
                !is_zero(bytes) || durable.get(*at..at + bytes.len()).is_some_and(|bytes| !is_zero(bytes))
            }
            Piece::SetLen(_) => true,
        });
        assert!(pieces.len() <= 10, "{}", pieces.len());
        for subset in 0..1_u32 << pieces.len() {
            left.insert(survived(&durable, &pieces, |piece| subset >> piece & 1 == 1));
        }
        durable = survived(&durable, &pieces, |_| true);
        if [0, 4_096].iter().all(|at| durable.get(at + 44..at + 48) == Some(b"redb")) {
            return left;
        }
    }
    panic!("the header was never completed");
}

#[test]
fn two_interrupted_first_openings_leave_a_file_that_can_be_made() {
    let fresh = see(Vec::new()).0;
    let (first, mut second) = (interrupted_opening(&[], 4), BTreeSet::new());
    for image in &first {
        second.extend(interrupted_opening(image, 5));
    }
    assert!(first.len() > 10 && second.len() > 2 * first.len(), "{} then {}", first.len(), second.len());
    for image in first.into_iter().chain(second) {
        let (seen, mut machine) = see(image);
        assert_eq!(seen, fresh);
        machine.put("goes", "on");
        machine.checkpoint();
        assert_eq!(machine.crash().kv.applied(), (1, 1));
    }
}

#[test]
fn what_two_first_openings_mixed_was_never_used() {
    // As an earlier release may have left it.
    let (older, newer) = (interrupted_opening(&[], 4), interrupted_opening(&[], 5));
    let both = |image: &&Vec<u8>| {
        [0, 4_096].iter().all(|at| image.get(*at..at + 8) == Some(b"KontStat") && image[at + 44..at + 48] != *b"redb")
    };
    let (older, newer) = (older.iter().rfind(both).unwrap(), newer.iter().find(both).unwrap());
    let mixed = [&newer[..4_096], &older[4_096..]].concat();
    let fresh = see(Vec::new()).0;
    assert_eq!(see(mixed).0, fresh);
}
