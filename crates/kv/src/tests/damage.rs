//! One fault in every block of the file, systematically: what is read is right, or it is refused as damage.

use super::inspecting::furnished;
use super::*;
use crate::overlay::Overlay;

/// A file that is someone's memory, with one fault in it.
#[derive(Clone, Debug)]
struct Faulty {
    image: Arc<Vec<u8>>,
    at: usize,
    instead: Vec<u8>,
    len: usize,
}

impl Faulty {
    fn new(image: &Arc<Vec<u8>>, at: usize, instead: Vec<u8>) -> Faulty {
        Faulty { image: Arc::clone(image), at, instead, len: image.len() }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let end = start + out.len();
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Behind the image a file that grew holds zeros.
        let known = self.image.get(start..end.min(self.image.len())).unwrap_or_default();
        out[..known.len()].copy_from_slice(known);
        out[known.len()..].fill(0);
        let (from, to) = (self.at.max(start), (self.at + self.instead.len()).min(end));
        if from < to {
            out[from - start..to - start].copy_from_slice(&self.instead[from - self.at..to - self.at]);
        }
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("an overlay lies above")
    }

    fn sync_data(&self) -> io::Result<()> {
        unreachable!("an overlay lies above")
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        unreachable!("an overlay lies above")
    }
}

/// Everything that can be read of a state.
type Everything = ((u64, u64), u32, Vec<KeyValue>, usize, Vec<(i64, i64)>, Bytes, u64);

fn read_all(backend: impl StorageBackend) -> Result<Everything, KvError> {
    let kv = Kv::open(Overlay::new(backend).unwrap(), Options::default())?;
    let reader = kv.reader();
    let storage = |failure| match failure {
        Failure::Storage(error) => error,
        Failure::Operation(refusal) => panic!("{refusal}"),
    };
    let (all, _) = reader.range(&get("\0", "\0")).map_err(storage)?;
    let events = reader.events(kv.compacted(), usize::MAX, usize::MAX).map_err(storage)?;
    let hash = reader.hash().map_err(storage)?;
    Ok((kv.applied(), hash, all.kvs, events.events.len(), reader.leases()?, kv.opaque(), kv.digest().1))
}

/// The file after two checkpoints, and after one more, which leaves freed pages and swept history behind.
fn images() -> (Arc<Vec<u8>>, Arc<Vec<u8>>) {
    let mut machine = furnished();
    let old = machine.disk.image();
    machine.must(&delete("k1", "k12"));
    for n in 0..60 {
        machine.put(&format!("k{n:02}"), "new");
    }
    let revision = machine.kv.revision();
    machine.must(&Command::Compact { revision });
    machine.checkpoint();
    (Arc::new(old), Arc::new(machine.disk.image()))
}

/// What one fault makes of the bytes of a block.
fn faults(image: &[u8], old: &[u8], at: usize, size: usize) -> Vec<Vec<u8>> {
    let block = &image[at..at + size];
    let mut flipped = block.to_vec();
    flipped[(at / 512 * 37) % size] ^= 1 << (at / 512 % 8);
    let elsewhere = (at + size * 3) % (image.len() - size);
    let older = old.get(at..at + size).unwrap_or(block).to_vec();
    let all = vec![flipped, vec![0; size], vec![0xff; size], image[elsewhere..elsewhere + size].to_vec(), older];
    all.into_iter().filter(|fault| fault != block).collect()
}

fn one_fault_in_every(size: usize, take: impl Fn(usize, usize) -> bool) {
    let (old, image) = images();
    let expected = read_all(Faulty::new(&image, 0, Vec::new())).unwrap();
    let (mut right, mut refused) = (0, 0);
    for at in (0..image.len()).step_by(size) {
        let is_empty = image[at..at + size].iter().all(|&byte| byte == 0);
        for (kind, fault) in faults(&image, &old, at, size).into_iter().enumerate() {
            if is_empty && kind > 0 || !take(at / size, kind) {
                continue;
            }
            match read_all(Faulty::new(&image, at, fault)) {
                Ok(found) => {
                    assert!(found == expected, "fault {kind} at {at} was served");
                    right += 1;
                }
                Err(error) => {
                    assert!(error.is_damage(), "fault {kind} at {at}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(right > 20 && refused > 40, "{right} right, {refused} refused");
}

#[test]
fn a_fault_in_any_block_is_noticed_or_harmless() {
    one_fault_in_every(4_096, |_, _| true);
}

#[test]
fn a_fault_in_any_sector_is_noticed_or_harmless() {
    one_fault_in_every(512, |sector, kind| (sector + kind).is_multiple_of(3));
}

#[test]
fn a_file_cut_anywhere_is_noticed() {
    let (_, image) = images();
    for len in (1..image.len()).step_by(1_021).chain((0..image.len()).step_by(4_096).skip(3)) {
        let cut = Faulty { len, ..Faulty::new(&image, 0, Vec::new()) };
        let error = read_all(cut).err();
        // Of less than the header nothing says that there ever was a state; the log does.
        assert!(len <= 4_096 || error.is_some_and(|error| error.is_damage()), "cut at {len}");
    }
}

#[test]
fn a_file_opens_at_any_length_between_two_sizes() {
    let (_, image) = images();
    let expected = read_all(Faulty::new(&image, 0, Vec::new())).unwrap();
    let group_end = 8_192 + 1_025 * 4_096;
    assert!(image.len() < group_end);
    for (number, len) in (image.len()..group_end + 3 * 4_096).step_by(4_096).enumerate() {
        let rest =
            if len.abs_diff(group_end) <= 4_096 { &[0, 1, 2_048, 4_095][..] } else { &[[0, 1, 4_095][number % 3]] };
        for rest in rest {
            let found = read_all(Faulty { len: len + rest, ..Faulty::new(&image, 0, Vec::new()) });
            assert!(found.unwrap_or_else(|error| panic!("{error} at {len} + {rest}")) == expected, "{len} + {rest}");
        }
    }
}

#[test]
fn a_file_that_stopped_between_two_sizes_is_written_and_grows() {
    let (_, image) = images();
    let group_end = 8_192 + 1_025 * 4_096;
    for len in [image.len() + 1, image.len() + 9 * 4_096 + 7, group_end + 4_095, group_end + 4_096, group_end + 9_000] {
        let mut longer = image.to_vec();
        longer.resize(len, 0);
        let mut machine = Machine::open(Disk::of(longer));
        for n in 0..12 {
            machine.put(&format!("large {n}"), &"l".repeat(400_000));
        }
        machine.checkpoint();
        let hash = machine.kv.reader().hash().unwrap();
        let disk = machine.crash().disk;
        assert!(disk.image().len() > group_end);
        assert_eq!(check_state(disk.clone(), &mut |_, _| {}).unwrap().findings, [] as [String; 0]);
        assert_eq!(Machine::open(disk).kv.reader().hash().unwrap(), hash);
    }
}

#[test]
fn a_header_block_of_another_state_file_is_noticed() {
    let (_, image) = images();
    let disk = Disk::default();
    let mut other = Kv::open(disk.clone(), Options { salt: 77, ..Options::default() }).unwrap();
    other.skip(1, 1);
    drop(other.begin_checkpoint(Bytes::new()).unwrap().run().unwrap());
    let strange = disk.image()[..4_096].to_vec();
    let error = read_all(Faulty::new(&image, 0, strange)).unwrap_err();
    assert!(matches!(error, KvError::Block(BlockDamage { kind: DamageKind::Stranger, .. })), "{error}");
}

#[test]
fn damage_is_told_by_whoever_meets_it_and_by_those_after() {
    let mut machine = Machine::new();
    for n in 0..500 {
        machine.put(&format!("k{n:03}"), &format!("value {n} {}", "v".repeat(500)));
    }
    machine.checkpoint();
    let disk = machine.crash().disk.after_crash();
    let options = Options { cache_bytes: 40_000, ..Options::default() }; // far less than there is
    let mut kv = Kv::open(disk.clone(), options).unwrap();
    let image = disk.image();
    let places = (0..image.len() - 9).filter(|&at| &image[at..at + 9] == b"value 250").collect::<Vec<_>>();
    disk.edit(|bytes| places.iter().for_each(|&at| bytes[at] ^= 1));
    let Err(Failure::Storage(error)) = kv.reader().range(&get("k250", "")) else { panic!("served") };
    let KvError::Block(damage) = error else { panic!("{error}") };
    assert_eq!(damage.kind, DamageKind::Checksum);
    assert!(places.iter().any(|&at| damage.offset == at as u64 / 4_096 * 4_096), "{damage} of {places:?}");
    assert!(matches!(kv.scrub().next(u64::MAX), Err(KvError::Block(found)) if found == damage));
    let index = kv.applied().0;
    kv.skip(index + 1, 1);
    let error = kv.begin_checkpoint(Bytes::new()).unwrap().run().unwrap_err();
    assert!(matches!(error, KvError::Block(found) if found == damage), "{error}");
}

#[test]
fn a_scrub_finds_damage_that_nobody_asked_for() {
    let machine = furnished();
    let mut scrub = machine.kv.scrub();
    assert!(scrub.next(u64::MAX).unwrap().wrapped);
    let at = machine.disk.image().windows(3).position(|window| window == b"LLL").unwrap();
    machine.disk.edit(|bytes| bytes[at] ^= 4);
    assert!(scrub.next(u64::MAX).unwrap_err().is_damage());
}

#[test]
fn a_state_of_the_format_before_is_named() {
    let mut image = vec![0; 65_536];
    image[..9].copy_from_slice(b"redb\x1a\x0a\xa9\x0d\x0a");
    let error = Kv::open(Disk::of(image), Options::default()).unwrap_err();
    assert!(matches!(error, KvError::Format { found: 1, supported: 2 }), "{error}");
    assert!(!error.is_damage());
}
