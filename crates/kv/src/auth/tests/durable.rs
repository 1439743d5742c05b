use std::sync::Arc;

use super::*;
use crate::base::File;
use crate::layers::Table;
use crate::tests::Disk;

/// Something of everything.
fn peopled() -> Machine {
    let mut machine = enabled();
    let since = machine.kv.reader().user("root").unwrap().since;
    for command in [
        user_add("alice"),
        auth(AuthCommand::UserAdd { name: "cn".into(), password: None }),
        role_add("r"),
        permit("r", PermissionKind::ReadWrite, keys("a", "c")),
        permit("r", PermissionKind::Read, keys("x", "\0")),
        grant_role("alice", "r"),
        auth(AuthCommand::IssueToken { user: "root".into(), since, digest: [9; 32] }),
    ] {
        machine.must(&command);
    }
    machine
}

fn check(machine: &Machine) {
    let reader = machine.kv.reader();
    let alice = reader.user("alice").unwrap();
    assert!(reader.auth_status().0 && alice.password.is_some());
    assert_eq!(reader.user_names().len(), 3);
    assert_eq!(reader.user("cn").unwrap().password, None);
    assert_eq!(reader.role("r").unwrap().permissions.len(), 2);
    assert_eq!(*reader.token(&[9; 32]).unwrap().0.user, *"root");
    let subject = Subject { user: "alice".into(), revision: reader.auth_status().1 };
    let read = |key: &str| reader.permit(&subject, &[Need::Keys(Access::Read, keys(key, ""))]);
    assert!(read("b").is_ok() && read("xyz").is_ok() && read("d").is_err());
}

#[test]
fn users_and_tokens_survive_checkpoints_crashes_and_snapshots() {
    let mut machine = peopled();
    let (hash, digest) = (machine.kv.reader().hash().unwrap(), machine.kv.digest());
    check(&machine);
    machine.checkpoint();
    check(&machine);
    let machine = machine.crash();
    check(&machine);
    assert_eq!(machine.kv.reader().hash().unwrap(), hash);
    let mut source = machine.kv.snapshot();
    let disk = Disk::default();
    let mut sink = SnapshotSink::create(disk.clone(), 5).unwrap();
    while let Some(piece) = source.next_rows(50).unwrap() {
        sink.write(&piece).unwrap();
    }
    sink.finish().unwrap();
    let received = Machine::open(disk);
    check(&received);
    assert_eq!((received.kv.reader().hash().unwrap(), received.kv.digest()), (hash, digest));
}

#[test]
fn a_change_shows_in_hash_and_digest() {
    let (mut one, mut other) = (peopled(), peopled());
    assert_eq!(one.kv.digest(), other.kv.digest());
    one.must(&permit("r", PermissionKind::Write, keys("k", "")));
    other.must(&permit("r", PermissionKind::Read, keys("k", "")));
    assert_ne!(one.kv.digest(), other.kv.digest());
    assert_ne!(one.kv.reader().hash().unwrap(), other.kv.reader().hash().unwrap());
}

#[test]
fn commands_come_back_from_their_bytes() {
    let name = || "näme".to_owned();
    let permission = Permission { kind: PermissionKind::ReadWrite, range: keys("a", "\0") };
    let commands = [
        (AuthCommand::Enable, "0114"),
        (AuthCommand::Disable, "0115"),
        (AuthCommand::UserAdd { name: "u".into(), password: Some(hash("h")) }, "011601750 10168"),
        (AuthCommand::UserAdd { name: "u".into(), password: None }, "0116017500"),
        (AuthCommand::UserDelete { name: "u".into() }, "01170175"),
        (AuthCommand::UserChangePassword { name: "u".into(), password: hash("h") }, "011801750168"),
        (AuthCommand::UserGrantRole { user: "u".into(), role: "r".into() }, "011901750172"),
        (AuthCommand::UserRevokeRole { user: "u".into(), role: "r".into() }, "011a01750172"),
        (AuthCommand::RoleAdd { name: "r".into() }, "011b0172"),
        (AuthCommand::RoleDelete { name: "r".into() }, "011c0172"),
        (AuthCommand::RoleGrantPermission { role: "r".into(), permission }, "011d01720201610100"),
        (AuthCommand::RoleRevokePermission { role: "r".into(), range: keys("a", "") }, "011e0172016100"),
        (
            AuthCommand::IssueToken { user: "u".into(), since: 3, digest: [1; 32] },
            "011f0175030101010101010101010101010101010101010101010101010101010101010101",
        ),
        (
            AuthCommand::RenewToken { digest: [2; 32] },
            "01200202020202020202020202020202020202020202020202020202020202020202",
        ),
        (AuthCommand::ExpireTokens { digests: Vec::new() }, "012100"),
        (AuthCommand::UserAdd { name: name(), password: None }, "0116056ec3a46d6500"),
    ];
    for (command, golden) in commands {
        let encoded = auth(command.clone()).encode();
        let hex: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.replace(' ', ""), "{command:?}");
        assert_eq!(Command::decode(&encoded), Ok(auth(command)));
        for length in 0..encoded.len() {
            assert!(Command::decode(&encoded.slice(..length)).is_err());
        }
    }
}

#[test]
fn a_file_from_before_there_were_users_gets_their_tables() {
    let mut machine = Machine::new();
    machine.put("a", "1");
    machine.checkpoint();
    let disk = machine.disk.after_crash();
    let file = Arc::new(File::open(disk.clone(), 1 << 20, 0).unwrap());
    let transaction = file.begin().unwrap();
    for table in [Table::Auth, Table::AuthUsers, Table::AuthRoles, Table::AuthTokens] {
        assert!(transaction.delete_table(table.definition()).unwrap());
    }
    transaction.commit().unwrap();
    drop(file);
    let mut machine = Machine::open(disk);
    assert_eq!(machine.kv.reader().auth_status(), (false, 1));
    machine.must(&user_add("alice"));
    machine.checkpoint();
    let machine = machine.crash();
    assert!(machine.kv.reader().user("alice").is_some());
    assert_eq!(machine.range(&crate::tests::get("a", "")).unwrap().count, 1);
}
