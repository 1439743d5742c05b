//! The file made small again, beside everything else.

use super::*;

/// A machine whose file is mostly empty.
fn bloated() -> Machine {
    let mut machine = Machine::new();
    for n in 0..600 {
        machine.put(&format!("k{n:03}"), &"v".repeat(4_000));
    }
    machine.checkpoint();
    machine.must(&delete("k1", "k58"));
    let revision = machine.kv.revision();
    machine.must(&Command::Compact { revision });
    for _ in 0..5 {
        machine.put("k000", "x");
        machine.checkpoint();
    }
    machine
}

#[test]
fn a_file_is_rewritten_while_commands_go_on() {
    let mut machine = bloated();
    let (before, reader) = (machine.disk.image().len(), machine.kv.reader());
    let shrink = machine.kv.begin_shrink(bytes("opaque")).unwrap();
    let applied = shrink.applied();
    assert!(machine.kv.begin_checkpoint(Bytes::new()).is_none() && machine.kv.begin_shrink(Bytes::new()).is_none());
    machine.put("meanwhile", "1");
    let (hash, digest) = (reader.hash().unwrap(), machine.kv.digest());
    let small = Disk::default();
    let shrunk = shrink.run(small.clone(), 5, || Ok(small.clone())).unwrap();
    assert!(shrunk.kept.is_none());
    drop(machine.kv.finish_checkpoint(shrunk.done));
    machine.disk = small;
    assert!(machine.disk.image().len() < before / 2, "{} of {before}", machine.disk.image().len());
    assert_eq!((reader.hash().unwrap(), machine.kv.digest()), (hash, digest));
    let report = check_state(machine.disk.after_crash(), &mut |_, _| {}).unwrap();
    assert_eq!((report.applied, report.findings), (applied, Vec::new()));
    machine.checkpoint();
    let machine = machine.crash();
    assert_eq!((machine.kv.reader().hash().unwrap(), machine.kv.digest()), (hash, digest));
    assert_eq!(machine.range(&get("meanwhile", "")).unwrap().count, 1);
}

#[test]
fn where_the_new_file_cannot_be_filled_the_old_one_goes_on() {
    let mut machine = bloated();
    let broken = Disk::default();
    broken.break_down();
    let shrink = machine.kv.begin_shrink(Bytes::new()).unwrap();
    let shrunk = shrink.run(broken, 5, || -> io::Result<Disk> { panic!("nothing to put in place") }).unwrap();
    assert!(shrunk.kept.is_some());
    drop(machine.kv.finish_checkpoint(shrunk.done));
    machine.put("later", "1");
    let hash = machine.kv.reader().hash().unwrap();
    machine.checkpoint();
    assert_eq!(machine.crash().kv.reader().hash().unwrap(), hash);
}
