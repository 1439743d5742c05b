#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use kontiki_kv::{Command, Kv, Options as KvOptions, PutRequest, RangeRequest};
use kontiki_raft::{Configuration, NodeId};
use sha2::{Digest, Sha256};

use super::header::HEADER_BYTES;
use super::*;
use crate::claim::Places;
use crate::options::InitialMember;

const HEADER: SnapshotHeader = SnapshotHeader {
    cluster_id: 0xc1,
    member_id: 0x3e,
    index: 40,
    term: 2,
    revision: 41,
    taken_ms: 1_700_000_000_000,
    origin: SnapshotOrigin::Confirmed,
};

/// The blobs of a small state.
fn blobs(keys: u64, value: usize) -> Vec<SnapshotBlob> {
    let mut kv = Kv::open(redb::backends::InMemoryBackend::new(), KvOptions::default()).unwrap();
    for index in 1..=40 {
        let key = format!("key/{}", index % keys).into();
        let put = PutRequest { key, value: vec![7; value].into(), ..PutRequest::default() };
        kv.batch().apply(index, 2, &Command::Put(put)).unwrap();
    }
    let done = kv.begin_checkpoint("members".into()).unwrap().run().unwrap();
    drop(kv.finish_checkpoint(done));
    let mut stream = SnapshotStream::new(kv.snapshot(), HEADER, Hold::Nothing);
    std::iter::from_fn(|| stream.next_blob().unwrap()).collect()
}

fn file_of(blobs: &[SnapshotBlob]) -> Vec<u8> {
    blobs.iter().flat_map(|blob| blob.bytes.to_vec()).collect()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.at("snapshot.db");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn options(&self, name: &str) -> RestoreOptions {
        let member = |name: &str, port: u16| InitialMember {
            name: name.into(),
            peer_urls: vec![format!("http://127.0.0.1:{port}")],
        };
        RestoreOptions {
            name: name.into(),
            data_dir: self.at(name),
            wal_dir: None,
            initial_cluster: vec![member("m0", 1), member("m1", 2)],
            initial_cluster_token: "new".into(),
            bump_revision: 0,
        }
    }
}

fn open(path: &Path) -> Result<SnapshotFile, SnapshotError> {
    SnapshotFile::open(path, true, &mut |_| ())
}

#[test]
fn a_file_is_as_etcd_s_clients_want_it() {
    for (keys, value) in [(1, 0), (40, 10), (7, 50_000)] {
        let blobs = blobs(keys, value);
        let whole = file_of(&blobs);
        assert_eq!(whole.len() % SECTOR, DIGEST_BYTES, "etcd's clients look for this remainder");
        let (content, digest) = whole.split_at(whole.len() - DIGEST_BYTES);
        assert_eq!(Sha256::digest(content).as_slice(), digest);
        let (last, others) = blobs.split_last().unwrap();
        assert_eq!((&last.bytes[..], last.remaining), (digest, 0), "the digest is a message of its own");
        assert!(others.iter().all(|blob| blob.bytes.len() <= 1 << 20));
        assert!(others.windows(2).all(|pair| pair[0].remaining >= pair[1].remaining));
        assert!(others.split_last().unwrap().1.iter().all(|blob| blob.remaining > 0));
        assert_eq!(others.last().unwrap().remaining, 0);
    }
}

#[test]
fn what_was_saved_is_read_back() {
    let place = Place::new();
    let path = place.file(&file_of(&blobs(7, 100)));
    let mut bytes = 0;
    let file = SnapshotFile::open(&path, true, &mut |read| bytes += read).unwrap();
    assert_eq!(*file.header(), HEADER);
    assert_eq!(bytes, file.bytes() - 32);
    let summary = file.summary(&mut |_| ()).unwrap();
    assert_eq!((summary.versions, summary.header, summary.bytes), (40, HEADER, file.bytes()));
}

#[test]
fn any_byte_that_is_not_what_was_saved_is_noticed() {
    let place = Place::new();
    let whole = file_of(&blobs(3, 5));
    assert!(whole.len() < 8_192, "{} bytes are not a small file", whole.len());
    let path = place.at("snapshot.db");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).unwrap();
        let error = open(&path).unwrap_err();
        let expected = match at {
            0..16 => matches!(error, SnapshotError::Header { problem: error::HeaderProblem::Foreign, .. }),
            16..128 => matches!(error, SnapshotError::Header { problem: error::HeaderProblem::Damaged, .. }),
            _ => matches!(error, SnapshotError::Digest { .. }),
        };
        assert!(expected, "byte {at}: {error}");
        assert!(error.to_string().contains("snapshot.db"), "{error}");
        // Without the digest every part still has a checksum of its own; what has none decides nothing.
        if let Ok(file) = SnapshotFile::open(&path, false, &mut |_| ())
            && let Ok(summary) = file.summary(&mut |_| ())
        {
            assert_eq!((summary.header, summary.versions), (HEADER, 40), "byte {at}");
        }
    }
}

#[test]
fn a_file_cut_short_or_made_longer_is_refused() {
    let place = Place::new();
    let whole = file_of(&blobs(3, 5));
    for length in 0..whole.len() {
        let error = open(&place.file(&whole[..length])).unwrap_err();
        let by_name =
            matches!(error, SnapshotError::Header { .. } | SnapshotError::Length { .. } | SnapshotError::Digest { .. });
        assert!(by_name, "{length}: {error}");
    }
    let longer = [&whole[..], &[0; 512]].concat();
    assert!(matches!(open(&place.file(&longer)).unwrap_err(), SnapshotError::Digest { .. }));
}

#[test]
fn files_of_chance_are_read_without_harm() {
    let place = Place::new();
    let whole = file_of(&blobs(3, 5));
    let mut random = kontiki_world::Random::new(7);
    for _ in 0..500 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.below(8) {
            let at = HEADER_BYTES + random.below((bytes.len() - HEADER_BYTES) as u64) as usize;
            bytes[at] = random.below(256) as u8;
        }
        let cut = bytes.len() - SECTOR * random.below(3) as usize;
        // The digest is skipped: the parts must hold out by themselves, and no length in them may be believed.
        if let Ok(file) = SnapshotFile::open(&place.file(&bytes[..cut]), false, &mut |_| ()) {
            let _ = file.summary(&mut |_| ());
        }
    }
}

#[test]
fn foreign_files_are_told_by_what_they_are() {
    let place = Place::new();
    let mut bolt = vec![0; 20_480 + 32];
    bolt[16..20].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
    let error = open(&place.file(&bolt)).unwrap_err().to_string();
    assert!(error.contains("bbolt") && error.contains("etcdutl"), "{error}");
    let error = open(&place.file(b"{}")).unwrap_err().to_string();
    assert!(error.contains("no snapshot of Kontiki's"), "{error}");
    let mut newer = file_of(&blobs(3, 5));
    newer[19] = 9;
    let sum = crc32c::crc32c(&newer[..124]);
    newer[124..128].copy_from_slice(&sum.to_be_bytes());
    let error = open(&place.file(&newer)).unwrap_err().to_string();
    assert!(error.contains("format 9") && error.contains("newer"), "{error}");
    let error = open(&place.at("nothing")).unwrap_err().to_string();
    assert!(error.contains("cannot open") && error.contains("nothing"), "{error}");
}

#[test]
fn a_restored_member_has_the_keys_and_another_cluster() {
    let place = Place::new();
    let file = open(&place.file(&file_of(&blobs(7, 100)))).unwrap();
    let mut seen = Vec::new();
    for name in ["m0", "m1"] {
        let restored = restore(&file, &place.options(name), &mut |_| ()).unwrap();
        assert_eq!((restored.revision, restored.same_cluster), (41, false));
        seen.push(restored);
        let member = place.at(name).join("member");
        assert!(member.join("started").exists() && !place.at(name).join("member.restoring").exists());
        let identity = std::fs::read_to_string(member.join("identity")).unwrap();
        assert!(identity.contains("token new") && identity.contains(&format!("name {name}")), "{identity}");
        let stream = offline_snapshot(&place.at(name)).unwrap();
        assert_eq!(stream.header().cluster_id, restored.cluster_id);
        assert_eq!((stream.header().index, stream.header().term), (40, 2));
        assert_eq!(stream.header().origin, SnapshotOrigin::Checkpoint);
    }
    assert_eq!(seen[0].cluster_id, seen[1].cluster_id);
    assert_ne!(seen[0].member_id, seen[1].member_id);
    let kv = state_of(&place.at("m0"));
    let get = RangeRequest {
        range: kontiki_kv::KeyRange { key: "key/3".into(), range_end: Default::default() },
        ..RangeRequest::default()
    };
    assert_eq!(kv.reader().range(&get).unwrap().0.kvs[0].value.len(), 100);
    let configuration = kontiki_engine::decode_configuration(&kv.opaque()).unwrap();
    assert_eq!(configuration, Configuration::of(seen.iter().map(|restored| NodeId(restored.member_id))));
}

fn state_of(data_dir: &Path) -> Kv {
    let places = Places::at(data_dir.join("member"), None);
    let lock = std::sync::Arc::new(crate::start::lock(&kontiki_world::RealDisk, data_dir, &places.member).unwrap());
    let disk = std::sync::Arc::new(kontiki_world::RealDisk);
    let state = crate::state_file::StateDir::open(disk, &places.state, lock).unwrap();
    Kv::open(state.open_current().unwrap(), KvOptions::default()).unwrap()
}

#[test]
fn nothing_that_exists_is_restored_over() {
    let place = Place::new();
    let file = open(&place.file(&file_of(&blobs(3, 5)))).unwrap();
    let options = place.options("m0");
    std::fs::create_dir(&options.data_dir).unwrap();
    restore(&file, &options, &mut |_| ()).unwrap(); // an empty directory is none
    let error = restore(&file, &options, &mut |_| ()).unwrap_err();
    assert!(matches!(error, SnapshotError::NotEmpty { .. }), "{error}");
    let options = RestoreOptions { wal_dir: Some(options.data_dir), ..place.options("m1") };
    let error = restore(&file, &options, &mut |_| ()).unwrap_err();
    assert!(matches!(error, SnapshotError::WalDirExists { .. }), "{error}");
    let error = restore(&file, &place.options("m7"), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("--name is \"m7\""), "{error}");
    assert!(!place.at("m7").exists(), "nothing is made for flags that do not fit");
}

#[test]
fn a_restore_that_fails_leaves_no_member() {
    let place = Place::new();
    let mut whole = file_of(&blobs(3, 5));
    whole[200] ^= 1;
    let file = SnapshotFile::open(&place.file(&whole), false, &mut |_| ()).unwrap();
    let options = RestoreOptions { wal_dir: Some(place.at("wal")), ..place.options("m0") };
    let error = restore(&file, &options, &mut |_| ()).unwrap_err();
    assert!(matches!(error, SnapshotError::Content { .. }), "{error}");
    assert!(!place.at("m0/member").exists() && !place.at("m0/member.restoring").exists() && !place.at("wal").exists());
}

#[test]
fn a_stopped_member_is_saved_unless_it_has_no_checkpoint_or_runs() {
    let place = Place::new();
    let error = offline_snapshot(&place.at("nothing")).unwrap_err().to_string();
    assert!(error.contains("holds no member"), "{error}");
    let file = open(&place.file(&file_of(&blobs(3, 5)))).unwrap();
    restore(&file, &place.options("m0"), &mut |_| ()).unwrap();
    let held = offline_snapshot(&place.at("m0")).unwrap();
    let locked = kontiki_world::DirectoryLock::acquire(&place.at("m0/member"));
    assert_eq!(locked.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "the member cannot start meanwhile");
    drop(held);
    let running = kontiki_world::DirectoryLock::acquire(&place.at("m0/member")).unwrap();
    let error = offline_snapshot(&place.at("m0")).unwrap_err().to_string();
    assert!(error.contains("in use by process"), "{error}");
    drop(running);
    std::fs::remove_file(place.at("m0/member/state/state.redb")).unwrap();
    assert!(matches!(offline_snapshot(&place.at("m0")).unwrap_err(), SnapshotError::NoCheckpoint { .. }));
}
