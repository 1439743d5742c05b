//! What checksums cost. Not a test of anything: run it by hand, `cargo test --release -p kontiki-kv costs -- --ignored --nocapture`.

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, TableDefinition};

use super::*;
use crate::sealed::{Handle, Sealed};

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
const ROWS: u64 = 200_000;

/// Hundredths of a second that this process has spent: less noisy than the clock.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

fn measure(name: &str, backend: impl StorageBackend) {
    let database: Database = redb::Builder::new().set_cache_size(4 << 20).create_with_backend(backend).unwrap();
    let key = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (ROWS * 4)).to_be_bytes();
    let begun = cpu_ticks();
    for checkpoint in 0..10 {
        let mut transaction = database.begin_write().unwrap();
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for n in checkpoint * ROWS / 10..(checkpoint + 1) * ROWS / 10 {
                table.insert(&key(n)[..], &[n as u8; 256][..]).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
    let written = cpu_ticks() - begun;
    let begun = cpu_ticks();
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(TABLE).unwrap();
    let found = (0..ROWS).filter(|n| table.get(&key(n * 7)[..]).unwrap().is_some()).count();
    println!("{name}: checkpoints {written} ticks, {ROWS} random reads {} ticks ({found} found)", cpu_ticks() - begun);
}

#[test]
#[ignore = "measures"]
fn costs() {
    let path = std::env::temp_dir().join(format!("kontiki-costs-{}", std::process::id()));
    let file = || {
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        FileBackend::new(file).unwrap()
    };
    for _ in 0..3 {
        measure("memory, plain ", Disk::default());
        measure("memory, sealed", Handle(Arc::new(Sealed::open(Disk::default(), 1).unwrap())));
        measure("file, plain ", file());
        measure("file, sealed", Handle(Arc::new(Sealed::open(file(), 1).unwrap())));
    }
    std::fs::remove_file(&path).unwrap();
}
