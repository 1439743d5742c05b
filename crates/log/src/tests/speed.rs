//! Figures, for a release build and by hand: `cargo test --release -p kontiki-log speed -- --ignored --nocapture`.
//! Expected on one core at 3 GHz: well below 1 us of CPU per small entry, 32 MiB recovered within 100 ms.

use kontiki_world::{Clock, RealClock, RealDisk};

use super::*;

#[test]
#[ignore = "prints figures of a release build"]
fn speed_of_saving_and_recovering() {
    let temporary = tempfile::tempdir().unwrap();
    let clock = RealClock::default();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let open = || Log::open(disk.clone(), temporary.path(), IDENTITY, Options::default()).unwrap();
    let (mut log, _) = open();
    let payload = Bytes::from(vec![7; 256]);
    let (mut staging, mut writing, batches) = (0, 0, 1800u64);
    for batch in 0..batches {
        let first = batch * 64 + 1;
        let entry = |index| Entry { index: Index(index), term: Term(1), payload: payload.clone() };
        let entries: Vec<Entry> = (first..first + 64).map(entry).collect();
        let started = clock.now();
        for entry in entries {
            log.save(append(G1, vec![entry]));
        }
        let job = log.start_write().unwrap();
        let staged = clock.now();
        let done = job.run().unwrap();
        let written = clock.now();
        log.finish_write(done);
        staging += (staged - started + (clock.now() - written)).as_nanos();
        writing += (written - staged).as_nanos();
    }
    let count = u128::from(batches * 64);
    println!(
        "staging {} ns per entry; write and sync {} us per batch",
        staging / count,
        writing / u128::from(batches) / 1000
    );
    println!("{} MiB in {} segments", log.disk_bytes() >> 20, log.segments());
    drop(log);
    let started = clock.now();
    let (log, groups) = open();
    println!("recovered {} entries in {:?}", groups[&G1].last, clock.now() - started);
    let started = clock.now();
    let found = log.entries(G1, Index(1), Index(20_000), u64::MAX).unwrap();
    println!("read {} entries from disk in {:?}", found.len(), clock.now() - started);
}
